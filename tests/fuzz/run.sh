# run.sh TARGET UNIT_TESTS SECONDS [CORPUS]: makes the seeds, then fuzzes for so long. Seeds: the files that unit tests write
# (FOVEA_KEEP), Debian's small ONNX cases where installed, golden tensors. With CORPUS, what it finds is kept there.
set -eu
target=$1 tests=$2 seconds=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/fovea-fuzz-run-XXXXXX")
trap 'rm -rf "$work"' EXIT
corpus=${4-$work/corpus}
seeds=$work/seeds
mkdir -p "$corpus" "$seeds" "$work/kept"
cases=/usr/share/libonnx-testdata/data
keep() { # the files of unit tests, as seeds
    for test in "$@"; do # whether they pass is told elsewhere
        FOVEA_KEEP=$work/kept "$tests/$test" >"$work/log" 2>&1 || true
    done
    [ -n "$(ls "$work/kept")" ] || { cat "$work/log"; exit 1; }
}
# copy FOLDER NAME: files of that name, at most 4 KiB each, under a number each
number=0
copy() {
    [ -d "$1" ] || return 0
    find "$1" -type f -name "$2" -size -5k | sort >"$work/list"
    while read -r file; do
        number=$((number + 1))
        cp "$file" "$seeds/$number"
    done <"$work/list"
}
most=4096
case $(basename "$target") in
fuzz_onnx)
    keep test_onnx_bad test_onnx_operators_bad test_onnx_nodes test_onnx_norm test_onnx_pool test_onnx_function
    copy "$work/kept" '*'
    copy $cases model.onnx ;;
fuzz_tensor)
    copy $cases '*.pb'
    printf '\010\002\010\001\020\001\042\010\000\000\200\077\000\000\000\100\102\001t' >"$seeds/two" ;;
fuzz_npy)
    keep test_npy
    copy "$work/kept" '*.npy'
    copy tests/golden '*.npy' ;;
fuzz_idx)
    {
        printf '\012\000\000\000\010\001\000\000\000\002\000\001'
        printf '\000\000\010\003\000\000\000\002\000\000\000\001\000\000\000\002abcd'
    } >"$seeds/two"
    { printf '\000\000\003'; head -c 3072 /dev/zero; } >"$seeds/cifar" ;;
fuzz_image)
    keep test_image
    copy "$work/kept" '*' ;;
esac
"$target" "$corpus" "$seeds" -max_total_time="$seconds" -max_len=$most -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=400 \
    -print_final_stats=1 -detect_leaks=1 -artifact_prefix="${FOVEA_CRASHES-.}/" >"$work/log" 2>&1 || {
    tail -n 80 "$work/log"
    exit 1
}
grep '^Done\|^stat::' "$work/log"
