"""The one table of errors."""

import msgspec
import pytest

from batchyard.dialects.openai.errors import TABLE, refusal
from batchyard.domain import errors
from batchyard.domain.batch import Form
from batchyard.domain.errors import BatchyardError, Conflict, Invalid, NotFound, QuotaExceeded, Unavailable


def all_kinds(kind: type[BatchyardError] = BatchyardError) -> set[type[BatchyardError]]:
    return set(kind.__subclasses__()).union(*(all_kinds(sub) for sub in kind.__subclasses__()))


@pytest.mark.parametrize("kind", sorted((k for k in all_kinds() if k.__module__ == errors.__name__), key=str))
def test_every_error_has_its_row(kind: type[BatchyardError]) -> None:
    assert kind.code in TABLE


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("code", sorted(TABLE))
def test_every_envelope_has_all_four_keys(form: Form, code: str) -> None:
    class Some(BatchyardError):
        pass

    Some.code = code
    error = msgspec.json.decode(refusal(Some("m", remedy="r"), form).body)["error"]
    assert sorted(error) == ["code", "message", "param", "type"] and error["message"] == "m r"


def test_a_finer_word_goes_before_the_tables() -> None:
    told = msgspec.json.decode(refusal(Invalid("m", param="p", reason="invalid_value")).body)["error"]
    assert told == {"message": "m", "type": "invalid_request_error", "param": "p", "code": "invalid_value"}


def test_azure_paths_have_azures_words() -> None:
    told = msgspec.json.decode(refusal(NotFound("m"), Form.AZURE).body)["error"]
    assert told["code"] == "notFound"


@pytest.mark.parametrize(
    ("reason", "word"), [("model_not_found", "DeploymentNotFound"), ("token_limit_exceeded", "token_limit_exceeded")]
)
def test_azures_own_finer_words_are_kept(reason: str, word: str) -> None:
    told = msgspec.json.decode(refusal(Invalid("m", reason=reason), Form.AZURE).body)["error"]
    assert told["code"] == word


@pytest.mark.parametrize("error", [Conflict("m"), QuotaExceeded("m")])
def test_what_cannot_heal_says_so(error: BatchyardError) -> None:
    assert refusal(error).heals is False and refusal(error).status in (409, 429)


def test_what_heals_says_when() -> None:
    assert refusal(Unavailable("m")).retry_after_seconds == 1


def test_what_is_not_ours_is_not_told() -> None:
    told = refusal(RuntimeError("secret"))
    assert told.status == 500 and b"secret" not in told.body
