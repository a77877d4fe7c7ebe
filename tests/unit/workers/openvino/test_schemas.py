from collections.abc import Callable

import pytest

from batchyard.workers.openai import BadRequest
from batchyard.workers.openvino.schemas import SchemaCheck, plain_message


class Trials:
    """Trials that refuse schemas with a word in them; counts how many were started."""

    def __init__(self, refused: str = "$ref") -> None:
        self.started = 0
        self.tried: list[str] = []
        self._refused = refused

    def start(self) -> Callable[[str], None]:
        self.started += 1

        def trial(schema: str) -> None:
            self.tried.append(schema)
            if self._refused in schema:
                raise RuntimeError("/a/b/converter.cc:12: Cannot find field\n")

        return trial


def test_a_schema_against_the_metaschema_never_comes_to_trial() -> None:
    trials = Trials()
    with pytest.raises(BadRequest, match=r"nonsense.*at properties\.a\.type"):
        SchemaCheck(trials.start).checked({"properties": {"a": {"type": "nonsense"}}})
    assert trials.started == 0


def test_a_trial_that_refused_is_replaced_by_a_fresh_one() -> None:
    trials = Trials()
    check = SchemaCheck(trials.start)
    for schema in ({"type": "object"}, {"$ref": "#/a"}, {"type": "array"}, {"type": "string"}):
        if "$ref" in schema:
            with pytest.raises(BadRequest, match="followed: Cannot find field"):
                check.checked(schema)
        else:
            assert check.checked(schema)
    assert trials.started == 2


def test_a_verdict_is_remembered() -> None:
    trials = Trials()
    check = SchemaCheck(trials.start)
    for _ in range(3):
        check.checked({"type": "object"})
        with pytest.raises(BadRequest):
            check.checked({"$ref": "#/a"})
    assert len(trials.tried) == 2


def test_a_native_message_loses_its_source_file() -> None:
    assert plain_message(RuntimeError('[11:11] /x/y.cc:898: Unsupported type "z"\n')) == 'Unsupported type "z"'
    assert plain_message(RuntimeError("plain: words")) == "plain: words"
