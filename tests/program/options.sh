# Options of fovea train that change what is learned: each has its effect, and none is silent about a mistake.
. "$(dirname "$0")/common.sh"
train="$fovea train --data $sample --model lenet5 --seed 3 --quiet"
# loss F STEP: the loss of a step in a log.
loss() { sed -n "s/.*\"step\": *$2,.*\"loss\": *\([0-9.e+-]*\),.*/\1/p; s/.*\"step\":$2,\"loss\":\([0-9.e+-]*\),.*/\1/p" "$1" | head -n 1; }
# holds EXPRESSION: of numbers.
holds() { awk "BEGIN { exit !($1) }" || fail "$1 does not hold: $2"; }
$train --steps 30 --out plain.onnx --log plain.jsonl
first=$(loss plain.jsonl 1)
last=$(loss plain.jsonl 30)
holds "$first > 2 && $last < 0.8 * $first" "training lowers the loss"
# Augmentation: each kind gives other weights than none and than each other, the same ones every time.
for kind in shift flip crop shift,flip,crop; do
    $train --steps 10 --augment $kind --out $kind.onnx
    $train --steps 10 --augment $kind --threads 1 --out again.onnx
    cmp -s $kind.onnx again.onnx || fail "--augment $kind gives other bytes the second time"
done
$train --steps 10 --out none.onnx
for a in none shift flip crop; do
    for b in shift flip crop shift,flip,crop; do
        [ $a = $b ] || ! cmp -s $a.onnx $b.onnx || fail "--augment $a and $b give the same weights"
    done
done
# A tiny clip leaves the network where it was; a huge one changes nothing.
$train --steps 30 --clip 1e-6 --log clip.jsonl
holds "$(loss clip.jsonl 1) == $first" "clipping is after the first loss"
holds "$(loss clip.jsonl 30) > 2" "a clip of 1e-6 stops learning"
$train --steps 30 --clip 1e9 --out clip.onnx
cmp -s plain.onnx clip.onnx || fail "a clip that never acts changes bytes"
# Strong decay takes all weights: the loss tends to that of chance, ln 10.
$train --steps 40 --optimizer sgd --schedule constant --lr 0.05 --weight-decay 10 --log decay.jsonl
holds "$(loss decay.jsonl 40) > 2.25 && $(loss decay.jsonl 40) < 2.36" "weight decay"
# Smoothing mixes the loss of the label with the mean over all classes: other from the first step on.
$train --steps 2 --label-smoothing 0.2 --log smooth.jsonl
$train --steps 2 --label-smoothing 0.9 --log smoother.jsonl
holds "$(loss smooth.jsonl 1) != $first && $(loss smoother.jsonl 1) != $(loss smooth.jsonl 1)" "label smoothing"
# Schedules: cosine ends near 0, step halves an epoch, warm-up begins low.
grep '"step": *30,' plain.jsonl | grep -q '"lr": *0\.000' || grep '"step":30,' plain.jsonl | grep -q '"lr":0\.000' || fail "cosine"
$train --epochs 2 --schedule step --schedule-factor 0.1 --log step.jsonl
tail -n 1 step.jsonl | grep -q '"lr": *0\.005' || fail "step schedule: $(tail -n 1 step.jsonl)"
$train --steps 5 --schedule constant --warmup 10 --log warm.jsonl
head -n 1 warm.jsonl | grep -q '"lr": *0\.005' || fail "warm-up: $(head -n 1 warm.jsonl)"
# Normalization travels with the model: eval of the file gives what training said, and training it further keeps it.
fovea_train="$fovea train --data $sample"
$fovea_train --model lenet5 --epochs 2 --normalize --out normal.onnx >normal.txt
said=$(sed -n 's/.*test accuracy \([0-9.]*\).*/\1/p' normal.txt | tail -n 1)
$fovea eval normal.onnx --data "$sample" | grep -q "accuracy  $said" || fail "eval of a normalized model"
$fovea explain normal.onnx | grep -q normalize || fail "no layer normalize"
expect 1 "normalizes its input already" $fovea_train --model normal.onnx --normalize --steps 1
# A frozen network learns nothing, a frozen part stays: the rest trains.
expect 1 "no parameter" $fovea_train --model lenet5 --freeze '*' --steps 1
expect 1 "matches \"nosuch" $fovea_train --model lenet5 --freeze 'nosuch*' --steps 1
$fovea_train --model normal.onnx --freeze 'conv*' --steps 20 --seed 5 --quiet --out frozen.onnx
cmp -s normal.onnx frozen.onnx && fail "nothing was trained"
# A new head: as many outputs as asked for, and enough of them for the data.
$fovea_train --model normal.onnx --new-head 12 --steps 5 --quiet --out head.onnx
$fovea predict head.onnx --data "$sample" --count 1 --top 12 --json | grep -c '"class"' | grep -qx 12 || fail "outputs of a new head"
expect 1 "10 classes" $fovea_train --model normal.onnx --new-head 4 --steps 1
# Early stopping chooses by validation images that come from the training set, and writes the best epoch's weights.
$fovea_train --model lenet5 --epochs 60 --lr 0.15 --validation 0.2 --early-stop 2 --out early.onnx >early.txt
grep -q '^stopped: no smaller validation loss in 2 epochs' early.txt || fail "no early stop: $(tail -n 3 early.txt)"
best=$(sed -n 's/^the weights are those of epoch \([0-9]*\),.*/\1/p' early.txt)
smallest=$(grep '^epoch' early.txt | sed 's/.*validation loss \([0-9.]*\).*/\1/' | sort -n | head -n 1)
line=$(grep "^epoch  *$best " early.txt)
echo "$line" | grep -q "validation loss $smallest " || fail "epoch $best has not the smallest validation loss $smallest"
[ "$(grep -c '^epoch' early.txt)" -eq $((best + 2)) ] || fail "stopped after $(grep -c '^epoch' early.txt) epochs, best $best"
said=$(echo "$line" | sed -n 's/.*test accuracy \([0-9.]*\).*/\1/p')
$fovea eval early.onnx --data "$sample" | grep -q "accuracy  $said" || fail "the file does not hold epoch $best"
# With squared error the loss reported after an epoch is squared error: below that of all zeros, 0.5.
$fovea_train --model lenet5 --epochs 3 --loss squared-error --lr 0.02 --validation 0.2 >squared.txt
said=$(sed -n 's/.*validation loss \([0-9.]*\).*test loss \([0-9.]*\).*/\1 \2/p' squared.txt | tail -n 1)
holds "${said% *} < 0.5 && ${said#* } < 0.5 && ${said% *} > 0.05" "squared error"
expect 2 "needs --validation" $fovea_train --model lenet5 --early-stop 2
expect 2 "resume" $fovea_train --model lenet5 --early-stop 2 --validation 0.1 --resume c.ckpt
expect 2 "validation" $fovea_train --model lenet5 --validation 1
expect 1 "empty" $fovea_train --model lenet5 --validation 0.000001
