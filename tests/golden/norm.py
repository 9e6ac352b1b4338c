#!/usr/bin/env python3
"""norm.py FOLDER: writes norm.npy, PyTorch's values of normalization, made once; a development tool, never part of the build.

One float32 vector, whose parts tests/unit/test_ops_norm.c reads in this order (maps as NCHW):
  batch: x of step 0, 1, 2 (3,5,2,3 each), scale, bias (5), weights of the loss (3,5,2,3);
         after each of three training steps (no parameter changes): y, dx, dscale, dbias, running mean, running variance;
         y of step 0's x in evaluation with the running values of step 2
  group, layer, instance on step 0's x with 6 channels: x (2,6,2,3), scale, bias (6), weights (2,6,2,3); per kind (3 groups, layer,
         instance): y, dx, dscale, dbias
  layer on rows: x (3,7), scale, bias (7), weights (3,7): y, dx, dscale, dbias
Momentum 0.1, epsilon 1e-5, running variance unbiased. Computed in double, rounded once."""
import sys

import numpy
import torch

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
out = []


def put(*tensors):
    out.extend(t.detach().numpy().astype(numpy.float32).ravel() for t in tensors)


def single(*shape, scale=1.0, shift=0.0):
    return (torch.randn(*shape) * scale + shift).float().double()


def run(f, x, scale, bias, weights):
    x, scale, bias = (t.clone().requires_grad_() for t in (x, scale, bias))
    y = f(x, scale, bias)
    (y * weights).sum().backward()
    put(y, x.grad, scale.grad, bias.grad)


xs = [single(3, 5, 2, 3, scale=2, shift=i - 0.5) for i in range(3)]
scale, bias, weights = single(5), single(5), single(3, 5, 2, 3)
put(*xs, scale, bias, weights)
mean, variance = torch.zeros(5), torch.ones(5)
for x in xs:
    run(lambda x, s, b: torch.nn.functional.batch_norm(x, mean, variance, s, b, True, 0.1, 1e-5), x, scale, bias, weights)
    put(mean, variance)
put(torch.nn.functional.batch_norm(xs[0], mean, variance, scale, bias, False, 0.1, 1e-5))
x, scale, bias, weights = single(2, 6, 2, 3, scale=2, shift=1), single(6), single(6), single(2, 6, 2, 3)
put(x, scale, bias, weights)
for groups in (3, 1, 6):
    run(lambda x, s, b: torch.nn.functional.group_norm(x, groups, s, b, 1e-5), x, scale, bias, weights)
x, scale, bias, weights = single(3, 7), single(7), single(7), single(3, 7)
put(x, scale, bias, weights)
run(lambda x, s, b: torch.nn.functional.layer_norm(x, (7,), s, b, 1e-5), x, scale, bias, weights)
numpy.save(f"{sys.argv[1]}/norm.npy", numpy.concatenate(out))
