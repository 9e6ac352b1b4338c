#!/usr/bin/env python3
"""Networks and training steps in fovea and in other runtimes, interleaved round by round in one run; tools/peers.sh calls it.

Every engine is a process of its own that runs when it is told to and is stopped meanwhile, so that its threads do not spin on the others'
time. All read the ONNX file that fovea writes, and get the same images; an engine whose outputs (for training: the losses of ten steps)
differ is not timed. A round times each engine once, in turning order; a figure is the median over all runs of all rounds."""
import argparse
import csv
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from importlib import metadata

import numpy

import fovea
import report

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {"lenet5": (1, 28, 28, 10), "resnet18-cifar": (3, 32, 32, 10), "no-op": (4, 2, 2, 4)}
TOLERANCE = 1e-3  # of an output against fovea's, of the largest: Winograd's rounding in whole networks
NOOP = {"model": "no-op", "batch": 1, "train": False, "bar": 0.0}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OV_CPU_MAX_ISA": "AVX2"}


class Peer:
    """A worker process: asked in JSON lines, stopped while another one runs."""

    def __init__(self, name, options, threads, environment):
        log = open(os.path.join(options.work, f"{name}.log"), "a")
        self.name = name
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", os.path.join(HERE, "worker.py"), name], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        log.close()
        self.facts = {"engine": name, "times": [], "cores": []}
        self.facts.update(self.ask("start", work=options.work, threads=threads, quick=options.quick))

    def ask(self, what, **values):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps({"do": what, **values}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}'s process ended with status {self.process.wait()} when told to {what}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()


def environment(options, threads):
    e = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), FOVEA_LIBRARY=options.library)
    if options.peers_isa == "avx2":
        e.update(AVX2)
    return e


# ---- models ----

def write_noop(path):
    """Next to nothing: the time of a call."""
    import onnx
    from onnx import TensorProto, helper
    shape = ["N", 4, 2, 2]
    nodes = [helper.make_node("MaxPool", ["input"], ["r"], kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, dilations=[1, 1]),
             helper.make_node("Flatten", ["r"], ["output"], axis=1)]
    graph = helper.make_graph(nodes, "no-op",
                              [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 4])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def model_file(options, row):
    """Written by fovea, with the batch fixed: engines plan better for sizes they know. single.onnx beside it is for one image. Written again
    when the library is newer."""
    folder = os.path.join(options.work, f"{row['model']}-{row['batch']}")
    path, library = os.path.join(folder, "model.onnx"), os.path.getmtime(options.library)
    if os.path.exists(os.path.join(folder, "single.onnx")) and os.path.getmtime(path) > library:
        return path
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        os.remove(os.path.join(folder, old))
    if row["model"] == "no-op":
        write_noop(path)
    else:
        fovea.Fovea(options.library, 1).write_zoo(row["model"], path)
    import onnx
    model = onnx.load(path)
    for name, batch in ("single.onnx", 1), ("model.onnx", row["batch"]):
        for value in list(model.graph.input) + list(model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = batch
        onnx.save(model, os.path.join(folder, name))
    return path


# ---- one row ----

def load(options, peer, row, path):
    channels, height, width, classes = SHAPES.get(row["model"], (3, 224, 224, 1000))
    given = {"path": path, "shape": [row["batch"], channels, height, width], "classes": classes, "seed": 1}
    if row["train"]:
        peer.facts.update(peer.ask("load_training", losses=10, **given))
        return numpy.array(peer.facts.pop("losses"))
    out = os.path.join(options.work, f"{peer.name}.npy")
    peer.facts.update(peer.ask("load", out=out, **given))
    return numpy.load(out)


def start(options, row, threads, path):
    """The engines that compute what fovea computes."""
    peers, reference = [], None
    for name in options.engines:
        if row["train"] and name not in ("fovea", "torch"):
            continue
        peer = None
        try:
            peer = Peer(name, options, threads, environment(options, threads))
            computed = load(options, peer, row, path)
            if reference is None:
                reference = computed
            difference = float(numpy.abs(computed.reshape(reference.shape) - reference).max() / numpy.abs(reference).max())
            peer.facts["difference"] = difference
            if not difference <= TOLERANCE:
                raise RuntimeError(f"its outputs differ from fovea's by {difference:.1e} of the largest")
            peers.append(peer)
        except (RuntimeError, OSError, ValueError) as error:
            print(f"  {name} is left out: {error}", flush=True)
            if peer:
                peer.close()
            if name == "fovea":
                raise
    return peers


def rounds(options, peers):
    """Until each engine has had its rounds; None of the time is anyone else's where a lock is given."""
    peaks = []
    for i in range(options.rounds):
        with report.held(options.lock):
            gflops = peers[0].ask("peak")["gflops"]
            if gflops:
                peaks.append(gflops)
            for k in range(len(peers)):
                peer = peers[(i + k) % len(peers)]
                answer = peer.ask("run", seconds=options.seconds)
                peer.facts["times"].append(answer["times"])
                peer.facts["cores"].append(answer["cores"])
    return statistics.median(peaks) if peaks else None


def figures(facts, row, threads, peak, gflop):
    times = facts.pop("times")
    medians = sorted(statistics.median(t) for t in times)
    every = statistics.median(medians)
    facts.update({"model": row["model"], "batch": row["batch"], "train": row["train"], "threads": threads, "median_ms": 1e3 * every,
                  "least_ms": 1e3 * min(min(t) for t in times),
                  "spread": (medians[-1 - len(medians) // 10] - medians[len(medians) // 10]) / every,
                  "cores": statistics.median(facts["cores"]),
                  "peak_share": gflop / every / (peak * threads) if peak and gflop else None})
    return facts


def measure(options, row, threads):
    began = time.perf_counter()
    peers = start(options, row, threads, model_file(options, row))
    peak = rounds(options, peers)
    gflop = peers[0].facts["gflop"]
    lines = []
    for peer in peers:
        peer.facts["memory_mib"] = peer.ask("memory")["mebibytes"]
        peer.close()
        lines.append(figures(peer.facts, row, threads, peak, gflop))
    others = [line["median_ms"] for line in lines if line["engine"] != "fovea"]
    least = min((line["least_ms"] for line in lines if line["engine"] != "fovea"), default=None)
    for line in lines:
        line["ratio_to_best_peer"] = min(others) / line["median_ms"] if others else None
        line["ratio_of_least"] = least / line["least_ms"] if others else None
        line["isa"] = "avx2" if line["engine"] == "fovea" else options.peers_isa or "native"
        line["bar"], line["peak_gflops"] = row["bar"], peak
    report.print_row(row, threads, lines, time.perf_counter() - began)
    return lines


# ---- the run ----

def wanted_rows(options):
    with open(os.path.join(HERE, "..", "rows.csv")) as f:
        table = [{"model": r["model"], "batch": int(r["batch"]), "train": r["train"] == "1", "bar": float(r["bar"])} for r in csv.DictReader(f)
                 if r["kind"] == "network"]
    if options.quick and not options.models:
        table = [r for r in table if (r["model"], r["batch"]) in (("mobilenet_v2", 1), ("squeezenet1_1", 1), ("lenet5", 1), ("lenet5", 64))]
    if options.models:
        table = [r for r in table if r["model"] in options.models.split(",")]
    if options.what != "all":
        table = [r for r in table if r["train"] == (options.what == "train")]
    if any(r["model"] == "lenet5" and not r["train"] for r in table):
        table.append(NOOP)
    return table


def versions():
    return {name: metadata.version(name) for name in ("onnxruntime", "ncnn", "pnnx", "openvino", "MNN", "torch", "onednn", "numpy", "onnx")
            if any(d.name.lower() == name.lower() for d in metadata.distributions())}


def head(options, thread_counts):
    print(f"{report.cpu_name()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}")
    print("versions: " + ", ".join(f"{n} {v}" for n, v in versions().items()))
    if "avx512f" in report.cpu_flags() and options.peers_isa != "avx2":
        print("This CPU has AVX-512: the peers use it, fovea's kernels are AVX2 (--peers-isa avx2 holds those to AVX2 that can be).")
    if options.peers_isa == "avx2":
        print("Peers held to AVX2 by oneDNN's, ATen's and MKL's variables (torch, openvino); onnxruntime, ncnn and mnn have no switch and use what they find.")
    print(f"threads {thread_counts}, {options.rounds} rounds of {options.seconds} s an engine, batch fixed in the file\n", flush=True)


def options_of():
    parser = argparse.ArgumentParser(prog="peers.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four small rows, few rounds, PyTorch frozen or eager alone: under three minutes")
    parser.add_argument("--models", help="of bench/rows.csv, separated by commas")
    parser.add_argument("--what", choices=("all", "run", "train"), default="all", help="inference alone, or training steps alone")
    parser.add_argument("--threads", help="default 1,2 and all cores")
    parser.add_argument("--engines", default="fovea,onnxruntime,ncnn,openvino,mnn,torch")
    parser.add_argument("--rounds", type=int, help="default 15, --quick 5")
    parser.add_argument("--seconds", type=float, help="of an engine in a round; default 0.3, --quick 0.1")
    parser.add_argument("--peers-isa", choices=("avx2",), help="hold peers to AVX2 where they can be held")
    parser.add_argument("--json", metavar="F", help="rows as JSON")
    parser.add_argument("--chart", metavar="F.png", help="default: peers.png beside the models")
    parser.add_argument("--readme", metavar="F.md", help="replace the table between this file's peers marks")
    parser.add_argument("--lock", metavar="F", help="hold this lock (flock) during each round: for machines where others measure too")
    parser.add_argument("--work", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--library", required=True, help=argparse.SUPPRESS)
    o = parser.parse_args()
    o.engines = ["fovea"] + [e for e in o.engines.split(",") if e != "fovea"]
    o.rounds, o.seconds = o.rounds or (5 if o.quick else 15), o.seconds or (0.1 if o.quick else 0.3)
    o.chart = o.chart or os.path.join(o.work, "peers.png")
    os.makedirs(o.work, exist_ok=True)
    return o


def main():
    options = options_of()
    cores = len(os.sched_getaffinity(0))
    counts = [int(t) for t in options.threads.split(",")] if options.threads else sorted({1, min(2, cores), cores})
    head(options, counts)
    lines = [line for row in wanted_rows(options) for threads in counts for line in measure(options, row, threads)]
    report.finish(options, lines, versions())


if __name__ == "__main__":
    main()
