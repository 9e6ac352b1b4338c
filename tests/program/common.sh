# Sourced by the program tests: PROGRAM SOURCE_DIR in $1 $2.
set -eu
fovea=$1
source_dir=$2
sample=idx:$source_dir/data/fashion-mnist-sample
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Under the leak checker: what fontconfig keeps is not ours.
echo leak:libfontconfig >lsan.txt
LSAN_OPTIONS=suppressions=$work/lsan.txt:print_suppressions=0
export LSAN_OPTIONS
fail() {
    echo "FAILED: $*"
    exit 1
}
# expect STATUS WORDS COMMAND...: exit status, and one line on stderr that holds the words.
expect() {
    want=$1
    words=$2
    shift 2
    set +e
    "$@" >out.txt 2>err.txt
    got=$?
    set -e
    [ "$got" -eq "$want" ] || fail "$* gave status $got, not $want: $(cat err.txt)"
    [ "$(wc -l <err.txt)" -eq 1 ] || fail "$* wrote $(wc -l <err.txt) lines on stderr: $(cat err.txt)"
    grep -q -- "$words" err.txt || fail "$* did not say \"$words\": $(cat err.txt)"
}
