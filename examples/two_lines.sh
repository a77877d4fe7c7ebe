#!/bin/sh
# The same two lines, as Batchyard's own command, as `vllm run-batch` and as `fastdeploy run-batch`.
# Demo answers to such questions are nonsense: it knows five things, and these are not among them.
set -eu
here=$(dirname "$0")

batchyard run-batch -i "$here/two-lines.jsonl" -o two-openai.jsonl --model demo

# vllm run-batch -i ... -o ... --model ...
batchyard run-batch --compat vllm -i "$here/two-lines.jsonl" -o two-vllm.jsonl --model demo \
    --max-model-len 512 --tensor-parallel-size 1

# fastdeploy run-batch -i ... -o ... --model ...
batchyard run-batch --compat fastdeploy -i "$here/two-lines.jsonl" -o two-fastdeploy.jsonl --model demo \
    --port 8000 --tensor-parallel-size 1 --engine-worker-queue-port 8002 --max-model-len 512 --max-num-seqs 8
