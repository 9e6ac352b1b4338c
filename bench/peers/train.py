#!/usr/bin/env python3
"""Training steps of fovea and PyTorch, interleaved round by round in one run; tools/peers.sh calls it in an environment that has torch.

Data lie in memory for both. PyTorch runs eager and compiled, with its default and its channels-last memory format, fused SGD; the best of
the four counts. First both train the same weights on the same batches for ten steps, and their losses must agree: nobody is timed doing
something else. Prints medians over the rounds, their spread and the ratio; --json F holds them."""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
import torch.nn as nn


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def cnn():
    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Dropout(0.25), nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))


MODELS = {"lenet5": lenet5, "cnn": cnn}


class TorchStep:
    """One way of running a training step in PyTorch."""

    def __init__(self, model, batch, compiled, channels_last, lr=1e-4):
        self.name = ("compiled" if compiled else "eager") + (", channels last" if channels_last else "")
        self.net = MODELS[model]()
        self.x = torch.rand(batch, 1, 28, 28)
        self.y = torch.arange(batch) % 10
        if channels_last:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=lr, momentum=0.9, fused=True)
        self.forward = torch.compile(self.net) if compiled else self.net
        self.loss = nn.CrossEntropyLoss()

    def step(self, x=None, y=None):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.forward(self.x if x is None else x), self.y if y is None else y)
        loss.backward()
        self.optimizer.step()
        return loss

    def seconds(self, budget):
        """Median seconds of a step over about so many seconds."""
        for _ in range(3):
            self.step()
        times, end = [], time.perf_counter() + budget
        while time.perf_counter() < end or len(times) < 3:
            before = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - before)
        return statistics.median(times)


def fovea_seconds(program, model, batch, threads, budget):
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        subprocess.run([program, "bench", model, "--train", "--batch", str(batch), "--threads", str(threads), "--seconds", str(budget), "--json",
                        f.name], check=True, stdout=subprocess.DEVNULL)
        with open(f.name) as opened:
            return json.load(opened)["median_ms"] / 1e3


def read_idx(path, skip):
    with gzip.open(path, "rb") as f:
        f.read(skip)
        return numpy.frombuffer(f.read(), numpy.uint8)


def ten_losses(program, data):
    """The same weights, the same batches, ten steps each: the largest difference of the losses."""
    import onnx
    from onnx import numpy_helper
    with tempfile.TemporaryDirectory() as folder:
        start, log = os.path.join(folder, "start.onnx"), os.path.join(folder, "log.jsonl")
        subprocess.run([program, "new", "lenet5", "--seed", "3", "--out", start], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, "train", "--data", "idx:" + data, "--model", start, "--no-shuffle", "--steps", "10", "--batch", "64", "--schedule", "constant", "--log", log,
                        "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with open(log) as opened:
            ours = [json.loads(line)["loss"] for line in opened]
        weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(start).graph.initializer}
    images = read_idx(os.path.join(data, "train-images-idx3-ubyte.gz"), 16)[:640 * 784].reshape(640, 1, 28, 28)
    labels = read_idx(os.path.join(data, "train-labels-idx1-ubyte.gz"), 8)[:640]
    run = TorchStep("lenet5", 64, False, False, lr=0.05)
    names = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias"]
    with torch.no_grad():
        for parameter, name in zip(run.net.parameters(), names):
            parameter.copy_(weights[name].reshape(parameter.shape))
    theirs = [run.step(torch.from_numpy(images[i:i + 64].astype(numpy.float32) / 255), torch.from_numpy(labels[i:i + 64].astype(numpy.int64))).item()
              for i in range(0, 640, 64)]
    return max(abs(a - b) for a, b in zip(ours, theirs)), ours[0], ours[-1]


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def compare(program, model, batch, threads, rounds, budget):
    torch.set_num_threads(threads)
    ways = [TorchStep(model, batch, compiled, last) for compiled in (False, True) for last in (False, True)]
    ours, theirs = [], {w.name: [] for w in ways}
    for way in ways:
        way.seconds(0)  # compiles
    for _ in range(rounds):
        ours.append(fovea_seconds(program, model, batch, threads, budget))
        for way in ways:
            theirs[way.name].append(way.seconds(budget))
    medians = {name: statistics.median(t) for name, t in theirs.items()}
    best = min(medians, key=medians.get)
    mine = statistics.median(ours)
    row = {"model": model, "batch": batch, "threads": threads, "fovea_ms": 1e3 * mine, "fovea_spread": spread(ours), "torch_best": best,
           "torch_ms": {n: 1e3 * t for n, t in medians.items()}, "torch_spread": spread(theirs[best]), "ratio": medians[best] / mine,
           "ratio_default_format": min(medians["eager"], medians["compiled"]) / mine}
    print(f"{model:8} batch {batch:3} threads {threads}: fovea {1e3 * mine:8.3f} ms ({batch / mine:8.0f} images/s, spread {100 * row['fovea_spread']:.0f} %)"
          f"   PyTorch " + ", ".join(f"{n} {1e3 * t:.3f}" for n, t in medians.items())
          + f" ms   ratio to its best ({best}) {row['ratio']:.2f}, to its default format {row['ratio_default_format']:.2f}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="the fovea program")
    parser.add_argument("--data", required=True, help="a directory of IDX files")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4, help="of each engine in a round")
    parser.add_argument("--models", default="lenet5")
    parser.add_argument("--batches", default="64")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} CPUs")
    difference, first, last = ten_losses(arguments.program, arguments.data)
    print(f"ten steps on the same weights and batches: loss {first:.6f} -> {last:.6f}, largest difference to PyTorch {difference:.2e}")
    if difference > 1e-4:
        sys.exit("the two do not compute the same")
    rows = [compare(arguments.program, model, int(batch), int(threads), arguments.rounds, arguments.seconds) for model in arguments.models.split(",")
            for batch in arguments.batches.split(",") for threads in arguments.threads.split(",")]
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability(), "rows": rows}, f, indent=1)


main()
