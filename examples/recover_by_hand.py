"""The answers of an unfinished run, without Batchyard: recover_by_hand.py OUTPUT.batchyard > recovered.jsonl

Needs nothing but Python. docs/reference/on-disk.md describes what it reads.
"""

import base64
import json
import struct
import sys
from pathlib import Path

folder = Path(sys.argv[1])
results = {}
for segment in sorted(folder.glob("journal/*.jsonl")):
    for line in segment.read_bytes().split(b"\n")[:-1]:  # what follows the last newline was never finished
        try:
            result = json.loads(line)
        except ValueError:
            continue  # a torn write: it was not safe yet, and counts as not answered
        results.setdefault(result["line"], result)  # of several results of one line the first counts

plan = (folder / "plan").read_bytes()
manifest = json.loads((folder / "run.json").read_text())
with open(manifest["input"]["path"], "rb") as source:
    for place, record in enumerate(struct.iter_unpack("<QQQIIIiIII", plan[64:])):
        offset, length, leader = record[0], record[3], record[6]
        result = results.get(place) or results.get(leader)  # a repeated request takes the answer of its first
        if result is None:
            continue
        custom_id = result["custom_id"]
        if result["line"] != place:
            source.seek(offset)
            custom_id = json.loads(source.read(length))["custom_id"]
        body = result.get("raw") or result["body"]
        if "base64" in result:
            body = base64.b64decode(result["base64"]).decode("utf-8", "replace")
        response = None if result["failure"] else {"status_code": result["status"], "body": body}
        print(json.dumps({"custom_id": custom_id, "response": response, "error": result["failure"]}))
