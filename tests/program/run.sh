# fovea run and fovea conformance: tensors from files in and out, cases made from them, and their mistakes.
. "$(dirname "$0")/common.sh"
model=$source_dir/tests/golden/general.onnx
python=$(command -v python3) || { echo "python3 makes the tensors"; exit 77; }
# x: rising numbers, z: 0 everywhere, both as npy and as TensorProto. zero.npy: x with 0. short.npy: another shape. whole.npy: another type.
cat >make.py <<'END'
import struct


def values(count, rising):
    return struct.pack("<%df" % count, *[(i * 7 % 101) / 50 - 1 if rising else 0 for i in range(count)])


def npy(name, kind, size, *shape, rising=False):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (kind, shape)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    count = 1
    for n in shape:
        count *= n
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + (values(count, True) if rising else bytes(count * size)))


def proto(name, *shape, rising=False):
    count = 4
    head = bytes([0x10, 1])
    for n in shape:
        head += bytes([0x08, n])
        count *= n
    length = b"\x4a" + bytes([count & 127 | 128, count >> 7 & 127 | 128, count >> 14])
    open(name, "wb").write(head + length + values(count // 4, rising))


proto("x.pb", 2, 6, 20, 18, rising=True)
proto("z.pb", 2, 9, 16)
npy("x.npy", "<f4", 4, 2, 6, 20, 18, rising=True)
npy("zero.npy", "<f4", 4, 2, 6, 20, 18)
npy("z.npy", "<f4", 4, 2, 9, 16)
npy("short.npy", "<f4", 4, 2, 6, 20, 17)
npy("whole.npy", "<i8", 8, 2, 6, 20, 18)
END
$python make.py
$fovea run "$model" --input x=x.npy --input z=z.npy >shapes.txt || fail "run gave status $?"
[ "$(wc -l <shapes.txt)" -eq 2 ] || fail "not a line for each output: $(cat shapes.txt)"
grep -q 'float32 (2,12)$' shapes.txt && grep -q 'float32 (2,3)$' shapes.txt || fail "other shapes: $(cat shapes.txt)"
y=$(head -1 shapes.txt | cut -d: -f1)
r=$(tail -1 shapes.txt | cut -d: -f1)
$fovea run "$model" --input x=x.npy --input z=z.npy --output "$y=y.npy" --output "$r=r.npy" || fail "run with outputs gave status $?"
[ "$(wc -c <y.npy)" -eq $((128 + 4 * 24)) ] || fail "y.npy has $(wc -c <y.npy) bytes"
$fovea run "$model" --input x=x.npy --input z=z.npy --threads 1 --backend serial --output "$y=again.npy"
cmp y.npy again.npy || fail "one thread gives other bits"
$fovea run "$model" --input x=x.pb --input z=z.pb --output "$y=again.npy"
cmp y.npy again.npy || fail "the same numbers as TensorProto give other bits"
$fovea run "$model" --input x=zero.npy --input z=z.npy --output "$y=again.npy"
if cmp -s y.npy again.npy; then fail "x makes no difference"; fi

expect 2 "needs one model" $fovea run
expect 2 "needs --input x=FILE" $fovea run "$model"
expect 2 "needs --input z=FILE" $fovea run "$model" --input x=x.npy
expect 2 "takes NAME=FILE" $fovea run "$model" --input x.npy
expect 1 'no input "w"' $fovea run "$model" --input w=x.npy --input x=x.npy --input z=z.npy
expect 1 'no output "w"' $fovea run "$model" --input x=x.npy --input z=z.npy --output w=w.npy
expect 1 "nosuch.npy" $fovea run "$model" --input x=nosuch.npy --input z=z.npy
expect 1 "nosuch.onnx" $fovea run nosuch.onnx
expect 1 "size 18 on axis 3, not 17" $fovea run "$model" --input x=short.npy --input z=z.npy
expect 1 "int64" $fovea run "$model" --input x=whole.npy --input z=z.npy
expect 1 "batches of one alone" $fovea run "$model" --input x=x.npy --input z=z.npy --batch-invariant
expect 1 "nosuch/y.npy" $fovea run "$model" --input x=x.npy --input z=z.npy --output "$y=nosuch/y.npy"

# A tree of cases of which one holds, one does not, one has no answers and one is no model.
for name in a/right a/wrong bare broken; do
    mkdir -p cases/$name/test_data_set_0
    cp "$model" cases/$name/model.onnx
done
for name in a/right a/wrong; do
    set_0=cases/$name/test_data_set_0
    cp x.pb $set_0/input_0.pb
    cp z.pb $set_0/input_1.pb
    $fovea run "$model" --input x=x.npy --input z=z.npy --output "$y=$set_0/output_0.pb" --output "$r=$set_0/output_1.pb"
done
echo junk >cases/broken/model.onnx
rmdir cases/bare/test_data_set_0
cp cases/a/wrong/test_data_set_0/output_1.pb cases/a/wrong/test_data_set_0/output_0.pb
set +e
$fovea conformance cases --csv cases.csv >log.txt 2>err.txt
status=$?
set -e
[ $status -eq 3 ] || fail "conformance with failures gave status $status: $(cat err.txt)"
printf 'case,result,operator\nright,pass,several\nwrong,fail,several\nbare,fail,several\nbroken,fail,unreadable\n' | diff - cases.csv || fail "other results"
grep -q "^fail wrong .*output 0 is float32 (2,3,), not\|^fail wrong .*not float32 (2,3,)" log.txt || fail "wrong is not explained: $(cat log.txt)"
grep -q "^fail bare .*no test_data_set_0" log.txt || fail "bare is not explained: $(cat log.txt)"
grep -q "^1 passed, 3 failed, 0 unsupported" log.txt || fail "not the count: $(cat log.txt)"
$fovea conformance cases/a/right >log.txt || fail "a case that holds gave status $?"
expect 2 "needs a folder" $fovea conformance
expect 1 "no case" $fovea conformance cases/a/right/test_data_set_0
expect 1 "cannot write" $fovea conformance cases/a/right --csv nosuch/c.csv
