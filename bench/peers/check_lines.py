"""A plain check of a request file: `json.loads` for each line, the fields that must be there, ids in a set.

    python bench/peers/check_lines.py FILE
"""

import json
import sys

FIELDS = {"custom_id": str, "method": str, "url": str, "body": dict}


def main() -> None:
    ids, bad = set(), 0
    with open(sys.argv[1], encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                bad += 1
                continue
            right = all(isinstance(entry.get(name), kind) for name, kind in FIELDS.items())
            body = entry.get("body") if right else {}
            right = right and isinstance(body.get("model"), str) and isinstance(body.get("messages"), list)
            if not right or entry["custom_id"] in ids:
                bad += 1
                continue
            ids.add(entry["custom_id"])
    print(f"{len(ids)} lines are right, {bad} are not")


main()
