#!/bin/sh
# From a bare Debian 12 to a network trained on photographs of clothes: installs, builds, trains, evaluates, draws.
set -eu
cd "$(dirname "$0")/.."
. tools/build-demo.sh
out=${1-demo-out}
mkdir -p "$out"
data=fashion-mnist epochs=5
if [ -z "${FOVEA_DATA-}" ] && ! dpkg-query -W -f '${Status}' dataset-fashion-mnist 2>/dev/null | grep -q 'ok installed'; then
    data=idx:data/fashion-mnist-sample epochs=15
    echo "dataset-fashion-mnist is not installed: using the sample in data/"
fi
echo "\$ fovea info"
$fovea info
echo
echo "\$ fovea train --data $data --model lenet5 --epochs $epochs --out $out/lenet5.onnx --plot $out/loss.png"
$fovea train --data $data --model lenet5 --epochs $epochs --out "$out/lenet5.onnx" --plot "$out/loss.png"
echo
echo "\$ fovea eval $out/lenet5.onnx --data $data"
$fovea eval "$out/lenet5.onnx" --data $data
echo
echo "\$ fovea predict $out/lenet5.onnx --data $data --count 18 --out $out/predictions.png"
$fovea predict "$out/lenet5.onnx" --data $data --count 18 --out "$out/predictions.png"
echo
echo "Look at $out/loss.png and $out/predictions.png; the network is $out/lenet5.onnx."
