/* Reverse-mode differentiation over a graph: appends gradient nodes. */
#ifndef FV_TRAIN_AUTODIFF_H
#define FV_TRAIN_AUTODIFF_H

#include "graph/graph.h"

/* Appends nodes computing the gradient of sum(seed[i] . output[i]). outputs[i]'s gradient is the value seeds[i] (same shape and layout).
 * gradients[v] for each of the graph's values at entry: set to the value holding its gradient for those in `wanted`, FV_NONE where it is zero. Several uses of a value are added in
 * the nodes' reverse order. FV_ERR_UNSUPPORTED names the node whose operator has no gradient. */
fv_status fv_autodiff(fv_graph *g, const fv_value *outputs, const fv_value *seeds, size_t count, const fv_value *wanted,
                      size_t wanted_count, fv_value *gradients);

#endif
