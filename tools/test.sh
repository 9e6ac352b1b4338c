#!/bin/sh
# Installs what is missing, builds and tests. --full adds the slow sweeps; --fast stops after the native gcc build.
set -eu
cd "$(dirname "$0")/.."
mode=${1-quick}
sh tools/install-packages.sh test
jobs=$(nproc)
label=quick
[ "$mode" != --full ] || label='quick|full'

# build PRESET: configures and builds; only a failure is shown whole.
build() {
    echo "== build $1"
    mkdir -p build
    { cmake --preset "$1" && cmake --build --preset "$1" -j "$jobs"; } >"build/$1.log" 2>&1 || { cat "build/$1.log"; exit 1; }
}
# run PRESET [CTEST OPTIONS...]
run() {
    preset=$1
    shift
    echo "== test $preset"
    ctest --test-dir "build/$preset" --output-on-failure --no-tests=error "$@"
}

build release
run release -L "$label"
[ "$mode" != --fast ] || exit 0
echo "== test release, FOVEA_ISA=scalar"
FOVEA_ISA=scalar ctest --test-dir build/release --output-on-failure -L quick -R '^test_(session|trainer|graph|onnx)$'
build clang
run clang -L quick -R '^(test_|kernels|header|structure)'
build asan
ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 run asan -L quick -E 'malloc|test_grad|^spec$|^program_check$'
build tsan
FOVEA_BACKEND=pthreads run tsan -L quick -R '^(test_(core|graph|parallel|session|service|batcher|trainer|checkpoint|onnx|loader)|core_train)$'
if [ "$mode" = --full ]; then
    build fuzz
    run fuzz -L full -R '^fuzz_'
fi
build aarch64
run aarch64 -L "$label"
echo "All tests passed."
