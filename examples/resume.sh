#!/bin/sh
# Kill a run in the middle, look at what it kept, recover that by hand, and let the same command finish it.
set -eu
here=$(dirname "$0")
requests=$(python3 -m batchyard.demo)

run() { exec batchyard run-batch -i "$requests" -o resumed.jsonl --model demo --max-inflight 4; }

run &
until [ -s resumed.jsonl.batchyard/journal/000001.jsonl ]; do
    kill -0 $! || exit 1
    sleep 0.05
done
kill -9 $!
wait $! || echo "killed: exit code $?"

python3 "$here/recover_by_hand.py" resumed.jsonl.batchyard > recovered.jsonl
echo "by hand: $(grep -c . recovered.jsonl) answers"

(run)
python3 -m batchyard.demo resumed.jsonl
