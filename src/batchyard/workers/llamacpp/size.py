"""How many slots a model gets, and how much context each."""

from msgspec import Struct

from batchyard.workers.gguf import Gguf
from batchyard.workers.llamacpp.config import Config

SLOTS_PER_CORE = 4
MOST_SLOTS = 32

USUAL_CONTEXT_TOKENS = 4096
"""The default context of a slot, where the model knows as much: more costs memory that most batches never use."""

LEAST_CONTEXT_TOKENS = 512

CACHE_SHARE = 0.6
"""The part of the memory left beside the weights that the key-value cache may take."""


class Size(Struct, frozen=True):
    slots: int
    context_tokens: int
    threads: int

    @property
    def all_tokens(self) -> int:
        return self.slots * self.context_tokens


def size(config: Config, model: Gguf, cores: int, free_bytes: int | None) -> Size:
    """What was asked for; what was not is chosen so that the key-value cache fits into memory.

    Where memory is short, slots go before context: fewer at once is slower, but every line still fits.
    """
    context = config.context_tokens_per_slot or min(model.context_tokens or USUAL_CONTEXT_TOKENS, USUAL_CONTEXT_TOKENS)
    slots = config.slots or min(MOST_SLOTS, SLOTS_PER_CORE * cores)
    room = _room_tokens(model, free_bytes)
    if room is not None and config.slots is None:
        slots = max(1, min(slots, room // context))
    if room is not None and config.context_tokens_per_slot is None:
        context = max(min(LEAST_CONTEXT_TOKENS, context), min(context, room // slots))
    return Size(slots, context, config.threads or cores)


def _room_tokens(model: Gguf, free_bytes: int | None) -> int | None:
    """How many tokens' keys and values fit into memory; None where nobody knows."""
    per_token = model.cache_bytes_per_token
    if free_bytes is None or not per_token:
        return None
    return int(max(0, free_bytes - model.size_bytes) * CACHE_SHARE) // per_token
