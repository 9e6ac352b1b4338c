#!/bin/sh
# plans.sh PROGRAM WANTED.csv: the zoo's plans are what the tree says they are. A change that is meant: PROGRAM >WANTED.csv, and the commit
# says why.
set -eu
made=$(mktemp)
trap 'rm -f "$made"' EXIT
status=0
"$1" >"$made" || status=$?
[ "$status" -eq 0 ] || exit "$status"
diff -u "$2" "$made" || { echo "plans differ; if that is meant: $1 >$2"; exit 1; }
