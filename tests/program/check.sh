# fovea check: its exit status, what it prints, and options that would do nothing.
. "$(dirname "$0")/common.sh"
says() { # WORDS COMMAND...: status 0, and standard output holds the words
    words=$1
    shift
    "$@" >out.txt 2>err.txt || fail "$* gave status $?: $(cat err.txt out.txt)"
    grep -q -- "$words" out.txt || fail "$* did not print \"$words\": $(cat out.txt)"
}
says "0 mismatches, seed 1: all agree" $fovea check --cases 20 --quiet
says "^scalar *conv.forward *20 cases .* max ULP" $fovea check --op conv.forward --isa scalar --cases 20
says "1 cases, 0 mismatches, seed 9" $fovea check --op pool.max --isa scalar --seed 9 --case 4
says "scalar *softmax.softmax *own" $fovea check --list
says "caught in case" $fovea check --self-test --op pool
says "0 mismatches, seed 1: all agree" $fovea check --grad --cases 2
says "^pool.average$" $fovea check --grad --list
says "model's shapes: .* all agree" $fovea check --model lenet5 --cases 1
$fovea new lecture --out m.onnx
says "model's shapes: .* all agree" $fovea check --model m.onnx --cases 1 --quiet
expect 3 "nothing was checked" $fovea check --op no.such
expect 3 "nothing was checked" $fovea check --isa avx9000
expect 3 "nothing was checked" $fovea check --grad --op no.such
expect 3 "nothing was checked" $fovea check --model lenet5 --op gain
expect 1 "nosuch" $fovea check --model nosuch
expect 2 "cases" $fovea check --cases 0
expect 2 "threads" $fovea check --self-test --threads 2
expect 2 "exclude" $fovea check --self-test --list
expect 2 "--model" $fovea check --model lenet5 --grad
expect 2 "argument" $fovea check lenet5
