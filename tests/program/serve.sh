# `fovea serve` as clients meet it: metadata, JSON and binary inference, malformed requests, slow clients, SIGTERM under load.
. "$(dirname "$0")/common.sh"
cat >request.py <<'END'
import json, struct, sys
kind, items = sys.argv[1], int(sys.argv[2])
numbers = [((i * 7919) % 997) / 997 for i in range(items * 784)]
x = {"name": "input", "shape": [items, 1, 28, 28], "datatype": "FP32"}
request = {"id": "\u00e9\"7", "inputs": [x]}
if kind == "json":
    x["data"] = numbers
if kind == "nested":
    x["data"] = [[[numbers[n * 784 + r * 28 : n * 784 + r * 28 + 28] for r in range(28)]] for n in range(items)]
if kind == "binary":
    x["parameters"] = {"binary_data_size": 4 * len(numbers)}
    request["outputs"] = [{"name": "output", "parameters": {"binary_data": True}}]
head = json.dumps(request).encode()
sys.stdout.buffer.write(head + (struct.pack("<%df" % len(numbers), *numbers) if kind == "binary" else b""))
sys.stderr.write(str(len(head)))
END
server=
stop_server() { [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; }
trap 'stop_server; rm -rf "$work"' EXIT
# start OPTIONS...: $base becomes its address.
start() {
    rm -f serve.txt
    $fovea serve lenet5 --port 0 "$@" >serve.txt 2>serve.err &
    server=$!
    n=0
    until grep -qs http serve.txt; do
        n=$((n + 1))
        [ $n -lt 200 ] && kill -0 $server 2>/dev/null || fail "serve did not start: $(cat serve.err)"
        sleep 0.05
    done
    url=$(sed 's/^lenet5: //' serve.txt)
    base=${url%/v2/*}
}
# stop: SIGTERM, and exit status 0 with nothing on stderr.
stop() {
    kill -TERM $server
    wait $server || fail "serve ended with $?: $(cat serve.err)"
    server=
    [ ! -s serve.err ] || fail "serve wrote $(cat serve.err)"
}
# answers CODE WORDS CURL-OPTIONS...: the status, and words of the body.
answers() {
    want=$1
    words=$2
    shift 2
    got=$(curl -s -m 20 -o body.txt -w '%{http_code}' "$@") || fail "curl $*: $?"
    [ "$got" = "$want" ] || fail "curl $* gave $got, not $want: $(head -c 300 body.txt)"
    grep -q -- "$words" body.txt || fail "curl $* did not say \"$words\": $(head -c 300 body.txt)"
}
# refused WORDS JSON: 400, one sentence that holds the words, in JSON.
refused() {
    printf '%s' "$2" >bad.json
    answers 400 "$1" --data-binary @bad.json "$url/infer"
    python3 -c 'import json, sys; e = json.load(open("body.txt")); sys.exit(list(e) != ["error"] or "\n" in e["error"])' || fail "not one sentence: $(cat body.txt)"
}
command -v curl >/dev/null && command -v python3 >/dev/null || { echo "curl or python3 is missing"; exit 77; }

expect 2 "needs one model" $fovea serve
expect 1 "nosuch.onnx" $fovea serve nosuch.onnx
expect 1 "cannot listen on 300.1.1.1" timeout 20 $fovea serve lenet5 --host 300.1.1.1
expect 2 "max-batch" $fovea serve lenet5 --max-batch 0
start --max-body 300000 --queue 64
expect 1 "cannot listen" timeout 20 $fovea serve lenet5 --port "${base##*:}"

answers 200 '"name":"fovea","version"' "$base/v2"
answers 200 '"live":true' "$base/v2/health/live"
answers 200 '"ready":true' "$base/v2/health/ready"
answers 200 '"ready":true' "$url/ready"
answers 200 '"inputs":\[{"name":"input","datatype":"FP32","shape":\[-1,1,28,28\]}\],"outputs":\[{"name":"output","datatype":"FP32","shape":\[-1,10\]}\]' "$url"
answers 200 '"platform":"fovea"' "$url/versions/1"
answers 404 'nothing is at' "$url/versions/2"
answers 404 'nothing is at' "$base/v2/models/other"
answers 404 'nothing is at' -d '{}' -X GET "$base/"
answers 405 'GET is not a method' "$url/infer"
answers 405 'POST is not a method' -d '{}' "$url"

# The answers are those of the program itself; JSON, nested JSON and binary agree, one item and several.
python3 request.py json 1 >one.json 2>/dev/null
python3 request.py nested 5 >five.json 2>/dev/null
python3 request.py binary 5 >five.bin 2>length.txt
answers 200 '"model_name":"lenet5","model_version":"1","id":' --data-binary @one.json "$url/infer"
mv body.txt one.txt
answers 200 '"shape":\[5,10\]' --data-binary @five.json "$url/versions/1/infer"
mv body.txt five.txt
answers 200 '"binary_data_size":200' -D headers.txt -H "Inference-Header-Content-Length: $(cat length.txt)" --data-binary @five.bin "$url/infer"
python3 - <<'END' || fail "the answers differ"
import json, struct
one, five = json.load(open("one.txt")), json.load(open("five.txt"))
assert one["id"] == "\u00e9\"7", one["id"]
a, b = one["outputs"][0]["data"], five["outputs"][0]["data"]
raw = open("body.txt", "rb").read()
headers = dict(l.strip().split(": ", 1) for l in open("headers.txt") if ": " in l)
length = int(headers["Inference-Header-Content-Length"])
json.loads(raw[:length])
c = struct.unpack("<50f", raw[length:])
assert len(a) == 10 and len(b) == 50 and max(map(abs, b)) > 0.01
assert all(abs(p - q) < 1e-5 for p, q in zip(a, b)), (a, b)
assert all(abs(p - q) < 1e-5 for p, q in zip(b, c)), (b, c)
END
answers 200 '"data":' -H 'Transfer-Encoding: chunked' --data-binary @one.json "$url/infer"

# Malformed requests: one sentence each, and the server goes on.
x='{"name":"input","shape":[1,1,28,28],"datatype":"FP32"'
refused 'not valid JSON' ''
refused 'not valid JSON' '{"inputs":['
refused 'not valid JSON' '{} {}'
refused 'not a JSON object' '[]'
refused 'array .*inputs' '{}'
refused 'is missing' '{"inputs":[]}'
refused 'no name' '{"inputs":[7]}'
refused 'nested more than 32 deep' "$(python3 -c 'print("[" * 100000)')"
refused 'nested more than 32 deep' "{\"inputs\":[$x,\"data\":$(python3 -c 'print("[" * 40 + "]" * 40)')}]}"
refused 'not valid JSON.*duplicate' "{\"inputs\":[],\"inputs\":[]}"
refused 'not valid JSON.*overflow' "{\"inputs\":[$x,\"data\":[1e400]}]}"
refused 'not valid JSON.*too big' "{\"inputs\":[$x,\"data\":[99999999999999999999]}]}"
refused 'as many numbers' "{\"inputs\":[$x,\"data\":[1,2,3]}]}"
refused 'as many numbers' "{\"inputs\":[$x,\"data\":[]}]}"
refused 'not an array' "{\"inputs\":[$x,\"data\":\"AAAA\"}]}"
refused 'is nested unevenly' "{\"inputs\":[$x,\"data\":$(python3 -c 'print([[[[0] * 28] * 27 + [7]]])')}]}"
refused 'shape it says' "{\"inputs\":[$x,\"data\":$(python3 -c 'print([[[[0] * 28] * 27]])')}]}"
refused 'either data or' "{\"inputs\":[$x}]}"
refused "given twice" "$(python3 -c 'import json; r = json.load(open("one.json"))["inputs"]; print(json.dumps({"inputs": r + r}))')"
refused 'no input ..w' '{"inputs":[{"name":"w","shape":[1],"datatype":"FP32","data":[1]}]}'
refused 'datatype FP32, not BYTES' '{"inputs":[{"name":"input","shape":[1,1,28,28],"datatype":"BYTES","data":["a"]}]}'
refused 'datatype FP32, not none' '{"inputs":[{"name":"input","shape":[1,1,28,28],"data":["a"]}]}'
refused 'size 3 of its shape is not 28' '{"inputs":[{"name":"input","shape":[1,1,28,27],"datatype":"FP32","data":[1]}]}'
refused 'needs a shape of 4 sizes' '{"inputs":[{"name":"input","shape":[784],"datatype":"FP32","data":[1]}]}'
refused 'size 0 of its shape' '{"inputs":[{"name":"input","shape":[0,1,28,28],"datatype":"FP32","data":[]}]}'
refused 'size 0 of its shape' '{"inputs":[{"name":"input","shape":[-1,1,28,28],"datatype":"FP32","data":[]}]}'
refused 'at most 64 items' '{"inputs":[{"name":"input","shape":[9223372036854775807,1,28,28],"datatype":"FP32","data":[1]}]}'
refused 'no number of its datatype' "$(sed 's/"data": \[0.0/"data": [true/' one.json)"
refused 'no number of its datatype' "$(sed 's/"data": \[0.0/"data": [1e39/' one.json)"
refused 'need the header' "{\"inputs\":[$x,\"parameters\":{\"binary_data_size\":3136}}]}"
refused 'no output ..z' "$(sed 's/"inputs"/"outputs":[{"name":"z"}],"inputs"/' one.json)"
refused 'asked for twice' "$(sed 's/"inputs"/"outputs":[{"name":"output"},{"name":"output"}],"inputs"/' one.json)"
refused 'the id is not' "$(sed 's/"id": [^,]*/"id": 7/' one.json)"
refused 'timeout is not' "$(sed 's/"inputs"/"parameters":{"timeout":0},"inputs"/' one.json)"
header=Inference-Header-Content-Length
size=$(cat length.txt)
answers 400 'is not a number' -H "$header: -1" --data-binary @five.bin "$url/infer"
answers 400 'the body has' -H "$header: 99999999999999999999" --data-binary @five.bin "$url/infer"
answers 400 'not valid JSON' -H "$header: $((size + 1))" --data-binary @five.bin "$url/infer"
sed 's/"binary_data_size": 15680/"binary_data_size": 99999/' five.bin >lie.bin
answers 400 'another binary_data_size' -H "$header: $size" --data-binary @lie.bin "$url/infer"
head -c $((size + 15679)) five.bin >short.bin
answers 400 'the body ends before' -H "$header: $size" --data-binary @short.bin "$url/infer"
{ cat five.bin; printf x; } >long.bin
answers 400 '1 bytes follow' -H "$header: $size" --data-binary @long.bin "$url/infer"
head -c 400000 /dev/zero >huge.bin
answers 415 'not with Content-Encoding gzip' -H 'Content-Encoding: gzip' --data-binary @one.json "$url/infer"
answers 413 'larger than the 300000' --data-binary @huge.bin "$url/infer"
answers 413 'larger than the 300000' -H 'Transfer-Encoding: chunked' --data-binary @huge.bin "$url/infer"
answers 413 'larger than the 300000' -H 'Content-Length: 9223372036854775807' --data-binary x "$url/infer"
answers 200 '"data":' --data-binary @one.json "$url/infer"
answers 200 'fovea_http_responses_total{code="400"} 4' "$base/metrics"
grep -q '^fovea_items_answered_total 13$' body.txt || fail "answered items: $(grep items_answered body.txt)"
grep -q '^fovea_latency_seconds_bucket{le="+Inf"} 13$' body.txt || fail "no histogram: $(cat body.txt)"
stop

# Slow clients are cut off, whether silent or dripping; others are served meanwhile.
start --timeout 0.5
cat >slow.py <<'END'
import socket, sys, time
host, port = sys.argv[1].split("//")[1].split(":")
def drip(first, piece):
    s = socket.create_connection((host, int(port)))
    s.sendall(first)
    began = time.time()
    s.settimeout(0.2)
    while time.time() - began < 15:
        try:
            if piece: s.sendall(piece)
            if s.recv(1000) == b"": return
        except socket.timeout: pass
        except OSError: return
    sys.exit("a slow client was not cut off: %r" % first)
drip(b"", b"")
drip(b"POST /v2/models/lenet5/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n", b"")
drip(b"GET /v2 HTTP/1.1\r\n", b"a: b\r\n")
drip(b"POST /v2/models/lenet5/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n", b" ")
END
python3 slow.py "$base" || fail "slow clients"
answers 200 '"data":' --data-binary @one.json "$url/infer"
stop

# A full queue: 503, nothing else; deadlines: 504.
start --queue 5 --max-delay 300000 --max-batch 16
answers 503 'queue is full\|at most' --data-binary @five.json "$url/infer" &
first=$!
answers_status() { curl -s -o /dev/null -w '%{http_code}\n' -m 20 "$@"; }
kill $first 2>/dev/null || true
wait $first 2>/dev/null || true
for i in 1 2 3; do answers_status --data-binary @five.json "$url/infer" >code.$i & pids="${pids-} $!"; done
for p in $pids; do wait $p; done
sort code.1 code.2 code.3 | tr '\n' ' ' | grep -q '200 503 503' || fail "of three requests of five items for a queue of five: $(cat code.?)"
sed 's/"inputs"/"parameters":{"timeout":20000},"inputs"/' one.json >hasty.json
answers 200 '"data":' --data-binary @hasty.json "$url/infer" # its deadline is sooner than the delay: it does not wait for others
stop

# SIGTERM under load: every answer is whole, nothing accepted is lost, and the exit status is 0.
start --max-delay 2000
cat >load.py <<'END'
import http.client, json, os, signal, sys, threading, time
host, port = sys.argv[1].split("//")[1].split(":")
pid, keep = int(sys.argv[2]), sys.argv[3] == "keep"
body = open("one.json", "rb").read()
want = json.load(open("one.txt"))["outputs"][0]["data"]
answered, lost, refused = [], [], []
def client():
    c = None
    while True:
        try:
            if c is None or not keep:
                c = http.client.HTTPConnection(host, int(port), timeout=20)
                c.connect()
        except ConnectionRefusedError:
            refused.append(1)
            return
        try:
            c.request("POST", "/v2/models/lenet5/infer", body)
            r = c.getresponse()
            got = json.loads(r.read())
            assert r.status == 200 and all(abs(p - q) < 1e-5 for p, q in zip(got["outputs"][0]["data"], want)), got
            answered.append(1)
            if r.getheader("Connection") == "close": c = None
        except Exception as e:
            lost.append(repr(e))
            return
threads = [threading.Thread(target=client) for i in range(16)]
for t in threads: t.start()
time.sleep(1)
os.kill(pid, signal.SIGTERM)
for t in threads: t.join()
print(len(answered), "answered,", len(refused), "refused")
if lost: sys.exit("lost: %s" % lost[:3])
if len(answered) < 50 or len(refused) != 16: sys.exit("%d answered, %d refused" % (len(answered), len(refused)))
END
for kind in keep new; do
    [ -n "$server" ] || start --max-delay 2000
    python3 load.py "$base" $server $kind || fail "SIGTERM under load ($kind)"
    wait $server || fail "serve ended with $? after SIGTERM: $(cat serve.err)"
    server=
done
