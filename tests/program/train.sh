# Train, save, evaluate, predict, explain, bench: the main job on the sample.
. "$(dirname "$0")/common.sh"
$fovea train --data "$sample" --model lenet5 --epochs 4 --threads 2 --out m.onnx --log l.jsonl >train.txt
grep -q 'test accuracy 0\.[6-9]' train.txt || fail "accuracy after four epochs of the sample: $(tail -n 1 train.txt)"
[ "$(wc -l <l.jsonl)" -eq "$(grep -c '"loss"' l.jsonl)" ] || fail "log"
$fovea eval m.onnx --data "$sample" --json >e.json
grep -q '"accuracy"' e.json || fail "eval"
trained=$(sed -n 's/.*test accuracy \([0-9.]*\).*/\1/p' train.txt | tail -n 1)
$fovea eval m.onnx --data "$sample" | grep -q "accuracy  $trained" || fail "eval gives another accuracy than train: $trained"
$fovea predict m.onnx --data "$sample" --count 5 >p.txt
[ "$(grep -c '^image' p.txt)" -eq 5 ] || fail "predict"
$fovea explain lenet5 | grep -q 'arena' || fail "explain"
$fovea explain mobilenet-cifar --batch 7 --batch-invariant | grep -q "in 7 equal parts" || fail "explain --batch-invariant"
$fovea explain resnet18-cifar --json plan.json >plan.txt
grep -q '^batch-norm folding  *[1-9]' plan.txt || fail "explain tells nothing of batch normalization"
grep -q '"predicted_us": ' plan.json && grep -q '"bound": "FMA"' plan.json && grep -q '"name": "residual fusion"' plan.json || fail "explain --json"
if $fovea explain cnn --plan lean | grep -q winograd; then fail "explain --plan lean"; fi
if [ "${FOVEA_ISA:-}" != scalar ]; then
    $fovea explain cnn --plan measure --choices kept.txt >one.txt
    grep -q '| N1 C.* 3x3 pads .*|.* indirect [0-9.]*, F(2,3) [0-9.]*' kept.txt || fail "no choices: $(cat kept.txt)"
    cp kept.txt before.txt
    $fovea bench cnn --seconds 0.1 --plan measure --choices kept.txt >two.txt
    cmp -s kept.txt before.txt || fail "choices were measured again"
fi
if $fovea explain cnn --no-winograd | grep -q winograd; then fail "explain --no-winograd"; fi
if [ "${FOVEA_ISA:-}" != scalar ]; then $fovea explain cnn | grep -q 'winograd F(' || fail "explain names no Winograd"; fi
$fovea bench lenet5 --seconds 0.1 --json b.json >b.txt
grep -q '"median_ms"' b.json || fail "bench"
$fovea new cnn --input 3,32,32 --classes 5 --seed 3 --out c.onnx
$fovea explain c.onnx --trace t.json | grep -q conv || fail "explain a file"
grep -q traceEvents t.json || fail "trace"
$fovea info >i.txt
# The same bytes whatever the threads and the backend.
for how in "--threads 1" "--threads 2" "--threads 3" "--threads 8" "--backend pthreads --threads 2" "--backend serial"; do
    $fovea train --data "$sample" --model lenet5 --steps 20 $how --out x.onnx --quiet
    [ -e first.onnx ] || cp x.onnx first.onnx
    cmp x.onnx first.onnx || fail "other bytes with $how"
done
for isa in scalar; do
    $fovea train --data "$sample" --model lenet5 --steps 3 --isa $isa --threads 1 --out s1.onnx --quiet
    $fovea train --data "$sample" --model lenet5 --steps 3 --isa $isa --threads 2 --out s2.onnx --quiet
    cmp s1.onnx s2.onnx || fail "other bytes on $isa"
done
