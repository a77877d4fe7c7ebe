"""Which prompts begin alike, so that an engine can share the work on their start?"""

from functools import lru_cache

from xxhash import xxh3_64_intdigest

PREFIX_BYTES = 512
"""How much of a prompt's start is looked at: about 128 tokens."""


def prefix_of(prompt: bytes, seed: int) -> int:
    """Hash of the start of a prompt."""
    return xxh3_64_intdigest(prompt[:PREFIX_BYTES], seed)


@lru_cache(maxsize=256)
def prefix_seed(model: str) -> int:
    """What makes equal prompts to different models differ."""
    return xxh3_64_intdigest(model.encode())
