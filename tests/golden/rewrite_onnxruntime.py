#!/usr/bin/env python3
"""rewrite_onnxruntime.py REWRITTEN DATA...: a development check, never part of the build.

REWRITTEN is the folder that `fovea conformance --rewrite REWRITTEN DATA...` filled with one model a case. Each is given to
onnx.checker (with shape inference) and run by ONNX Runtime on the case's inputs; its outputs must be the case's within 1e-7 + 1e-3 |b|.
A model that ONNX Runtime does not run is no failure where it does not run, or does not get right, the case's own model either.
Needs numpy, onnx and onnxruntime in a virtual environment."""
import collections
import glob
import os
import sys

import numpy
import onnx
import onnx.numpy_helper
import onnxruntime

onnxruntime.set_default_logger_severity(4)


def tensors(folder, what):
    out = []
    while os.path.exists(f"{folder}/{what}_{len(out)}.pb"):
        tensor = onnx.TensorProto()
        tensor.ParseFromString(open(f"{folder}/{what}_{len(out)}.pb", "rb").read())
        out.append(onnx.numpy_helper.to_array(tensor))
    return out


def run(path, folder):
    """'' where the outputs are right, else what is wrong."""
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [i.name for i in session.get_inputs()]
        given = dict(zip(names, tensors(folder, "input")))
        got = session.run(None, given)
    except Exception as error:
        return "not run: " + str(error).replace("\n", " ")[:160]
    want = tensors(folder, "output")
    if len(got) != len(want):
        return f"{len(got)} outputs, not {len(want)}"
    for i, (a, b) in enumerate(zip(got, want)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {a.dtype}{a.shape}, not {b.dtype}{b.shape}"
        if a.dtype.kind in "OUS" or numpy.allclose(a, b, rtol=1e-3, atol=1e-7, equal_nan=True):
            continue
        worst = numpy.max(numpy.abs(a.astype(numpy.float64) - b.astype(numpy.float64)))
        return f"output {i} differs by {worst:.3g}"
    return ""


folders = {os.path.basename(os.path.dirname(f)): os.path.dirname(f)
           for root in sys.argv[2:] for f in glob.glob(root + "/**/model.onnx", recursive=True)}
count = collections.Counter()
for path in sorted(glob.glob(sys.argv[1] + "/*.onnx")):
    name = os.path.basename(path)[:-5]
    count["files"] += 1
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        count["refused by the checker"] += 1
        print(f"checker {name}:", str(error).replace("\n", " ")[:200])
    wrong = run(path, folders[name] + "/test_data_set_0")
    if not wrong:
        count["right"] += 1
        continue
    before = run(folders[name] + "/model.onnx", folders[name] + "/test_data_set_0")
    kind = "wrong or not run" if not before else "as the case's own model"
    count[kind] += 1
    print(f"{kind}: {name}: {wrong}" + (f"; its own: {before}" if before else ""))
print(", ".join(f"{v} {k}" for k, v in count.items()))
sys.exit(1 if count["refused by the checker"] or count["wrong or not run"] else 0)
