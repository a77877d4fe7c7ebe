"""What becomes of a call, with a painter that does as a test says."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply
from batchyard.engine import Abilities
from batchyard.workers.openvino.pictures.model import PictureModel
from batchyard.workers.openvino.pictures.painter import Pixels, Refused
from batchyard.workers.serve import Call

IMAGES = "/v1/images/generations"


class Scripted:
    """Does what it is told with each seed; a black picture where nothing is said."""

    def __init__(self, moves: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.painted: list[int] = []
        self._moves = moves or {}

    def paint(self, prompt: str, seed: int, settings: Mapping[str, Any], given_up: Callable[[], bool]) -> Pixels | None:
        self.painted.append(seed)
        self._moves.get(seed, lambda: None)()
        return None if given_up() else numpy.zeros((8, 8, 3), dtype=numpy.uint8)


class Asked:
    """A call, and its answer when it comes."""

    def __init__(self, **body: Any) -> None:
        asked = msgspec.json.encode({"prompt": "a cat", "seed": 1, **body})
        self.call = Call(Request(0, "a", IMAGES, "m", asked), self._hear)
        self._heard = threading.Event()
        self._reply: Reply | None = None

    def _hear(self, reply: Reply) -> None:
        self._reply = reply
        self._heard.set()

    def answer(self) -> tuple[int, Any]:
        assert self._heard.wait(30)
        assert isinstance(self._reply, Answer)
        return self._reply.status, msgspec.json.decode(self._reply.body)

    def give_up(self) -> None:
        self.call.given_up = True

    @property
    def answered(self) -> bool:
        return self._heard.is_set()


def a_model(painter: Scripted) -> PictureModel:
    return PictureModel(painter, 8, Abilities(endpoints=frozenset({IMAGES}), models=None))


def fails(error: Exception) -> Callable[[], None]:
    def move() -> None:
        raise error

    return move


def test_every_picture_is_made_alone_from_its_own_seed() -> None:
    painter, asked = Scripted(), Asked(n=3)
    a_model(painter).take(asked.call)
    status, told = asked.answer()
    assert (status, len(told["data"]), painter.painted) == (200, 3, [1, 2, 3])


def test_a_wrong_wish_is_refused_before_anything_is_made() -> None:
    painter, asked = Scripted(), Asked(size="9x9")
    a_model(painter).take(asked.call)
    assert asked.answer()[0] == 400 and painter.painted == []


def test_what_the_painter_refuses_is_the_request_s_fault_and_what_breaks_it_is_ours() -> None:
    painter = Scripted({1: fails(Refused("x.cpp:9:\nToo odd")), 2: fails(RuntimeError("Out of memory"))})
    model = a_model(painter)
    refused, broken, next_one = Asked(seed=1), Asked(seed=2), Asked(seed=3)
    for asked in (refused, broken, next_one):
        model.take(asked.call)
    status, told = refused.answer()
    assert (status, told["error"]["message"]) == (400, "The model cannot make this: Too odd")
    assert broken.answer()[0] == 500 and next_one.answer()[0] == 200


def test_who_gives_up_half_way_gets_no_more_pictures_and_holds_nobody_up() -> None:
    hurried, waiting = Asked(n=10), Asked(seed=50)
    painter = Scripted({2: hurried.give_up})
    model = a_model(painter)
    model.take(hurried.call)
    model.take(waiting.call)
    assert waiting.answer()[0] == 200
    assert painter.painted == [1, 2, 50] and not hurried.answered


def test_who_gave_up_while_waiting_is_not_begun() -> None:
    gone, next_one = Asked(seed=5), Asked(seed=6)
    gone.give_up()
    painter = Scripted()
    model = a_model(painter)
    model.take(gone.call)
    model.take(next_one.call)
    assert next_one.answer()[0] == 200 and painter.painted == [6]
