#include "kernels/kernels.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMD
#define HWCAP_ASIMD (1 << 1)
#endif
#endif

const fv_isa fv_isa_table[] = {
    {"scalar", 0, fv_kernels_init_scalar},
#ifdef FV_HAVE_AVX2
    {"avx2", FV_CPU_AVX2_FMA, fv_kernels_init_avx2},
#endif
#ifdef FV_HAVE_NEON
    {"neon", FV_CPU_NEON, fv_kernels_init_neon},
#endif
    {NULL, 0, NULL},
};

void fv_kernels_init_scalar(fv_kernels *k) {
    memset(k, 0, sizeof *k);
    fv_conv_init_scalar(&k->conv);
    fv_conv_pooled_init_scalar(&k->conv_pooled);
    fv_depthwise_init_scalar(&k->depthwise);
    fv_winograd_init_scalar(&k->winograd);
    fv_pool_init_scalar(&k->pool);
    fv_contrast_init_scalar(&k->contrast);
    fv_pointwise_init_scalar(&k->pointwise);
    fv_softmax_init_scalar(&k->softmax);
    fv_reduce_init_scalar(&k->reduce);
    fv_norm_init_scalar(&k->norm);
    fv_rows_init_scalar(&k->rows);
    fv_optimizer_init_scalar(&k->optimizer);
    fv_convert_init_scalar(&k->convert);
    fv_measure_init_scalar(&k->measure);
}

static unsigned detect(void) {
    unsigned bits = 0;
#if defined(__x86_64__) || defined(__i386__)
    /* __builtin_cpu_supports asks the OS (XGETBV) too. */
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) bits |= FV_CPU_AVX2_FMA;
#elif defined(__aarch64__) && defined(__linux__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMD) bits |= FV_CPU_NEON;
#endif
    return bits;
}

unsigned fv_cpu_detect(void) {
    enum { detected = 1u << 31 };
    static _Atomic unsigned once; /* every writer writes the same value */
    unsigned bits = atomic_load_explicit(&once, memory_order_relaxed);
    if (bits == 0) {
        bits = detect() | detected;
        atomic_store_explicit(&once, bits, memory_order_relaxed);
    }
    return bits & ~(unsigned)detected;
}

bool fv_kernels_for(const char *name, fv_kernels *k) {
    const unsigned have = fv_cpu_detect();
    for (const fv_isa *wanted = fv_isa_table; wanted->name; wanted++) {
        if (strcmp(wanted->name, name) != 0) continue;
        if ((wanted->needs & have) != wanted->needs) return false;
        for (const fv_isa *row = fv_isa_table; row <= wanted; row++)
            if ((row->needs & have) == row->needs) row->init(k);
        return true;
    }
    return false;
}

const char *fv_isa_best(void) {
    const unsigned have = fv_cpu_detect();
    const char *best = fv_isa_table[0].name;
    for (const fv_isa *row = fv_isa_table; row->name; row++)
        if ((row->needs & have) == row->needs) best = row->name;
    return best;
}
