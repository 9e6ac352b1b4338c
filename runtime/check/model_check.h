/* A model's own shapes, and its nodes on one instruction set against another. */
#ifndef FV_CHECK_MODEL_CHECK_H
#define FV_CHECK_MODEL_CHECK_H

#include "fovea.h"
#include "kernels/check/check.h"

/* The kernels' slots on the shapes of the model's nodes at batch 1, prepared as for training: convolutions, transposed
 * ones and fully connected layers forward, by the phases of the data gradient and by the weight gradient, with
 * Winograd's tiles where a plan takes them at batch 1, 8 or 64, or as depthwise ones; locally connected layers at nine
 * places; pooling both ways, and a convolution's gradients through it; normalizations, element-wise functions and
 * softmax both ways. Left out are sums of partial results and copies (reduce, rows, convert), whose lengths are those
 * of pieces, and the loss and the optimizer, which a model does not have. A shape with a tensor of more than
 * FV_CHECK_MOST_GIVEN elements, or more than 10^9 multiply-adds, is left out with a line that says so. options->cases:
 * of each shape. */
fv_check_result fv_model_check_shapes(const fv_model *m, const fv_check_options *options, fv_check_report *report);

/* Every node of the network as it is planned for inference, on the same random input (uniform in 0..1): `fast` and
 * `scalar` are one model in contexts of two instruction sets. No value may differ by more
 * than 1e-4 of the node's largest: a hundred times what rounding makes of the zoo's networks. report->slots: nodes. */
fv_check_result fv_model_check_nodes(const fv_model *fast, const fv_model *scalar, const char *isa,
                                     const fv_check_options *options, fv_check_report *report);

#endif
