/* The context inside: settings resolved, kernel table built, reference count. */
#ifndef FV_CORE_CONTEXT_H
#define FV_CORE_CONTEXT_H

#include "core/status.h"
#include "kernels/kernels.h"

#include <stdatomic.h>

#define FV_REAL_DTYPE (sizeof(fv_real) == sizeof(double) ? FV_F64 : FV_F32)

struct fv_context {
    fv_context_settings settings; /* threads, isa and backend as resolved; isa points into fv_isa_table */
    fv_kernels kernels;
    int cpus;
    double quota;
    atomic_int references;
};

const char *fv_backend_name(fv_backend backend); /* of a checked one */
fv_context *fv_context_retain(const fv_context *c); /* released by fv_context_free; const is cast away for the count */

/* Memory through the context's hooks, 64-byte aligned. NULL data is never returned for FV_OK; bytes 0 gives a unique pointer.
 * `what` names the thing in the sentence of FV_ERR_MEMORY / FV_ERR_LIMIT. */
fv_status fv_alloc(const fv_context *c, size_t bytes, const char *what, void **out);
/* The same for what every run walks through in long strides: on large pages where it is large and the system has them. */
fv_status fv_alloc_large(const fv_context *c, size_t bytes, const char *what, void **out);
fv_status fv_alloc_zero(const fv_context *c, size_t bytes, const char *what, void **out);
fv_status fv_alloc_array(const fv_context *c, size_t count, size_t element, const char *what, void **out); /* zeroed */
/* Memory of fv_alloc that nobody reads any more, freed later: its pages go back to the system now where they can. */
void fv_forget(const fv_context *c, void *data, size_t bytes);
fv_status fv_alloc_unset(const fv_context *c, size_t count, size_t element, const char *what, void **out); /* not zeroed */
/* Memory of fv_alloc_large that is written and read once or twice: large pages take longer to come than they save. */
void fv_small_pages(const fv_context *c, void *memory, size_t bytes);
fv_status fv_strdup(const fv_context *c, const char *text, char **out);
/* Grows an array of *capacity elements (doubling) so that it holds at least `need`; old contents move, new ones are zero. */
fv_status fv_grow(const fv_context *c, void **array, size_t *capacity, size_t need, size_t element, const char *what);
void fv_release(const fv_context *c, void *memory); /* NULL is allowed */
void fv_log_message(const fv_context *c, fv_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* CPUs of the affinity mask; *quota: CPUs the cgroup allows, 0 without a limit. */
int fv_cpu_count(double *quota);
/* The tightest quota of the cgroups in `membership` (the text of /proc/self/cgroup) under the mount `root`; 0: none. */
double fv_cgroup_quota(const char *membership, const char *root);

#endif
