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
} experiments[] = {{"vanishing", lab_vanishing},   {"smooth", lab_smooth},     {"contrast", lab_contrast},
                   {"pooling", lab_pooling},       {"skips", lab_skips},       {"invariance", lab_invariance},
                   {"robustness", lab_robustness}, {"topology", lab_topology}, {"boundaries", lab_boundaries}};
enum { EXPERIMENTS = sizeof experiments / sizeof *experiments };

static int usage(const char *what) {
    fprintf(
        stderr,
        "fovea-lecture: \"%s\" does not belong there\nfovea-lecture [--quick] [--data D] [--out DIR] [--only NAME], NAME one of",
        what);
    for (int i = 0; i < EXPERIMENTS; i++) fprintf(stderr, " %s", experiments[i].name);
    fputc('\n', stderr);
    return 2;
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool known(const char *only) {
    for (int i = 0; i < EXPERIMENTS; i++)
        if (strcmp(only, experiments[i].name) == 0) return true;
    return false;
}

static int run(lab *l, const char *data, const char *only) {
    char path[4096];
    snprintf(path, sizeof path, "%s/table.md", l->folder);
    if ((mkdir(l->folder, 0777) != 0 && errno != EEXIST) || !(l->table = fopen(path, "w"))) {
        fprintf(stderr, "fovea-lecture: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    fprintf(l->table,
            "%s: %d seeds, %lld training images (fewer where a heading says so), %lld test images, %d epochs of momentum 0.9 in "
            "batches of 64, the "
            "rate falling to 0 as a cosine; means ± standard deviations over the seeds.\n",
            data, l->seeds, (long long)l->train.count, (long long)l->test.count, l->epochs);
    for (int i = 0; i < EXPERIMENTS; i++) {
        if (only && strcmp(only, experiments[i].name) != 0) continue;
        const double began = seconds_now();
        experiments[i].run(l);
        printf("(%s: %.0f s)\n\n", experiments[i].name, seconds_now() - began);
        fflush(stdout);
    }
    const bool failed = ferror(l->table);
    if (fclose(l->table) != 0 || failed) {
        fprintf(stderr, "fovea-lecture: cannot write %s: %s\n", path, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    lab l = {.folder = "lecture-out", .seeds = 5, .epochs = 4, .images = 20000};
    const char *data = "fashion-mnist", *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0) {
            l.quick = true;
            l.seeds = 3;
            l.epochs = 2;
            l.images = 8000;
        } else if (i + 1 < argc && strcmp(argv[i], "--data") == 0) {
            data = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--out") == 0) {
            l.folder = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0 && known(argv[i + 1])) {
            only = argv[++i];
        } else {
            return usage(i + 1 < argc && strcmp(argv[i], "--only") == 0 ? argv[i + 1] : argv[i]);
        }
    }
    lab_open(&l, data);
    const int status = run(&l, data, only);
    lab_close(&l);
    return status;
}
