"""How long does it take to check a file, and how much memory? Prints one line per size.

    python bench/validate.py [--lines 10000 100000 500000] [--kind chat|embeddings] [--repeat-share 0.1] [--folder DIR]

Input: seeded; chat lines of about 2 KB with accents and escapes, 512 shared prefixes of 400 characters before a text of
1,500 of a pool of 4,000 texts; or embeddings lines, of which a share repeats an earlier one. Each size is checked in a
process of its own, so that its peak of memory is its own.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

WORDS = "alpha beta gamma delta model token batch prefix latency through été data query movie review the of and to in"
EXTRA = ['"quoted"', "line\nbreak"]


def lines(count: int, kind: str, repeat_share: float) -> Iterator[dict[str, object]]:
    """Request lines; equal arguments give equal lines."""
    draw = random.Random(7)
    words = [*WORDS.split(), *EXTRA]
    texts = [" ".join(draw.choices(words, k=230)) for _ in range(4000)]
    prefixes = [" ".join(draw.choices(words, k=60)) for _ in range(512)]
    for number in range(count):
        text = f"{draw.choice(texts)} {number}"
        if kind == "chat":
            messages = [
                {"role": "system", "content": prefixes[number % len(prefixes)]},
                {"role": "user", "content": text},
            ]
            url, body = (
                "/v1/chat/completions",
                {"model": "m", "messages": messages, "max_tokens": 128, "temperature": 0},
            )
        else:
            again = draw.random() < repeat_share
            url, body = "/v1/embeddings", {"model": "m", "input": f"{texts[0]} {number % 997}" if again else text}
        yield {"custom_id": f"request-{number:08d}", "method": "POST", "url": url, "body": body}


def write(path: Path, count: int, kind: str, repeat_share: float) -> None:
    with path.open("w", encoding="utf-8") as file:
        for line in lines(count, kind, repeat_share):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def measure(path: str) -> None:
    """Check one file and print what it took, as JSON."""
    from batchyard.dialects import openai
    from batchyard.disks.local import LocalDisk
    from batchyard.endpoints import ENDPOINTS
    from batchyard.pipeline.validate import validate

    dialect = openai.open(openai.Config(run_id="bench", endpoints=ENDPOINTS))
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, processor = time.perf_counter(), time.process_time()
    verdict = validate(LocalDisk(), path, path + ".plan", dialect, dedupe=True, on_progress=lambda _bytes, _lines: None)
    figures = {
        "lines": verdict.lines,
        "mb": round(verdict.bytes / 1e6),
        "invalid": verdict.invalid,
        "followers": verdict.followers,
        "cpu_s": round(time.process_time() - processor, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
        "us_per_line": round((time.process_time() - processor) / max(verdict.lines, 1) * 1e6, 2),
        "memory_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) / 1024, 1),
    }
    print(json.dumps(figures))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="+", default=[10_000, 100_000, 500_000])
    parser.add_argument("--kind", choices=["chat", "embeddings"], default="chat")
    parser.add_argument("--repeat-share", type=float, default=0.1)
    parser.add_argument("--folder", help="where the files go (default: a temporary folder)")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for count in options.lines:
            path = Path(folder) / f"{options.kind}-{count}.jsonl"
            write(path, count, options.kind, options.repeat_share)
            subprocess.run([sys.executable, __file__, "--measure", str(path)], check=True)
            path.unlink()


if __name__ == "__main__":
    main()
