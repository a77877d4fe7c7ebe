"""Calls to a server: what is sent, what is sent again, and what is said when it fails."""

import json

import pytest

from batchyard.transport.api import Api, ApiError, normal, path_of
from tests.support.api_script import QUICK, Told, asking, hangs_up, refuses, says
from tests.support.web_server import answers, redirects_to


def failing(told: Told, path: str = "/x") -> ApiError:
    with pytest.raises(ApiError) as error:
        told.api.get(path)
    return error.value


def test_a_call_carries_its_key_and_its_body() -> None:
    with asking(says({"id": "b"})) as told:
        assert told.api.call("POST", "/batches", {"a": "é"}, headers={"Idempotency-Key": "k"}) == {"id": "b"}
    (seen,) = told.script.seen
    assert (seen.method, seen.path, json.loads(seen.body)) == ("POST", "/v1/batches", {"a": "é"})
    assert seen.headers["authorization"] == "Bearer secret" and seen.headers["api-key"] == "secret"
    assert (seen.headers["idempotency-key"], seen.headers["content-type"]) == ("k", "application/json")


def test_a_server_that_needs_no_key_gets_none() -> None:
    with asking(says({}), key=None) as told:
        told.api.get("/models")
    assert not {"authorization", "api-key"} & told.script.seen[0].headers.keys()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        (" https://h/openai/v1/ ", "https://h/openai/v1"),
        ("https://h/openai?api-version=1#x", "https://h/openai?api-version=1"),
    ],
)
def test_a_base_url_may_be_written_in_many_ways(given: str, used: str) -> None:
    assert normal(given) == used


@pytest.mark.parametrize("given", ["localhost:8000", "h", "", "ftp://h/v1", "http:///v1"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ApiError, match="not the URL of a server"):
        normal(given)


def test_the_query_of_the_base_url_goes_with_every_call_and_ids_are_quoted() -> None:
    with asking(says({}), path="openai/v1?api-version=preview") as told:
        told.api.get(path_of("batches", "a/b?c"), limit=1, after=None)
    assert told.script.seen[0].path == "/openai/v1/batches/a%2Fb%3Fc?api-version=preview&limit=1"


def test_the_servers_words_code_and_request_id_are_told() -> None:
    with asking(refuses(409, "Taken. Use another.", "in_use", x_request_id="req_7")) as told:
        error = failing(told)
    assert str(error) == "Taken. Use another. (409, in_use, request req_7)"
    assert (error.status, error.code, error.request_id, len(told.script.seen)) == (409, "in_use", "req_7", 1)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"<html><title>502</title><p>Bad  gateway</p></html>", "502 Bad gateway"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"object": "error", "message": "too long", "code": 400}', "too long"),
        (b"[1, 2]", "[1, 2]"),
        (b"", "The server gave no reason."),
        (b"\x00\xff", "The server gave no reason."),
    ],
)
def test_errors_in_other_shapes_are_told_too(said: bytes, shown: str) -> None:
    with asking(answers(400, said)) as told:
        assert failing(told).message == shown


def test_a_wrong_key_says_where_keys_come_from() -> None:
    with asking(refuses(401, "Incorrect API key provided.", "invalid_api_key")) as told:
        assert "--api-key-env" in str(failing(told))


def test_a_call_is_sent_again_after_what_may_heal() -> None:
    with asking(answers(503, b""), hangs_up, refuses(429, "slow down", Retry_After="7"), says({"a": 1})) as told:
        assert told.api.get("/x") == {"a": 1}
    assert len(told.script.seen) == 4 and sum(told.waited[-70:]) == pytest.approx(7.0, abs=0.2)


def test_sending_again_has_an_end_and_the_last_words_are_told() -> None:
    with asking(refuses(500, "broken")) as told:
        assert failing(told).message == "broken"
    assert len(told.script.seen) == QUICK.tries


@pytest.mark.parametrize(("wish", "calls"), [("false", 1), ("true", QUICK.tries)])
def test_the_servers_word_on_asking_again_counts(wish: str, calls: int) -> None:
    with asking(refuses(429 if wish == "false" else 409, "no", x_should_retry=wish)) as told:
        failing(told)
    assert len(told.script.seen) == calls


def test_a_key_does_not_follow_a_redirect() -> None:
    with asking(says({})) as other, asking(redirects_to(other.script.url + "v1/x")) as told:
        error = failing(told)
        assert other.script.seen == []
    assert error.status == 307 and other.script.url in str(error)


def test_a_server_that_was_never_there_is_given_up_soon() -> None:
    waited = list[float]()
    api = Api("http://127.0.0.1:1", None, patience=QUICK, sleep=waited.append)
    with pytest.raises(ApiError, match=r"No answer from http://127.0.0.1:1/v1: .* refused") as error:
        api.get("/models")
    assert error.value.lost and sum(waited) < 4


def test_an_answer_that_is_no_object_is_refused() -> None:
    for said in (b"<html>", b"[]", b'"a"'):
        with asking(answers(200, said)) as told:
            assert "not a JSON object" in str(failing(told))


def test_what_was_done_before_is_found_and_not_done_again() -> None:
    with asking(hangs_up, says({"id": "new"})) as told:
        found = told.api.call("POST", "/batches", {}, done_before=lambda: {"id": "old"})
    assert found == {"id": "old"} and len(told.script.seen) == 1


def test_a_refused_call_was_not_done() -> None:
    with asking(refuses(429, "later"), says({"id": "new"})) as told:
        assert told.api.call("POST", "/b", {}, done_before=lambda: {"id": "old"}) == {"id": "new"}


def test_lists_are_read_page_by_page() -> None:
    pages = [
        {"data": [{"id": f"b{n}"} for n in range(100)], "has_more": True},
        {"data": [{"id": "b100"}], "last_id": "x"},
    ]
    with asking(*map(says, pages)) as told:
        found, more = told.api.pages("/batches", None, purpose="batch")
    assert [each["id"] for each in found] == [f"b{n}" for n in range(101)] and not more
    assert [seen.path.partition("?")[2] for seen in told.script.seen] == [
        "limit=100&purpose=batch",
        "limit=100&after=b99&purpose=batch",
    ]


def test_a_list_ends_where_enough_was_asked_for() -> None:
    with asking(says({"data": [{"id": "a"}, {"id": "b"}], "has_more": True})) as told:
        assert told.api.pages("/files", 2) == ([{"id": "a"}, {"id": "b"}], True)
    assert len(told.script.seen) == 1
