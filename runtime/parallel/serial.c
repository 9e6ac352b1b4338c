#include "parallel/parallel.h"

typedef struct serial_state {
    const fv_context *context;
    void *team;
    fv_work_fn work;
} serial_state;

static fv_status serial_start(const fv_context *c, int threads, void *team, fv_work_fn work, void **state) {
    (void)threads;
    serial_state *s = NULL;
    FV_FORWARD(fv_alloc_zero(c, sizeof *s, "a team of one", (void **)&s));
    *s = (serial_state){c, team, work};
    *state = s;
    return FV_OK;
}

static void serial_run(void *state) {
    serial_state *s = state;
    s->work(s->team, 0, 1);
}

static void serial_stop(void *state, bool own_process) {
    (void)own_process;
    serial_state *s = state;
    fv_release(s->context, s);
}

const fv_backend_ops fv_backend_serial = {"serial", serial_start, serial_run, serial_stop};
