"""Text to token ids and back, by the `tokenizers` library, for byte-level tokenizers.

OpenVINO's own reading of a GGUF tokenizer splits some texts wrongly, so a tokenizer.json is used where there is one,
and otherwise the tokenizer is rebuilt from the GGUF file's vocabulary and merges.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from batchyard.workers.gguf import Gguf

CONTROL = 3
USER_DEFINED = 4
UNUSED = 5

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 cuts text before merging: https://huggingface.co/Qwen/Qwen2-0.5B/blob/main/tokenizer.json"""


class Tokens:
    """A tokenizer. `begin` is put before raw prompts, where the model was trained with a begin token."""

    def __init__(self, tokenizer: Any, begin: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._begin = begin
        self.size: int = tokenizer.get_vocab_size(with_added_tokens=True)

    def of_chat(self, text: str) -> list[int]:
        """Ids of a rendered chat, whose template wrote all special tokens itself."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def of_prompt(self, text: str) -> list[int]:
        """Ids of a raw prompt."""
        ids: list[int] = list(self._tokenizer.encode(text, add_special_tokens=True).ids)
        return [self._begin, *ids] if self._begin is not None and ids[:1] != [self._begin] else ids

    def text(self, ids: Sequence[int]) -> str:
        """What ids say, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def piece(self, number: int) -> tuple[str, list[int]]:
        """One token's text and bytes; a token may hold only a part of a letter."""
        token: str = self._tokenizer.id_to_token(number) or ""
        letters = _bytes_by_letter()
        if all(letter in letters for letter in token):
            data = bytes(letters[letter] for letter in token)
            return data.decode("utf-8", "replace"), list(data)
        return token, list(token.encode())


class Reading:
    """The text of ids that come a few at a time. What may be a part of a letter waits for the rest of it."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._begin = 0
        self._read = 0
        self.text = ""

    def add(self, ids: Sequence[int]) -> None:
        """Read on, given all ids so far.

        Some tokenizers write a token in another way where a text begins, so those that were read last come along.
        """
        known = self._tokens.text(ids[self._begin : self._read])
        text = self._tokens.text(ids[self._begin :])
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return
        self.text += text[len(known) :]
        self._begin, self._read = self._read, len(ids)


def tokens_of_file(path: Path, begin: int | None = None) -> Tokens:
    """The tokenizer of a tokenizer.json."""
    return Tokens(_library().Tokenizer.from_file(str(path)), begin)


def tokens_of_gguf(file: Gguf) -> Tokens:
    """The tokenizer that a GGUF file describes; the caller has checked that it can be rebuilt (`able`)."""
    library = _library()
    words: list[str] = file.metadata["tokenizer.ggml.tokens"]
    types: list[int] = file.metadata["tokenizer.ggml.token_type"]
    vocabulary = {word: number for number, word in enumerate(words) if types[number] != UNUSED}
    merges = [tuple(merge.split(" ", 1)) for merge in file.metadata["tokenizer.ggml.merges"]]
    tokenizer = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=merges))
    _split_as(file.metadata["tokenizer.ggml.pre"], tokenizer, library)
    tokenizer.decoder = library.decoders.ByteLevel()
    for number, word in enumerate(words):
        if types[number] in (CONTROL, USER_DEFINED):
            special = types[number] == CONTROL
            tokenizer.add_tokens([library.AddedToken(word, special=special, normalized=False)])
    return Tokens(tokenizer, begin_token(file))


def begin_token(file: Gguf) -> int | None:
    """The begin token that raw prompts need; None where the model does without."""
    wanted = file.metadata.get("tokenizer.ggml.add_bos_token", False)
    return file.metadata.get("tokenizer.ggml.bos_token_id") if wanted else None


def _split_as(kind: str, tokenizer: Any, library: Any) -> None:
    before = library.pre_tokenizers
    if kind == "gpt-2":
        tokenizer.pre_tokenizer = before.ByteLevel(add_prefix_space=False, use_regex=True)
        return
    split = before.Split(library.Regex(QWEN2_SPLIT), behavior="isolated")
    tokenizer.normalizer = library.normalizers.NFC()
    tokenizer.pre_tokenizer = before.Sequence([split, before.ByteLevel(add_prefix_space=False, use_regex=False)])


@cache
def _bytes_by_letter() -> dict[str, int]:
    """Byte-level BPE writes each byte as a visible letter: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(hidden)}


def _library() -> Any:
    return importlib.import_module("tokenizers")
