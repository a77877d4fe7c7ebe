"""Which path is meant."""

import pytest

from batchyard.domain.batch import Form
from batchyard.server.paths import Address, address


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/files", Address("/files")),
        ("/files", Address("/files")),
        ("/files/", Address("/files")),
        ("/", Address("/")),
        ("/v1", Address("/")),
        ("/openai/files", Address("/files", Form.AZURE)),
        ("/openai/v1/batches/b/cancel", Address("/batches/b/cancel", Form.AZURE)),
        ("/openai", Address("/", Form.AZURE)),
        ("/openaix", Address("/openaix")),
        ("/openai/deployments/m/chat/completions", Address("/chat/completions", Form.AZURE, "m")),
        ("/openai/v1/deployments/org/m/embeddings", Address("/embeddings", Form.AZURE, "org/m")),
        ("/openai/deployments//embeddings", Address("/deployments//embeddings", Form.AZURE)),
        ("/openai/deployments/m/files", Address("/deployments/m/files", Form.AZURE)),
        ("/nebius/v1/batches/b", Address("/batches/b", Form.NEBIUS)),
        ("/nebius/files", Address("/files", Form.NEBIUS)),
        ("/nebius/openai/files", Address("/openai/files", Form.NEBIUS)),
        ("/v1/deployments/m/embeddings", Address("/deployments/m/embeddings")),
    ],
)
def test_a_prefix_is_taken_off(path: str, meant: Address) -> None:
    assert address(path) == meant


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/v1beta/models", "/models"),
        ("/v1alpha/models/m", "/models/m"),
        ("/v1beta/tunedModels/m:generateContent", "/models/m:generateContent"),
        ("/v1/models/org/m:generateContent", "/models/org/m:generateContent"),
        ("/v1/models/m:8b:countTokens", "/models/m:8b:countTokens"),
        ("/gemini/v1/models", "/models"),
        ("/gemini/models", "/models"),
        ("/upload/v1beta/files", "/upload/files"),
        ("/v1beta/upload/v1beta/files", "/upload/files"),
        ("/v1/upload/v1/files", "/upload/files"),
        ("/gemini/upload/v1/files", "/upload/files"),
        ("/gemini/upload/files", "/upload/files"),
        ("/download/v1beta/files/f:download", "/files/f:download"),
        ("/gemini/download/v1/files/f:download", "/files/f:download"),
        ("/v1/files/f:download", "/files/f:download"),
        ("/v1beta/files/http://h/v1beta/files/f", "/files/http://h/v1beta/files/f"),
        ("/v1beta", ""),
    ],
)
def test_geminis_paths_are_known_whoever_calls(path: str, below: str) -> None:
    assert address(path) == Address("/gemini" + below, Form.GEMINI)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m:8b", "/v1/files/f"])
def test_under_one_prefix_the_caller_decides_which_wire_is_meant(path: str) -> None:
    below = path.removeprefix("/v1")
    assert address(path) == Address(below)
    assert address(path, gemini=True) == Address("/gemini" + below, Form.GEMINI)
