#!/bin/sh
# install.sh CMAKE CC BUILD SOURCE VERSION: installs into a fresh prefix; a program finds the library there by pkg-config
# (shared and static) and by CMake; the shared library exports the functions of fovea.h and nothing else, and has a SONAME.
set -eu
cmake=$1 cc=$2 build=$3 source=$4 version=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
"$cmake" --install "$build" --prefix "$prefix" >"$work/log" || { cat "$work/log"; exit 1; }
cmp "$source/runtime/include/fovea.h" "$prefix/include/fovea.h"
library=$(find "$prefix" -name libfovea.so)
folder=$(dirname "$library")
fail() {
    echo "$1"
    exit 1
}

# ---- symbols ----
nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | sort -u >"$work/exported"
sed -n 's/^FV_API [^(]*[ *]\(fv_[a-z0-9_]*\)(.*/\1/p' "$source/runtime/include/fovea.h" | sort -u >"$work/declared"
[ "$(wc -l <"$work/declared")" -gt 60 ] || fail "fovea.h could not be read"
extra=$(comm -23 "$work/exported" "$work/declared")
[ -z "$extra" ] || fail "exported, but not in fovea.h: $extra"
missing=$(comm -13 "$work/exported" "$work/declared")
[ -z "$missing" ] || fail "in fovea.h, but not exported: $missing"
soname=libfovea.so.${version%%.*}
readelf -d "$library" | grep -q "SONAME.*\[$soname\]" || fail "no SONAME $soname"
if readelf -dW "$library" | grep -qE 'RPATH|RUNPATH|TEXTREL'; then
    fail "the installed library has a run path or text relocations"
fi

# ---- pkg-config ----
export PKG_CONFIG_PATH="$folder/pkgconfig"
[ "$(pkg-config --modversion fovea)" = "$version" ] || fail "pkg-config tells another version"
cp "$source/tests/embed/installed.c" "$work/main.c"
flags=$(pkg-config --cflags --libs fovea)
# shellcheck disable=SC2086
"$cc" -Wall -Werror "$work/main.c" $flags -o "$work/shared"
LD_LIBRARY_PATH="$folder" "$work/shared" "$work/m.onnx" | grep -qx "fovea $version" ||
    fail "the program on the shared library fails"
flags=$(pkg-config --static --cflags --libs fovea | sed 's/-lfovea/-l:libfovea.a/')
# shellcheck disable=SC2086
"$cc" "$work/main.c" $flags -o "$work/static"
if readelf -d "$work/static" | grep -q libfovea; then fail "the static program wants the shared library"; fi
"$work/static" "$work/m.onnx" | grep -qx "fovea $version" || fail "the program on the static library fails"

# ---- find_package ----
mkdir "$work/project"
cp "$work/main.c" "$work/project/main.c"
cat >"$work/project/CMakeLists.txt" <<EOF
cmake_minimum_required(VERSION 3.16)
project(embedded LANGUAGES C)
find_package(fovea ${version%.*} REQUIRED)
add_executable(embedded main.c)
target_link_libraries(embedded PRIVATE fovea::fovea)
EOF
{
    "$cmake" -G Ninja -S "$work/project" -B "$work/project/build" -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$prefix"
    "$cmake" --build "$work/project/build"
} >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$work/project/build/embedded" "$work/m.onnx" | grep -qx "fovea $version" || fail "the program found by CMake fails"
