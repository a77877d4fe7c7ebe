"""May two equal requests share one answer?"""

from collections.abc import Callable, Iterable, Iterator


def repeatable(temperature: float | None, n: float | None, seed: float | None) -> bool:
    """Whether a generation is a function of its request: greedy with one choice, or with a seed."""
    if seed is not None:
        return True
    return temperature == 0 and (n is None or n == 1)


def repeats(hashed: Iterable[tuple[int, int]], same: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    """Pairs (first, later) of places with equal contents, from (hash, place) in rising order of place.

    `same(first, later)` compares the contents themselves, so an equal hash alone never makes a pair. Memory grows with
    the number of different hashes.
    """
    firsts: dict[int, int] = {}
    others: dict[int, list[int]] = {}
    for hash_, place in hashed:
        first = firsts.setdefault(hash_, place)
        if first == place:
            continue
        if same(first, place):
            yield first, place
            continue
        rivals = others.setdefault(hash_, [])
        found = next((rival for rival in rivals if same(rival, place)), None)
        if found is None:
            rivals.append(place)
        else:
            yield found, place
