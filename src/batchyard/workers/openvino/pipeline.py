"""OpenVINO GenAI's continuous batching pipeline, behind the few calls that the board makes."""

import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from batchyard.domain.errors import Unavailable
from batchyard.workers.openvino.board import Generated, Handle, Pipeline
from batchyard.workers.openvino.library import DEVICE, genai_library
from batchyard.workers.openvino.schemas import Trial

BLOCK_TOKENS = 32
"""Tokens per block of the key-value cache on a CPU."""

BATCH_TOKENS = 512
"""Tokens computed in one step: long prompts are fed in pieces between which others go on writing."""

SHAPES_REMEMBERED = 256
"""Kernels kept by shape. Each mixture of prompts and answers is a shape of its own: at the library's default of 5000
a worker grows by a gigabyte over some ten thousand requests, and is no faster for it."""

Settings = dict[str, Any]
"""Fields of a GenerationConfig by name; `json_schema` stands for the structured output that asks for it."""


class Shape(Struct, frozen=True):
    """How large a pipeline is: sequences at once, tokens of cache, threads (None: the library decides)."""

    slots: int
    cache_tokens: int
    threads: int | None = None


def build_pipeline(path: str, shape: Shape) -> Pipeline:
    """Load a model. Raises Unavailable."""
    genai = genai_library()
    properties = {"CPU_RUNTIME_CACHE_CAPACITY": SHAPES_REMEMBERED}
    if shape.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = shape.threads
    try:
        pipeline = genai.ContinuousBatchingPipeline(path, _scheduler(genai, shape), DEVICE, properties)
    except RuntimeError as error:
        raise Unavailable(
            f"OpenVINO cannot load {path}: {error}.", remedy="Run it on the llamacpp engine: --engine llamacpp"
        ) from error
    return _Pipeline(genai, pipeline)


def schema_trial(path: str) -> Callable[[], Trial]:
    """Makes trials of JSON schemas on a model that serves nobody."""

    def start() -> Trial:
        pipeline = build_pipeline(path, Shape(slots=1, cache_tokens=8 * BLOCK_TOKENS))

        def trial(schema: str) -> None:
            handle = pipeline.add([1], {"json_schema": schema, "max_new_tokens": 1})
            while handle.running():
                pipeline.step()
            handle.result()

        return trial

    return start


def _scheduler(genai: Any, shape: Shape) -> Any:
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 0
    scheduler.num_kv_blocks = -(-shape.cache_tokens // BLOCK_TOKENS)
    scheduler.max_num_seqs = shape.slots
    scheduler.max_num_batched_tokens = max(BATCH_TOKENS, shape.slots)
    scheduler.enable_prefix_caching = True
    return scheduler


class _Pipeline:
    def __init__(self, genai: Any, pipeline: Any) -> None:
        self._genai = genai
        self._pipeline = pipeline
        self._numbers = itertools.count()
        self._numpy: Any = importlib.import_module("numpy")
        self._openvino: Any = importlib.import_module("openvino")

    def add(self, ids: Sequence[int], config: Settings) -> Handle:
        tensor = self._openvino.Tensor(self._numpy.array([ids], dtype=self._numpy.int64))
        return _Handle(
            self._genai, self._pipeline.add_request(next(self._numbers), tensor, _written(self._genai, config))
        )

    def step(self) -> None:
        self._pipeline.step()


class _Handle:
    def __init__(self, genai: Any, handle: Any) -> None:
        self._genai = genai
        self._handle = handle
        self._ids: list[int] = []
        self._logprobs: list[float] = []

    def running(self) -> bool:
        return self._handle.get_status() == self._genai.GenerationStatus.RUNNING

    def cancel(self) -> None:
        self._handle.cancel()

    def fresh(self) -> Generated:
        if not self._handle.can_read():  # it holds back what may become a stop
            return Generated((), (), "")
        output = self._handle.read()[0]
        self._ids += output.generated_ids
        self._logprobs += output.generated_log_probs
        return Generated(output.generated_ids, output.generated_log_probs, "")

    def result(self) -> Generated:
        status = self._handle.get_status()
        if status != self._genai.GenerationStatus.FINISHED:
            raise RuntimeError(f"the pipeline ended this request as {status.name}")
        output = self._handle.read_all()[0]
        cut = output.finish_reason == self._genai.GenerationFinishReason.LENGTH
        ids, logprobs = output.generated_ids, output.generated_log_probs
        if self._ids:  # the beginning was read before
            ids, logprobs = [*self._ids, *ids], [*self._logprobs, *logprobs]
        return Generated(ids, logprobs, "length" if cut else "stop")


def _written(genai: Any, settings: Settings) -> Any:
    config = genai.GenerationConfig()
    config.apply_chat_template = False
    for name, value in settings.items():
        if name == "json_schema":
            config.structured_output_config = genai.StructuredOutputConfig(json_schema=value)
        else:
            setattr(config, name, value)
    return config
