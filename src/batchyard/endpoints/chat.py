"""`/v1/chat/completions`: messages in, a message out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import ARRAY, generation, not_a, starts


class Chat:
    """A conversation that the model goes on with."""

    path = "/v1/chat/completions"
    prompt = "messages"

    def check(self, body: Body) -> Traits | Problem:
        if starts(body.messages) != ARRAY:
            return not_a("messages", body.messages, "an array of messages")
        return generation(body, body.messages)
