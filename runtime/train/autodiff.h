/* Reverse-mode differentiation over a graph: appends gradient nodes. */
#ifndef FV_TRAIN_AUTODIFF_H
#define FV_TRAIN_AUTODIFF_H

#include "graph/graph.h"

/* Appends nodes computing the gradient of sum(seeds[i] . outputs[i]); a seed has its output's shape and layout. The nodes and the first
 * value_count values of g are differentiated, value_count = g->value_count at entry. gradients[value_count]: for each value the one
 * holding its gradient, FV_NONE where it is zero or leads to no value of `wanted`. Several uses of a value are added in the nodes' reverse
 * order. FV_ERR_UNSUPPORTED names the node whose operator has no gradient. */
fv_status fv_autodiff(fv_graph *g, const fv_value *outputs, const fv_value *seeds, size_t count, const fv_value *wanted,
                      size_t wanted_count, size_t value_count, fv_value *gradients);

#endif
