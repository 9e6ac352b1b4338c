"""Golden values of PyTorch for tests/unit/test_ops_conv_transpose.c: grouped, depthwise and transposed convolution, forwards and
backwards. Made once: python tests/golden/conv_transpose.py tests/golden

A case is x -> 1x1 convolution without bias (C to C: its gradient shows dx of the layer behind) -> the layer -> y, with the loss
1/2 sum (y - t)^2. A file is one vector: x, first weight, weight, bias, t, y, and the gradients of first weight, weight, bias."""
import sys

import numpy as np
import torch
import torch.nn.functional as F

# name: transposed, (N, C, H, W), out, groups, kernel, stride, dilation, padding, output padding
CASES = {
    "transposed": (True, (2, 4, 3, 4), 6, 2, (3, 4), (2, 3), (2, 1), (1, 2), (1, 2)),
    "transposed_depthwise": (True, (2, 5, 4, 3), 5, 5, (4, 3), (2, 2), (1, 1), (1, 1), (0, 1)),
    "depthwise_3x3_s2": (False, (1, 9, 7, 6), 9, 9, (3, 3), (2, 2), (1, 1), (1, 1), (0, 0)),
    "depthwise_5x5": (False, (1, 9, 6, 5), 9, 9, (5, 5), (1, 1), (1, 1), (2, 2), (0, 0)),
    "depthwise_multiplier": (False, (2, 3, 5, 4), 6, 3, (3, 2), (1, 2), (2, 1), (2, 0), (0, 0)),
}


def main(folder):
    torch.manual_seed(1)
    for name, (transposed, size, out, groups, kernel, stride, dilation, padding, more) in CASES.items():
        c = size[1]
        x = torch.rand(size) * 2 - 1
        first = (torch.rand(c, c, 1, 1) - 0.5).requires_grad_()
        shape = (c, out // groups) if transposed else (out, c // groups)
        weight = (torch.rand(*shape, *kernel) - 0.5).requires_grad_()
        bias = (torch.rand(out) - 0.5).requires_grad_()
        inner = F.conv2d(x, first)
        if transposed:
            y = F.conv_transpose2d(inner, weight, bias, stride, padding, more, groups, dilation)
        else:
            y = F.conv2d(inner, weight, bias, stride, padding, dilation, groups)
        t = torch.rand(y.shape) * 2 - 1
        (((y - t) ** 2).sum() / 2).backward()
        parts = [x, first, weight, bias, t, y, first.grad, weight.grad, bias.grad]
        np.save(f"{folder}/conv_{name}.npy", np.concatenate([p.detach().numpy().ravel() for p in parts]).astype(np.float32))
        print(name, tuple(y.shape))


main(sys.argv[1])
