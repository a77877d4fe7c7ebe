"""A loaded OpenVINO model: bodies become token ids, what was generated becomes an answer."""

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from batchyard.domain.result import Answer, Usage
from batchyard.engine import Abilities
from batchyard.workers.openai import (
    CHAT,
    BadRequest,
    Body,
    answer_of,
    checked_messages,
    choices_wanted,
    error_answer,
    legacy_logprobs,
    most_tokens,
    prompts_of,
    read_body,
    too_long,
    wanted_schema,
)
from batchyard.workers.openvino.aloud import Aloud
from batchyard.workers.openvino.board import Board, Draft, Generated, Interrupted
from batchyard.workers.openvino.schemas import SchemaCheck, plain_message
from batchyard.workers.openvino.settings import refuse_what_is_missing, sampler_settings, seeded, stop_strings
from batchyard.workers.openvino.source import Source
from batchyard.workers.openvino.tokens import Reading
from batchyard.workers.openvino.wording import THINK, stopped, thought_and_said
from batchyard.workers.serve import Call
from batchyard.workers.telling import Telling


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked request: its prompts, and how to turn what is generated for them into an answer.

    `readers` has one for each draft, where the answer is told while it is written.
    """

    prompts: list[list[int]]
    choices: int
    body: Body
    settings: Body
    finish: Callable[[list[Generated]], Answer]
    readers: Sequence[Aloud] = ()


class OpenVinoModel:
    """Prepares on the thread that takes the call, and finishes on the board's."""

    def __init__(self, board: Board, source: Source, schemas: SchemaCheck, abilities: Abilities) -> None:
        self.abilities = abilities
        self._board = board
        self._source = source
        self._schemas = schemas

    def take(self, call: Call) -> None:
        try:
            prepared = self._prepared(call)
        except BadRequest as refusal:
            call.answer(refusal.answer)
        except Exception as error:
            traceback.print_exc()
            call.answer(error_answer(500, f"The engine failed: {error}"))
        else:
            self._put(call, prepared)

    def _put(self, call: Call, prepared: Prepared) -> None:
        wanted = len(prepared.prompts) * prepared.choices
        gathering = _Gathering(call, wanted, prepared.finish, partial(self._end_reading, prepared))
        for place, ids in enumerate(prepared.prompts):
            settings = {**prepared.settings, "max_new_tokens": self._room(prepared.body, ids)}
            for choice in range(prepared.choices):
                number = place * prepared.choices + choice
                self._board.put(
                    Draft(
                        ids,
                        seeded(settings, prepared.body, choice),
                        partial(gathering.add, number),
                        lambda: call.given_up or gathering.settled,
                        prepared.readers[number] if prepared.readers else None,
                    )
                )

    def _end_reading(self, prepared: Prepared, place: int, draft: Generated) -> None:
        if prepared.readers:
            prepared.readers[place].end(draft, *self._text(prepared.body, draft))

    def _prepared(self, call: Call) -> Prepared:
        body = read_body(call.request.body)
        refuse_what_is_missing(body)
        chats = call.request.endpoint == CHAT
        prompts = [self._chat_ids(body)] if chats else self._prompt_ids(body)
        for ids in prompts:
            self._room(body, ids)
        schema = wanted_schema(body)
        checked = None if schema is None else self._schemas.checked(schema)
        settings = sampler_settings(body, self._source.stop_ids, checked)
        told = _tells_logprobs(body, chats)
        settings["logprobs"] = 1 if told else 0
        choices = choices_wanted(body)
        if call.say is not None:
            kind, prefix = ("chat.completion.chunk", "chatcmpl") if chats else ("text_completion", "cmpl")
            telling = Telling(call.say, kind, call.request.model, prefix=prefix)
            readers = [self._reader(telling, place, body, chats, told) for place in range(len(prompts) * choices)]
            return Prepared(prompts, choices, body, settings, lambda made: telling.end(_usage(prompts, made)), readers)
        write = self._chat_answer if chats else self._completion_answer
        finish = partial(write, call.request.model, body, prompts, choices, told)
        return Prepared(prompts, choices, body, settings, finish)

    def _reader(self, telling: Telling, place: int, body: Body, chats: bool, told: bool) -> Aloud:
        reading, entries = Reading(self._source.tokens), self._logprobs if told else None
        return Aloud(telling, place, reading, stops=stop_strings(body), chats=chats, entries=entries)

    def _chat_ids(self, body: Body) -> list[int]:
        messages = checked_messages(body, sees_images=False)
        extra: object = body.get("chat_template_kwargs") or {}
        if not isinstance(extra, dict):
            raise BadRequest("`chat_template_kwargs` must be an object.", param="chat_template_kwargs")
        return self._source.tokens.of_chat(self._source.template.render(messages, cast("Body", extra)))

    def _prompt_ids(self, body: Body) -> list[list[int]]:
        if body.get("echo"):
            raise BadRequest("The OpenVINO engine does not echo.", param="echo", code="unsupported_parameter")
        tokens = self._source.tokens
        prompts = [tokens.of_prompt(text) if isinstance(text, str) else text for text in prompts_of(body)]
        for ids in prompts:
            if not ids or not all(0 <= number < tokens.size for number in ids):
                raise BadRequest("A prompt must have tokens, and only the model's own.", param="prompt")
        return prompts

    def _room(self, body: Body, ids: Sequence[int]) -> int:
        """How many tokens the answer may have. Raises BadRequest where the prompt alone is too long."""
        context = self.abilities.context_tokens or 0
        if len(ids) >= context:
            raise too_long(len(ids), context)
        rest = context - len(ids)
        return min(most_tokens(body) or rest, rest)

    def _chat_answer(
        self, name: str, body: Body, prompts: list[list[int]], choices: int, told: bool, drafts: list[Generated]
    ) -> Answer:
        written = [self._chat_choice(place, body, told, draft) for place, draft in enumerate(drafts)]
        return answer_of("chat.completion", name, {"choices": written}, _usage(prompts, drafts), prefix="chatcmpl")

    def _chat_choice(self, place: int, body: Body, told: bool, draft: Generated) -> Body:
        text, reason = self._text(body, draft)
        message: Body = {"role": "assistant", "content": text, "refusal": None}
        if text.startswith(THINK):
            thought, said = thought_and_said(text)
            message |= {"content": said, "reasoning_content": thought}
        logprobs = {"content": self._logprobs(draft)} if told else None
        return {"index": place, "message": message, "logprobs": logprobs, "finish_reason": reason}

    def _completion_answer(
        self, name: str, body: Body, prompts: list[list[int]], choices: int, told: bool, drafts: list[Generated]
    ) -> Answer:
        written: list[Body] = []
        for place, draft in enumerate(drafts):
            text, reason = self._text(body, draft)
            logprobs = legacy_logprobs(self._logprobs(draft)) if told else None
            written.append({"index": place, "text": text, "logprobs": logprobs, "finish_reason": reason})
        return answer_of("text_completion", name, {"choices": written}, _usage(prompts, drafts), prefix="cmpl")

    def _text(self, body: Body, draft: Generated) -> tuple[str, str]:
        """The text up to the first stop, and why it ends there."""
        text, ended = stopped(self._source.tokens.text(draft.ids), stop_strings(body))
        return text, "stop" if ended else draft.finish_reason

    def _logprobs(self, draft: Generated) -> list[Body]:
        told: list[Body] = []
        for number, logprob in zip(draft.ids, draft.logprobs, strict=False):
            if number not in self._source.stop_ids:
                text, data = self._source.tokens.piece(number)
                told.append({"token": text, "logprob": logprob, "bytes": data, "top_logprobs": []})
        return told


class _Gathering:
    """The drafts of one call, until all have ended or one could not be written."""

    def __init__(
        self,
        call: Call,
        wanted: int,
        finish: Callable[[list[Generated]], Answer],
        ended: Callable[[int, Generated], None],
    ) -> None:
        self._call = call
        self._finish = finish
        self._ended = ended
        self._drafts: list[Generated | None] = [None] * wanted
        self._lock = threading.Lock()
        self.settled = False

    def add(self, place: int, draft: Generated | Exception) -> None:
        with self._lock:
            if self.settled:
                return
            if isinstance(draft, Exception):
                self.settled = True
                self._call.answer(_could_not(draft))
                return
            self._drafts[place] = draft
            drafts = [one for one in self._drafts if one is not None]
        if (answer := self._after(place, draft, drafts)) is not None:
            self.settled = True
            self._call.answer(answer)

    def _after(self, place: int, draft: Generated, drafts: list[Generated]) -> Answer | None:
        """The answer, where this was the last draft, or where there can be none."""
        try:
            self._ended(place, draft)
            return self._finish(drafts) if len(drafts) == len(self._drafts) else None
        except Exception as error:
            traceback.print_exc()
            return error_answer(500, f"The engine failed: {error}")


def _could_not(error: Exception) -> Answer:
    """It failed alone on the pipeline, so it would fail again; or somebody else's failure broke it off."""
    if isinstance(error, Interrupted):
        return error_answer(500, f"The answer broke off: {error}.", code="engine_interrupted")
    return error_answer(400, f"The engine cannot answer this request: {plain_message(error)}", code="engine_refused")


def _tells_logprobs(body: Body, chats: bool) -> bool:
    """Whether log probabilities are told: OpenVINO knows those of the tokens that it chose, and no alternatives."""
    wanted = body.get("top_logprobs") if chats else body.get("logprobs")
    if wanted and not isinstance(wanted, bool):
        param = "top_logprobs" if chats else "logprobs"
        raise BadRequest(
            f"The OpenVINO engine tells no alternatives; `{param}` must be 0.",
            param=param,
            code="unsupported_parameter",
        )
    return bool(body.get("logprobs")) if chats else wanted is not None and wanted is not False


def _usage(prompts: list[list[int]], drafts: list[Generated]) -> Usage:
    return Usage(sum(len(ids) for ids in prompts), sum(len(draft.ids) for draft in drafts))
