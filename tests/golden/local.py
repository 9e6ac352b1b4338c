#!/usr/bin/env python3
"""local.py DIRECTORY: makes the golden values of tests/unit/test_ops_local.c; a development tool, never part of the build.

One .npy a case: x, weight, bias (where there is one) and y, flattened one after the other, float32. The geometry stands in the test's
table under the same name. Convolutions by PyTorch, SAME paddings by ONNX Runtime, locally connected layers by PyTorch's unfold. Needs
numpy, torch, onnx and onnxruntime."""
import os
import sys

import numpy
import onnx
import onnxruntime
import torch
from torch.nn.functional import conv2d, pad, unfold

random = numpy.random.default_rng(3)


def draw(*shape):
    return random.uniform(-1, 1, shape).astype(numpy.float32)


def save(name, *parts):
    numpy.save(os.path.join(sys.argv[1], name + ".npy"), numpy.concatenate([numpy.asarray(p, numpy.float32).ravel() for p in parts]))


def by_onnxruntime(x, w, b, auto_pad, strides):
    node = onnx.helper.make_node("Conv", ["x", "w", "b"], ["y"], auto_pad=auto_pad, strides=strides)
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in "xy"]
    constants = [onnx.numpy_helper.from_array(v, n) for v, n in ((w, "w"), (b, "b"))]
    graph = onnx.helper.make_graph([node], "g", values[:1], values[1:], constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


for name, auto_pad, kernel, strides in (("same_upper_even", "SAME_UPPER", (2, 4), (1, 1)), ("same_lower_even", "SAME_LOWER", (2, 4), (1, 1)),
                                        ("same_upper_skip", "SAME_UPPER", (3, 2), (2, 3)), ("same_lower_skip", "SAME_LOWER", (3, 2), (2, 3))):
    x, w, b = draw(2, 2, 5, 6), draw(3, 2, *kernel), draw(3)
    save(name, x, w, b, by_onnxruntime(x, w, b, auto_pad, strides))

for name, kernel, stride, dilation, pads in (("even", (4, 2), (1, 1), (1, 1), (1, 0, 2, 1)), ("rectangular", (1, 5), (1, 1), (1, 1), (0, 2, 0, 2)),
                                             ("skip", (3, 1), (3, 2), (1, 1), (0, 0, 0, 0)), ("dilated", (2, 3), (2, 1), (2, 3), (1, 2, 0, 3))):
    x, w, b = draw(2, 2, 7, 8), draw(3, 2, *kernel), draw(3)
    padded = pad(torch.from_numpy(x), (pads[1], pads[3], pads[0], pads[2]))
    save(name, x, w, b, conv2d(padded, torch.from_numpy(w), torch.from_numpy(b), stride, 0, dilation))

x, w, b = draw(2, 2, 5, 6), draw(3, 2, 3, 3), draw(3, 3, 4)
save("untied", x, w, b, conv2d(torch.from_numpy(x), torch.from_numpy(w)) + torch.from_numpy(b))

table = numpy.array([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]], numpy.float32)
x, w, b = draw(2, 3, 5, 5), draw(4, 3, 3, 3) * table[:, :, None, None], draw(4)
save("table", x, w, b, conv2d(torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(b)))

for name, stride, dilation, padding in (("local", 1, 1, 0), ("local_padded", 2, 2, 1)):
    x = draw(2, 2, 5, 6)
    columns = unfold(torch.from_numpy(x), (2, 3), dilation, padding, stride).reshape(2, 2, 6, -1)
    size = [(n + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for n, k in ((5, 2), (6, 3))]
    w, b = draw(3, 2, *size, 2, 3), draw(3, *size)
    y = torch.einsum("nctp,kcpt->nkp", columns, torch.from_numpy(w).reshape(3, 2, -1, 6)).reshape(2, 3, *size) + torch.from_numpy(b)
    save(name, x, w, b, y)
