"""Secrets in the data folder: files that only the server's user may read."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

from batchyard.dialects.signing import PREFIX
from batchyard.domain.errors import Invalid
from batchyard.domain.webhook import SigningSecret

HOOK_FILE = "webhook.secret"
"""What signs deliveries to the webhooks that batches bring along."""


def write_secret(path: str, secret: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    Path(path).unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(descriptor)


def signing_secret(path: str, make: Callable[[], str]) -> SigningSecret:
    """The secret in a file; a new one where there is no such file. Raises Invalid where it holds something else."""
    try:
        text = Path(path).read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        text = make()
        write_secret(f"{path}.new", text)
        Path(f"{path}.new").replace(path)  # a crash leaves the file whole, or none
    if not _signs(text):
        raise Invalid(f"{path} holds no signing secret.", remedy="Remove it: the next start makes a new one.")
    return SigningSecret(text)


def _signs(text: str) -> bool:
    try:
        return text.startswith(PREFIX) and bool(base64.b64decode(text.removeprefix(PREFIX), validate=True))
    except ValueError:
        return False
