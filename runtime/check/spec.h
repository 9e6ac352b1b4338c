/* The table of tests/spec.csv: every operator and option of SPEC 1 to 8, and which checks it passes. A cell is filled
 * by checks that ran in this process (or, for another machine's instruction sets, were read from check_main's own
 * output) and by nothing else.
 *
 * The file: a header line "section,operator,option,slots,grad,onnx", then a line an option. slots: kernel slots or
 * families, separated by
 * ';'. grad: a row of the gradient check, or where none has that name a family. onnx: standard, function (a model-local
 * function of the domain "fovea") or none. slots and grad may be empty: not applicable. */
#ifndef FV_CHECK_SPEC_H
#define FV_CHECK_SPEC_H

#include "check/grad.h"

enum { FV_SPEC_SCALAR, FV_SPEC_AVX2, FV_SPEC_NEON, FV_SPEC_ISAS };
extern const char *const fv_spec_isas[FV_SPEC_ISAS]; /* "scalar", ... */

typedef enum fv_spec_state {
    FV_SPEC_NOT_RUN, /* no check of it ran: this machine lacks the instruction set */
    FV_SPEC_NONE,    /* not applicable */
    FV_SPEC_OK,
    FV_SPEC_FAILED
} fv_spec_state;

typedef struct fv_spec_cell {
    fv_spec_state state;
    uint64_t cases;
} fv_spec_cell;

/* What rows name, each once: a slot's cells by instruction set, a gradient row's by what was held. */
typedef struct fv_spec_slot {
    char name[64];
    fv_spec_cell isa[FV_SPEC_ISAS];
} fv_spec_slot;

typedef struct fv_spec_grad {
    char name[64];
    const char
        *form; /* "standard", "function" or "none": what its files are made of, the same for every row that names it */
    fv_spec_cell forward, gradient, onnx;
} fv_spec_grad;

typedef struct fv_spec_row {
    const char *section, *operator, * option, *slots, *grad, *onnx; /* in text */
} fv_spec_row;

typedef struct fv_spec {
    char *text;
    fv_spec_row *rows;
    fv_spec_slot *slots;
    fv_spec_grad *grads;
    size_t row_count, slot_count, grad_count;
} fv_spec;

/* false: *why is a sentence that names the line; nothing is left to free then. */
bool fv_spec_read(const char *path, fv_spec *out, const char **why);
void fv_spec_free(fv_spec *s);

/* Every slot on every instruction set of this CPU, options->cases each. A vector instruction set must have a function
 * of its own. Mismatches are printed; progress is by slots. */
void fv_spec_run_slots(fv_spec *s, const fv_check_options *options);
/* Every row of the gradient check that the file names. */
void fv_spec_run_grads(fv_spec *s, const fv_check_options *options);

/* A row's cells: the slots of an instruction set together, and those of its gradient row. */
fv_spec_cell fv_spec_isa(const fv_spec *s, size_t row, int isa);
const fv_spec_grad *fv_spec_grad_of(const fv_spec *s, size_t row); /* NULL: none */

/* "isa,slot,ok|failed,cases": what check_main prints and a table of another machine takes in. false: not such a line,
 * or of a slot that the file does not name. */
void fv_spec_print_slots(const fv_spec *s, fv_check_print_fn print, void *user);
bool fv_spec_take_line(fv_spec *s, int isa, const char *line);

#endif
