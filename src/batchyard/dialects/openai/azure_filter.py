"""Azure's way to ask for some of the batches: `$filter` and `$orderby`, the part of OData that its preview documents.

$filter=created_at gt 1790000000 and status eq 'Completed'
$orderby=created_at asc
"""

import re
from collections.abc import Mapping

from batchyard.domain.batch import BatchState
from batchyard.domain.errors import Invalid
from batchyard.store import BatchFilter, Direction

_TERM = re.compile(r"\s*(created_at|status)\s+(gt|lt|ge|le|eq)\s+('[A-Za-z_]*'|-?\d{1,18})\s*", re.I)
_AND = re.compile(r"\s+and\s+", re.I)
_ORDER = re.compile(r"\s*created_at(?:\s+(asc|desc))?\s*", re.I)
_ALIASES = {"done": "completed", "canceled": "cancelled", "inprogress": "in_progress"}


def batch_filter(query: Mapping[str, str]) -> BatchFilter:
    """The filter of a list call. Raises Invalid for an expression that we do not know."""
    words = query.get("$filter", "")
    low, high, states = None, None, None
    for term in _AND.split(words.strip()) if words.strip() else []:
        field, operator, operand = _term(term)
        if field == "status":
            state = frozenset({_state(operand)})
            states = state if states is None else states & state
        else:
            first, last = _bounds(operator, int(operand))
            low = first if low is None or (first is not None and first > low) else low
            high = last if high is None or (last is not None and last < high) else high
    return BatchFilter(states=states, created_from=low, created_until=high)


def batch_direction(query: Mapping[str, str], default: Direction) -> Direction:
    """The direction of a list call; ascending where `$orderby` names no direction."""
    words = query.get("$orderby")
    if words is None:
        return default
    found = _ORDER.fullmatch(words)
    if found is None:
        raise _unknown("$orderby", words)
    return Direction((found[1] or "asc").lower())


def _term(term: str) -> tuple[str, str, str]:
    found = _TERM.fullmatch(term)
    if found is None:
        raise _unknown("$filter", term)
    field, operator, operand = found[1].lower(), found[2].lower(), found[3]
    if (field == "status") != operand.startswith("'") or (field == "status" and operator != "eq"):
        raise _unknown("$filter", term)
    return field, operator, operand


def _state(operand: str) -> BatchState:
    word = operand.strip("'").lower()
    try:
        return BatchState(_ALIASES.get(word, word))
    except ValueError:
        raise _unknown("$filter", operand) from None


def _bounds(operator: str, number: int) -> tuple[int | None, int | None]:
    """The first and the last second that an operator lets through."""
    match operator:
        case "gt":
            return number + 1, None
        case "ge":
            return number, None
        case "lt":
            return None, number - 1
        case "le":
            return None, number
        case _:
            return number, number


def _unknown(name: str, words: str) -> Invalid:
    return Invalid(
        f"Invalid '{name}': '{words[:100]}' is not understood.",
        remedy="Compare created_at (gt, lt, ge, le, eq) or status (eq), joined by 'and'.",
        param=name,
        reason="invalid_value",
    )
