#!/usr/bin/env python3
"""Writes contrast_lrn.csv and contrast_blur.csv beside itself: PyTorch's local_response_norm with its gradient, and
scipy.ndimage's Gaussian filter inside maps. Needs torch and scipy; run once, the files are committed."""
import pathlib

import numpy
import scipy.ndimage
import torch

here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(7)

# (N,C,H,W) = (2,7,3,4): x, dy, then y and dx for size 1, 4, 5 and 13 (every map), beta 0.75, 0.5, 1 and 0.6; alpha 0.9, k 1.5
x = torch.tensor(random.uniform(-2, 2, (2, 7, 3, 4)).astype("float32"), dtype=torch.float64, requires_grad=True)
dy = torch.tensor(random.uniform(-1, 1, (2, 7, 3, 4)).astype("float32"), dtype=torch.float64)
rows = [x.detach().numpy(), dy.numpy()]
for size, beta in ((1, 0.75), (4, 0.5), (5, 1.0), (13, 0.6)):
    # PyTorch puts size/2 maps before and (size-1)/2 after; ONNX the other way round: turned where the size is even
    turned = x.flip(1) if size % 2 == 0 else x
    y = torch.nn.functional.local_response_norm(turned, size, alpha=0.9, beta=beta, k=1.5)
    y = y.flip(1) if size % 2 == 0 else y
    (dx,) = torch.autograd.grad(y, x, dy)
    rows += [y.detach().numpy(), dx.numpy()]
numpy.savetxt(here / "contrast_lrn.csv", numpy.array([r.ravel() for r in rows]).T, fmt="%.9g", delimiter=",")

# 14x13: x, and x less the Gaussian mean of 9x9, sigma 2.25, right where the window lies inside
x = random.uniform(-2, 2, (14, 13)).astype("float32")
y = x - scipy.ndimage.gaussian_filter(x.astype("float64"), 2.25, radius=4)
numpy.savetxt(here / "contrast_blur.csv", numpy.array([x.ravel(), y.ravel()]).T, fmt="%.9g", delimiter=",")
