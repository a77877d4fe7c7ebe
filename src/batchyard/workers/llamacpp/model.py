"""A loaded llama.cpp model: one thread per slot, each answering one request at a time."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from batchyard.domain.result import Answer
from batchyard.engine import Abilities
from batchyard.workers.llamacpp import chat, completions, vectors
from batchyard.workers.llamacpp.stream import Streams
from batchyard.workers.openai import CHAT, COMPLETIONS, EMBEDDINGS, SCORE, BadRequest, error_answer, read_body
from batchyard.workers.serve import Call
from batchyard.workers.telling import Telling


class LlamaModel:
    """`server` is xllamacpp's; it may be called from as many threads as it has slots."""

    def __init__(self, server: Any, abilities: Abilities, *, ranks: bool = False, knows_tools: bool = False) -> None:
        self.abilities = abilities
        self._server = server
        self._ranks = ranks
        self._knows_tools = knows_tools
        self._slots = ThreadPoolExecutor(max_workers=abilities.slots, thread_name_prefix="slot")

    def take(self, call: Call) -> None:
        self._slots.submit(self._work, call)

    def _work(self, call: Call) -> None:
        if call.given_up:
            return
        try:
            answer = self._answer(call)
        except BadRequest as refusal:
            answer = refusal.answer
        except ValueError as error:  # how llama.cpp refuses schemas, templates and parameters
            answer = error_answer(400, str(error))
        except Exception as error:
            traceback.print_exc()
            answer = error_answer(500, f"The engine failed: {error}")
        call.answer(answer)

    def _answer(self, call: Call) -> Answer:
        body = read_body(call.request.body)
        name = call.request.model
        match call.request.endpoint:
            case path if path == CHAT:
                streams = Streams(self._server.handle_chat_completions, call)
                sees, knows = self.abilities.sees_images, self._knows_tools
                if call.say is None:
                    return chat.answer(body, name, streams, sees_images=sees, knows_tools=knows)
                telling = Telling(call.say, "chat.completion.chunk", name, prefix="chatcmpl")
                return chat.tell(body, streams, telling, sees_images=sees, knows_tools=knows)
            case path if path == COMPLETIONS:
                streams = Streams(self._server.handle_completions, call)
                if call.say is None:
                    return completions.answer(body, name, streams)
                telling = Telling(call.say, "text_completion", name, prefix="cmpl")
                return completions.tell(body, streams, telling)
            case path if path == EMBEDDINGS:
                return vectors.embed(self._server, body, name)
            case path if path == SCORE:
                return vectors.score(self._server, body, name, ranks=self._ranks)
            case _:
                return vectors.rerank(self._server, body, name, ranks=self._ranks)
