"""What was spent, as the OpenAI wire tells administrators: a page of days, with one result for each group on each."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from batchyard.dialects.openai import fields as wire
from batchyard.domain.errors import Invalid
from batchyard.domain.price import NANOS, Spent

Object = dict[str, Any]

GROUPS = ("project_id", "line_item")
_PAGE = "page_"
Query = Sequence[tuple[str, str]]
"""The words after a path's question mark, with their names, each as often as it is there."""
_Group = tuple[str | None, str | None, str]
"""A project and a line item, where they were asked for, and a currency."""


class CostsCall(Struct, frozen=True, kw_only=True):
    """Which days a call asks for, of whom, and how their sums are split."""

    start: int
    end: int | None
    limit: int | None
    groups: frozenset[str]
    projects: tuple[str, ...]
    line_items: tuple[str, ...]


class Day(Protocol):
    """What was spent from one second to before another."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def spent(self) -> Sequence[Spent]: ...


def costs_call(query: Query) -> CostsCall:
    """Of asking for costs. Raises Invalid."""
    width = _word(query, "bucket_width")
    if width not in (None, "1d"):
        raise _invalid("bucket_width", width or "", ("1d",))
    return CostsCall(
        start=_start(query),
        end=_whole(query, "end_time"),
        limit=_whole(query, "limit"),
        groups=_groups(_words(query, "group_by")),
        projects=_words(query, "project_ids"),
        line_items=_words(query, "line_items"),
    )


def costs_page(days: Iterable[Day], call: CostsCall, next_start: int | None) -> Object:
    """The answer. Days on which nothing was spent are there, and empty."""
    return {
        "object": "page",
        "data": [_bucket(day, call) for day in days],
        "has_more": next_start is not None,
        "next_page": None if next_start is None else f"{_PAGE}{next_start}",
    }


def line_item(spent: Spent) -> str:
    """What was paid for: the answers of a model, in batches or one by one."""
    return f"{spent.model}, {'batch' if spent.batch else 'interactive'}"


def _bucket(day: Day, call: CostsCall) -> Object:
    groups: dict[_Group, list[Spent]] = {}
    for spent in day.spent:
        if spent.currency is not None and (not call.line_items or line_item(spent) in call.line_items):
            groups.setdefault(_group(spent, call.groups), []).append(spent)
    return {
        "object": "bucket",
        "start_time": day.start,
        "end_time": day.end,
        "results": [_result(group, groups[group]) for group in sorted(groups, key=str)],
    }


def _group(spent: Spent, groups: frozenset[str]) -> _Group:
    return (
        spent.project if "project_id" in groups else None,
        line_item(spent) if "line_item" in groups else None,
        spent.currency or "",
    )


def _result(group: _Group, spent: Sequence[Spent]) -> Object:
    project, item, currency = group
    tokens = sum(each.usage.input_tokens + each.usage.output_tokens for each in spent)
    return {
        "object": "organization.costs.result",
        "amount": {"value": sum(each.nanos for each in spent) / NANOS, "currency": currency.lower()},
        "line_item": item,
        "project_id": project,
        "quantity": None if item is None else tokens,
        "quantity_unit": None if item is None else "tokens",
        "api_key_id": None,
        "api_source": None,
        "user_id": None,
    }


def _start(query: Query) -> int:
    """Where the page begins: where the one before says so, else at the beginning."""
    asked, page = _whole(query, "start_time"), _word(query, "page")
    if asked is None:
        raise wire.missing("start_time")
    if not page:
        return asked
    place = page.removeprefix(_PAGE)
    if place == page or not place.isascii() or not place.isdigit() or len(place) > 18:
        raise Invalid("Invalid 'page': no answer has named it.", param="page", reason="invalid_value")
    return int(place)


def _whole(query: Query, name: str) -> int | None:
    word = _word(query, name)
    if word is None:
        return None
    digits = word.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise wire.wrong_type(name, "an integer", word)
    return int(word)


def _words(query: Query, name: str) -> tuple[str, ...]:
    """A list, in any of the ways that clients write one: `x[]=a&x[]=b`, `x=a&x=b`."""
    return tuple(word for key, word in query if word and key in (name, f"{name}[]"))


def _word(query: Query, name: str) -> str | None:
    return dict(query).get(name)


def _groups(words: Sequence[str]) -> frozenset[str]:
    for word in words:
        if word not in GROUPS:
            raise _invalid("group_by", word, GROUPS)
    return frozenset(words)


def _invalid(name: str, word: str, supported: Sequence[str]) -> Invalid:
    listed = ", ".join(f"'{each}'" for each in supported)
    return Invalid(
        f"Invalid value: '{word[:100]}'. Supported values are: {listed}.", param=name, reason="invalid_value"
    )
