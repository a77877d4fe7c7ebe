"""Files as the Gemini wire names and shows them, and the pages of their list."""

import base64
import binascii
from collections.abc import Mapping, Sequence

from msgspec import Struct

from batchyard.dialects.gemini.models import Page, page_of
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.times import timestamp
from batchyard.dialects.gemini.unfit import Unfit
from batchyard.domain.file import BATCH, BATCH_OUTPUT, ID_PREFIX, File

PAGE = 10
MOST = 100
JSONL = "application/jsonl"
ANYTHING = "application/octet-stream"
COLLECTION = "files/"
DOWNLOAD = ":download"

_KINDS: Mapping[str, str] = {
    "jsonl": JSONL, "json": "application/json", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv",
    "html": "text/html", "xml": "text/xml", "pdf": "application/pdf", "png": "image/png", "jpg": "image/jpeg",
    "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "wav": "audio/wav", "mp3": "audio/mp3",
    "mp4": "video/mp4",
}  # fmt: skip
"""What the end of a name says of a file whose uploader did not say its kind."""


class Named(Struct, frozen=True):
    """Which file a path means, and whether its bytes are asked for."""

    name: str
    download: bool


def named_in(path: str) -> Named:
    """The file of a path. A whole address may stand there: what counts stands behind its last `files/`."""
    name = path.rpartition(COLLECTION)[2]
    return Named(name.removesuffix(DOWNLOAD), name.endswith(DOWNLOAD))


def name_of(file: File) -> str:
    """What a file is called on this wire."""
    return COLLECTION + (file.name or file.id.removeprefix(ID_PREFIX))


def mime_type_of(file: File) -> str:
    """What its uploader said, otherwise what its purpose or the end of its name tells."""
    if file.mime_type is not None:
        return file.mime_type
    if file.purpose in (BATCH, BATCH_OUTPUT):
        return JSONL
    return _KINDS.get(file.filename.rpartition(".")[2].lower(), ANYTHING)


def file_object(file: File, base: str) -> Json:
    """A file, with addresses below the given one. Its hash is base64 of the hexadecimal text, as the service has it."""
    name, made = name_of(file), timestamp(file.created_at)
    uri = f"{base}/v1beta/{name}"
    generated = file.purpose == BATCH_OUTPUT
    shown: Json = {"name": name}
    if file.display_name is not None:
        shown["displayName"] = file.display_name
    shown |= {"mimeType": mime_type_of(file), "sizeBytes": str(file.bytes), "createTime": made, "updateTime": made}
    if file.expires_at is not None:
        shown["expirationTime"] = timestamp(file.expires_at)
    shown |= {
        "sha256Hash": base64.b64encode(file.sha256.encode()).decode(),
        "uri": uri,
        "state": "ACTIVE",
        "source": "GENERATED" if generated else "UPLOADED",
    }
    return shown | ({"downloadUri": f"{uri}{DOWNLOAD}?alt=media"} if generated else {})


def files_asked(query: Mapping[str, str]) -> Page:
    """The page of files that a query asks for; `after` is a file's id. Raises Unfit."""
    size = query.get("pageSize") or query.get("page_size")
    token = query.get("pageToken") or query.get("page_token")
    asked = page_of(size, token, PAGE, MOST)
    return Page(asked.size, None if asked.after is None else _id_in(asked.after))


def files_page(files: Sequence[File], base: str, *, more: bool) -> Json:
    """A page of files; its token marks the last of them."""
    shown: Json = {"files": [file_object(file, base) for file in files]}
    return shown | ({"nextPageToken": base64.urlsafe_b64encode(files[-1].id.encode()).decode()} if more else {})


def no_page() -> Unfit:
    return Unfit("The page token is not known.", "pageToken", "Begin again without one.")


def _id_in(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise no_page() from None
