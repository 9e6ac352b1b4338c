/* What was measured of convolutions on this machine: an algorithm for each, in memory and in a file that people can
 * read. A line: CPU | ISA | threads | version | convolution | algorithm | microseconds of every candidate Lines of
 * other machines and versions are kept as they are. Used by one thread at a time (fv_planning_enter). */
#ifndef FV_GRAPH_CHOICES_H
#define FV_GRAPH_CHOICES_H

#include "core/context.h"

typedef struct fv_choices fv_choices;

fv_status fv_choices_create(const fv_context *c, fv_choices **out);
void fv_choices_free(fv_choices *t);
/* Adds a file's lines, which come before what is known. No file: nothing. FV_ERR_FORMAT names the line. */
fv_status fv_choices_read(fv_choices *t, const char *path);
/* Writes all there is if something was added since it was last written. */
fv_status fv_choices_write(fv_choices *t, const char *path);

/* Machine and convolution as a line begins. */
typedef struct fv_choice_key {
    char text[400];
} fv_choice_key;

/* The algorithm, as F(m x m, 3x3); 0: the direct sum; -1: not known. */
int32_t fv_choices_find(const fv_choices *t, const fv_choice_key *key);
/* m[best] of the candidates, which took so many seconds each. */
fv_status fv_choices_add(fv_choices *t, const fv_choice_key *key, const int32_t *m, const double *seconds, size_t count,
                         size_t best);

#endif
