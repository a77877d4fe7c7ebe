"""Which path is meant: the same calls are served under several prefixes.

/v1/files                        OpenAI
/files                           OpenAI, where the user left out /v1
/openai/files                    Azure, classic (any api-version or none)
/openai/v1/files                 Azure, v1
/openai/deployments/NAME/chat/completions, /openai/v1/deployments/NAME/...    Azure, one model's calls
/nebius/v1/files                 OpenAI, with results as Nebius writes them
/v1beta/models, /v1alpha/models  Gemini; /v1/models as well, where the caller is one of Gemini's
/v1/models/NAME:generateContent  Gemini, whoever calls: no other wire has such calls
/gemini/v1/models                Gemini, for callers who want to leave no doubt
/upload/v1beta/files             Gemini; /v1beta/upload/v1beta/files as well
/download/v1beta/files/ID:download    Gemini, the same as /v1beta/files/ID:download

Gemini's calls are all below /gemini within: `/models` is there on both wires, and its answers differ.
"""

import re

from msgspec import Struct

from batchyard.domain.batch import Form

MODEL_CALLS = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/score",
    "/rerank",
    "/images/generations",
)
"""The calls that a model answers, below their prefix."""

GEMINI = "/gemini"
"""The prefix of Gemini's calls, to callers and to our routes."""

_GEMINI_VERSIONS = ("/v1", "/v1beta", "/v1alpha")
_UPLOAD = "/upload"
_DOWNLOAD = "/download"
_TUNED = "/tunedModels/"
GEMINI_CALLS = (
    "generateContent",
    "streamGenerateContent",
    "embedContent",
    "batchEmbedContents",
    "countTokens",
    "batchGenerateContent",
    "asyncBatchEmbedContent",
)
"""What may stand behind a model's name and a colon. Other words there are the name's own (`llama:8b`)."""

_METHOD = re.compile(rf"/(?:models|tunedModels)/.+:(?:{'|'.join(GEMINI_CALLS)})|/files/.+:download", re.DOTALL)

_AZURE = "/openai"
_NEBIUS = "/nebius"
_VERSION = "/v1"
_DEPLOYMENTS = "/deployments/"


class Address(Struct, frozen=True):
    """A path without its prefix, the form of its answers, and the model that the path names (Azure)."""

    path: str
    form: Form = Form.OPENAI
    model: str | None = None


def address(path: str, *, gemini: bool = False) -> Address:
    """Take the prefix off a decoded path. `gemini` says that the caller is one of Gemini's clients."""
    path = path.rstrip("/")
    asked = _of_gemini(path, gemini)
    if asked is not None:
        return Address(GEMINI + _one_name(asked), Form.GEMINI)
    nebius = _cut(path, _NEBIUS)
    if nebius is not None:
        return Address(_without_version(nebius) or "/", Form.NEBIUS)
    azure = _cut(path, _AZURE)
    if azure is None:
        return Address(_without_version(path) or "/")
    inner = _without_version(azure)
    if inner.startswith(_DEPLOYMENTS):
        return _deployment(inner)
    return Address(inner or "/", Form.AZURE)


def _of_gemini(path: str, by_gemini: bool) -> str | None:
    """The path below Gemini's prefixes; None where another wire is meant."""
    named = _cut(path, GEMINI)
    aside = _beside_version(path if named is None else named)
    if aside is not None:
        return aside
    if named is not None:
        return _below_version(named) or named
    for version in _GEMINI_VERSIONS:
        below = _cut(path, version)
        if below is not None and (by_gemini or version != _VERSION or _METHOD.fullmatch(below)):
            return below
    return None


def _beside_version(path: str) -> str | None:
    """A path with a prefix before its version: below it, the bytes of files come and go. None where it has none."""
    inner = _below_version(path) or path
    for prefix, kept in ((_UPLOAD, _UPLOAD), (_DOWNLOAD, "")):
        below = _cut(inner, prefix)
        if below is not None:
            return kept + (_below_version(below) or below)
    return None


def _below_version(path: str) -> str | None:
    return next((below for each in _GEMINI_VERSIONS if (below := _cut(path, each)) is not None), None)


def _one_name(path: str) -> str:
    """Tuned models are models."""
    return "/models/" + path.removeprefix(_TUNED) if path.startswith(_TUNED) else path


def _deployment(path: str) -> Address:
    for call in MODEL_CALLS:
        name = path[len(_DEPLOYMENTS) : -len(call)]
        if path.endswith(call) and name:
            return Address(call, Form.AZURE, name)
    return Address(path, Form.AZURE)


def _without_version(path: str) -> str:
    below = _cut(path, _VERSION)
    return path if below is None else below


def _cut(path: str, prefix: str) -> str | None:
    """The path below a prefix, with its slash; None where it is not below it."""
    return path[len(prefix) :] if path == prefix or path.startswith(prefix + "/") else None
