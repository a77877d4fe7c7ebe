#!/bin/sh
# Standard input to standard output; what people read goes to standard error.
set -eu
cat "$(dirname "$0")/two-lines.jsonl" \
    | batchyard run-batch -i - -o - --model demo --progress none \
    | python3 -c 'import json, sys; print(*(json.loads(line)["custom_id"] for line in sys.stdin))'
