#!/bin/sh
# neon_mca.sh OBJDUMP OBJECTS: the inner loop of each NEON tile, as llvm-mca sees it on a Neoverse N1, takes at most 1.1 cycles an
# FMLA, and no loop touches the stack. Bounded: every height of a tile with 5 chains or more (kernels/neon/README.md says why not
# the others); loops for rows that lie scattered and for the rest of a run are listed alone. Exit status 77: no llvm-mca.
set -eu
directory=$(dirname "$0")
mca=$(command -v llvm-mca-14 || command -v llvm-mca) || { echo "skipped: llvm-mca is not installed (Debian: llvm-14)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
objdump=$1
shift
"$objdump" -d --no-show-raw-insn "$@" | awk -f "$directory/inner_loops.awk" >"$work/loops"

awk '/^loop/ { if (open) print "# LLVM-MCA-END"; print "# LLVM-MCA-BEGIN " $2; open = 1; next } { print }
     END { print "# LLVM-MCA-END" }' "$work/loops" >"$work/loops.s"
"$mca" -mtriple=aarch64-linux-gnu -mcpu=neoverse-n1 -iterations=1000 -resource-pressure=false -instruction-info=false \
    "$work/loops.s" | awk '/^Total Cycles:/ { print $3 / 1000 }' >"$work/cycles"

awk '/^loop/ { print $2, $3, $4 }' "$work/loops" | paste -d ' ' - "$work/cycles" | sort -V | awk '
    { name = $1; fmas[NR] = $2; stack[NR] = $3; cycles[NR] = $4; tile[NR] = name; if ($2 > most[name]) most[name] = $2 }
    function note(i,    shape, part) { # why a loop is not bounded
        if (tile[i] ~ /scattered/) return "scattered rows"
        if (fmas[i] < most[tile[i]]) return "rest of a run"
        match(tile[i], /[0-9]+x[0-9]+/)
        shape = substr(tile[i], RSTART, RLENGTH)
        split(shape, part, "x")
        if (!(tile[i] in seen)) tiles++
        seen[tile[i]] = 1
        return part[1] * part[2] / 4 < 5 ? "fewer than 5 chains" : ""
    }
    END {
        printf "%-40s %5s %7s %6s\n", "loop", "FMLAs", "cycles", "ratio"
        for (i = 1; i <= NR; i++) {
            ratio = cycles[i] / fmas[i]
            why = note(i)
            bad = stack[i] > 0 ? "TOUCHES THE STACK" : why == "" && !(ratio > 0 && ratio <= 1.1) ? "TOO SLOW" : ""
            if (bad != "") failed = 1
            printf "%-40s %5d %7.2f %6.3f  %s%s\n", tile[i], fmas[i], cycles[i], ratio, why, bad
        }
        if (tiles != 72) { print tiles + 0 " tiles found, not 72: two products of 12 heights, 8 and 4 columns, and two of Winograd"; failed = 1 }
        exit failed
    }'
