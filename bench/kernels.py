"""Convolution kernels against the bars of rows.csv, from fovea-bench-kernels: row, measured, bar, met.

A direct row's figure is its share of the bound, in %: the longer of its FLOPs at the FMA rate and a copy of as many bytes, both measured
beside it. A Winograd row's is its share of the FMA rate with the direct sum's FLOPs counted, of the fastest tile that plans choose from:
F(2,3) and F(4,3), of weight gradients F(6,3) too. winograd.data_grad is the same product with the packing of its weights added,
winograd.weight_grad counts its own transforms."""
import argparse
import csv
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TILES = ("F(2,3)", "F(4,3)")


def rows_of(pattern):
    with open(os.path.join(HERE, "rows.csv")) as f:
        return [(r["model"], float(r["bar"])) for r in csv.DictReader(f) if r["kind"] == "kernel" and re.search(pattern, r["model"])]


def measured_rows(row):
    """The benchmark's rows that a row is made of: a list of alternatives, each a tuple of names."""
    family, shape = row.split("/")
    if family.startswith("conv."):
        return [(row,)]
    suffixes = {"winograd.forward": ("",), "winograd.data_grad": ("", ".pack"), "winograd.weight_grad": (".weight_grad",)}[family]
    return [tuple(f"winograd/{shape}/{tile}{suffix}" for suffix in suffixes)
            for tile in TILES + (("F(6,3)",) if family == "winograd.weight_grad" else ())]


def run(program, names, isa, rounds):
    every = "|".join(re.escape(n) for n in sorted(names))
    done = subprocess.run([program, f"--benchmark_filter=^({every})/{isa}/", f"--rounds={rounds}", "--benchmark_format=json"],
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    table = {}
    for r in json.loads(done.stdout)["benchmarks"]:
        table[r["name"].split(f"/{isa}/")[0]] = r
    return table


def figure(row, table):
    if row.startswith("conv."):
        return 100 / table[row]["x_bound"]
    best = 0
    for names in measured_rows(row):
        if any(n not in table for n in names):
            continue
        product = table[names[0]]
        seconds = sum(table[n]["real_time"] for n in names)
        best = max(best, product["peak_%"] * product["real_time"] / seconds)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="fovea-bench-kernels")
    parser.add_argument("--rows", default="", metavar="PATTERN", help="rows whose name holds this regular expression")
    parser.add_argument("--rounds", type=int, default=9, help="slices a row; medians count (default 9)")
    parser.add_argument("--isa", default="avx2")
    parser.add_argument("--json", metavar="F", help="write the rows here")
    options = parser.parse_args()
    rows = rows_of(options.rows)
    if not rows:
        sys.exit(f"no kernel row of rows.csv holds \"{options.rows}\"")
    lines = []
    print(f"{'row':<44} {'measured':>9} {'bar':>6}  met")
    for row, bar in rows:
        table = run(options.program, {n for names in measured_rows(row) for n in names}, options.isa, options.rounds)
        share = figure(row, table)
        lines.append({"row": row, "measured": share, "bar": bar, "met": share >= bar})
        print(f"{row:<44} {share:>7.0f} % {bar:>4.0f} %  {'yes' if share >= bar else 'no'}", flush=True)
    print(f"{sum(line['met'] for line in lines)} of {len(lines)} rows are met")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(lines, f, indent=1)


if __name__ == "__main__":
    main()
