#!/bin/sh
# Texts to vectors: embeddings.sh MODEL.gguf     (an embedding model; the demo model is none)
set -eu
model=${1:?usage: embeddings.sh MODEL.gguf}
batchyard run-batch -i "$(dirname "$0")/embeddings.jsonl" -o vectors.jsonl --model "$model"
python3 - vectors.jsonl <<'EOF'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
vectors = {line["custom_id"]: line["response"]["body"]["data"][0]["embedding"] for line in lines}

def likeness(a, b):
    return sum(x * y for x, y in zip(vectors[a], vectors[b]))

print(f"cat and kitten {likeness('cat', 'kitten'):.2f}, cat and tax {likeness('cat', 'tax'):.2f}")
EOF
