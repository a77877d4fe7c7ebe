"""Chat completions on llama.cpp."""

from batchyard.domain.result import Answer
from batchyard.workers.llamacpp.sampling import plain_sampling, seeded, summed, tidy_logprobs
from batchyard.workers.llamacpp.stream import Streams, Written
from batchyard.workers.openai import BadRequest, Body, answer_of, checked_messages, choices_wanted

MOST_LOGPROBS = 20
"""OpenAI's own limit on `top_logprobs`."""


def answer(body: Body, name: str, streams: Streams, *, sees_images: bool, knows_tools: bool) -> Answer:
    """Answer a chat. Raises BadRequest."""
    checked_messages(body, sees_images=sees_images)
    _check_tools(body, knows_tools)
    asked = plain_sampling(body)
    alternatives = _ask_for_logprobs(asked, body)
    runs = [streams.write(seeded(asked, body, place)) for place in range(choices_wanted(body))]
    choices = [_choice(place, run, alternatives) for place, run in enumerate(runs)]
    return answer_of("chat.completion", name, {"choices": choices}, summed(runs), prefix="chatcmpl")


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
