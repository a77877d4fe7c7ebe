"""What the lines of a server's batches are held to."""

from batchyard.dialect import LineDialect
from batchyard.dialects.lines import openai
from batchyard.endpoints import ENDPOINTS
from batchyard.pipeline.heavy import Terms


def line_dialect(run_id: str, terms: Terms) -> LineDialect:
    """The line dialect of one batch, or of an input that may become one. Equal terms find the same faults."""
    endpoints = {terms.endpoint: ENDPOINTS[terms.endpoint]}
    return openai.open(openai.Config(run_id=run_id, endpoints=endpoints, models=terms.models, batch=True))
