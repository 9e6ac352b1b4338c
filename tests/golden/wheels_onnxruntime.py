"""Trained files that PyPI packages ship, run by fovea and by ONNX Runtime on images of text at several sizes: max|a-b| must be at
most 1e-4 max|b|. Where it is not, what ONNX Runtime's own levels of optimization differ by stands beside it (PP-OCRv4's last sigmoid is
steep). Needs numpy, onnxruntime, pillow and the packages' wheels.

    pip download --no-deps -d WHEELS rapidocr-onnxruntime rapidocr ddddocr silero-vad magika
    python tests/golden/wheels_onnxruntime.py FOVEA WHEELS FOLDER [NAME...]

FOLDER keeps the files. A NAME picks the files that contain it. DynamicQuantizeLSTM (ddddocr's old file) is no operator of ONNX.
"""
import glob
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

# Which files, and the shapes they are run at: one list for every input, in the file's order.
SHAPES = [
    (r"_det_(infer|small)", [[(1, 3, 640, 640)], [(1, 3, 736, 960)], [(1, 3, 96, 352)], [(2, 3, 320, 320)]]),
    (r"_rec_(infer|small)", [[(1, 3, 48, 320)], [(1, 3, 48, 87)], [(6, 3, 48, 480)]]),
    (r"_cls_", [[(1, 3, 48, 192)], [(6, 3, 48, 192)]]),
    (r"ddddocr.common(_old)?\.onnx", [[(1, 1, 64, 160)], [(1, 1, 64, 203)], [(1, 1, 64, 90)]]),
    (r"common_det", [[(1, 3, 416, 416)]]),
    (r"magika", [[(1, 2048)], [(5, 2048)]]),
    (r"silero_vad_16k_sequence", [[(3, 576), (1, 1, 128), (1, 1, 128)], [(40, 576), (1, 1, 128), (1, 1, 128)]]),
    (r"silero_vad_openvino", [[(1, 576), (2, 1, 128)]]),
    (r"silero_vad_half", [[(1, 576), (2, 1, 128)], [(3, 576), (2, 3, 128)]]),
    (r"silero_vad_op18", [[(1, 576), (), (2, 1, 128)], [(3, 576), (), (2, 3, 128)]]),
    (r"silero_vad", [[(1, 576), (2, 1, 128), ()], [(3, 576), (2, 3, 128), ()]]),
]


def extract(wheels, folder):
    paths = []
    for wheel in sorted(glob.glob(os.path.join(wheels, "*.whl"))):
        with zipfile.ZipFile(wheel) as z:
            for name in z.namelist():
                if not name.endswith(".onnx"):
                    continue
                paths.append(os.path.join(folder, os.path.basename(wheel).split("-")[0] + "." + os.path.basename(name)))
                with open(paths[-1], "wb") as f:
                    f.write(z.read(name))
    return paths


def page(shape):
    """Images (N,C,H,W) of lines of text, dark on bright, within -1 and 1."""
    count, channels, height, width = shape
    x = np.empty(shape, dtype=np.float32)
    for n in range(count):
        size = 28 if height < 100 else 24 + 8 * n
        image = Image.new("L", (width, height), 235)
        for line, y in enumerate(range(10 if height < 100 else 30, height - size, 2 * size)):
            ImageDraw.Draw(image).text((10, y), f"Fovea {n} reads line {line} 0123456789", fill=20, font=ImageFont.load_default(size))
        x[n] = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return x


def value(random, put, shape):
    """Text, which leaves a detector something to find; noise for vectors; bytes and a sampling rate where integers are read."""
    if put.type == "tensor(int64)":
        return np.array(16000, dtype=np.int64)
    if put.type == "tensor(int32)":
        return random.integers(0, 257, shape, dtype=np.int32)
    return page(shape) if len(shape) == 4 else (random.standard_normal(shape) * 0.1).astype(np.float32)


def difference(got, want):
    return float(np.abs(got - want).max() / np.abs(want).max()) if want.size else 0.0


def own_difference(path, feeds, want):
    """By how much ONNX Runtime differs from itself when it leaves the graph as it is, or does little to it."""
    worst = 0.0
    for level in (onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 3
        other = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, feeds)
        worst = max([worst] + [difference(o, w) for o, w in zip(other, want)])
    return worst


def compare(fovea, folder, path, session, shapes):
    """What is wrong, or None, and a line of figures."""
    random = np.random.default_rng(1)
    feeds = {put.name: value(random, put, shape) for put, shape in zip(session.get_inputs(), shapes)}
    command = [fovea, "run", path]
    for i, (name, x) in enumerate(feeds.items()):
        file = os.path.join(folder, f"x{i}.npy")
        np.save(file, x)
        command += ["--input", f"{name}={file}"]
    names = [put.name for put in session.get_outputs()]
    for i, name in enumerate(names):
        command += ["--output", f"{name}={os.path.join(folder, f'y{i}.npy')}"]
    want = session.run(None, feeds)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip(), ""
    worst = 0.0
    for i, w in enumerate(want):
        got = np.load(os.path.join(folder, f"y{i}.npy"))
        if got.shape != w.shape:
            return f"{names[i]} is {got.shape}, not {w.shape}", ""
        worst = max(worst, difference(got, w))
    if worst <= 1e-4:
        return None, f"max|a-b| / max|b| {worst:.2g}"
    own = own_difference(path, feeds, want)
    return "FAILED", f"max|a-b| / max|b| {worst:.2g}, ONNX Runtime's from itself {own:.2g}"


def main():
    fovea, wheels, folder = sys.argv[1:4]
    os.makedirs(folder, exist_ok=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    failed = count = 0
    for path in extract(wheels, folder):
        name = os.path.basename(path)
        if sys.argv[4:] and not any(part in name for part in sys.argv[4:]):
            continue
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for shapes in next((s for pattern, s in SHAPES if re.search(pattern, name)), []):
            wrong, figures = compare(fovea, folder, path, session, shapes)
            failed += wrong is not None
            count += 1
            print(f"{name} {'x'.join(map(str, shapes[0]))}: {figures} {wrong or ''}", flush=True)
    print(f"{count} runs, {failed} failed")
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    main()
