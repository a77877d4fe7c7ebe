"""`/v1/embeddings`: texts in, vectors out."""

from batchyard.endpoint import Body, Grouping, Problem, Traits
from batchyard.endpoints._checks import ARRAY, POOLING, STRING, absent, not_a
from batchyard.endpoints._embeddings_grouped import join, read, split


class Embeddings:
    """One text, or an array of texts or token ids. vLLM also takes chat messages in place of `input`."""

    path = "/v1/embeddings"
    prompt = "input"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        if prompt.startswith((STRING, ARRAY)):
            return POOLING
        messages = bytes(body.messages)
        if absent(prompt) and messages.startswith(ARRAY):
            return POOLING
        return not_a("input", prompt, "a string or an array of strings")


GROUPED = Grouping(Embeddings.path, read, join, split)
"""How embeddings of several requests are asked in one call."""
