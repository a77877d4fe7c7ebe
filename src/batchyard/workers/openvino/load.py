"""Load a model into OpenVINO and see what it can do."""

from functools import partial
from pathlib import Path

import msgspec

from batchyard import demo
from batchyard.domain.errors import Unavailable
from batchyard.engine import Abilities
from batchyard.workers import machine
from batchyard.workers.openai import CHAT, COMPLETIONS, IMAGES
from batchyard.workers.openvino.able import can_load
from batchyard.workers.openvino.board import Board
from batchyard.workers.openvino.config import Config
from batchyard.workers.openvino.model import OpenVinoModel
from batchyard.workers.openvino.pictures.folder import grain, makes_pictures
from batchyard.workers.openvino.pictures.model import PictureModel
from batchyard.workers.openvino.pictures.painter import build_painter
from batchyard.workers.openvino.pipeline import BLOCK_TOKENS, Shape, build_pipeline, schema_trial
from batchyard.workers.openvino.schemas import SchemaCheck
from batchyard.workers.openvino.source import Source, read_source
from batchyard.workers.serve import Model

SLOTS_PER_CORE = 32
MOST_SLOTS = 256

CACHE_SHARE = 0.5
"""The part of the memory left beside the weights that the key-value cache may take."""


def load(data: bytes) -> Model:
    """Load the configured model. Raises Unavailable."""
    config = msgspec.msgpack.decode(data, type=Config)
    reason = can_load(config.model_path)
    if reason is not None:
        raise Unavailable(f"OpenVINO cannot run {config.model_path}: {reason}.", remedy="Use the llamacpp engine.")
    if makes_pictures(Path(config.model_path)):
        return load_pictures(config)
    return load_words(config)


def load_words(config: Config) -> OpenVinoModel:
    """A model that writes. Raises Unavailable."""
    source = read_source(Path(config.model_path))
    context, shape = sizes(config, source, machine.cores(), machine.free_bytes())
    board = Board(partial(build_pipeline, config.model_path, shape))
    board.start()
    schemas = SchemaCheck(schema_trial(str(demo.model_path())))
    return OpenVinoModel(board, source, schemas, _abilities(config, context, shape))


def load_pictures(config: Config) -> PictureModel:
    """A pipeline that makes pictures, one at a time, with all threads. Raises Unavailable."""
    folder = Path(config.model_path)
    abilities = Abilities(
        endpoints=frozenset({IMAGES}),
        models=config.names or None,
        slots=1,
        description=f"OpenVINO, {folder.name}, pictures, one at a time",
    )
    return PictureModel(build_painter(folder, config.threads), grain(folder), abilities)


def sizes(config: Config, source: Source, cores: int, free_bytes: int | None) -> tuple[int, Shape]:
    """The longest context of one request, and the pipeline's shape: its cache fits into memory."""
    slots = config.slots or min(MOST_SLOTS, SLOTS_PER_CORE * cores)
    context = config.context_tokens or source.context_tokens
    wanted = slots * min(context, 4096) + context
    room = _room_tokens(source, free_bytes)
    tokens = wanted if room is None else max(8 * BLOCK_TOKENS, min(wanted, room))
    # The cache is cut into blocks, and one is kept free for the next token.
    return min(context, tokens - BLOCK_TOKENS), Shape(slots, tokens, config.threads)


def _room_tokens(source: Source, free_bytes: int | None) -> int | None:
    """OpenVINO keeps keys and values in 8 bits, half of what the source reckons with."""
    if free_bytes is None or not source.cache_bytes_per_token:
        return None
    return int(max(0, free_bytes - 2 * source.size_bytes) * CACHE_SHARE) // (source.cache_bytes_per_token // 2)


def _abilities(config: Config, context: int, shape: Shape) -> Abilities:
    return Abilities(
        endpoints=frozenset({CHAT, COMPLETIONS}),
        models=config.names or None,
        slots=shape.slots,
        context_tokens=context,
        description=f"OpenVINO, {Path(config.model_path).name}, {shape.slots} slots, context of {context} tokens",
    )
