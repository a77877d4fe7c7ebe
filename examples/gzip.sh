#!/bin/sh
# Packed inputs are known by their first bytes, whatever they are called. zstd works too.
set -eu
gzip -c "$(dirname "$0")/two-lines.jsonl" > packed.jsonl.gz
batchyard run-batch -i packed.jsonl.gz -o gzip-output.jsonl --model demo
