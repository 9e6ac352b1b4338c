/* Parameters and accuracy of a fully connected net and a convolutional one, and both again with the pixels of every image in one
 * fixed random order: the fully connected net does not care about the order of its inputs, the convolutional one is built on it.
 */
#include "lab.h"

void lab_topology(lab *l) {
    static const char *const names[] = {"fully connected 784-256-128-10", "convolutional"};
    const lab_net nets[] = {{lab_dense, NULL, l->train.channels, l->train.height, l->train.width},
                            {lab_lenet, NULL, l->train.channels, l->train.height, l->train.width}};
    double accuracy[2][2][LAB_SEEDS]; /* net, permuted, seed */
    size_t parameters[2] = {0, 0};
    lab_data train = lab_copy(&l->train, l->train.count), test = lab_copy(&l->test, l->test.count);
    lab_permute(&train, 17);
    lab_permute(&test, 17);
    for (int net = 0; net < 2; net++)
        for (int permuted = 0; permuted < 2; permuted++)
            for (int seed = 0; seed < l->seeds; seed++) {
                fv_model *m = lab_train(l, &nets[net], permuted ? &train : &l->train, 0.02, l->epochs, 1 + (uint64_t)seed);
                accuracy[net][permuted][seed] = lab_accuracy(m, permuted ? &test : &l->test);
                parameters[net] = lab_parameters(m);
                fv_model_free(m);
            }
    lab_heading(l, "Topology: test accuracy with the pixels in place, and in one fixed random order",
                "| net | parameters | in place | permuted | lost |");
    for (int net = 0; net < 2; net++) {
        const lab_spread a = lab_summary(accuracy[net][0], l->seeds), b = lab_summary(accuracy[net][1], l->seeds);
        lab_row(l, "| %s | %zu | %.4f ± %.4f | %.4f ± %.4f | %.4f |", names[net], parameters[net], a.mean, a.deviation, b.mean,
                b.deviation, a.mean - b.mean);
    }
    lab_free(&train);
    lab_free(&test);
}
