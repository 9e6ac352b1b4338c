/* The self-test: every kernel broken on purpose must be caught. */
#include "kernels/check/broken.h"

const fv_kernels *fv_check_good;

static const fv_check_fault *const families[] = {fv_check_broken_conv, fv_check_broken_pool, fv_check_broken_pointwise,
                                                 fv_check_broken_norm};

static fv_check_job make_job(const fv_check_options *o, const char *slot, const fv_kernels *k,
                             const fv_kernels *scalar) {
    fv_check_job job = {.isa = "broken", .candidate = k, .reference = scalar, .cases = o->cases, .stop_at = 1};
    for (size_t i = 0; i < fv_check_slot_count; i++)
        if (strcmp(fv_check_slots[i].name, slot) == 0) job.slot = &fv_check_slots[i];
    return job;
}

/* Caught, and the good kernel is not: else the catch proves nothing. */
static bool is_caught(const fv_check_options *o, const fv_check_fault *f, const fv_kernels *scalar,
                      fv_check_memory *memory, uint64_t *cases) {
    fv_check_options silent = *o;
    silent.print = NULL;
    fv_kernels broken = *fv_check_good;
    f->install(&broken);
    fv_check_job bad = make_job(o, f->slot, &broken, scalar), sound = make_job(o, f->slot, fv_check_good, scalar);
    fv_check_do_job(&silent, &bad, memory);
    sound.cases = bad.done;
    fv_check_do_job(&silent, &sound, memory);
    *cases += bad.done;
    const bool caught = bad.failures > 0 && sound.failures == 0;
    if (caught && o->quiet) return true;
    fv_check_print(o, "%-22s %-52s %s %llu", f->slot, f->name,
                   caught           ? "caught in case"
                   : sound.failures ? "PROVES NOTHING: the good kernel fails in case"
                                    : "NOT CAUGHT in cases",
                   (unsigned long long)(caught           ? bad.done - 1
                                        : sound.failures ? sound.done - 1
                                                         : bad.done));
    return caught;
}

fv_check_result fv_check_self_test(const fv_check_options *options, fv_check_report *report) {
    fv_kernels table, scalar;
    fv_check_memory *memory;
    fv_check_report r = {0};
    size_t all = 0;
    for (size_t i = 0; i < FV_ARRAY_SIZE(families); i++)
        for (const fv_check_fault *f = families[i]; f->slot; f++) all++;
    if (report) *report = r;
    fv_kernels_init_scalar(&scalar);
    if (!fv_kernels_for(options->isa ? options->isa : fv_isa_best(), &table)) return FV_CHECK_NOTHING;
    if (!fv_check_memory_create(&memory)) return FV_CHECK_NO_MEMORY;
    fv_check_good = &table;
    fv_check_signals_begin();
    for (size_t i = 0; i < FV_ARRAY_SIZE(families); i++)
        for (const fv_check_fault *f = families[i]; f->slot; f++) {
            const fv_check_slot named = {.name = f->slot};
            if (!fv_check_slot_matches(&named, options->op)) continue;
            if (options->progress) options->progress(options->user, (double)r.slots / (double)all);
            r.slots++;
            r.mismatches += !is_caught(options, f, &scalar, memory, &r.cases);
        }
    fv_check_signals_end();
    fv_check_good = NULL;
    fv_check_memory_free(memory);
    if (report) *report = r;
    return r.mismatches ? FV_CHECK_MISMATCH : r.cases == 0 ? FV_CHECK_NOTHING : FV_CHECK_AGREE;
}
