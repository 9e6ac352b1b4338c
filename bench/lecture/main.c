/* fovea-lecture [--quick] [--data D] [--out DIR] [--only NAME]: the lecture's claims as experiments. */
#include "lab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const struct {
    const char *name;
    void (*run)(lab *l);
} experiments[] = {{"vanishing", lab_vanishing}, {"pooling", lab_pooling},       {"invariance", lab_invariance}, {"topology", lab_topology},
                   {"robustness", lab_robustness}, {"skips", lab_skips},         {"boundaries", lab_boundaries}};
enum { EXPERIMENTS = sizeof experiments / sizeof *experiments };

static int usage(const char *what) {
    fprintf(stderr, "fovea-lecture: what is \"%s\"?\nfovea-lecture [--quick] [--data D] [--out DIR] [--only NAME], NAME one of", what);
    for (int i = 0; i < EXPERIMENTS; i++) fprintf(stderr, " %s", experiments[i].name);
    fputc('\n', stderr);
    return 2;
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int run(lab *l, const char *only) {
    char path[4096];
    snprintf(path, sizeof path, "%s/table.md", l->folder);
    if ((mkdir(l->folder, 0777) != 0 && errno != EEXIST) || !(l->table = fopen(path, "w"))) {
        fprintf(stderr, "fovea-lecture: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    fprintf(l->table, "%d seeds, %lld training images, %d epochs; means and standard deviations.\n", l->seeds, (long long)l->train.count, l->epochs);
    int ran = 0;
    for (int i = 0; i < EXPERIMENTS; i++) {
        if (only && strcmp(only, experiments[i].name) != 0) continue;
        const double began = seconds_now();
        experiments[i].run(l);
        printf("(%s: %.0f s)\n\n", experiments[i].name, seconds_now() - began);
        ran++;
    }
    if (fclose(l->table) != 0) {
        fprintf(stderr, "fovea-lecture: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    return ran ? 0 : usage(only);
}

int main(int argc, char **argv) {
    lab l = {.folder = "lecture-out", .seeds = 5, .epochs = 4};
    const char *data = "fashion-mnist", *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            l.quick = true;
            l.seeds = 2;
            l.epochs = 2;
            l.images = 6000;
        } else if (i + 1 < argc && strcmp(argv[i], "--data") == 0) {
            data = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--out") == 0) {
            l.folder = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            only = argv[++i];
        } else {
            return usage(argv[i]);
        }
    }
    lab_open(&l, data);
    const int status = run(&l, only);
    lab_close(&l);
    return status;
}
