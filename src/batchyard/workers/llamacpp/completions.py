"""Text completions on llama.cpp."""

from batchyard.domain.result import Answer
from batchyard.workers.llamacpp.sampling import plain_sampling, seeded, summed, tidy_logprobs
from batchyard.workers.llamacpp.stream import Streams, Written
from batchyard.workers.openai import BadRequest, Body, answer_of, choices_wanted, legacy_logprobs, prompts_of
from batchyard.workers.telling import Telling

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


def tell(body: Body, streams: Streams, telling: Telling) -> Answer:
    """Complete one or several prompts, told while they are written. Raises BadRequest."""
    prompts = prompts_of(body)
    wanted = choices_wanted(body)
    asked = plain_sampling(body)
    alternatives = _ask_for_logprobs(asked, body)
    echoed = _echoes(asked, body)
    runs: list[Written] = []
    for place in range(len(prompts) * wanted):
        prompt = prompts[place // wanted]
        choice = _Choice(telling, place, prompt if echoed and isinstance(prompt, str) else "", alternatives)
        runs.append(streams.write(seeded({**asked, "prompt": prompt}, body, place), choice.tell))
    return telling.end(summed(runs, len(prompts)))


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


class _Choice:
    """One choice, told while it is written: it begins with the prompt where that is repeated."""

    def __init__(self, telling: Telling, place: int, opening: str, alternatives: int | None) -> None:
        self._telling = telling
        self._place = place
        self._opening = opening
        self._alternatives = alternatives
        self._told = 0

    def tell(self, news: Written) -> None:
        if news.says_something or self._opening:
            text, self._opening = self._opening + news.content, ""
            self._telling.tell(self._place, {"text": text, "logprobs": self._logprobs(news)})
        if news.ended:
            self._telling.tell(self._place, {"text": "", "finish_reason": news.finish_reason})

    def _logprobs(self, news: Written) -> Body | None:
        if self._alternatives is None:
            return None
        tidied = tidy_logprobs(news.logprobs, self._alternatives)
        told = legacy_logprobs(tidied, self._told)
        self._told += sum(len(str(token["token"])) for token in tidied)
        return told
