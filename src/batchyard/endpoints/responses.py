"""`/v1/responses`: items in, items out; and the same as a chat, for engines that only know chats."""

from batchyard.endpoint import Body, Problem, Traits, Translation
from batchyard.endpoints._checks import ARRAY, STRING, generation, not_a
from batchyard.endpoints._responses_in import to_chat
from batchyard.endpoints._responses_out import from_chat
from batchyard.endpoints._responses_told import ToldAsResponse

__all__ = ["AS_CHAT", "Responses", "from_chat", "to_chat"]


class Responses:
    """A string, or items of a conversation, that the model goes on with."""

    path = "/v1/responses"
    prompt = "input"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        if not prompt.startswith((STRING, ARRAY)):
            return not_a("input", prompt, "a string or an array of items")
        return generation(body)


AS_CHAT = Translation(
    source="/v1/responses",
    target="/v1/chat/completions",
    request=to_chat,
    answer=from_chat,
    retell=ToldAsResponse,
)
"""For engines that only know chats."""
