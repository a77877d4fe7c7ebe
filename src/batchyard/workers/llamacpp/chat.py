"""Chat completions on llama.cpp."""

from batchyard.domain.result import Answer
from batchyard.workers.llamacpp.pictures import readable
from batchyard.workers.llamacpp.sampling import plain_sampling, seeded, summed, tidy_logprobs
from batchyard.workers.llamacpp.stream import Streams, Written
from batchyard.workers.openai import BadRequest, Body, answer_of, checked_messages, choices_wanted
from batchyard.workers.telling import Telling

MOST_LOGPROBS = 20
"""OpenAI's own limit on `top_logprobs`."""


def answer(body: Body, name: str, streams: Streams, *, sees_images: bool, knows_tools: bool) -> Answer:
    """Answer a chat. Raises BadRequest."""
    asked, alternatives = _checked(body, sees_images=sees_images, knows_tools=knows_tools)
    runs = [streams.write(seeded(asked, body, place)) for place in range(choices_wanted(body))]
    choices = [_choice(place, run, alternatives) for place, run in enumerate(runs)]
    return answer_of("chat.completion", name, {"choices": choices}, summed(runs), prefix="chatcmpl")


def tell(body: Body, streams: Streams, telling: Telling, *, sees_images: bool, knows_tools: bool) -> Answer:
    """Answer a chat while it is written. Raises BadRequest."""
    asked, alternatives = _checked(body, sees_images=sees_images, knows_tools=knows_tools)
    choices = (_Choice(telling, place, alternatives) for place in range(choices_wanted(body)))
    runs = [streams.write(seeded(asked, body, choice.place), choice.tell) for choice in choices]
    return telling.end(summed(runs))


def _checked(body: Body, *, sees_images: bool, knows_tools: bool) -> tuple[Body, int | None]:
    """What llama.cpp is asked for, and how many alternatives of each token are told. Raises BadRequest."""
    messages = checked_messages(body, sees_images=sees_images)
    if sees_images:
        readable(messages)
    _check_tools(body, knows_tools)
    asked = plain_sampling(body)
    return asked, _ask_for_logprobs(asked, body)


def _check_tools(body: Body, knows_tools: bool) -> None:
    """A template that shows no tools cannot be made to call one; a free choice may as well fall on none."""
    choice = body.get("tool_choice")
    if body.get("tools") and not knows_tools and (choice == "required" or isinstance(choice, dict)):
        raise BadRequest("This model's chat template knows no tools.", param="tool_choice", code="tools_unsupported")


def _ask_for_logprobs(asked: Body, body: Body) -> int | None:
    """How many alternatives per token are wanted; None where no log probabilities are."""
    wanted = body.get("top_logprobs")
    if not body.get("logprobs"):
        if wanted:
            raise BadRequest("`top_logprobs` needs `logprobs`.", param="top_logprobs")
        asked.pop("top_logprobs", None)
        return None
    most = 0 if wanted is None else wanted
    if not isinstance(most, int) or not 0 <= most <= MOST_LOGPROBS:
        raise BadRequest(f"`top_logprobs` must be from 0 to {MOST_LOGPROBS}.", param="top_logprobs")
    asked["top_logprobs"] = max(1, most)
    return most


def _choice(place: int, run: Written, alternatives: int | None) -> Body:
    message: Body = {"role": "assistant", "content": run.content, "refusal": None}
    if run.reasoning:
        message["reasoning_content"] = run.reasoning
    if run.tool_calls:
        message["content"] = run.content or None
        message["tool_calls"] = run.tool_calls
    logprobs = None if alternatives is None else {"content": tidy_logprobs(run.logprobs, alternatives)}
    return {"index": place, "message": message, "logprobs": logprobs, "finish_reason": run.finish_reason}


class _Choice:
    """One choice, told while it is written: its first chunk says whose words they are, its last why it ends."""

    def __init__(self, telling: Telling, place: int, alternatives: int | None) -> None:
        self.place = place
        self._telling = telling
        self._alternatives = alternatives
        self._opening: Body = {"role": "assistant"}
        self._calls = 0

    def tell(self, news: Written) -> None:
        if news.says_something or self._opening:
            delta = self._opening | self._delta(news)
            self._opening = {}
            tidied = [] if self._alternatives is None else tidy_logprobs(news.logprobs, self._alternatives)
            self._telling.tell(self.place, {"delta": delta, "logprobs": {"content": tidied} if tidied else None})
        if news.ended:
            self._telling.tell(self.place, {"delta": {}, "finish_reason": news.finish_reason})

    def _delta(self, news: Written) -> Body:
        delta: Body = {}
        if news.reasoning:
            delta["reasoning_content"] = news.reasoning
        if news.content:
            delta["content"] = news.content
        if news.tool_calls:
            delta["tool_calls"] = self._numbered(news.tool_calls)
        return delta

    def _numbered(self, calls: list[Body]) -> list[Body]:
        """Pieces of calls under the calls' numbers; only a call's first piece names it."""
        first, self._calls = self._calls, max(self._calls, len(calls))
        pieces: list[Body] = []
        for number, call in enumerate(calls):
            if number >= first:
                pieces.append({"index": number, **call})
            elif arguments := call["function"]["arguments"]:
                pieces.append({"index": number, "function": {"arguments": arguments}})
        return pieces
