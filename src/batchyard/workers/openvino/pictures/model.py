"""A loaded pipeline: one picture after the other, on a thread of its own."""

import traceback
from concurrent.futures import ThreadPoolExecutor

import msgspec

from batchyard.clock import SystemClock
from batchyard.domain.result import Answer
from batchyard.engine import Abilities
from batchyard.workers.openai import BadRequest, error_answer, read_body
from batchyard.workers.openvino.pictures.encode import encoded
from batchyard.workers.openvino.pictures.painter import Painter, Refused
from batchyard.workers.openvino.pictures.wish import Wish, wish_of
from batchyard.workers.openvino.schemas import plain_message
from batchyard.workers.serve import Call


class PictureModel:
    """Checks on the thread that takes the call, and paints on its own. `grain`: see `folder`."""

    def __init__(self, painter: Painter, grain: int, abilities: Abilities) -> None:
        self.abilities = abilities
        self._painter = painter
        self._grain = grain
        self._easel = ThreadPoolExecutor(max_workers=1, thread_name_prefix="easel")

    def take(self, call: Call) -> None:
        try:
            wish = wish_of(read_body(call.request.body), self._grain)
        except BadRequest as refusal:
            call.answer(refusal.answer)
        else:
            self._easel.submit(self._work, call, wish)

    def _work(self, call: Call, wish: Wish) -> None:
        try:
            pictures = self._painted(call, wish)
        except Refused as error:
            call.answer(error_answer(400, f"The model cannot make this: {plain_message(error)}"))
        except Exception as error:
            traceback.print_exc()
            call.answer(error_answer(500, f"The engine failed: {plain_message(error)}"))
        else:
            if not call.given_up:
                call.answer(_answer(pictures, wish.form))

    def _painted(self, call: Call, wish: Wish) -> list[str]:
        """Each picture alone: memory is that of one, and who gives up need not wait for the rest."""
        pictures: list[str] = []
        for seed in wish.seeds:
            if call.given_up:
                break
            pixels = self._painter.paint(wish.prompt, seed, wish.settings, lambda: call.given_up)
            if pixels is not None:
                pictures.append(encoded(pixels, wish.form, wish.compression))
        return pictures


def _answer(pictures: list[str], form: str) -> Answer:
    """There is no `usage`: nothing here is counted in tokens."""
    data = [{"b64_json": picture} for picture in pictures]
    told = {"created": int(SystemClock().now()), "output_format": form, "data": data}
    return Answer(200, msgspec.json.encode(told))
