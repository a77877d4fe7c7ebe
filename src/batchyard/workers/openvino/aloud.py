"""Reading drafts aloud: token ids become chunks of a stream while they are written."""

import traceback
from collections.abc import Callable, Sequence

from batchyard.workers.openai import Body, legacy_logprobs
from batchyard.workers.openvino.board import Generated
from batchyard.workers.openvino.tokens import Reading
from batchyard.workers.openvino.wording import surely_said, surely_thought_and_said, thought_and_said
from batchyard.workers.telling import Beat, Telling

Entries = Callable[[Generated], list[Body]]
"""The log probabilities of what was generated, as a chat tells them."""


class Aloud:
    """One choice of an answer, told while it is written. `entries` None tells no log probabilities."""

    def __init__(
        self, telling: Telling, place: int, reading: Reading, *, stops: Sequence[str], chats: bool,
        entries: Entries | None,
    ) -> None:  # fmt: skip
        self.has_begun = False
        self._telling = telling
        self._place = place
        self._reading = reading
        self._stops = stops
        self._chats = chats
        self._entries = entries
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._told_ids = 0
        self._told_text = 0
        self._thought = ""
        self._said = ""
        self._beat = Beat()

    def read(self, news: Generated) -> None:
        """Take what is new, and tell it with what came before, if it is time."""
        self._ids += news.ids
        self._logprobs += news.logprobs
        if not self._beat.due():
            return
        try:
            self._reading.add(self._ids)
            sure = surely_said(self._reading.text, self._stops)
            self._tell(*(surely_thought_and_said(sure) if self._chats else ("", sure)))
        except Exception:  # the end tells all that was not told, and fails where this was not a passing trouble
            traceback.print_exc()

    def end(self, draft: Generated, text: str, reason: str) -> None:
        """Tell what is left of the finished draft, whose words are `text`, and why it ends."""
        self._ids[:], self._logprobs[:] = draft.ids, draft.logprobs
        self._tell(*(thought_and_said(text) if self._chats else ("", text)), last=True)
        self._telling.tell(self._place, {**({"delta": {}} if self._chats else {"text": ""}), "finish_reason": reason})

    def _tell(self, thought: str, said: str, *, last: bool = False) -> None:
        new_thought, new_said = thought[len(self._thought) :], said[len(self._said) :]
        if not new_thought and not new_said and not (last and not self.has_begun):
            return
        self._telling.tell(self._place, {**self._words(new_thought, new_said), "logprobs": self._new_logprobs()})
        self._thought, self._said, self.has_begun = thought, said, True
        self._beat.beaten()

    def _words(self, thought: str, said: str) -> Body:
        if not self._chats:
            return {"text": said}
        delta: Body = {} if self.has_begun else {"role": "assistant"}
        if thought:
            delta["reasoning_content"] = thought
        if said:
            delta["content"] = said
        return {"delta": delta}

    def _new_logprobs(self) -> Body | None:
        if self._entries is None:
            return None
        first, self._told_ids = self._told_ids, len(self._ids)
        entries = self._entries(Generated(self._ids[first:], self._logprobs[first:], ""))
        if self._chats:
            return {"content": entries}
        told = legacy_logprobs(entries, self._told_text)
        self._told_text += sum(len(str(entry["token"])) for entry in entries)
        return told
