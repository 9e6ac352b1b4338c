#!/usr/bin/env python3
"""pool_torch.py FOLDER: what PyTorch makes of pooling, unpooling, joining, cutting and squeeze-and-excitation, outputs and gradients, as
small .npy files (float32) for tests/unit/test_ops_pool.c. Run once with torch and numpy in a virtual environment; the files are kept."""
import os
import sys

import numpy
import torch
import torch.nn.functional as F

folder = sys.argv[1]
torch.manual_seed(7)


def keep(name, tensor):
    numpy.save(os.path.join(folder, f"pool_{name}.npy"), tensor.detach().numpy().astype(numpy.float32))


def keep_all(name, y, seed, **inputs):
    """The output, the weights of the loss sum(seed * y), and each input with its gradient."""
    (seed * y).sum().backward()
    keep(f"{name}_y", y)
    keep(f"{name}_dy", seed)
    for key, value in inputs.items():
        keep(f"{name}_{key}", value)
        keep(f"{name}_d{key}", value.grad)


def positive(*shape):
    return (torch.rand(*shape) + 0.1).requires_grad_()


def normal(*shape):
    return torch.randn(*shape).requires_grad_()


# PyTorch raises without taking absolute values: positive values for odd powers
x = positive(2, 3, 7, 6)
y = F.lp_pool2d(x, 3, (3, 2), stride=(2, 1))
keep_all("lp3", y, torch.randn_like(y), x=x)
x = normal(2, 3, 7, 6)
y = F.lp_pool2d(x, 2, 2)
keep_all("lp2", y, torch.randn_like(y), x=x)

x = normal(2, 3, 7, 6)
pooled, indices = F.max_pool2d(x, 2, return_indices=True)
y = F.max_unpool2d(pooled * 2, indices, 2, output_size=(7, 6))
n, c = torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")
keep("unpool_indices", indices + ((n * 3 + c) * 42)[:, :, None, None])  # whole tensor, as ONNX counts them
keep_all("unpool", y, torch.randn_like(y), x=x)

x = normal(2, 3, 5, 4)
y = torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], 1)
keep_all("global", y, torch.randn_like(y), x=x)

x = normal(2, 7, 3, 2)
a, b, d = torch.split(x, [2, 4, 1], 1)
y = torch.cat([torch.tanh(d), a, b[:, 1:3], a], 1)
keep_all("parts", y, torch.randn_like(y), x=x)

x, w1, w2 = normal(2, 6, 4, 3), normal(3, 6), normal(6, 3)
s = torch.sigmoid(F.linear(torch.relu(F.linear(x.mean((2, 3)), w1)), w2))
y = x * s[:, :, None, None]
keep_all("squeeze", y, torch.randn_like(y), x=x, w1=w1, w2=w2)

x, m = normal(2, 5, 4, 3), normal(2, 1, 4, 3)
y = x * m
keep_all("mask", y, torch.randn_like(y), x=x, m=m)
