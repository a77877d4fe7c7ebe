"""`/v1/embeddings`: texts in, vectors out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, POOLING, STRING, absent, not_a


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
