#!/bin/sh
# lecture.sh [--quick] [--only NAME] [--out DIR]: the lecture's claims as experiments, from a bare Debian 12: installs, builds, runs.
set -eu
cd "$(dirname "$0")/.."
sh tools/install-packages.sh build
cmake --preset release -DFV_TESTS=OFF -DFV_TOOLS=OFF -DFV_WERROR=OFF -B build/lecture >/dev/null
cmake --build build/lecture -j "$(nproc)" --target fovea-lecture | grep -E 'error|warning|Linking C executable' || true
program=build/lecture/bench/lecture/fovea-lecture
[ -x $program ] || cmake --build build/lecture -j "$(nproc)" --target fovea-lecture
data=fashion-mnist
if [ -z "${FOVEA_DATA-}" ] && ! dpkg-query -W -f '${Status}' dataset-fashion-mnist 2>/dev/null | grep -q 'ok installed'; then
    data=idx:data/fashion-mnist-sample
    echo "dataset-fashion-mnist is not installed: using the sample in data/, too small for conclusions"
fi
$program --data $data "$@"
