#!/bin/sh
# Includes point down only: tools -> fovea.h; io, serve, train -> graph -> ops -> parallel -> core -> kernels. And: no OpenMP pragma
# outside the scheduler, no printing or exiting in the library, names unique, SIMD folders apart.
set -eu
cd "$1"
bad=0
complain() { # message, matches
    [ -z "$2" ] && return
    printf '%s:\n%s\n' "$1" "$2"
    bad=1
}
# $1: folder, $2: allowed first path components of quoted includes
check() {
    [ -d "$1" ] || return 0
    complain "$1 may include only $2" \
        "$(grep -rnE --include='*.c' --include='*.h' '^[[:space:]]*#[[:space:]]*include "' "$1" | grep -vE "include \"($2)" || true)"
}
core='fovea\.h|core/|kernels/'
check runtime/core "$core"
check runtime/parallel "$core|parallel/"
check runtime/ops "$core|parallel/|ops/"
check runtime/graph "$core|parallel/|ops/|graph/"
check runtime/train "$core|parallel/|ops/|graph/|train/"
check runtime/io "$core|parallel/|ops/|graph/|io/|onnx\.pb-c\.h"
check runtime/check "$core|parallel/|ops/|graph/|train/|check/"
check runtime/serve "$core|parallel/|ops/|graph/|serve/"
complain "kernels include kernels alone" \
    "$(grep -rnE --include='*.c' --include='*.h' '^#[[:space:]]*include "' kernels --exclude-dir=check | grep -v 'include "kernels/' || true)"
complain "an ISA folder includes another's" \
    "$(grep -rn 'include "kernels/neon' kernels/avx2 || true; grep -rn 'include "kernels/avx2' kernels/neon || true)"
complain "tools see fovea.h (and the checks) alone" \
    "$(grep -rnE '^#[[:space:]]*include "' tools | grep -vE 'include "(fovea\.h|cli\.h|progress\.h|evaluate\.h|picture\.h|restore\.h|spec\.h|serve\.h|infer\.h|roofline\.h|kernels/check/|check/)' || true)"
complain "omp outside parallel/openmp.c" "$(grep -rnE '#pragma omp|<omp\.h>' kernels runtime tools | grep -v '^runtime/parallel/openmp\.c' || true)"
complain "the library prints, exits or aborts" \
    "$(grep -rnE '\b(printf|puts|perror|exit|_exit|abort)\(|fprintf\((stderr|stdout)' kernels runtime --include='*.c' --include='*.h' | grep -vE 'sn?printf|vsn?printf|kernels/check|format\(printf|__format__' || true)"
complain "file names twice" "$(git ls-files 'kernels/*.[ch]' 'runtime/*.[ch]' | sed 's#.*/##' | sort | uniq -d)"
# tests/README.md: every line of 1 to 60 once, and each test that it names exists.
table=tests/README.md
complain "$table lacks a line, or has one twice" "$(seq 60 | while read -r id; do [ "$(grep -cE "^\| $id \|.*\.(c|sh)" $table)" -eq 1 ] || echo "$id"; done)"
complain "$table names what does not exist" \
    "$(grep '^| [0-9]' $table | grep -o '`[^`]*`' | tr -d '`' | while IFS=: read -r file test; do
        [ -f "tests/$file" ] && { [ -z "$test" ] || { grep -q "^START_TEST($test)" "tests/$file" && grep -qE "^ .*[ {(]$test[,)]" "tests/$file"; }; } || echo "$file:$test"
    done)"
exit $bad
