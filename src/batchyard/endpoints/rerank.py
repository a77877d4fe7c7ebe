"""`/v1/rerank`: a query and documents in, the documents' ranks out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, POOLING, absent, not_a


class Rerank:
    """One query against an array of documents."""

    path = "/v1/rerank"
    prompt = "documents"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        query = bytes(body.query)
        if absent(query):
            return not_a("query", query, "a string")
        if not prompt.startswith(ARRAY):
            return not_a("documents", prompt, "an array of strings")
        return POOLING
