"""What a GGUF file says of its model, read without loading it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

MAGIC = b"GGUF"

STRING = 8
ARRAY = 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

TENSOR_TYPES = {0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 14: "q6_k", 30: "bf16"}
"""Names of the common tensor types; the many others are named by their number."""

ELEMENT_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q8_0": 8.5}
"""Bits per element; a type that is not here is reckoned as nothing."""

USUAL_ALIGNMENT = 32

MOST_ELEMENTS = 1 << 26
"""No array of a sane file is longer."""

POOLING_RANK = 4
ENCODERS = ("bert", "t5encoder")
"""Architectures whose names hold one of these turn text into vectors and write nothing."""


class NotGguf(Exception):
    """The file is not GGUF, or is cut short."""


class Tensor(NamedTuple):
    """A tensor's type ("q8_0") and number of dimensions."""

    type: str
    dimensions: int


@dataclass(frozen=True)
class Gguf:
    """What a model file says: its metadata, its tensors by name, its size."""

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
    size_bytes: int

    @property
    def weight_types(self) -> frozenset[str]:
        """The types of its matrices; norms and biases are always plain floats."""
        return frozenset(tensor.type for tensor in self.tensors.values() if tensor.dimensions > 1)

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def pooling(self) -> int | None:
        return self.number("pooling_type")

    @property
    def ranks(self) -> bool:
        """A reranker: scores a query and a document together."""
        return self.pooling == POOLING_RANK

    @property
    def embeds(self) -> bool:
        """An embedding model or a reranker: it writes no text."""
        if self.pooling is not None and self.pooling > 0:
            return True
        return any(name in self.architecture for name in ENCODERS) or self._value("attention.causal") is False

    @property
    def context_tokens(self) -> int | None:
        """The longest context that the model was trained for."""
        return self.number("context_length")

    @property
    def chat_template(self) -> str | None:
        return cast("str | None", self.metadata.get("tokenizer.chat_template"))

    @property
    def cache_bytes_per_token(self) -> int:
        """Bytes of a 16-bit key-value cache per token; 0 where the file does not say enough."""
        heads = self._most("attention.head_count")
        shared = self._most("attention.head_count_kv") or heads
        width = self._most("embedding_length") // max(1, heads)
        keys = self.number("attention.key_length") or width
        values = self.number("attention.value_length") or width
        return 2 * self._most("block_count") * shared * (keys + values)

    def number(self, name: str) -> int | None:
        """A whole number of the model's architecture, such as `context_length`."""
        value = self._value(name)
        return value if isinstance(value, int) else None

    def _most(self, name: str) -> int:
        """A whole number, the largest where each layer has its own; 0 where there is none."""
        value = self._value(name)
        return max(cast("list[int]", value), default=0) if isinstance(value, list) else int(value or 0)

    def _value(self, name: str) -> Any:
        return self.metadata.get(f"{self.architecture}.{name}")


def read_gguf(path: Path) -> Gguf:
    """Read the head of a GGUF file. Raises OSError, and NotGguf where it is something else."""
    with path.open("rb") as file:
        try:
            return _read(file, path.stat().st_size)
        except (struct.error, UnicodeDecodeError, KeyError, IndexError) as error:
            raise NotGguf(f"{path} is cut short or broken: {error}") from error


def _read(file: IO[bytes], size: int) -> Gguf:
    if file.read(4) != MAGIC:
        raise NotGguf("the file does not begin with GGUF")
    version, tensor_count, value_count = _unpack(file, "<IQQ")
    if version not in (2, 3) or max(tensor_count, value_count) > MOST_ELEMENTS:
        raise NotGguf(f"GGUF version {version} is not known")
    metadata: dict[str, Any] = {}
    for _ in range(value_count):
        name = _string(file)
        metadata[name] = _any(file, _unpack(file, "<I")[0])
    tensors, data_bytes = _tensors(file, tensor_count)
    alignment = int(metadata.get("general.alignment", USUAL_ALIGNMENT))
    whole = math.ceil(file.tell() / alignment) * alignment + data_bytes
    if size < whole:
        raise NotGguf(f"the file is cut short: {size} bytes of {whole}")
    return Gguf(metadata, tensors, size)


def _tensors(file: IO[bytes], count: int) -> tuple[dict[str, Tensor], int]:
    """The tensors, and how many bytes of data they need at least."""
    found: dict[str, Tensor] = {}
    end = 0
    for _ in range(count):
        name = _string(file)
        dimensions = _unpack(file, "<I")[0]
        *lengths, kind, offset = _unpack(file, f"<{dimensions}QIQ")
        tensor = found[name] = Tensor(TENSOR_TYPES.get(kind, f"type {kind}"), dimensions)
        end = max(end, offset + int(math.prod(lengths) * ELEMENT_BITS.get(tensor.type, 0.0)) // 8)
    return found, end


def _any(file: IO[bytes], kind: int) -> Any:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        return _array(file)
    return _unpack(file, f"<{NUMBERS[kind]}")[0]


def _array(file: IO[bytes]) -> list[Any]:
    kind, length = _unpack(file, "<IQ")
    if length > MOST_ELEMENTS:
        raise NotGguf(f"an array of {length} elements")
    if kind in NUMBERS:
        return list(_unpack(file, f"<{length}{NUMBERS[kind]}"))
    element: Callable[[IO[bytes]], Any] = _string if kind == STRING else _array
    return [element(file) for _ in range(length)]


def _string(file: IO[bytes]) -> str:
    length = _unpack(file, "<Q")[0]
    if length > MOST_ELEMENTS:
        raise NotGguf(f"a string of {length} bytes")
    data = file.read(length)
    if len(data) < length:
        raise NotGguf("the file ends inside a string")
    return data.decode("utf-8", "replace")


def _unpack(file: IO[bytes], form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))
