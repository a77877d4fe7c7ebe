"""Text completions on llama.cpp."""

from batchyard.domain.result import Answer
from batchyard.workers.llamacpp.sampling import plain_sampling, seeded, summed, tidy_logprobs
from batchyard.workers.llamacpp.stream import Streams, Written
from batchyard.workers.openai import BadRequest, Body, answer_of, choices_wanted, legacy_logprobs, prompts_of

MOST_LOGPROBS = 20


def answer(body: Body, name: str, streams: Streams) -> Answer:
    """Complete one or several prompts. Raises BadRequest."""
    prompts = prompts_of(body)
    wanted = choices_wanted(body)
    asked = plain_sampling(body)
    alternatives = _ask_for_logprobs(asked, body)
    echoed = _echoes(asked, body)
    runs = [
        streams.write(seeded({**asked, "prompt": prompt}, body, place)) for prompt in prompts for place in range(wanted)
    ]
    choices = [_choice(place, run, echoed, prompts[place // wanted], alternatives) for place, run in enumerate(runs)]
    return answer_of("text_completion", name, {"choices": choices}, summed(runs, len(prompts)), prefix="cmpl")


def _echoes(asked: Body, body: Body) -> bool:
    echoed = asked.pop("echo", False) is True
    if echoed and body.get("logprobs") is not None:
        raise BadRequest("`echo` with `logprobs` is not supported.", param="echo")
    return echoed


def _ask_for_logprobs(asked: Body, body: Body) -> int | None:
    most = body.get("logprobs")
    if most is None or most is False:
        asked.pop("logprobs", None)
        return None
    if not isinstance(most, int) or not 0 <= most <= MOST_LOGPROBS:
        raise BadRequest(f"`logprobs` must be from 0 to {MOST_LOGPROBS}.", param="logprobs")
    asked["logprobs"] = max(1, most)
    return int(most)


def _choice(place: int, run: Written, echoed: bool, prompt: object, alternatives: int | None) -> Body:
    text = f"{prompt}{run.content}" if echoed and isinstance(prompt, str) else run.content
    logprobs = None if alternatives is None else legacy_logprobs(tidy_logprobs(run.logprobs, alternatives))
    return {"index": place, "text": text, "logprobs": logprobs, "finish_reason": run.finish_reason}
