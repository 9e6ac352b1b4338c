/* The public header on its own, as C and as C++. */
#include "fovea.h"

fv_status header_test(const fv_model *m, const fv_tensor *x, const fv_tensor *y);

fv_status header_test(const fv_model *m, const fv_tensor *x, const fv_tensor *y) {
    fv_session *s = 0;
    fv_status status = fv_session_create(m, 0, &s);
    if (status == FV_OK) status = fv_session_run(s, x, 1, y, 1);
    fv_session_free(s);
    return status;
}
