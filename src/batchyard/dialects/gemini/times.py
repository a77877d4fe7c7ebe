"""Times as the Gemini wire writes them: RFC 3339, UTC."""

from datetime import UTC, datetime


def timestamp(seconds: float) -> str:
    """A time in seconds since 1970; a fraction has six digits, and is left out where it is none."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() + "Z"
