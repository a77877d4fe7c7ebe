"""Messages to webhook endpoints, signed as Standard Webhooks has it.

`webhook-id` is an event's, whenever it is sent; `webhook-timestamp` is of this very attempt, because receivers refuse
what is older than five minutes; each working secret adds a signature.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

from msgspec import Struct

PREFIX = "whsec_"
"""What a secret begins with whose rest is base64."""


class Message(Struct, frozen=True):
    """What goes to an endpoint."""

    headers: dict[str, str]
    body: bytes


def signed(id: str, body: bytes, secrets: Sequence[str], at: int) -> Message:
    """A JSON body as it is delivered at a time."""
    headers = {
        "content-type": "application/json",
        "user-agent": "batchyard",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(f"v1,{signature(secret, id, at, body)}" for secret in secrets),
    }
    return Message(headers, body)


def signature(secret: str, id: str, at: int, body: bytes) -> str:
    """HMAC-SHA256 of id, time and body, in base64."""
    text = b"%b.%d.%b" % (id.encode(), at, body)
    return base64.b64encode(hmac.digest(_key(secret), text, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        return base64.b64decode(secret.removeprefix(PREFIX))
    return secret.encode()
