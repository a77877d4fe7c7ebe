"""A file of this machine on its way to a server: in one call, or in parts. Blocking; memory holds one part at most."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from batchyard.transport.api import Api, ApiError, Object, path_of

CHUNK_BYTES: Final = 1 << 18
PART_BYTES: Final = 32 << 20
"""Of an upload in parts: servers take 64 MB, and whatever breaks costs one part."""

Progress = Callable[[int, int], None]
"""Bytes that went, and the total."""


def send_file(
    api: Api, path: str, name: str, purpose: str, on_progress: Progress, idempotency_key: str | None = None
) -> Object:
    """Send a file in one call, read from the disk as it goes; the file object. Raises ApiError."""
    boundary = f"batchyard-{secrets.token_hex(16)}"
    head, tail = _form(boundary, "file", name, purpose=purpose), f"\r\n--{boundary}--\r\n".encode()
    size = Path(path).stat().st_size

    def body() -> Iterator[bytes]:
        yield head
        yield from _chunks(path, size, on_progress)
        yield tail

    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + size + len(tail)),
        **_once(idempotency_key),
    }
    return api.send("POST", "/files", headers, body)


def send_parts(
    api: Api,
    path: str,
    name: str,
    purpose: str,
    on_progress: Progress,
    idempotency_key: str | None = None,
    *,
    part_bytes: int = PART_BYTES,
) -> Object:
    """Send a file in parts, each again where it breaks; the file object. Raises ApiError."""
    size = Path(path).stat().st_size
    asked = {"filename": name, "purpose": purpose, "bytes": size, "mime_type": "application/jsonl"}
    upload = api.call("POST", "/uploads", asked, headers=_once(idempotency_key))
    digest, ids, sent = hashlib.md5(usedforsecurity=False), list[str](), 0
    with open(path, "rb") as file:
        while part := file.read(part_bytes):
            digest.update(part)
            ids.append(_send_part(api, str(upload["id"]), part))
            sent += len(part)
            on_progress(sent, size)
    done = api.call(
        "POST", path_of("uploads", str(upload["id"]), "complete"), {"part_ids": ids, "md5": digest.hexdigest()}
    )
    if not isinstance(done.get("file"), dict):
        raise ApiError(f"The upload {upload['id']} was completed, but its file is gone.", remedy="Send it again.")
    return done["file"]


def _send_part(api: Api, upload: str, part: bytes) -> str:
    boundary = f"batchyard-{secrets.token_hex(16)}"
    body = _form(boundary, "data", "part") + part + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return str(api.send("POST", path_of("uploads", upload, "parts"), headers, lambda: body)["id"])


def _form(boundary: str, file_field: str, name: str, **fields: str) -> bytes:
    """The beginning of a form: its fields, then the head of its file, so that a server knows all before the bytes."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    ]
    shown = name.replace("\\", "_").replace('"', "%22").replace("\r", "").replace("\n", "%0A")
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{file_field}"; filename="{shown}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return "".join(parts).encode()


def _chunks(path: str, size: int, on_progress: Progress) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that changes meanwhile must not break the frame around it."""
    done = 0
    with open(path, "rb") as file:
        while done < size:
            chunk = file.read(min(CHUNK_BYTES, size - done))
            if not chunk:
                raise ApiError(f"{path} became shorter while it was sent.", remedy="Send it when it is finished.")
            yield chunk
            done += len(chunk)
            on_progress(done, size)


def _once(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}
