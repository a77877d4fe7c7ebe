"""Names of result lines: drawn from the run and the line's place, so that a resumed run writes the same ones."""

from hashlib import blake2b


def drawn(run_id: str, place: int, kind: str, digits: int = 32) -> str:
    """`digits` hexadecimal digits that look random and are not."""
    return blake2b(f"{run_id}/{place}/{kind}".encode(), digest_size=digits // 2).hexdigest()
