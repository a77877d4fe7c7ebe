#!/bin/sh
# Every answer follows a JSON schema, so every answer can be parsed.
set -eu
batchyard run-batch -i "$(dirname "$0")/json-schema.jsonl" -o json-output.jsonl --model demo
python3 - json-output.jsonl <<'EOF'
import json, sys

for line in open(sys.argv[1]):
    answer = json.loads(line)
    person = json.loads(answer["response"]["body"]["choices"][0]["message"]["content"])
    print(f"{answer['custom_id']}: {person['name']} in {person['city']}")
EOF
