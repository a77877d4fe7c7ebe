"""`/v1/rerank`: a query and documents in, the documents' ranks out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, absent, not_a, pooling, starts


class Rerank:
    """One query against an array of documents."""

    path = "/v1/rerank"
    prompt = "documents"

    def check(self, body: Body) -> Traits | Problem:
        if absent(body.query):
            return not_a("query", body.query, "a string")
        if starts(body.documents) != ARRAY:
            return not_a("documents", body.documents, "an array of strings")
        return pooling(body, body.documents)
