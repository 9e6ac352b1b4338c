#!/usr/bin/env python3
"""general_onnxruntime.py [DIRECTORY]: makes general.onnx, a network of most kinds of general operators, and what ONNX Runtime answers to a fixed
input (general_y.npy, general_r.npy; general_empty.npy where an axis is empty); a development script, never part of the build. Needs numpy, onnx and onnxruntime."""
import os
import sys

import numpy
import onnx
import onnxruntime
from onnx import helper, numpy_helper

random = numpy.random.default_rng(5)
nodes, constants = [], []


def constant(value, kind="float32"):
    name = f"c{len(constants)}"
    constants.append(numpy_helper.from_array(numpy.asarray(value, dtype=kind), name))
    return name


def weight(*shape):
    return constant(random.uniform(-0.4, 0.4, shape))


def node(kind, *inputs, outputs=1, **attributes):
    names = [f"{kind}{len(nodes)}_{i}" for i in range(outputs)]
    nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
    return names[0] if outputs == 1 else names


def ints(*values):
    return constant(values, "int64")


def norm(x, size):
    return node("LayerNormalization", x, weight(size), weight(size), axis=-1)


# y: x (2,6,20,18) through windows, products, recurrent layers and quantized layers
x = node("Mul", node("Add", "x", weight(6, 1, 18)), weight(1, 1, 20, 1))
x = node("Pad", x, ints(0, 0, 2, 1, 0, 0, 1, 2), mode="reflect")
x = node("Resize", x, "", constant([1, 1, 1.5, 1.5]), mode="linear")
x = node("Slice", x, ints(1, 33), ints(29, 2), ints(2, 3), ints(1, -2))
volume = node("Reshape", x, ints(2, 1, 6, 28, 14))
volume = node("Conv", volume, weight(4, 1, 3, 3, 3), weight(4), pads=[1] * 6)
volume = node("MaxPool", volume, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
rows = node("Reshape", volume, ints(2, 12, 98))
rows = node("Conv", rows, weight(16, 6, 5), weight(16), group=2, pads=[2, 2])
rows = norm(node("Transpose", rows, perm=[0, 2, 1]), 16)
scores = node("MatMul", rows, node("Transpose", rows, perm=[0, 2, 1]))
rows = node("Concat", node("MatMul", node("Softmax", scores, axis=-1), rows), rows, axis=-1)
rows = node("Gather", rows, ints(*range(97, -1, -3)), axis=1)
time = node("Transpose", rows, perm=[1, 0, 2])
time = node("GRU", time, weight(2, 24, 32), weight(2, 24, 8), weight(2, 48), "", "", outputs=2, hidden_size=8, direction="bidirectional",
            linear_before_reset=1)[0]
time = node("Reshape", node("Transpose", time, perm=[0, 2, 1, 3]), ints(33, 2, 16))
time = node("LSTM", time, weight(1, 40, 16), weight(1, 40, 10), weight(1, 80), outputs=3, hidden_size=10)[0]
time = node("Transpose", node("Squeeze", time, ints(1)), perm=[1, 0, 2])
scale, zero = constant(0.01), constant(128, "uint8")
coded = node("QuantizeLinear", time, scale, zero)
matrix = constant(random.integers(-90, 90, (10, 12)), "int8")
coded = node("QLinearMatMul", coded, scale, zero, matrix, constant(0.004), constant(0, "int8"), constant(0.006), zero)
y = node("Where", node("Greater", node("DequantizeLinear", coded, constant(0.006), zero), constant(0.0)), time_side := node("MatMul", time, weight(10, 12)),
         node("Tanh", time_side))
y = node("ReduceMax", node("CumSum", node("Erf", y), constant(1, "int64")), axes=[1], keepdims=0)

# r: z (2,K,16), where K may be 0
z = node("Transpose", norm(node("Sub", "z", weight(16)), 16), perm=[0, 2, 1])
z = node("Concat", z, node("Softmax", z, axis=1), axis=1)
z = node("Slice", z, ints(1), ints(31), ints(1), ints(2))
z = node("Transpose", node("Exp", node("Pad", z, ints(0, 1, 0, 0, 0, 0))), perm=[0, 2, 1])
z = node("Gather", node("MatMul", z, weight(16, 7)), ints(6, 0, 3), axis=2)
r = node("Add", node("ReduceSum", z, ints(1), keepdims=0), weight(3))

info = helper.make_tensor_value_info
graph = helper.make_graph(nodes, "general", [info("x", 1, [2, 6, 20, 18]), info("z", 1, [2, "K", 16])],
                          [helper.make_empty_tensor_value_info(y), helper.make_empty_tensor_value_info(r)], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
model = onnx.shape_inference.infer_shapes(model)
for output, shape in zip(model.graph.output, ([2, 12], [2, 3])):
    output.CopyFrom(info(output.name, 1, shape))
onnx.checker.check_model(model, full_check=True)
directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
path = os.path.join(directory, "general.onnx")
del model.graph.value_info[:]
onnx.save(model, path)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def drawn(*shape):
    """As test_general.c makes them."""
    i = numpy.arange(numpy.prod(shape, dtype=int))
    return ((i * 7919 % 997).astype("float32") / numpy.float32(997) - numpy.float32(0.5)).reshape(shape)


answers = session.run(None, {"x": drawn(2, 6, 20, 18), "z": drawn(2, 9, 16)})
for name, answer in zip("yr", answers):
    numpy.save(os.path.join(directory, f"general_{name}.npy"), answer)
empty = session.run(None, {"x": drawn(2, 6, 20, 18), "z": drawn(2, 0, 16)})
numpy.save(os.path.join(directory, "general_empty.npy"), empty[1])
print(os.path.getsize(path), answers)
