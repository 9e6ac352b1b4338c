/* fovea check --spec: the table of what passes which check. */
#ifndef FOVEA_TOOLS_SPEC_H
#define FOVEA_TOOLS_SPEC_H

#include "check/spec.h"

typedef struct spec_request {
    const char *file, *json,
        *neon;            /* json: NULL, or where the table goes too; neon: NULL, or the command that checks it */
    uint64_t cases, seed; /* of each slot; a tenth of each gradient row, a twentieth of each round trip */
} spec_request;

/* Prints the table as Markdown. Returns the exit status: 3 where a cell that should be filled is not. */
int check_spec(const spec_request *r);

/* Networks of the gradient rows that `op` names, as ONNX: saved, loaded, run, outputs bit for bit the same, saved again
 * as the same bytes. form: "standard" or "function", what the files must be made of. *why: a sentence where it fails.
 */
fv_spec_cell check_round_trip(const char *op, const char *form, uint64_t cases, uint64_t seed, const char **why);

#endif
