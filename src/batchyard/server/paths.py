"""Which path is meant: the same calls are served under several prefixes.

/v1/files                        OpenAI
/files                           OpenAI, where the user left out /v1
/openai/files                    Azure, classic (any api-version or none)
/openai/v1/files                 Azure, v1
/openai/deployments/NAME/chat/completions, /openai/v1/deployments/NAME/...    Azure, one model's calls
/nebius/v1/files                 OpenAI, with results as Nebius writes them
"""

from msgspec import Struct

from batchyard.domain.batch import Form

MODEL_CALLS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/score", "/rerank")
"""The calls that a model answers, below their prefix."""

_AZURE = "/openai"
_NEBIUS = "/nebius"
_VERSION = "/v1"
_DEPLOYMENTS = "/deployments/"


class Address(Struct, frozen=True):
    """A path without its prefix, the form of its answers, and the model that the path names (Azure)."""

    path: str
    form: Form = Form.OPENAI
    model: str | None = None


def address(path: str) -> Address:
    """Take the prefix off a decoded path."""
    path = path.rstrip("/")
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
