from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batchyard.workers.gguf import Gguf
from batchyard.workers.llamacpp.config import Config
from batchyard.workers.llamacpp.size import LEAST_CONTEXT_TOKENS, MOST_SLOTS, size

GIB = 1 << 30


def a_model(size_bytes: int = GIB, **fields: Any) -> Gguf:
    """A model of some billions of weights: 128 KiB of cache per token."""
    shape = {"block_count": 32, "embedding_length": 4096, "attention.head_count": 32, "attention.head_count_kv": 8}
    told = {"context_length": 32768, **shape, **fields}
    return Gguf({"general.architecture": "x", **{f"x.{k}": v for k, v in told.items()}}, {}, size_bytes)


def config(**options: Any) -> Config:
    return Config(model_path="x.gguf", **options)


def test_two_cores_and_much_memory_give_eight_slots() -> None:
    chosen = size(config(), a_model(), cores=2, free_bytes=100 * GIB)
    assert (chosen.slots, chosen.context_tokens, chosen.threads) == (8, 4096, 2)


def test_a_small_context_of_the_model_is_all_that_a_slot_gets() -> None:
    assert size(config(), a_model(context_length=1024), cores=2, free_bytes=None).context_tokens == 1024


def test_where_memory_is_short_slots_go_before_context() -> None:
    assert a_model().cache_bytes_per_token == 128 * 1024
    chosen = size(config(), a_model(), cores=2, free_bytes=3 * GIB)
    # Two GiB beside the weights, 60 % of them: 9830 tokens.
    assert (chosen.slots, chosen.context_tokens) == (2, 4096)


def test_where_memory_is_very_short_context_goes_too() -> None:
    chosen = size(config(), a_model(), cores=2, free_bytes=GIB + GIB // 8)
    assert chosen.slots == 1
    assert LEAST_CONTEXT_TOKENS <= chosen.context_tokens < 4096


def test_what_was_asked_for_is_given() -> None:
    asked = config(slots=7, context_tokens_per_slot=9000, threads=3)
    chosen = size(asked, a_model(), cores=2, free_bytes=GIB)
    assert (chosen.slots, chosen.context_tokens, chosen.threads) == (7, 9000, 3)


@given(st.integers(1, 256), st.integers(0, 200 * GIB))
def test_there_is_always_a_slot_and_never_too_many(cores: int, free_bytes: int) -> None:
    chosen = size(config(), a_model(), cores, free_bytes)
    assert 1 <= chosen.slots <= MOST_SLOTS
    assert chosen.context_tokens >= LEAST_CONTEXT_TOKENS
