"""Load a GGUF file and see what it can do."""

import importlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from batchyard.domain.errors import Unavailable
from batchyard.engine import Abilities
from batchyard.workers import machine
from batchyard.workers.gguf import Gguf, NotGguf, read_gguf
from batchyard.workers.llamacpp.config import Config
from batchyard.workers.llamacpp.model import LlamaModel
from batchyard.workers.llamacpp.size import Size, size
from batchyard.workers.openai import CHAT, COMPLETIONS, EMBEDDINGS, RERANK, SCORE

WRITES = frozenset({CHAT, COMPLETIONS})
EMBEDS = frozenset({EMBEDDINGS, SCORE, RERANK})
RANKS = frozenset({SCORE, RERANK})

LONGEST_SOCKET_PATH = 100
"""Unix sockets have short names (108 bytes on Linux)."""


def load(data: bytes) -> LlamaModel:
    """Load the configured model. Raises Unavailable."""
    config = msgspec.msgpack.decode(data, type=Config)
    file = _read(config)
    chosen = size(config, file, machine.cores(), machine.free_bytes())
    embeds = file.embeds if config.embedding is None else config.embedding
    server = _start_server(config, chosen, embeds=embeds, ranks=file.ranks)
    return LlamaModel(
        server,
        _abilities(config, file, chosen, embeds),
        ranks=file.ranks,
        knows_tools="tools" in (file.chat_template or ""),
    )


def _read(config: Config) -> Gguf:
    try:
        return read_gguf(Path(config.model_path))
    except (OSError, NotGguf) as error:
        raise Unavailable(
            f"The model {config.model_path} cannot be read: {error}.", remedy="Give the path of a whole GGUF file."
        ) from error


def _abilities(config: Config, file: Gguf, chosen: Size, embeds: bool) -> Abilities:
    name = Path(config.model_path).name
    return Abilities(
        endpoints=(RANKS if file.ranks else EMBEDS) if embeds else WRITES,
        models=config.names or None,
        slots=chosen.slots,
        context_tokens=chosen.context_tokens,
        sees_images=config.mmproj_path is not None,
        description=f"llama.cpp, {name}, {chosen.slots} slots of {chosen.context_tokens} tokens, "
        f"{chosen.threads} threads",
    )


def _start_server(config: Config, chosen: Size, *, embeds: bool, ranks: bool) -> Any:
    """xllamacpp's server. It insists on an HTTP door; ours opens on a socket file that is removed at once."""
    xllamacpp = _xllamacpp()
    parameters = _parameters(xllamacpp, config, chosen)
    if embeds:
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = max(512, chosen.context_tokens)
    if ranks:
        parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    with tempfile.TemporaryDirectory(prefix="batchyard-") as folder:
        door = os.path.join(folder, "door.sock")  # noqa: PTH118 - the server compares names
        if len(door) <= LONGEST_SOCKET_PATH:
            parameters.hostnames = [door]
        try:
            return xllamacpp.Server(parameters)
        except (RuntimeError, ValueError) as error:
            raise Unavailable(
                f"llama.cpp cannot load {config.model_path}: {error}.",
                remedy="The file may be damaged, too large for the memory, or too new for the installed xllamacpp.",
            ) from error


def _parameters(xllamacpp: Any, config: Config, chosen: Size) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = config.model_path
    if config.mmproj_path is not None:
        parameters.mmproj.path = config.mmproj_path
    if config.chat_template is not None:
        parameters.chat_template = config.chat_template
    if config.template_arguments:
        parameters.default_template_kwargs = config.template_arguments
    parameters.n_parallel = chosen.slots
    parameters.n_ctx = chosen.all_tokens
    parameters.cpuparams.n_threads = chosen.threads
    parameters.fit_params = False  # `size` has chosen
    parameters.cache_ram_mib = 0  # its store of old prompts grows to gigabytes; slots keep their own
    parameters.verbosity = 1  # errors: they are shown where the start fails
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.n_threads_http = 1
    parameters.api_keys = [secrets.token_hex(32)]
    return parameters


def _xllamacpp() -> Any:
    # OpenMP threads that spin while they wait cost half the speed on shared cores; it is read at import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise Unavailable(
            f"The llama.cpp engine is not installed: {error}.", remedy="Run: pip install xllamacpp"
        ) from error
