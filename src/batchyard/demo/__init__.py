"""The demo model: a language model of 2.3 million parameters with a batch file whose right answers are known.

It does five things (sentiment of a review, routing of a ticket, sums below 100, capitals, name and city as JSON) and
knows only its own phrasings. `tools/demo_model` makes it.
"""

from pathlib import Path

import msgspec

FOLDER = Path(__file__).parent


def model_path() -> Path:
    """The model as GGUF, q8_0."""
    return FOLDER / "demo-q8_0.gguf"


def tokenizer_path() -> Path:
    """Its tokenizer, as the `tokenizers` library reads it."""
    return FOLDER / "tokenizer.json"


def requests() -> Path:
    """A batch file of 500 lines that name no model."""
    return FOLDER / "requests.jsonl"


def answers() -> dict[str, str]:
    """What the model must answer, by custom_id; JSON where the line asks for JSON."""
    return msgspec.json.decode((FOLDER / "answers.json").read_bytes(), type=dict[str, str])
