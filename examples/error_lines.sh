#!/bin/sh
# A file with one good line and three bad ones: first refused, then run with an error line for each bad one.
set -u
bad=$(dirname "$0")/bad-lines.jsonl
batchyard validate "$bad" --model demo
echo "validate: exit code $?"
batchyard run-batch -i "$bad" -o never.jsonl --model demo
echo "run-batch: exit code $?"
batchyard run-batch -i "$bad" -o answers.jsonl --error-file errors.jsonl --model demo --on-invalid-line error-line
echo "run-batch --on-invalid-line error-line: exit code $?"
