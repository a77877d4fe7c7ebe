"""Names for new things, and the secrets of keys: all from one source of randomness.

In production the source is `random.SystemRandom()`, so that ids and secrets cannot be guessed; tests give a seeded one.
"""

import base64
from random import Random

from batchyard.domain.access import KeyId, ProjectId
from batchyard.domain.batch import BatchId
from batchyard.domain.event import EventId
from batchyard.domain.file import ID_PREFIX, FileId
from batchyard.domain.resumable import ResumableId
from batchyard.domain.upload import PartId, UploadId
from batchyard.domain.webhook import WebhookId

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SMALL = "0123456789abcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES = 32
_SPARE_BITS = 64
"""Drawn on top, so that every letter is as likely as any other to within 2^-64."""
_WEBHOOK_SECRET_BYTES = 24
PREFIX_LENGTH = 11
"""How much of a secret is public: `by-` and 8 letters."""


class Ids:
    """Makes ids. They are opaque: nothing can be read from them."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def file(self) -> FileId:
        """What follows the prefix is a name on wires whose clients know small letters and digits only."""
        return FileId(f"{ID_PREFIX}{self._letters(25, _SMALL)}")

    def upload(self) -> UploadId:
        return UploadId(f"upload_{self._hex()}")

    def part(self) -> PartId:
        return PartId(f"part_{self._hex()}")

    def resumable(self) -> ResumableId:
        return ResumableId(f"resumable_{self._hex()}")

    def resumable_secret(self) -> str:
        """A new secret for an address: 256 random bits."""
        return self._bits(_SECRET_BYTES)

    def batch(self) -> BatchId:
        return BatchId(f"batch_{self._hex()}")

    def event(self) -> EventId:
        return EventId(f"evt_{self._hex()}")

    def project(self) -> ProjectId:
        return ProjectId(f"proj_{self._letters(22)}")

    def key(self) -> KeyId:
        return KeyId(f"key_{self._letters(22)}")

    def secret(self) -> str:
        """A new secret: `by-`, 8 public letters, `-`, and 256 random bits."""
        secret = self._bits(_SECRET_BYTES)
        return f"by-{self._letters(8)}-{secret}"

    def webhook(self) -> WebhookId:
        return WebhookId(f"we_{self._hex()}")

    def webhook_secret(self) -> str:
        """A new secret to sign with, as Standard Webhooks writes it: `whsec_` and 192 random bits in base64."""
        bits = self._random.getrandbits(8 * _WEBHOOK_SECRET_BYTES).to_bytes(_WEBHOOK_SECRET_BYTES, "big")
        return f"whsec_{base64.b64encode(bits).decode()}"

    def _bits(self, count: int) -> str:
        """So many random bytes, as base64 for addresses."""
        bits = self._random.getrandbits(8 * count).to_bytes(count, "big")
        return base64.urlsafe_b64encode(bits).decode().rstrip("=")

    def _hex(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    def _letters(self, count: int, alphabet: str = _ALPHABET) -> str:
        drawn, letters = self._random.getrandbits(6 * count + _SPARE_BITS), list[str]()
        for _ in range(count):
            drawn, at = divmod(drawn, len(alphabet))
            letters.append(alphabet[at])
        return "".join(letters)
