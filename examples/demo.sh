#!/bin/sh
# 500 requests, answered by the model in the package and checked.
set -eu
batchyard run-batch -i "$(python3 -m batchyard.demo)" -o demo-output.jsonl --model demo
python3 -m batchyard.demo demo-output.jsonl
