#!/bin/sh
# prefix-symbols.sh NM OBJCOPY PREFIX IN.a OUT.a: every global symbol that IN.a defines gets the prefix.
set -eu
nm=$1 objcopy=$2 prefix=$3 in=$4 out=$5
"$nm" -g --defined-only "$in" | awk -v p="$prefix" 'NF == 3 && $3 !~ /^__(asan|ubsan|tsan)/ {print $3, p $3}' | sort -u > "$out.symbols"
"$objcopy" --redefine-syms="$out.symbols" "$in" "$out"
rm -f "$out.symbols"
