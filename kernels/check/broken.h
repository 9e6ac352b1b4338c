/* Kernels broken on purpose, each around a good table. The self-test fails if the check passes one of them. */
#ifndef FV_KERNELS_CHECK_BROKEN_H
#define FV_KERNELS_CHECK_BROKEN_H

#include "kernels/check/engine.h"

/* The table underneath: kernels carry no context. One self-test runs at a time. */
extern const fv_kernels *fv_check_good;

typedef struct fv_check_fault {
    const char *slot, *name; /* NULL ends a family */
    void (*install)(fv_kernels *k);
} fv_check_fault;

/* install_FAULT puts the function FAULT into its slot. */
#define INSTALL(fault, member)                                                                                         \
    static void install_##fault(fv_kernels *k) { k->member = fault; }

extern const fv_check_fault fv_check_broken_conv[], fv_check_broken_pool[], fv_check_broken_pointwise[], fv_check_broken_norm[];

#endif
