#!/bin/sh
# peers.sh [OPTIONS]: networks and training steps in fovea, ONNX Runtime, ncnn, OpenVINO, MNN and PyTorch, in one interleaved run of
# bench/peers/peers.py (--help). Makes a virtual environment the first time, in build/peers or $FOVEA_VENV; a peer that cannot be
# installed is named and left out. Development only, nothing else needs it. The models and the chart go to build/peers-work.
set -eu
cd "$(dirname "$0")/.."
venv=${FOVEA_VENV:-$PWD/build/peers}
sh tools/install-packages.sh build
if [ ! -x "$venv/bin/python" ]; then
    dpkg-query -W python3-venv >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    python3 -m venv "$venv"
fi
# PyTorch compiles C++.
command -v g++ >/dev/null || apt-get install -y -qq --no-install-recommends g++ >/dev/null
if [ ! -e "$venv/fovea-peers" ]; then
    "$venv/bin/pip" install -q numpy onnx matplotlib
    # onednn: the library itself has no network runner; it is there so that its newest version is seen beside torch's and OpenVINO's own.
    for peer in torch onnxruntime ncnn pnnx openvino MNN onednn; do
        echo "Installing $peer into $venv"
        "$venv/bin/pip" install -q "$peer" || echo "$peer cannot be installed here: it is left out"
    done
    touch "$venv/fovea-peers"
fi
[ -e build/release/build.ninja ] || cmake --preset release -DFV_TESTS=OFF -DFV_BENCH=OFF >/dev/null
cmake --build build/release -j "$(nproc)" --target fovea >/dev/null
exec "$venv/bin/python" -W ignore bench/peers/peers.py --work "$PWD/build/peers-work" --library "$PWD/build/release/runtime/libfovea.so" "$@"
