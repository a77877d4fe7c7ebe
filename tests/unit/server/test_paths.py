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
        ("/v1beta/x", Address("/v1beta/x")),
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
