#!/usr/bin/env python3
"""finetune_torch.py [DIRECTORY]: makes the files that test_finetune.c reads; a development script, never part of the build.

Two networks with fixed weights are exported from PyTorch and trained there for 50 steps of SGD with momentum on batches given by a
formula; the loss of every step before its update goes into finetune_losses.csv. Needs torch and onnx in a virtual environment."""
import copy
import os
import sys

import numpy
import onnx
import torch
from torch import nn

CLASSES, SIDE, BATCH, STEPS = 5, 12, 8, 50
RATE, MOMENTUM = 0.02, 0.9


class Plain(nn.Module):
    """What image networks are made of."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(10, CLASSES)

    def forward(self, x):
        return self.head(torch.flatten(self.body(x), 1))


class General(nn.Module):
    """Layer normalization and a perceptron over channels moved last, hard swish, a mean over axes."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 4, stride=2, padding=1)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Linear(8, 16)
        self.narrow = nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.full((8,), 0.5))
        self.head = nn.Linear(8 * SIDE // 2, CLASSES)

    def forward(self, x):
        x = nn.functional.hardswish(self.stem(x))
        y = self.norm(x.permute(0, 2, 3, 1))
        y = self.scale * self.narrow(nn.functional.gelu(self.wide(y)))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(torch.flatten(x.mean(3), 1))


def batch(step):
    """The same numbers as test_finetune.c: a hash of the index, and a bright band at the class's rows."""
    hashed = numpy.arange(BATCH * 2 * SIDE * SIDE, dtype=numpy.uint64) + numpy.uint64(step * 7919)
    for shift, factor in [(16, 0x7feb352d), (15, 0x846ca68b)]:
        hashed = ((hashed ^ (hashed >> numpy.uint64(shift))) * numpy.uint64(factor)) % 2**32
    x = (hashed >> 8).astype(numpy.float32) / numpy.float32(2**24) - numpy.float32(0.5)
    x = x.reshape(BATCH, 2, SIDE, SIDE)
    labels = [(image * 7 + step * 3) % CLASSES for image in range(BATCH)]
    for image, label in enumerate(labels):
        x[image, :, 2 * label:2 * label + 2] += numpy.float32(0.25)
    return torch.from_numpy(x), torch.tensor(labels)


def train(net):
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    losses = []
    for step in range(STEPS):
        x, labels = batch(step)
        loss = nn.functional.cross_entropy(net(x.to(next(net.parameters()).dtype)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def export(net, path):
    """Batch normalization stays: a model to be trained."""
    torch.onnx.export(net.train(), (batch(0)[0],), path, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, training=torch.onnx.TrainingMode.TRAINING,
                      do_constant_folding=False)
    onnx.checker.check_model(path, full_check=True)


directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
columns = []
for seed, net_class in enumerate([Plain, General]):
    torch.manual_seed(seed)
    net = net_class()
    path = os.path.join(directory, f"finetune_{net_class.__name__.lower()}.onnx")
    export(net, path)
    for tensor in onnx.load(path).graph.initializer: # an export in training mode moves running moments
        assert numpy.array_equal(onnx.numpy_helper.to_array(tensor), net.state_dict()[tensor.name].numpy()), tensor.name
    exact = train(copy.deepcopy(net).double())
    columns.append(train(net))
    apart = max(abs(a - b) / b for a, b in zip(columns[-1], exact))
    print(f"{path}: {os.path.getsize(path)} bytes, loss {columns[-1][0]:.4f} to {columns[-1][-1]:.4f}, {apart:.1e} from float64")
with open(os.path.join(directory, "finetune_losses.csv"), "w") as csv:
    csv.write("step,plain,general\n")
    for step in range(STEPS):
        csv.write(f"{step},{columns[0][step]:.9g},{columns[1][step]:.9g}\n")
