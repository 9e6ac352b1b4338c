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
says "0 mismatches, seed 1: all agree" $fovea check --grad --op pool --cases 4
says "^pool.average$" $fovea check --grad --list
says "model's shapes: .* all agree" $fovea check --model lenet5 --cases 1
says "conv.forward .* 20 cases" $fovea check --model autoencoder --cases 1 --op conv
says "depthwise.data_grad .* 17 cases" $fovea check --model mobilenet-cifar --cases 1 --op depthwise
$fovea new lecture --out m.onnx
says "model's shapes: .* all agree" $fovea check --model m.onnx --cases 1 --quiet
# The table of operators and options: every cell that can be filled here is, and mistakes in the file are found.
says " 0 failed" $fovea check --spec "$source_dir/tests/spec.csv" --cases 4 --json t.json
grep -q '"failed": 0' t.json || fail "JSON of the table"
grep -q "^| 8 | squared error | sum | ok, 4 |.*| ok, 2 | ok, 2 | n/a |" out.txt || fail "a row of the table: $(cat out.txt)"
head='section,operator,option,slots,grad,onnx'
spec() { printf '%s\n%s\n' "$head" "$1" >s.csv; }
spec '3,ReLU,,pointwise.relu,unary.relu,function'
expect 3 "calls no function" $fovea check --spec s.csv --cases 4
grep -q "ok, 4 .* ok, 2 | ok, 2 | FAILED" out.txt || fail "table: $(cat out.txt)"
spec '3,ReLU,,pointwise.relo,unary.relu,standard'
expect 3 "no such slot" $fovea check --spec s.csv --cases 4
spec '3,ReLU,,pointwise.relu,unary.relo,none'
expect 3 "no such row of the gradient check: unary.relo" $fovea check --spec s.csv --cases 4
spec '3,ReLU,,,,none'
set +e
$fovea check --spec s.csv --cases 4 >out.txt
[ $? -eq 3 ] || fail "a table without a filled cell passes"
set -e
spec '3,ReLU,,pointwise.relu,unary.relu'
expect 1 "line 2: a row has six fields" $fovea check --spec s.csv
spec '3,ReLU,,pointwise.relu,,standard'
expect 1 "line 2: the round trip" $fovea check --spec s.csv
spec '3,ReLU,,pointwise.relu,unary.relu,maybe'
expect 1 "line 2: onnx is" $fovea check --spec s.csv
spec '3,ReLU,,pointwise.relu;;pool.max,unary.relu,none'
expect 1 "line 2: a slot's name" $fovea check --spec s.csv
expect 1 "s.csv, line 1: the header" sh -c "echo section >s.csv; exec $fovea check --spec s.csv"
expect 1 "nosuch.csv" $fovea check --spec nosuch.csv
expect 2 "alone" $fovea check --spec s.csv --grad
expect 2 "go with --spec" $fovea check --json t.json
# Cells of another machine's kernels come from its own program: what it leaves out has failed.
spec '3,ReLU,,pointwise.relu;pointwise.tanh,,none'
cat >other.sh <<'END'
echo neon,pointwise.relu,ok,9
echo "neon,pointwise.tanh,${TANH-ok},8"
END
if ! $fovea check --list | grep -q '^neon'; then
    says "ok, 8 | ok, 8 | ok, 17 | n/a" $fovea check --spec s.csv --cases 4 --neon-with "sh other.sh"
    TANH=failed
    export TANH
    set +e
    $fovea check --spec s.csv --cases 4 --neon-with "sh other.sh" >out.txt
    [ $? -eq 3 ] || fail "a failed cell of NEON passes"
    set -e
    expect 1 "checked nothing on NEON" $fovea check --spec s.csv --cases 4 --neon-with true
fi
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
