#!/bin/sh
# peers.sh [OPTIONS OF bench/peers/train.py]: training steps of fovea and PyTorch in one interleaved run. Makes a virtual environment
# with torch and onnx (build/peers) the first time; development only, nothing else needs it.
set -eu
cd "$(dirname "$0")/.."
sh tools/install-packages.sh build
if [ ! -x build/peers/bin/python ]; then
    dpkg-query -W python3-venv >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends python3-venv g++ >/dev/null
    python3 -m venv build/peers
    echo "Installing torch and onnx into build/peers"
    build/peers/bin/pip install -q torch onnx numpy
fi
[ -x build/release/tools/fovea ] || cmake --preset release -DFV_TESTS=OFF -DFV_BENCH=OFF >/dev/null
cmake --build build/release -j "$(nproc)" --target fovea_program >/dev/null
exec build/peers/bin/python -W ignore bench/peers/train.py build/release/tools/fovea --data data/fashion-mnist-sample "$@"
