import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.endpoints._embeddings_grouped import join, read, split
from batchyard.policy.group import GROUP_BYTES

TEXTS = st.lists(st.text(min_size=1), min_size=1, max_size=8)


def body(text: Any, **options: Any) -> bytes:
    return json.dumps({"model": "m", "input": text, **options}).encode()


@given(TEXTS)
def test_a_group_asks_for_its_texts_in_their_order(texts: list[str]) -> None:
    loose = [read(body(text, dimensions=8)) for text in texts]
    group = [each for each in loose if each is not None]
    assert len({each.options for each in group}) == 1 and len(group) == len(texts)
    joined = json.loads(join(group[0].options, [each.text for each in group]))
    assert joined == {"model": "m", "dimensions": 8, "input": texts}


def test_where_the_input_stands_among_the_fields_does_not_matter_but_all_else_does() -> None:
    first, second = read(b'{"model":"m","input":"a"}'), read(b'{ "input" : "b", "model": "m" }')
    assert first is not None and second is not None and first.options == second.options
    for other in (b'{"model":"n","input":"a"}', b'{"model":"m","input":"a","user":"u"}'):
        third = read(other)
        assert third is not None and third.options != first.options


@pytest.mark.parametrize(
    "unusual",
    [
        body(["a"]),
        body([1, 2]),
        body(""),
        body(None),
        body({"text": "a"}),
        body("a", stream=True),
        body("x" * GROUP_BYTES),
        b'{"model":"m","messages":[]}',
        b'{"input":"a"}',
        b"not JSON",
    ],
)
def test_what_is_unusual_goes_alone(unusual: bytes) -> None:
    assert read(unusual) is None


def an_answer(items: list[Any], **fields: Any) -> bytes:
    return json.dumps({"object": "list", "data": items, "model": "m", **fields}).encode()


def item(index: int, **fields: Any) -> dict[str, Any]:
    return {"object": "embedding", "index": index, "embedding": [index], **fields}


def told(answer: bytes, weights: list[int]) -> list[Any]:
    bodies = split(answer, weights)
    assert bodies is not None
    return [json.loads(each) for each in bodies]


def test_each_answer_has_the_shape_of_a_call_of_its_own() -> None:
    usage = {"prompt_tokens": 12, "total_tokens": 12}
    first, second = told(an_answer([item(1), item(0)], id="x", usage=usage), [1, 4])
    assert first == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0]}],
        "model": "m",
        "id": "x",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert second["data"] == [{"object": "embedding", "index": 0, "embedding": [1]}]
    assert second["usage"] == {"prompt_tokens": 9, "total_tokens": 9}


def test_vectors_pass_as_they_were_written() -> None:
    raw = b'{"data":[{"index":0,"embedding":[0.10000000000000000001,-1E-7]},{"index":1,"embedding":"AAA\\u0041"}]}'
    bodies = split(raw, [1, 1])
    assert bodies is not None
    assert b'"embedding":[0.10000000000000000001,-1E-7]' in bodies[0]
    assert b'"embedding":"AAA\\u0041"' in bodies[1]


@given(st.integers(0, 10_000), st.integers(0, 300), st.integers(0, 50), st.lists(st.integers(5, 900), min_size=1))
def test_what_was_used_is_shared_out_to_the_last_token(into: int, out: int, cached: int, weights: list[int]) -> None:
    usage: dict[str, Any] = {
        "prompt_tokens": into,
        "completion_tokens": out,
        "total_tokens": into + out,
        "prompt_tokens_details": {"cached_tokens": cached, "kind": None},
    }
    shares = [each["usage"] for each in told(an_answer([item(n) for n in range(len(weights))], usage=usage), weights)]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert sum(share[name] for share in shares) == usage[name]
    assert sum(share["prompt_tokens_details"]["cached_tokens"] for share in shares) == cached
    assert all(share["total_tokens"] == share["prompt_tokens"] + share["completion_tokens"] for share in shares)


@pytest.mark.parametrize("usage", [None, {}, {"cost": 0.5, "kind": "free", "ok": True}, "much", [1]])
def test_a_usage_of_another_shape_is_told_as_far_as_it_goes(usage: Any) -> None:
    shares = [each["usage"] for each in told(an_answer([item(0), item(1)], usage=usage), [1, 3])]
    if isinstance(usage, dict) and usage:
        assert [share["cost"] for share in shares] == [0.125, 0.375]
        assert all(share["kind"] == "free" and share["ok"] is True for share in shares)
    else:
        assert shares == [usage, usage]


def test_an_answer_without_usage_has_none() -> None:
    assert all("usage" not in each for each in told(an_answer([item(0), item(1)]), [1, 1]))


@pytest.mark.parametrize(
    "answer",
    [
        an_answer([item(0)]),
        an_answer([item(0), item(1), item(2)]),
        an_answer([item(0), item(0)]),
        an_answer([item(0), item(2)]),
        an_answer([item(0), {"index": 1}]),
        an_answer([item(0), {"embedding": []}]),
        an_answer([item(0), "what"]),
        b'{"data":{}}',
        b"{}",
        b"[]",
        b"",
    ],
)
def test_an_answer_that_has_not_one_vector_for_each_does_not_fit(answer: bytes) -> None:
    assert split(answer, [1, 1]) is None


def test_bodies_are_json_whatever_the_options_are() -> None:
    loose = read(body("a", **{"strange \u2028 key": [1.50, {"x": "é"}]}))
    assert loose is not None
    assert msgspec.json.decode(join(loose.options, [loose.text]))["strange \u2028 key"] == [1.5, {"x": "é"}]
