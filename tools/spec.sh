#!/bin/sh
# spec.sh [CASES [JSON]]: the table of tests/spec.csv, every cell filled by checks that run now: scalar and this CPU's kernels
# natively, NEON's under qemu. Exit status 3 where a cell that should be filled is not.
set -eu
cd "$(dirname "$0")/.."
cases=${1-500}
mkdir -p build
build() { # PRESET TARGET
    { [ -e "build/$1/build.ninja" ] || cmake --preset "$1"; } >"build/$1.log" 2>&1 &&
        cmake --build --preset "$1" -j "$(nproc)" --target "$2" >>"build/$1.log" 2>&1 || { cat "build/$1.log" >&2; exit 1; }
}
build release fovea_program
build aarch64 check_main
exec build/release/tools/fovea check --spec tests/spec.csv --cases "$cases" ${2:+--json "$2"} \
    --neon-with "qemu-aarch64 -L /usr/aarch64-linux-gnu build/aarch64/tests/kernels/check_main"
