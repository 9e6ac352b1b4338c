# ONNX's own cases, where Debian's libonnx-testdata is installed: what runs is written and read back, gives the same bits, and is
# written again as the same bytes. tests/golden/rewrite_exceptions.csv names what does not come back so, and why.
. "$(dirname "$0")/common.sh"
data=/usr/share/libonnx-testdata/data
if [ ! -d $data/node ]; then
    echo "libonnx-testdata is not installed"
    exit 77
fi
mkdir files
$fovea conformance --backend serial --csv now.csv --rewrite files $data/node $data/pytorch-converted $data/pytorch-operator $data/simple > log.txt || [ $? -eq 3 ]
tail -n +2 "$source_dir/tests/golden/rewrite_exceptions.csv" | cut -d, -f1 > exceptions.txt
awk -F, 'NR == FNR { excepted[$1] = 1; next } $1 in excepted { $2 = "fail" } { print $1 "," $2 "," $3 }' exceptions.txt \
    "$source_dir/tests/golden/conformance.csv" > wanted.csv
diff wanted.csv now.csv > changed.txt || fail "$(cat changed.txt; grep '^fail' log.txt)"
[ "$(ls files/*.onnx | wc -l)" -ge 900 ] || fail "only $(ls files/*.onnx | wc -l) files were written"
