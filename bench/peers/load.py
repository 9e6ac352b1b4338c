"""load.py --library LIBFOVEA [--plan lean] [NETWORK | FILE.onnx ...]: the time from a file to a session that can run, and the memory of load and one
run, of fovea and ONNX Runtime, in turns, each time in a fresh process. Memory is the peak of resident memory (VmHWM) less that of the
same process before, with the runtime loaded. The file is read once before, so that it is in the page cache for both."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

import fovea


def peak_mib():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def shape_of(session_input):
    return [d if isinstance(d, int) else 1 for d in session_input.shape]


def time_onnxruntime(path, threads, shape):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    x, idle, before = fovea.draw(shape, 1), peak_mib(), time.perf_counter()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - before
    session.run(None, {session.get_inputs()[0].name: x})
    return seconds, peak_mib() - idle


def time_fovea(library, path, threads, shape, outputs, plan):
    runtime = fovea.Fovea(library, threads)
    x, y = fovea.draw(shape, 1), numpy.zeros([shape[0], outputs], numpy.float32)
    idle, before = peak_mib(), time.perf_counter()
    run, _ = runtime.session(path, x, y, plan)
    seconds = time.perf_counter() - before
    run()
    return seconds, peak_mib() - idle


def child(engine, library, path, threads, shape, outputs, plan):
    """In the fresh process: two numbers on standard output."""
    if engine == "fovea":
        print(*time_fovea(library, path, threads, shape, outputs, plan))
    else:
        print(*time_onnxruntime(path, threads, shape))


def measure(engine, args, path, shape, outputs):
    command = [sys.executable, os.path.abspath(__file__), "--library", args.library, "--threads", str(args.threads), "--plan", args.plan, "--child", engine,
               "--shape", *map(str, shape), "--outputs", str(outputs), path]
    return tuple(map(float, subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()))


def borders(path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return shape_of(session.get_inputs()[0]), shape_of(session.get_outputs()[0])[1]


def compare(args, name, path):
    shape, outputs = borders(path)
    rows = {"fovea": [], "onnxruntime": []}
    for _ in range(args.rounds):
        for engine, row in rows.items():
            row.append(measure(engine, args, path, shape, outputs))
    ratios = [a[0] / b[0] for a, b in zip(rows["fovea"], rows["onnxruntime"])]
    (mine, my_memory), (theirs, their_memory) = ([statistics.median(c) for c in zip(*row)] for row in rows.values())
    print(f"{name:<14} {os.path.getsize(path) / 2**20:7.1f} {1e3 * mine:8.1f} {1e3 * theirs:8.1f} {statistics.median(ratios):7.2f} "
          f"{my_memory:8.1f} {their_memory:8.1f} {my_memory / their_memory:7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plan", choices=list(fovea.PLANS), default="fast", help="of fovea's sessions")
    parser.add_argument("--child", choices=["fovea", "onnxruntime"])
    parser.add_argument("--shape", type=int, nargs=4)
    parser.add_argument("--outputs", type=int)
    parser.add_argument("networks", nargs="*", default=["resnet50", "mobilenet_v2", "vgg16"])
    args = parser.parse_args()
    if args.child:
        child(args.child, args.library, args.networks[0], args.threads, args.shape, args.outputs, args.plan)
        return
    print("network         file MiB  fovea ms   ORT ms   ratio fovea MiB  ORT MiB   ratio   (medians)")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.networks:
            path = name
            if not name.endswith(".onnx"):
                path = os.path.join(folder, name + ".onnx")
                fovea.Fovea(args.library, 1).write_zoo(name, path)
            compare(args, name, path)


if __name__ == "__main__":
    main()
