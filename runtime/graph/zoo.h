/* Networks of the zoo that have a file of their own. */
#ifndef FV_GRAPH_ZOO_H
#define FV_GRAPH_ZOO_H

#include "graph/graph.h"

typedef struct zoo_shape {
    int32_t channels, height, width, classes;
} zoo_shape;

/* The input of a network; the mean of every map, (N,C,1,1). zoo.c */
fv_value fv_zoo_input(fv_graph *g, const zoo_shape *s);
fv_value fv_zoo_global_average(fv_graph *g, fv_value x, const char *name);

/* He et al. 2016 at 32x32 (a 3x3 stem, no pooling); Sandler et al. 2018 with the strides of 32x32. zoo_residual.c */
fv_value fv_zoo_resnet18_cifar(fv_graph *g, const zoo_shape *s);
fv_value fv_zoo_mobilenet_cifar(fv_graph *g, const zoo_shape *s);
/* The same at 224x224: a 7x7 stem and pooling; bottlenecks with their stride in the 3x3, as torchvision has them;
 * Sandler et al. */
fv_value fv_zoo_resnet18(fv_graph *g, const zoo_shape *s);
fv_value fv_zoo_resnet50(fv_graph *g, const zoo_shape *s);
fv_value fv_zoo_mobilenet_v2(fv_graph *g, const zoo_shape *s);
/* Simonyan and Zisserman 2015, configuration D; Iandola et al. 2016, release 1.1. zoo_plain.c */
fv_value fv_zoo_vgg16(fv_graph *g, const zoo_shape *s);
fv_value fv_zoo_squeezenet1_1(fv_graph *g, const zoo_shape *s);
/* Two convolutions of stride 2 down, two transposed ones up, a sigmoid: maps of the input's shape, whatever its sizes.
 * Classes mean nothing. zoo_autoencoder.c */
fv_value fv_zoo_autoencoder(fv_graph *g, const zoo_shape *s);

#endif
