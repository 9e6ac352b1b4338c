# A training run with dropout, augmentation, prefetch and a partial batch, killed in mid-epoch and resumed with other threads, ends
# with the same bytes as one that ran through.
. "$(dirname "$0")/common.sh"
options="--data $sample --model cnn --steps 60 --batch 48 --augment shift,flip,crop --seed 5 --quiet"
$fovea train $options --threads 2 --out whole.onnx
$fovea train $options --threads 1 --checkpoint c.ckpt --checkpoint-every 7 --out cut.onnx &
victim=$!
for i in $(seq 600); do
    [ -e c.ckpt ] && break
    sleep 0.1
done
sleep 0.3
kill -9 $victim 2>/dev/null || true
wait $victim 2>/dev/null || true
[ ! -e cut.onnx ] || echo "note: the run had ended before the kill"
rm -f cut.onnx
[ -e c.ckpt ] || fail "no checkpoint was written"
$fovea train $options --threads 3 --backend pthreads --resume c.ckpt --out resumed.onnx
cmp whole.onnx resumed.onnx || fail "a resumed run gives other bytes"
expect 1 "" $fovea train $options --model lenet5 --resume c.ckpt --out other.onnx
head -c 1000 c.ckpt >short.ckpt
expect 1 "short.ckpt" $fovea train $options --resume short.ckpt --out other.onnx
[ ! -e other.onnx ] || fail "a failed resume wrote a model"
