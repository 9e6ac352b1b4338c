"""The built-in networks' ONNX files as PyTorch modules: the operators that fovea writes for them, no others."""
import onnx
import torch
import torch.nn as nn
from onnx import numpy_helper


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def symmetric(a, kernel):
    pads = a.get("pads", [0] * 2 * len(kernel))
    if list(pads[:2]) != list(pads[2:]):
        raise NotImplementedError("paddings that differ at both ends")
    return tuple(pads[:2])


def conv(a, w):
    weight = w[1]
    layer = nn.Conv2d(weight.shape[1] * a.get("group", 1), weight.shape[0], weight.shape[2:], a["strides"], symmetric(a, weight.shape[2:]),
                      a["dilations"], a.get("group", 1), bias=len(w) > 2)
    copy(layer.weight, weight)
    if len(w) > 2:
        copy(layer.bias, w[2])
    return layer


def linear(a, w):
    layer = nn.Linear(w[1].shape[1], w[1].shape[0], bias=len(w) > 2)
    copy(layer.weight, w[1])
    if len(w) > 2:
        copy(layer.bias, w[2])
    return layer


def batch_norm(a, w):
    layer = nn.BatchNorm2d(w[1].shape[0], eps=a.get("epsilon", 1e-5), momentum=1 - a.get("momentum", 0.9))
    for parameter, value in zip((layer.weight, layer.bias, layer.running_mean, layer.running_var), w[1:]):
        copy(parameter, value)
    return layer


def copy(parameter, value):
    with torch.no_grad():
        parameter.copy_(value)


class Concat(nn.Module):
    def forward(self, *x):
        return torch.cat(x, 1)


class Add(nn.Module):
    def forward(self, x, y):
        return x + y


LAYERS = {
    "Conv": conv, "Gemm": linear, "BatchNormalization": batch_norm,
    "Relu": lambda a, w: nn.ReLU(), "Flatten": lambda a, w: nn.Flatten(), "Add": lambda a, w: Add(), "Concat": lambda a, w: Concat(),
    "Clip": lambda a, w: nn.ReLU6() if (float(w[1]), float(w[2])) == (0, 6) else nn.Hardtanh(float(w[1]), float(w[2])),
    "MaxPool": lambda a, w: nn.MaxPool2d(a["kernel_shape"], a["strides"], symmetric(a, a["kernel_shape"]), ceil_mode=bool(a.get("ceil_mode", 0))),
    "GlobalAveragePool": lambda a, w: nn.AdaptiveAvgPool2d(1),
    "Dropout": lambda a, w: nn.Dropout(float(w[1]) if len(w) > 1 else 0.5),
}


def load(path):
    """A torch.fx.GraphModule of the file's network."""
    graph = onnx.load(path).graph
    weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
    root, made = nn.Module(), torch.fx.Graph()
    values = {i.name: made.placeholder("x") for i in graph.input if i.name not in weights}
    for n, node in enumerate(graph.node):
        if node.op_type == "Constant":
            weights[node.output[0]] = torch.from_numpy(numpy_helper.to_array(attributes(node)["value"]).copy())
            continue
        given = [weights.get(name) for name in node.input]
        layer = f"layer{n}"
        root.add_module(layer, LAYERS[node.op_type](attributes(node), given))
        values[node.output[0]] = made.call_module(layer, tuple(values[name] for name in node.input if name in values))
    made.output(values[graph.output[0].name])
    return torch.fx.GraphModule(root, made)
