#include "core/context.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void fv_context_settings_default(fv_context_settings *s) {
    if (!s) return;
    *s = (fv_context_settings){.backend = FV_BACKEND_PTHREADS};
}

const char *fv_backend_name(fv_backend backend) {
    static const char *const names[] = {"openmp", "pthreads", "serial"};
    return names[backend];
}

static fv_status check_backend(fv_backend backend) {
    FV_RETURN_IF(backend != FV_BACKEND_OPENMP && backend != FV_BACKEND_PTHREADS && backend != FV_BACKEND_SERIAL,
                 FV_ERR_ARGUMENT, "unknown thread backend %d", (int)backend);
#ifndef FV_HAVE_OPENMP
    FV_RETURN_IF(backend == FV_BACKEND_OPENMP, FV_ERR_UNSUPPORTED, "this build has no OpenMP; use pthreads or serial");
#endif
    return FV_OK;
}

static fv_status choose_isa(fv_context *c) {
    const char *wanted = c->settings.isa, *source = "";
    if (!wanted && (wanted = getenv("FOVEA_ISA")) && !*wanted) wanted = NULL;
    if (wanted && !c->settings.isa) source = " (from FOVEA_ISA)";
    if (!wanted) wanted = fv_isa_best();
    for (const fv_isa *row = fv_isa_table; row->name; row++)
        if (strcmp(row->name, wanted) == 0) c->settings.isa = row->name;
    if (fv_kernels_for(wanted, &c->kernels)) return FV_OK;
    return fv_fail(FV_ERR_ARGUMENT, "the ISA \"%.40s\"%s is not one this machine runs; the best here is %s", wanted,
                   source, fv_isa_best());
}

static fv_status resolve(fv_context *c) {
    FV_FORWARD(check_backend(c->settings.backend));
    FV_RETURN_IF(c->settings.threads < 0 || c->settings.threads > 1024, FV_ERR_ARGUMENT,
                 "the thread count is %d; allowed are 0 (as many as fit) to 1024", c->settings.threads);
    FV_RETURN_IF(c->settings.model_nodes < 0 || c->settings.model_depth < 0 || c->settings.model_depth > 256,
                 FV_ERR_ARGUMENT,
                 "models of %d nodes, %d deep; allowed are 0 (the default) and more, and a depth of at most 256",
                 c->settings.model_nodes, c->settings.model_depth);
    FV_RETURN_IF(!c->settings.alloc != !c->settings.free, FV_ERR_ARGUMENT, "alloc and free hooks come together");
    if (!c->settings.model_nodes) c->settings.model_nodes = 1000 * 1000;
    if (!c->settings.model_depth) c->settings.model_depth = 32;
    FV_FORWARD(choose_isa(c));
    c->cpus = fv_cpu_count(&c->quota);
    if (c->settings.backend == FV_BACKEND_SERIAL) c->settings.threads = 1;
    if (c->settings.threads == 0) {
        c->settings.threads = c->cpus;
        if (c->quota > 0 && ceil(c->quota) < c->cpus) c->settings.threads = (int)ceil(c->quota);
        if (c->settings.threads > 1024) c->settings.threads = 1024;
    }
    return FV_OK;
}

fv_status fv_context_create(const fv_context_settings *s, fv_context **out) {
    FV_RETURN_IF(!out, FV_ERR_ARGUMENT, "fv_context_create needs a place for the context");
    fv_context wanted = {0}, *c;
    if (s)
        wanted.settings = *s;
    else
        fv_context_settings_default(&wanted.settings);
    FV_FORWARD(resolve(&wanted));
    FV_FORWARD(fv_alloc(&wanted, sizeof *c, "a context", (void **)&c));
    memcpy(c, &wanted, sizeof *c);
    atomic_init(&c->references, 1);
    fv_log_message(c, FV_LOG_DEBUG, "fovea %s: %s kernels, %s, %d threads", FV_VERSION, c->settings.isa,
                   fv_backend_name(c->settings.backend), c->settings.threads);
    *out = c;
    return FV_OK;
}

fv_context *fv_context_retain(const fv_context *c) {
    fv_context *mine = (fv_context *)(uintptr_t)c;
    atomic_fetch_add_explicit(&mine->references, 1, memory_order_relaxed);
    return mine;
}

void fv_context_free(fv_context *c) {
    if (!c || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) != 1) return;
    fv_context last;
    memcpy(&last.settings, &c->settings, sizeof last.settings); /* the hooks outlive the memory they free */
    fv_release(&last, c);
}
