"""Networks of torchvision, with random weights, exported to ONNX with an open batch and run by fovea and by ONNX Runtime:
max|a-b| must be at most 1e-4 max|b| at batch 1 and 4, and of the detector ssdlite, boxes, scores and labels after suppression, at
batch 1, which its export is fixed to. Needs torch, torchvision, onnx, onnxruntime.

    python tests/golden/torchvision_export.py FOVEA FOLDER [NAME...]

FOLDER keeps the files. One training-mode pass over noise calibrates batch normalization, so that outputs are of a size.
"""
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import torch
from torch import nn
from torchvision import models


class UNet(nn.Module):
    """Two levels down and up again, joined by transposed convolutions."""

    def __init__(self):
        super().__init__()

        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
                                 nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

        self.first, self.second, self.third = block(3, 16), block(16, 32), block(32, 64)
        self.up_two, self.up_one = nn.ConvTranspose2d(64, 32, 2, stride=2), nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.back_two, self.back_one = block(64, 32), block(32, 16)
        self.pool, self.last = nn.MaxPool2d(2), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        a = self.first(x)
        b = self.second(self.pool(a))
        y = self.back_two(torch.cat([self.up_two(self.third(self.pool(b))), b], 1))
        return self.last(self.back_one(torch.cat([self.up_one(y), a], 1)))


class Segmentation(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)["out"]


def plain(make, size=224):
    return lambda: (make(weights=None), size)


NETWORKS = {
    "resnet18": plain(models.resnet18),
    "resnet50": plain(models.resnet50),
    "vgg16": plain(models.vgg16),
    "mobilenet_v2": plain(models.mobilenet_v2),
    "mobilenet_v3_large": plain(models.mobilenet_v3_large),
    "mobilenet_v3_small": plain(models.mobilenet_v3_small),
    "squeezenet1_1": plain(models.squeezenet1_1),
    "densenet121": plain(models.densenet121),
    "googlenet": lambda: (models.googlenet(weights=None, aux_logits=False, init_weights=False), 224),
    "inception_v3": lambda: (models.inception_v3(weights=None, aux_logits=False, init_weights=False), 299),
    "shufflenet_v2_x1_0": plain(models.shufflenet_v2_x1_0),
    "efficientnet_b0": plain(models.efficientnet_b0),
    "convnext_tiny": plain(models.convnext_tiny),
    "regnet_y_400mf": plain(models.regnet_y_400mf),
    "deeplabv3_mobilenet_v3_large": lambda: (
        Segmentation(models.segmentation.deeplabv3_mobilenet_v3_large(weights=None, weights_backbone=None)), 128),
    "unet": lambda: (UNet(), 64),
}


def export(name, path):
    torch.manual_seed(1)
    model, size = NETWORKS[name]()
    model.train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    with torch.no_grad():
        model(torch.randn(4, 3, size, size))
    model.eval()
    torch.onnx.export(model, (torch.randn(1, 3, size, size),), path, input_names=["x"], output_names=["y"], opset_version=17,
                      dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, dynamo=False)
    return size


def export_ssdlite(path):
    """The whole detector: resizing, backbone, heads, anchors, suppression."""
    torch.manual_seed(1)
    model = models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, score_thresh=0.01)
    model.train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        model.head(list(model.backbone(torch.randn(4, 3, 320, 320)).values()))
    model.eval()
    torch.onnx.export(model, (torch.rand(1, 3, 320, 320),), path, input_names=["x"], output_names=["boxes", "scores", "labels"],
                      opset_version=17, dynamo=False)


def run_ssdlite(fovea, folder):
    """Whether an output is off."""
    path, x_path = os.path.join(folder, "ssdlite.onnx"), os.path.join(folder, "x.npy")
    export_ssdlite(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).random((1, 3, 320, 320), dtype=np.float32)
    np.save(x_path, x)
    command, wrong = [fovea, "run", path, "--input", "x=" + x_path], False
    for name in ("boxes", "scores", "labels"):
        command += ["--output", f"{name}={os.path.join(folder, name)}.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"ssdlite: {done.stderr.strip()}", flush=True)
        return True
    for name, want in zip(("boxes", "scores", "labels"), session.run(None, {"x": x})):
        got = np.load(os.path.join(folder, name + ".npy"))
        error = np.abs(got - want).max() / np.abs(want).max() if got.shape == want.shape and want.size else np.inf
        wrong |= not error <= 1e-4
        print(f"ssdlite {name} {want.shape}: max|a-b| / max|b| {error:.2g}{'' if error <= 1e-4 else '  FAILED'}", flush=True)
    return wrong


def main():
    fovea, folder = sys.argv[1:3]
    names = sys.argv[3:] or list(NETWORKS) + ["ssdlite"]
    os.makedirs(folder, exist_ok=True)
    failed = 0
    for name in names:
        if name == "ssdlite":
            failed += run_ssdlite(fovea, folder)
            continue
        path = os.path.join(folder, name + ".onnx")
        export(name, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        size = NETWORKS[name]()[1]
        for batch in (1, 4):
            x = np.random.default_rng(batch).standard_normal((batch, 3, size, size), dtype=np.float32)
            x_path, y_path = os.path.join(folder, "x.npy"), os.path.join(folder, "y.npy")
            np.save(x_path, x)
            want = session.run(None, {"x": x})[0]
            done = subprocess.run([fovea, "run", path, "--input", "x=" + x_path, "--output", "y=" + y_path], capture_output=True, text=True)
            if done.returncode:
                failed += 1
                print(f"{name} batch {batch}: {done.stderr.strip()}", flush=True)
                continue
            got = np.load(y_path)
            error, most = np.abs(got - want).max(), np.abs(want).max()
            good = got.shape == want.shape and error <= 1e-4 * most and 1e-3 <= most <= 1e3
            failed += not good
            print(f"{name} batch {batch}: max|b| {most:.3g}, max|a-b| / max|b| {error / most:.2g}{'' if good else '  FAILED'}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
