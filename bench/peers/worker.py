"""worker.py ENGINE: one engine in a process of its own. It reads requests, a JSON object a line, from its standard input and answers
each by a line on the pipe that stood as its standard output; whatever the engine prints goes to standard error."""
import json
import os
import resource
import sys
import time
import traceback

import numpy

import engines
import fovea


def resident_peak():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


def forget_peak():
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Worker:
    def __init__(self, name):
        self.name, self.engine = name, None

    def start(self, work, threads, quick):
        self.engine = engines.ENGINES[self.name](work, threads, quick)
        return {"version": self.engine.version}

    def load(self, path, shape, classes, seed, out):
        self.engine.convert(path, shape)
        forget_peak()
        self.idle = resident_peak()
        x, before = fovea.draw(shape, seed), time.perf_counter()
        self.engine.load(path, x, classes)
        self.engine.run()
        seconds = time.perf_counter() - before
        numpy.save(out, self.engine.output())
        self.run_once = self.engine.run
        return {"flags": self.engine.flags, "load_ms": 1e3 * seconds, "gflop": getattr(self.engine, "gflop", 0)}

    def load_training(self, path, shape, classes, seed, losses):
        """Steps on fixed batches, whose losses must agree with other engines'; then the first of them is timed. A rate of 0.001: at 0.01
        ten steps of a residual network grow rounding so much that PyTorch's two memory formats differ by 9e-4 among themselves."""
        forget_peak()
        self.idle = resident_peak()
        batch = shape[0]
        labels = numpy.arange(batch, dtype=numpy.int32) % classes
        before = time.perf_counter()
        self.engine.load_training(path, batch, shape[1:], classes, 0.001)
        seconds = time.perf_counter() - before
        batches = [self.engine.prepared(fovea.draw(shape, seed + i), labels) for i in range(losses)]
        computed = [self.engine.step(*given) for given in batches]
        self.run_once = lambda: self.engine.step(*batches[0])
        return {"flags": self.engine.flags, "load_ms": 1e3 * seconds, "losses": computed, "gflop": 0}

    def run(self, seconds):
        """Times of single runs for about so many seconds, at least three but where one takes longer than that; one warms up."""
        self.run_once()
        times, cpu, began = [], cpu_seconds(), time.perf_counter()
        before = began
        while before - began < seconds or (len(times) < 3 and before - began < 3 * seconds):
            self.run_once()
            after = time.perf_counter()
            times.append(after - before)
            before = after
        return {"times": times, "cores": (cpu_seconds() - cpu) / (before - began)}

    def peak(self):
        return {"gflops": self.engine.fovea.peak()}

    def memory(self):
        return {"mebibytes": resident_peak() - self.idle}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # the engine's own: told to the other side, which goes on without it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


main()
