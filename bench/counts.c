/* Rows of fixed kernels run once each on AVX2 under callgrind (tests/regress/counts.sh), which dumps the instructions
 * of each by its name. */
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <valgrind/callgrind.h>

/* Small shapes that reach the tiles' edges: every family's main kernels. */
static const char *const rows[] = {"conv.forward/N64_C6_14x14_K16_5x5_s1",
                                   "conv.forward/N1_C512_28x28_K128_1x1_s1",
                                   "conv.forward/N1_C2048_7x7_K512_1x1_s1",
                                   "conv.data_grad/N64_C6_14x14_K16_5x5_s1",
                                   "conv.weight_grad/N64_C6_14x14_K16_5x5_s1",
                                   "conv.pack/N1_C1024_14x14_K256_1x1_s1",
                                   "conv_pooled.input_grad/N64_C6_14x14_K16_5x5_pool2",
                                   "conv_pooled.weight_grad/N64_C6_14x14_K16_5x5_pool2",
                                   "depthwise.forward/C512_14x14_3x3_s1",
                                   "depthwise.forward/C480_14x14_5x5_s1",
                                   "depthwise.data_grad/C960_7x7_3x3_s1",
                                   "depthwise.weight_grad/C384_14x14_3x3_s1",
                                   "norm.moments/C512_256",
                                   "norm.apply/C64_256",
                                   "norm.grad_input/C64_256"};
enum { ROWS = sizeof rows / sizeof *rows };

typedef struct counting {
    fv_kernels kernels;
    int run, failed;
} counting;

static void count(void *user, const fv_bench_case *c) {
    counting *all = user;
    int wanted = 0;
    for (int i = 0; i < ROWS; i++) wanted = wanted || strcmp(rows[i], c->name) == 0;
    void *state = wanted && !all->failed ? c->make(c, &all->kernels) : NULL;
    if (!state) {
        all->failed |= wanted;
        return;
    }
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    c->run(state);
    CALLGRIND_DUMP_STATS_AT(c->name);
    CALLGRIND_STOP_INSTRUMENTATION;
    c->drop(state);
    all->run++;
}

int main(void) {
    counting all = {.run = 0};
    if (!fv_kernels_for("avx2", &all.kernels)) {
        fputs("this CPU lacks AVX2\n", stderr);
        return 77;
    }
    fv_bench_conv(count, &all);
    fv_bench_conv_pooled(count, &all);
    fv_bench_depthwise(count, &all);
    fv_bench_norm(count, &all);
    if (all.failed || all.run != ROWS) {
        fprintf(stderr, "%d of %d rows were run\n", all.run, ROWS);
        return 1;
    }
    return 0;
}
