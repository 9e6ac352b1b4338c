#!/bin/sh
# avx2_tiles.sh OBJDUMP OBJECTS: the inner loop of each full AVX2 tile has one multiply-add an accumulator and touches no stack.
set -eu
objdump=$1
shift
"$objdump" -d --no-show-raw-insn "$@" | awk -f "$(dirname "$0")/inner_loops.awk" | awk '
    BEGIN {
        expected["conv_forward_f32_6x16_avx2"] = expected["conv_grad_f32_6x16_avx2"] = 12
        expected["winograd_product_6x16_avx2"] = expected["winograd_sum_6x16_avx2"] = 12
        expected["conv_forward_f32_10x8_avx2"] = expected["conv_grad_f32_10x8_avx2"] = 10
    }
    $1 == "loop" && ($2 in expected) {
        printf "%-28s %2d multiply-adds, %d stack accesses\n", $2, $3, $4
        if ($3 != expected[$2] || $4 != 0) failed = 1
        found[$2]++
    }
    END {
        for (tile in expected)
            if (found[tile] != 1) { print tile ": " found[tile] + 0 " inner loops, not 1"; failed = 1 }
        exit failed
    }'
