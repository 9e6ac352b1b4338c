# Networks that give images, and one unit trained by value: train, eval and predict.
. "$(dirname "$0")/common.sh"
holds() { awk "BEGIN { exit !($1) }" || fail "$1 does not hold: $2"; }
field() { sed -n "s/.*\"$2\": *\([0-9.e+-]*\),*\$/\1/p" "$1" | head -n 1; }
# The loss is chosen by what the network gives; the file holds what training measured.
$fovea train --data "$sample" --model autoencoder --noise 0.3 --epochs 16 --batch 32 --lr 0.004 --out ae.onnx >train.txt
$fovea eval ae.onnx --data "$sample" --noise 0.3 --json >e.json
said=$(sed -n 's/.*test squared error \([0-9.]*\), of the noisy images \([0-9.]*\) .*/\1 \2/p' train.txt | tail -n 1)
output=$(field e.json output_squared_error)
input=$(field e.json input_squared_error)
holds "$output - ${said% *} < 1e-5 && ${said% *} - $output < 1e-5 && $input - ${said#* } < 1e-5" "eval gives $output $input, train $said"
holds "$input > 0.089 && $input < 0.091" "noise of deviation 0.3"
holds "$output < 0.5 * $input" "the noisy images' squared error is not halved"
$fovea eval ae.onnx --data "$sample" --noise 0.3 --batch 7 --threads 1 --json >b.json
cmp e.json b.json || fail "another batch gives other noise"
$fovea eval ae.onnx --data "$sample" --noise 0.3 --seed 2 --json >s.json
cmp -s e.json s.json && fail "another seed gives the same noise"
$fovea eval ae.onnx --data "$sample" | grep -q '^input     0.00000$' || fail "images without noise"
# The same bytes with any threads, and after a checkpoint in the second epoch; other ones with other noise.
again="$fovea train --data $sample --model autoencoder --schedule constant --quiet"
$again --steps 40 --noise 0.3 --threads 1 --out a.onnx
$again --steps 40 --noise 0.3 --threads 2 --loss squared --optimizer adam --out b.onnx
cmp a.onnx b.onnx || fail "other bytes with other threads"
$again --steps 30 --noise 0.3 --checkpoint c.ckpt
$again --steps 40 --noise 0.3 --resume c.ckpt --out b.onnx
cmp a.onnx b.onnx || fail "a resumed run gives other bytes"
$again --steps 40 --noise 0.2 --out c.onnx
cmp -s a.onnx c.onnx && fail "other noise changes nothing"
$again --steps 40 --out c.onnx
cmp -s a.onnx c.onnx && fail "noise changes nothing"
# Predict: the numbers of eval an image, a picture in rows.
$fovea predict ae.onnx --data "$sample" --noise 0.3 --count 3 --json >p.json
[ "$(grep -c '"output_squared_error"' p.json)" -eq 3 ] || fail "three images: $(cat p.json)"
$fovea eval ae.onnx --data "$sample" --noise 0.3 --limit 1 --json >one.json
[ "$(field one.json output_squared_error)" = "$(field p.json output_squared_error)" ] || fail "predict and eval differ"
if $fovea predict ae.onnx --data "$sample" --noise 0.3 --count 3 --out rows.png >p.txt 2>err.txt; then
    grep -q '^image 2: squared error 0.*, of the noisy image 0.0[89]' p.txt || fail "predict: $(cat p.txt)"
    head -c 4 rows.png | grep -q PNG || fail "no picture"
    $fovea predict ae.onnx rows.png --out one.png | grep -q '^rows.png: squared difference' || fail "predict of a file"
else
    grep -q cairo err.txt || fail "$(cat err.txt)"
fi
expect 2 "goes with --data" $fovea predict ae.onnx x.png --noise 0.1
expect 1 "gives images" $fovea predict ae.onnx --data "$sample" --labels /dev/null
expect 1 "gives images" $fovea train --data "$sample" --model ae.onnx --detect 3
# Images of another kind, and noise on a classifier's input.
$fovea new autoencoder --input 3,28,28 --out wide.onnx
expect 1 "3" $fovea eval wide.onnx --data "$sample"
$fovea train --data "$sample" --model lenet5 --steps 3 --noise 0.1 --quiet --out n.onnx
expect 1 "for networks that give images" $fovea predict n.onnx --data "$sample" --noise 0.1
# One unit: 1 for bags.
$fovea train --data "$sample" --model lecture --detect 8 --optimizer adam --epochs 30 --seed 4 --out bag.onnx >train.txt
said=$(sed -n 's/.*test accuracy \([0-9.]*\) .*/\1/p' train.txt | tail -n 1)
$fovea eval bag.onnx --data "$sample" --detect 8 >e.txt
grep -q "accuracy  $said" e.txt || fail "eval gives $(cat e.txt), train $said"
holds "$said > 0.93" "a bag is found"
grep -q '^ 1 Bag' e.txt || fail "confusion: $(cat e.txt)"
$fovea predict bag.onnx --data "$sample" --count 2 --json | grep -c '"value"' | grep -qx 2 || fail "values"
expect 1 "give --detect" $fovea train --data "$sample" --model bag.onnx
expect 1 "says which images" $fovea eval bag.onnx --data "$sample"
expect 1 "of one unit" $fovea eval n.onnx --data "$sample" --detect 1
expect 1 "no such class" $fovea eval bag.onnx --data "$sample" --detect 10
