# Read by demo.sh and accuracy.sh in the root: installs what is missing and builds the program; $fovea is where it is.
sh tools/install-packages.sh build
cmake --preset release -DFV_TESTS=OFF -DFV_BENCH=OFF -DFV_WERROR=OFF -B build/demo >/dev/null
cmake --build build/demo -j "$(nproc)" | grep -E 'error|warning|Linking C executable' || true
fovea=build/demo/tools/fovea
[ -x $fovea ] || cmake --build build/demo -j "$(nproc)"
