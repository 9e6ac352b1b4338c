#!/usr/bin/env python3
"""zoo_onnxruntime.py LIBRARY [--tolerance 1e-4]: a development check, never part of the build.

Saves every built-in network with libfovea.so, checks the file with onnx.checker, runs it on the same random images in fovea and in ONNX
Runtime and compares the outputs. Needs numpy, onnx and onnxruntime in a virtual environment."""
import argparse
import ctypes
import os
import sys
import tempfile

import numpy
import onnx
import onnxruntime


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("layout", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.c_int64 * 8), ("data", ctypes.c_void_p)]


def tensor(a):
    return Tensor(0, 0, a.ndim, (ctypes.c_int64 * 8)(*a.shape), a.ctypes.data)


parser = argparse.ArgumentParser()
parser.add_argument("library")
parser.add_argument("--tolerance", type=float, default=1e-4)
arguments = parser.parse_args()
fovea = ctypes.CDLL(arguments.library)
fovea.fv_last_error.restype = fovea.fv_zoo_name.restype = ctypes.c_char_p
fovea.fv_zoo_name.argtypes = [ctypes.c_size_t, ctypes.c_void_p]


def call(name, *values):
    if getattr(fovea, name)(*values) != 0:
        sys.exit(f"{name}: {fovea.fv_last_error().decode()}")


def made(name, *values):
    out = ctypes.c_void_p()
    call(name, *values, ctypes.byref(out))
    return out


context = made("fv_context_create", None)
random = numpy.random.default_rng(1)
failed = False
i = 0
while name := fovea.fv_zoo_name(i, None):
    i += 1
    model = made("fv_model_zoo", context, name, None)
    path = os.path.join(tempfile.mkdtemp(), "model.onnx")
    call("fv_model_save", model, path.encode())
    onnx.checker.check_model(path, full_check=True)
    peer = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = random.random([1] + peer.get_inputs()[0].shape[1:], dtype=numpy.float32)
    want = peer.run(None, {peer.get_inputs()[0].name: x})[0]
    y = numpy.zeros_like(want)
    session = made("fv_session_create", model, None)
    call("fv_session_run", session, ctypes.byref(tensor(x)), ctypes.c_size_t(1), ctypes.byref(tensor(y)), ctypes.c_size_t(1))
    worst = float(numpy.abs(y - want).max() / max(1.0, float(numpy.abs(want).max())))
    failed |= not worst <= arguments.tolerance or not numpy.abs(want).max() > 0
    print(f"{name.decode():16} {str(want.shape):18} largest output {numpy.abs(want).max():9.4f}  largest difference {worst:.2e}")
print(f"onnxruntime {onnxruntime.__version__}")
sys.exit(failed)
