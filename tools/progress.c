#include "progress.h"

#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void progress_start(progress *p, const char *label, int64_t total) {
    const char *term = getenv("TERM");
    *p = (progress){.label = label, .total = total > 0 ? total : 1, .began = cli_seconds()};
    p->terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

void progress_update(progress *p, int64_t done, const char *note) {
    enum { width = 30 };
    const double now = cli_seconds(), spent = now - p->began;
    if (!p->terminal || spent < 2.0 || now - p->drawn < 0.1) return;
    p->drawn = now;
    p->visible = true;
    const double share = (double)done / (double)p->total;
    const int full = (int)(share * width);
    const double left = done > 0 ? spent / share - spent : 0;
    char bar[width + 1];
    for (int i = 0; i < width; i++) bar[i] = i < full ? '#' : '.';
    bar[width] = '\0';
    fprintf(stderr, "\r%s [%s] %3.0f%% %d:%02d left %s\033[K", p->label, bar, 100 * share, (int)left / 60,
            (int)left % 60, note ? note : "");
    fflush(stderr);
}

void progress_clear(progress *p) {
    if (p->visible) fputs("\r\033[K", stderr);
    p->visible = false;
}
