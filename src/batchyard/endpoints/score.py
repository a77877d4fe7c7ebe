"""`/v1/score`: pairs of texts in, their likeness out."""

from batchyard.endpoint import Body, Problem, Traits
from batchyard.endpoints._checks import POOLING, absent, not_a

EXPECTED = "a string or an array of strings"


class Score:
    """Each text of one side with each, or the matching one, of the other.

    vLLM has spelled the two sides in several ways: `text_1` and `text_2`, `data_1` and `data_2`, `queries` and
    `documents` (or `items`); all are taken.
    """

    path = "/v1/score"
    prompt = "text_2"

    def check(self, body: Body, prompt: bytes) -> Traits | Problem:
        left, right = _sides(body)
        if absent(left[1]):
            return not_a(*left, EXPECTED)
        if absent(right[1]):
            return not_a(*right, EXPECTED)
        return POOLING


def _sides(body: Body) -> list[tuple[str, bytes]]:
    """Both sides with their keys, in the spelling of which the body has more."""
    spellings = (
        (("text_1", body.text_1), ("text_2", body.text_2)),
        (("data_1", body.data_1), ("data_2", body.data_2)),
        (("queries", body.queries), ("documents", body.documents)),
        (("queries", body.queries), ("items", body.items)),
        (("query", body.query), ("documents", body.documents)),
    )
    written = ([(key, bytes(raw)) for key, raw in sides] for sides in spellings)
    return max(written, key=lambda sides: sum(not absent(value) for _, value in sides))
