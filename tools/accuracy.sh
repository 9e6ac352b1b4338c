#!/bin/sh
# accuracy.sh [NETWORK...]: trains four of the built-in networks on Fashion-MNIST and prints what they reach beside what they must
# (se-cnn takes most of the time). From a bare Debian 12: installs and builds first. Fails where one stays below.
set -eu
cd "$(dirname "$0")/.."
. tools/build-demo.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
field() { sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p" "$out/eval.json" | head -n 1; }
# run NETWORK BAR OPTIONS EVAL-OPTIONS
run() {
    began=$(date +%s)
    $fovea train --data fashion-mnist --model "$1" $3 --seed 1 --quiet --out "$out/m.onnx"
    $fovea eval "$out/m.onnx" --data fashion-mnist $4 --json >"$out/eval.json"
    reached=$(field accuracy)
    [ -n "$reached" ] || reached=$(awk "BEGIN { print 1 - $(field output_squared_error) / $(field input_squared_error) }")
    verdict=ok
    awk "BEGIN { exit !($reached >= $2) }" || { verdict=BELOW failed=1; }
    printf '| %s | `%s` | %.4f | %s | %s | %d |\n' "$1" "$3" "$reached" "$2" $verdict $(($(date +%s) - began))
}
echo '| network | options of `fovea train`, seed 1 | test accuracy; autoencoder: share of the noise'"'"'s squared error taken away | at least | | s |'
echo '|---|---|---|---|---|---|'
for network in ${*:-lenet5-1998 autoencoder jarrett se-cnn}; do
    case $network in
    se-cnn) run se-cnn 0.93 "--optimizer adam --epochs 15 --augment flip" "" ;;
    jarrett) run jarrett 0.90 "--optimizer adam --epochs 10" "" ;;
    lenet5-1998) run lenet5-1998 0.88 "--epochs 10" "" ;;
    autoencoder) run autoencoder 0.5 "--noise 0.3 --epochs 6" "--noise 0.3" ;;
    *) echo "accuracy.sh knows lenet5-1998, autoencoder, jarrett and se-cnn, not $network" >&2; exit 2 ;;
    esac
done
exit $failed
