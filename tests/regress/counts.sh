#!/bin/sh
# counts.sh PROGRAM WANTED.csv [--write]: instructions of fixed kernels under callgrind, within 1 % of what the tree says (point releases of a
# compiler differ). 77: no AVX2 or no valgrind here. A change that is meant: --write, and the commit says why.
set -eu
program=$1 wanted=$2
grep -q '^flags.* avx2 .*' /proc/cpuinfo && grep -q '^flags.* fma ' /proc/cpuinfo || { echo "skipped: the counts are of AVX2 kernels"; exit 77; }
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$work/out" "$program" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
# A dump a kernel, named by the program.
awk '/^desc: Trigger: Client Request: / { name = $5 } /^(summary|totals): / { if (name != "") print name "," $2; name = "" }' \
    $(ls "$work"/out.* | sort -t. -k3n) >"$work/made"
[ -s "$work/made" ] || { echo "callgrind dumped nothing"; cat "$work/log"; exit 1; }
if [ "${3-}" = --write ]; then
    { echo "kernel,instructions"; cat "$work/made"; } >"$wanted"
    exit 0
fi
awk -F, 'NR == FNR { if (FNR > 1) want[$1] = $2; next }
    { seen[$1] = 1; if (!($1 in want)) { print "new: " $0; bad = 1 }
      else if ($2 > 1.01 * want[$1] || $2 < 0.99 * want[$1]) { printf "%s: %d instructions, not %d (%+.1f %%)\n", $1, $2, want[$1], 100 * ($2 / want[$1] - 1); bad = 1 } }
    END { for (k in want) if (!(k in seen)) { print "gone: " k; bad = 1 } exit bad }' "$wanted" "$work/made"
