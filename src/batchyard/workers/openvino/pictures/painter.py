"""OpenVINO GenAI's text-to-image pipeline, behind the one call that we make.

An exception in the callback of a step would end the process, and so would a number of steps below one.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from batchyard.domain.errors import Unavailable
from batchyard.workers.openvino.library import DEVICE, genai_library

Pixels = Any
"""A numpy array of bytes: height, width, and red, green and blue."""


class Refused(Exception):
    """The pipeline did not begin: what it was asked does not suit it."""


class Painter(Protocol):
    """Makes one picture at a time."""

    def paint(self, prompt: str, seed: int, settings: Mapping[str, Any], given_up: Callable[[], bool]) -> Pixels | None:
        """One picture; None where it was given up half way. Raises Refused, or RuntimeError where it broke off."""
        ...


def build_painter(folder: Path, threads: int | None) -> Painter:
    """Load a pipeline. Raises Unavailable."""
    genai = genai_library()
    properties = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    try:
        pipeline = genai.Text2ImagePipeline(str(folder), DEVICE, **properties)
    except RuntimeError as error:
        raise Unavailable(
            f"OpenVINO cannot load {folder}: {error}.", remedy="Export the pipeline again, with optimum-intel."
        ) from error
    return _Painter(genai, pipeline)


class _Painter:
    def __init__(self, genai: Any, pipeline: Any) -> None:
        self._genai = genai
        self._pipeline = pipeline

    def paint(self, prompt: str, seed: int, settings: Mapping[str, Any], given_up: Callable[[], bool]) -> Pixels | None:
        steps = 0

        def step(number: int, total: int, latent: Any) -> bool:
            nonlocal steps
            steps += 1
            return given_up()

        generator = self._genai.CppStdGenerator(seed)
        try:
            made = self._pipeline.generate(prompt, generator=generator, callback=step, **settings)
        except RuntimeError as error:
            if steps == 0:
                raise Refused(str(error)) from error
            raise
        return None if given_up() else made.data[0].copy()
