/* A progress bar on standard error, drawn only on a terminal and only once two seconds have passed. */
#ifndef FOVEA_TOOLS_PROGRESS_H
#define FOVEA_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    const char *label;
    int64_t total;
    double began, drawn;
    bool terminal, visible;
} progress;

void progress_start(progress *p, const char *label, int64_t total);
/* note: a few words after the bar, may be NULL. Draws at most ten times a second. */
void progress_update(progress *p, int64_t done, const char *note);
void progress_clear(progress *p); /* wipes the line before other output */

#endif
