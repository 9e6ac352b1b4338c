# Every mistake ends with one sentence and status 1 or 2, and an existing model stays whole.
. "$(dirname "$0")/common.sh"
fault=$3/libfault.so
expect 2 "unknown command" $fovea frobnicate
expect 2 "unknown option" $fovea train --frobnicate
expect 2 "needs a value" $fovea train --data
expect 2 "needs --data" $fovea train --model lenet5
expect 2 "needs --model" $fovea train --data "$sample"
expect 2 "batch" $fovea train --data "$sample" --model lenet5 --batch 0
expect 2 "batch" $fovea train --data "$sample" --model lenet5 --batch many
expect 2 "optimizer" $fovea train --data "$sample" --model lenet5 --optimizer best
expect 2 "augment" $fovea train --data "$sample" --model lenet5 --augment shift,melt
expect 2 "backend" $fovea train --data "$sample" --model lenet5 --backend cuda
expect 1 "isa\|ISA\|instruction" $fovea train --data "$sample" --model lenet5 --isa avx9000
expect 1 "nosuch" $fovea train --data "$sample" --model nosuch
expect 1 "nosuch" $fovea train --data idx:/nosuch --model lenet5
expect 1 "nosuch" $fovea train --data nosuch:/x --model lenet5
expect 1 "squared error" $fovea train --data "$sample" --model autoencoder --loss cross-entropy
expect 1 "squared error" $fovea train --data "$sample" --model autoencoder --label-smoothing 0.1
expect 1 "classes of the data are 0 to 9" $fovea train --data "$sample" --model lecture --detect 10
expect 1 "give --detect" $fovea train --data "$sample" --model lenet5 --new-head 1
expect 2 "unknown option --no-winograd" $fovea info --no-winograd
FOVEA_DATA=/nosuch expect 1 "nosuch" $fovea train --data fashion-mnist --model lenet5
expect 1 "nosuch.onnx" $fovea eval nosuch.onnx --data "$sample"
expect 1 "junk.onnx" sh -c "echo junk >junk.onnx; exec $fovea eval junk.onnx --data $sample"
expect 1 "empty.onnx" sh -c ": >empty.onnx; exec $fovea eval empty.onnx --data $sample"
expect 1 "cannot\|No such" $fovea new lenet5 --out /nosuch/m.onnx
$fovea new lenet5 --out m.onnx
$fovea new lenet5 --input 3,32,32 --out wide.onnx
expect 1 "28x28" $fovea eval wide.onnx --data "$sample"
expect 1 "nosuch.png" $fovea predict m.onnx nosuch.png
expect 1 "junk.onnx" $fovea predict m.onnx junk.onnx
# A truncated data set.
mkdir cut
for f in "$source_dir"/data/fashion-mnist-sample/*.gz; do cp "$f" cut/; done
head -c 5000 "$source_dir"/data/fashion-mnist-sample/train-images-idx3-ubyte.gz >cut/train-images-idx3-ubyte.gz
expect 1 "train-images" $fovea train --data idx:cut --model lenet5
# A truncated model.
for bytes in 1 100 1000 100000; do
    head -c $bytes m.onnx >part.onnx
    expect 1 "part.onnx" $fovea eval part.onnx --data "$sample"
done
# A full disk at every n-th call: m.onnx stays whole, and nothing is left beside it.
if [ -e "$fault" ]; then
    cp m.onnx before.onnx
    n=1
    while :; do
        set +e
        LD_PRELOAD=$fault FAULT_NTH=$n $fovea new lenet5 --seed 9 --out m.onnx 2>err.txt
        status=$?
        set -e
        [ $status -eq 0 ] && break
        [ $status -eq 1 ] || fail "status $status with a full disk at call $n"
        [ "$(wc -l <err.txt)" -eq 1 ] || fail "not one sentence with a full disk at call $n: $(cat err.txt)"
        cmp m.onnx before.onnx || fail "a full disk at call $n harmed m.onnx"
        [ "$(ls -A | grep -c '\.m\.onnx')" -eq 0 ] || fail "a full disk at call $n left $(ls -A)"
        n=$((n + 1))
        [ $n -lt 2000 ] || fail "the fault never ended"
    done
    [ $n -gt 1 ] || fail "the fault was not injected"
fi
