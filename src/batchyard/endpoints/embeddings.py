"""`/v1/embeddings`: texts in, vectors out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, STRING, absent, not_a, pooling, starts


class Embeddings:
    """One text, or an array of texts or token ids. vLLM also takes chat messages in place of `input`."""

    path = "/v1/embeddings"
    prompt = "input"

    def check(self, body: Body) -> Traits | Problem:
        if starts(body.input) in (STRING, ARRAY):
            return pooling(body, body.input)
        if absent(body.input) and starts(body.messages) == ARRAY:
            return pooling(body, body.messages)
        return not_a("input", body.input, "a string or an array of strings")
