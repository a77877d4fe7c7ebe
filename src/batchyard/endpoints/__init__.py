"""What one kind of request looks like: one file per kind, pure."""

from collections.abc import Mapping

from batchyard.endpoint import Endpoint
from batchyard.endpoints.chat import Chat
from batchyard.endpoints.completions import Completions
from batchyard.endpoints.embeddings import Embeddings
from batchyard.endpoints.images import Images
from batchyard.endpoints.rerank import Rerank
from batchyard.endpoints.responses import Responses
from batchyard.endpoints.score import Score

_ALL: tuple[Endpoint, ...] = (Chat(), Completions(), Embeddings(), Score(), Rerank(), Responses(), Images())

ENDPOINTS: Mapping[str, Endpoint] = {endpoint.path: endpoint for endpoint in _ALL}
"""Every endpoint by its canonical path."""
