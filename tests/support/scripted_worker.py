"""A worker without a model, for the tests of `workers.engine`: does what bodies and its configuration say.

Configuration: {"starts": path of a file that counts starts, "fails": how many of them fail, "refuses": why}.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from batchyard.domain.errors import Unavailable
from batchyard.domain.result import Answer
from batchyard.engine import Abilities
from batchyard.workers.serve import Call, serve

ENDPOINT = "/v1/chat/completions"


class Script:
    def __init__(self) -> None:
        self.abilities = Abilities(endpoints=frozenset({ENDPOINT}), models=frozenset({"m"}), slots=4)
        self._given_up = threading.Event()

    def take(self, call: Call) -> None:
        threading.Thread(target=self._act, args=(call,), daemon=True).start()

    def _act(self, call: Call) -> None:
        match msgspec.json.decode(call.request.body).get("do"):
            case "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                print("so long", file=sys.stderr, flush=True)
                os._exit(3)
            case "hang":
                while not call.given_up:
                    threading.Event().wait(0.005)
                self._given_up.set()
            case "say and die":
                self._say(call)
                os.kill(os.getpid(), signal.SIGSEGV)
            case "say and hang":
                self._say(call)
                while not call.given_up:
                    threading.Event().wait(0.005)
                self._given_up.set()
            case "say" if call.say is not None:
                for piece in (b"one", b"two", b"three"):
                    call.say(piece)
                call.answer(Answer(200, b""))
            case "await given up":
                self._given_up.wait()
                call.answer(Answer(200, b"{}"))
            case _:
                call.answer(Answer(200, msgspec.json.encode({"pid": os.getpid()})))

    def _say(self, call: Call) -> None:
        if call.say is not None:
            call.say(b"one")


def load(data: bytes) -> Script:
    config: dict[str, Any] = msgspec.json.decode(data)
    starts = Path(config["starts"])
    with starts.open("a") as file:
        file.write("start\n")
    if "refuses" in config:
        print("looked for it everywhere", file=sys.stderr, flush=True)
        raise Unavailable(config["refuses"], remedy="Look again.")
    if len(starts.read_text().splitlines()) <= config.get("fails", 0):
        print("no luck today", file=sys.stderr, flush=True)
        os._exit(9)
    return Script()


if __name__ == "__main__":
    serve(load)
