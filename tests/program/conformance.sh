# ONNX's own cases, where Debian's libonnx-testdata is installed: each must come out as tests/golden/conformance.csv says.
# (test_maxunpool_export_with_output_shape contradicts ONNX Runtime, which leaves it out: its indices come from outside and count in
# the size that the window gives. Those that a model computes count in the output: tests/unit/test_onnx_pool.c.)
. "$(dirname "$0")/common.sh"
data=/usr/share/libonnx-testdata/data
if [ ! -d $data/node ]; then
    echo "libonnx-testdata is not installed"
    exit 77
fi
$fovea conformance --backend serial --csv now.csv $data/node $data/pytorch-converted $data/pytorch-operator $data/simple > log.txt || [ $? -eq 3 ]
diff "$source_dir/tests/golden/conformance.csv" now.csv > changed.txt || fail "$(cat changed.txt)"
