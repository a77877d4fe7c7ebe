"""`/v1/completions`: a text in, its continuation out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, STRING, generation, not_a


class Completions:
    """A text (or token ids, or several of them) that the model goes on with."""

    path = "/v1/completions"
    prompt = "prompt"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        if not prompt.startswith((STRING, ARRAY)):
            return not_a("prompt", prompt, "a string or an array")
        return generation(body)
