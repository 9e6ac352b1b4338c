#!/bin/sh
# Makes data/fashion-mnist-sample again: the first 150 training and 50 test images of each class, in their order.
# make-sample.sh [FASHION_MNIST_DIR] [OUT_DIR]
set -eu
cd "$(dirname "$0")/.."
from=${1-/usr/share/datasets/fashion-mnist}
to=${2-data/fashion-mnist-sample}
mkdir -p "$to"
for split in train:150 t10k:50; do
    python3 - "$from" "$to" "${split%:*}" "${split#*:}" <<'PYTHON'
import gzip, struct, sys
source, target, split, per_class = *sys.argv[1:4], int(sys.argv[4])
images = gzip.open(f"{source}/{split}-images-idx3-ubyte.gz").read()
labels = gzip.open(f"{source}/{split}-labels-idx1-ubyte.gz").read()[8:]
seen, chosen = [0] * 10, []
for i, label in enumerate(labels):
    if seen[label] < per_class:
        seen[label] += 1
        chosen.append(i)
with open(f"{target}/{split}-images-idx3-ubyte", "wb") as out:
    out.write(struct.pack(">4I", 0x803, len(chosen), 28, 28))
    out.writelines(images[16 + 784 * i : 16 + 784 * (i + 1)] for i in chosen)
with open(f"{target}/{split}-labels-idx1-ubyte", "wb") as out:
    out.write(struct.pack(">2I", 0x801, len(chosen)) + bytes(labels[i] for i in chosen))
PYTHON
done
gzip -n -9 -f "$to"/*-ubyte
