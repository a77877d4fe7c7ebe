"""`/v1/chat/completions`: messages in, a message out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, generation, not_a


class Chat:
    """A conversation that the model goes on with."""

    path = "/v1/chat/completions"
    prompt = "messages"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        if not prompt.startswith(ARRAY):
            return not_a("messages", prompt, "an array of messages")
        return generation(body)
