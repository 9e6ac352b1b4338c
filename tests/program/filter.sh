# fovea filter by value, and fovea show.
. "$(dirname "$0")/common.sh"
pixels=$(dirname "$3")/program/pixels
# shows F WANTED: the sizes and rows of an image, lines joined by '/'.
shows() {
    got=$("$pixels" print "$1" | tr '\n' '/')
    [ "$got" = "$2" ] || fail "$1 holds $got, not $2"
}
# SPEC 11: box over 90 in rows 2-6 x columns 3-7 (0 at 5,4) and 90 at 8,2.
box=''
for y in 0 1 2 3 4 5 6 7 8 9; do
    for x in 0 1 2 3 4 5 6 7 8 9; do
        v=0
        [ $y -ge 2 ] && [ $y -le 6 ] && [ $x -ge 3 ] && [ $x -le 7 ] && v=90
        [ $y$x != 54 ] || v=0
        [ $y$x != 82 ] || v=90
        box="$box $v"
    done
done
"$pixels" write box.png 1 10 10 $box
$fovea filter box.png out.png --kernel box3
"$pixels" print out.png >rows.txt
[ "$(sed -n 1p rows.txt)" = "1 8 8" ] || fail "the valid output is $(sed -n 1p rows.txt)"
[ "$(sed -n 2p rows.txt)" = "0 10 20 30 30 30 20 10" ] || fail "first row $(sed -n 2p rows.txt)"
[ "$(sed -n 9p rows.txt)" = "10 10 10 0 0 0 0 0" ] || fail "last row $(sed -n 9p rows.txt)"
$fovea filter box.png rows.png --kernel "1,1,1; 1 1 1 ;1 1 1"
cmp out.png rows.png || fail "rows of numbers give another image than box3"
# The lecture's Gaussian tells correlation from convolution: a point of 56 gives the kernel rotated, and the kernel.
"$pixels" write point.png 1 9 9 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 \
    0 0 0 0 56 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
$fovea filter point.png out.png --kernel gauss5
shows out.png "1 5 5/0 1 2 1 0/1 3 5 3 1/2 5 9 5 2/1 3 4 3 1/0 1 2 1 0/"
$fovea filter point.png out.png --kernel gauss5 --convolve
shows out.png "1 5 5/0 1 2 1 0/1 3 4 3 1/2 5 9 5 2/1 3 5 3 1/0 1 2 1 0/"
# Borders, stride, an even kernel, rounding to nearest, clamps and absolute values.
"$pixels" write ramp.png 1 3 4 0 10 20 30 40 50 60 70 80 90 100 110
$fovea filter ramp.png out.png --kernel "1 1 1" --border zero
shows out.png "1 3 4/3 10 20 17/30 50 60 43/57 90 100 70/"
$fovea filter ramp.png out.png --kernel "1 1 1" --border reflect
shows out.png "1 3 4/7 10 20 23/47 50 60 63/87 90 100 103/"
$fovea filter ramp.png out.png --kernel "1;1;1" --border reflect --stride 2
shows out.png "1 2 2/27 47/53 73/"
$fovea filter ramp.png out.png --kernel "1 1;1 1"
shows out.png "1 2 3/25 35 45/65 75 85/"
$fovea filter ramp.png out.png --kernel "1 3" --border zero
shows out.png "1 3 4/8 18 28 8/48 58 68 18/88 98 108 28/"
$fovea filter ramp.png out.png --kernel "-1 1" --convolve
shows out.png "1 3 3/0 0 0/0 0 0/0 0 0/"
$fovea filter ramp.png out.png --kernel "-1 1" --convolve --abs
shows out.png "1 3 3/10 10 10/10 10 10/10 10 10/"
$fovea filter ramp.png out.png --kernel sobel-y
shows out.png "1 1 2/255 255/"
$fovea filter ramp.png out.png --kernel sobel-x
shows out.png "1 1 2/80 80/"
$fovea filter ramp.png out.png --kernel laplace
shows out.png "1 1 2/0 0/"
$fovea filter ramp.png out.png --kernel sharpen
shows out.png "1 1 2/50 60/"
"$pixels" write low.png 1 3 4 0 1 2 3 4 5 6 7 8 9 10 11
$fovea filter low.png out.png --kernel emboss
shows out.png "1 1 2/35 36/"
"$pixels" write one.png 1 1 1 77
$fovea filter one.png out.png --kernel box5 --border reflect
shows out.png "1 1 1/77/"
# Colours each by themselves, alpha of the pixel under the centre.
"$pixels" write color.png 4 1 3 3 30 90 11 6 60 120 22 9 0 150 33
$fovea filter color.png out.png --kernel "1 1 1"
shows out.png "4 1 1/6 30 120 22/"
$fovea filter color.png out.png --kernel "1 1 1" --border reflect
shows out.png "4 1 3/5 50 110 11 6 30 120 22 7 40 130 33/"
"$pixels" write ga.png 2 3 1 9 1 18 2 30 3
$fovea filter ga.png out.png --kernel "1;1;1"
shows out.png "2 1 1/19 2/"
# JPEG in and out: no alpha there, flat colours survive.
"$pixels" write flat.png 4 16 16 200 100 50 255
$fovea filter flat.png out.jpg --kernel gauss3 --border reflect
"$pixels" print out.jpg | head -n 1 | grep -q '^3 16 16$' || fail "JPEG out"
$fovea filter out.jpg back.png --kernel box3
"$pixels" print back.png | sed -n 2p | awk '{ if ($1 < 197 || $1 > 203 || $2 < 97 || $2 > 103 || $3 < 47 || $3 > 53) exit 1 }' || fail "JPEG in"
# A pyramid: the image, then halves; a constant stays one.
"$pixels" write even.png 3 7 10 40 80 120
$fovea filter even.png level.png --pyramid 4 --json >p.json
shows level-3.png "3 1 2/40 80 120 40 80 120/"
cmp even.png level-0.png || "$pixels" print level-0.png | head -n 1 | grep -q '^3 7 10$' || fail "level 0"
[ ! -e level-4.png ] || fail "a level too many"
[ "$(grep -c '"file"' p.json)" -eq 4 ] || fail "JSON of a pyramid"
# The same bits on any number of threads and by scalar kernels (small integers).
for how in "--threads 1" "--threads 3" "--isa scalar" "--backend serial"; do
    $fovea filter box.png threads.png --kernel gauss5 --border zero $how
    [ -e threads0.png ] || cp threads.png threads0.png
    cmp threads.png threads0.png || fail "other pixels with $how"
done
expect 2 "needs --kernel" $fovea filter box.png out.png
expect 2 "unknown kernel \"blurry\": there are box3" $fovea filter box.png out.png --kernel blurry
expect 2 "row 2 has 1 numbers, unlike the first" $fovea filter box.png out.png --kernel "1 2;3"
expect 2 "row 2 has 0 numbers" $fovea filter box.png out.png --kernel "1 2;"
expect 2 "\"x2\" is not a number" $fovea filter box.png out.png --kernel "1 x2;3 4"
expect 2 "\"1e99\" is not a number" $fovea filter box.png out.png --kernel "1e99"
expect 2 "border" $fovea filter box.png out.png --kernel box3 --border torus
expect 2 "stride" $fovea filter box.png out.png --stride 2 --pyramid 2
expect 2 "writes .png, .jpg and .jpeg" $fovea filter box.png out.gif --kernel box3
expect 2 "input and an output" $fovea filter box.png --kernel box3
expect 1 "nosuch.png" $fovea filter nosuch.png out.png --kernel box3
echo junk >junk.png
expect 1 "junk.png" $fovea filter junk.png out.png --kernel box3
expect 1 "smaller than the kernel" $fovea filter one.png out.png --kernel box3
expect 1 "/nosuch/out.png" $fovea filter box.png /nosuch/out.png --kernel box3
# show: filters alone, of a file, of a data set.
$fovea new lenet5 --out m.onnx
"$pixels" write shoe.png 3 20 24 10 200 90 30 20 10 250
$fovea show m.onnx --out filters.png
$fovea show m.onnx shoe.png --out image.png
$fovea show m.onnx --data "$sample" --index 3 --maps 4 --out item.png
[ "$("$pixels" print filters.png | head -n 1 | cut -d' ' -f2)" -lt 120 ] || fail "filters alone are one band"
[ "$("$pixels" print image.png | head -n 1 | cut -d' ' -f2)" -gt 700 ] || fail "a band a layer"
$fovea show m.onnx --data "$sample" --index 3 --maps 4 --threads 3 --isa scalar --out again.png
expect 2 "needs --out" $fovea show m.onnx
expect 2 "not both" $fovea show m.onnx shoe.png --data "$sample" --out x.png
expect 2 "index" $fovea show m.onnx shoe.png --index 2 --out x.png
expect 1 "image 99999" $fovea show m.onnx --data "$sample" --index 99999 --out x.png
expect 1 "nosuch.onnx" $fovea show nosuch.onnx --out x.png
expect 1 "/nosuch/x.png" $fovea show m.onnx --out /nosuch/x.png
[ ! -e x.png ] || fail "a picture in spite of a mistake"
