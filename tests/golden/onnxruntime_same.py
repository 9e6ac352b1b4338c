#!/usr/bin/env python3
"""onnxruntime_same.py MODEL.onnx FOVEA_OUTPUTS.json IDX_IMAGES [--tolerance 1e-4]: a development check, never part of the build.

Runs the first images of an IDX(.gz) file through ONNX Runtime and compares the probabilities with those that
`fovea predict MODEL.onnx --data ... --count N --top 10 --json` wrote. Needs numpy and onnxruntime in a virtual environment."""
import argparse
import gzip
import json
import sys

import numpy
import onnxruntime

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("outputs")
parser.add_argument("images")
parser.add_argument("--tolerance", type=float, default=1e-4)
arguments = parser.parse_args()

rows = json.load(open(arguments.outputs))
opened = gzip.open if arguments.images.endswith(".gz") else open
with opened(arguments.images, "rb") as f:
    header = numpy.frombuffer(f.read(16), ">u4")
    pixels = numpy.frombuffer(f.read(len(rows) * int(header[2]) * int(header[3])), numpy.uint8)
x = pixels.reshape(len(rows), 1, int(header[2]), int(header[3])).astype(numpy.float32) / numpy.float32(255)
session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
y = session.run(None, {session.get_inputs()[0].name: x})[0].astype(numpy.float64)
p = numpy.exp(y - y.max(axis=1, keepdims=True))
p /= p.sum(axis=1, keepdims=True)
worst = 0.0
for i, row in enumerate(rows):
    for c in row["classes"]:
        worst = max(worst, abs(c["probability"] - p[i, c["class"]]))
print(f"{len(rows)} images, onnxruntime {onnxruntime.__version__}: largest difference {worst:.2e}")
sys.exit(1 if worst > arguments.tolerance else 0)
