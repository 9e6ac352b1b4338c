#!/bin/sh
# install-packages.sh build|test: what a bare Debian 12 machine needs, from Debian. Packages already there are left alone.
set -eu
build='cmake ninja-build gcc libc6-dev pkg-config protobuf-c-compiler libprotobuf-c-dev zlib1g-dev libpng-dev libjpeg62-turbo-dev
libjansson-dev libmicrohttpd-dev libcairo2-dev fonts-dejavu-core help2man'
case ${1-build} in
build) wanted="$build dataset-fashion-mnist" ;;
test) wanted="$build g++ check libbenchmark-dev clang-14 libomp-14-dev llvm-14 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user git curl python3 valgrind libonnx-testdata" ;;
*) echo "usage: $0 build|test" >&2; exit 2 ;;
esac
missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" -eq 0 ] || { echo "Please install as root: apt-get install$missing" >&2; exit 1; }
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
    cat "$log" >&2
    # The data set is a convenience: a sample of it is in the repository.
    case "$missing" in *dataset-fashion-mnist*)
        without=$(echo "$missing" | sed 's/dataset-fashion-mnist//')
        apt-get install -y -qq --no-install-recommends $without >"$log" 2>&1 || { cat "$log" >&2; exit 1; } ;;
    *) exit 1 ;;
    esac
fi
rm -f "$log"
