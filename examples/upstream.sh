#!/bin/sh
# A file against a server that is already there: upstream.sh http://localhost:8000/v1 MODEL
# Its key, if it wants one, is taken from OPENAI_API_KEY.
set -eu
url=${1:?usage: upstream.sh URL MODEL}
model=${2:?usage: upstream.sh URL MODEL}
batchyard run-batch -i "$(dirname "$0")/two-lines.jsonl" -o upstream-output.jsonl --upstream "$url" --model "$model" \
    --summary upstream-summary.json
