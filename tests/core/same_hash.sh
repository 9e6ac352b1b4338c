#!/bin/sh
# same_hash.sh [EMULATOR...] PROGRAM: the hash of trained parameters is the same for every thread count and backend.
set -eu
first=
for how in "--threads 1" "--threads 2" "--threads 3" "--threads 8" "--threads 2 --backend pthreads" "--backend serial"; do
    # shellcheck disable=SC2086
    hash=$("$@" --steps 5 $how)
    echo "$hash  $how"
    [ -n "$first" ] || first=$hash
    [ "$hash" = "$first" ] || exit 1
done
for network in jarrett se-cnn mobilenet-cifar; do
    first=
    for threads in 1 3; do
        hash=$("$@" --steps 2 --batch 6 --model $network --threads $threads)
        echo "$hash  $network --threads $threads"
        [ -n "$first" ] || first=$hash
        [ "$hash" = "$first" ] || exit 1
    done
done
