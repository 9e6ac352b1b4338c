#!/bin/sh
# kernels.sh [OPTIONS]: the convolution kernels against the bars of bench/rows.csv on this machine, one core: row, measured, bar, met
# (bench/kernels.py --help). Builds fovea-bench-kernels first.
set -eu
cd "$(dirname "$0")/.."
[ -e build/release/build.ninja ] || cmake --preset release >/dev/null
cmake --build build/release -j "$(nproc)" --target fovea-bench-kernels >/dev/null
exec python3 bench/kernels.py --program build/release/bench/fovea-bench-kernels "$@"
