#!/usr/bin/env python3
"""activation.py: writes activation.npy and losses.npy beside itself, PyTorch's values for tests/unit/test_ops_activation.c. A
development tool, never part of the build. Needs numpy and torch.

activation.npy, float64 (2 + 2 * layers, points): x (exact in float32), dy, then y and dx of every layer in the order below.
losses.npy, float64 flat: logits (4,5), soft targets (4,5), labels (4), then the rows named in losses below, one after the other."""
import math
import os

import numpy
import torch
import torch.nn.functional as F

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(1)
numpy.random.seed(1)


def softplus(x, k):
    return F.softplus(x, beta=k, threshold=1e9)


layers = [
    lambda x: softplus(x, 1),
    lambda x: softplus(x, 3),
    lambda x: 2 * softplus(x, 3) - x - 2 / 3 * math.log(2),  # smooth rectification(3)
    torch.abs,
    lambda x: F.leaky_relu(x, 0.2),
    lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    lambda x: F.elu(x, 0.7),
    F.selu,
    F.gelu,
    lambda x: F.gelu(x, approximate="tanh"),
    F.silu,
    F.mish,
    F.hardsigmoid,
    F.hardswish,
    F.softsign,
    torch.erf,
]
points = numpy.concatenate([numpy.linspace(-12, 12, 25), numpy.random.uniform(-4, 4, 23)]).astype(numpy.float32)
dy = numpy.random.uniform(-1, 1, points.size).astype(numpy.float32)
rows = [points.astype(numpy.float64), dy.astype(numpy.float64)]
for layer in layers:
    x = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    y.backward(torch.tensor(dy, dtype=torch.float64))
    rows += [y.detach().numpy(), x.grad.numpy()]
numpy.save(os.path.join(here, "activation.npy"), numpy.array(rows))

logits = numpy.random.normal(0, 3, (4, 5)).astype(numpy.float32)
soft = numpy.random.uniform(0, 1, (4, 5)).astype(numpy.float32)
soft /= soft.sum(axis=1, keepdims=True)
labels = numpy.array([3, 0, 4, 1])


def of_logits(loss):
    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    value = loss(x)
    value.sum().backward()
    return [value.detach().numpy().ravel(), x.grad.numpy().ravel()]


t = torch.tensor(soft, dtype=torch.float64)
label = torch.tensor(labels)
losses = (
    of_logits(lambda x: F.log_softmax(x, 1) * t)  # its value and the gradient of its product with t
    + of_logits(lambda x: F.cross_entropy(x, t))
    + of_logits(lambda x: F.cross_entropy(x, t, label_smoothing=0.125))
    + of_logits(lambda x: F.cross_entropy(x, label, label_smoothing=0.125, reduction="sum"))
    + of_logits(lambda x: F.nll_loss(torch.log(torch.sigmoid(x)), label))  # probabilities of a positive layer
)
numpy.save(
    os.path.join(here, "losses.npy"),
    numpy.concatenate([logits.ravel().astype(numpy.float64), soft.ravel().astype(numpy.float64), labels.astype(numpy.float64)] + losses),
)
