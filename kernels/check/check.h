/* The check engine: every slot of the kernel table on every ISA this CPU offers, held against the contract.
 *
 * A case draws a shape, values and placements from (seed, slot, case number) alone, so it is the same on every ISA and
 * can be repeated by itself. It holds a slot against
 *   - the contract's formula in double with a running error analysis (engine.h: fv_approx), small integers exactly;
 *   - the scalar definition: bit-equal on integers, within the two errors otherwise;
 *   - itself, cut into ranges: bit-equal;
 *   - memory: inputs and outputs lie against pages without access on either side, or between canaries, at element
 *     alignment; outputs' gaps and inputs must stay as they were.
 * NaN equals NaN, a result below FLT_MIN equals zero. The library prints nothing: lines go to a callback. */
#ifndef FV_KERNELS_CHECK_CHECK_H
#define FV_KERNELS_CHECK_CHECK_H

#include "kernels/kernels.h"

typedef void (*fv_check_print_fn)(void *user, const char *line);
/* The share of the work done, 0..1. */
typedef void (*fv_check_progress_fn)(void *user, double share);

/* A shape to check instead of random ones. */
typedef struct fv_check_given {
    const char *slot;    /* the one it is for */
    const char *name;    /* of what has this shape, for messages */
    fv_conv_desc conv;   /* conv.*, winograd.*: its lists live as long as the check; clamps and the residual are drawn */
    int32_t source_taps; /* of the weights that weight_tap points into */
    size_t y_base,
        y_size;        /* elements of the whole output, and where the lattice begins in it (a data gradient's phase) */
    int32_t m;         /* winograd.*: its pixels are all of the output */
    fv_depthwise_desc depthwise;
    fv_conv_pooled_desc pooled; /* an ISA that it does not suit has the scalar kernel checked */
    fv_pool_desc pool;
    fv_contrast_desc contrast; /* contrast.blur*: weights are drawn */
    size_t size[2];            /* of others: channels (or values, or classes) and pixels (or rows); 0: drawn */
} fv_check_given;
/* Elements of a tensor of a given shape, at most. */
enum { FV_CHECK_MOST_GIVEN = 1 << 20 };

typedef struct fv_check_options {
    const char *op;  /* a slot ("conv.forward") or a family ("conv"); NULL: all */
    const char *isa; /* NULL: every ISA of fv_isa_table that this CPU offers */
    uint64_t cases;  /* of each slot on each ISA */
    double seconds;  /* 0: no limit. Otherwise an even share of what is left for each slot and ISA */
    uint64_t seed;
    int64_t only_case;           /* >= 0: this case alone */
    int threads;                 /* slots checked side by side; <= 1: none */
    const fv_check_given *given; /* NULL: random shapes. Else slots without one are left out, cases are of each shape */
    size_t given_count;
    const char *repeat_with;       /* ends the line that says how to repeat a case; NULL: nothing */
    bool quiet;                    /* mismatches alone are printed */
    fv_check_print_fn print;       /* NULL: nothing is printed */
    fv_check_progress_fn progress; /* NULL: none. Like print, never called by two threads at once */
    void *user;
} fv_check_options;

typedef struct fv_check_report {
    uint64_t slots, cases; /* slots x ISAs, and cases done in them */
    uint64_t mismatches;   /* slots x ISAs in which a case failed; each stops at its third failure */
} fv_check_report;

typedef enum fv_check_result {
    FV_CHECK_AGREE,
    FV_CHECK_MISMATCH,
    FV_CHECK_NOTHING, /* the filters match no slot or no ISA here, or no case was done: a failure */
    FV_CHECK_NO_MEMORY
} fv_check_result;

/* "all agree", "MISMATCH", ... */
const char *fv_check_sentence(fv_check_result r);

/* 2000 cases, seed 1, no filter, no limit. */
fv_check_options fv_check_defaults(void);
/* One run at a time in a process: it owns SIGSEGV and SIGBUS meanwhile. report may be NULL. */
fv_check_result fv_check_run(const fv_check_options *options, fv_check_report *report);

/* A line for every slot x ISA that the filters match: "own" where the ISA has a function of its own, "scalar" where it
 * falls back. */
fv_check_result fv_check_list(const fv_check_options *options);

/* Kernels broken on purpose, on the strongest ISA (or options->isa): each must be caught within `cases` cases of its
 * slot. */
fv_check_result fv_check_self_test(const fv_check_options *options, fv_check_report *report);

#endif
