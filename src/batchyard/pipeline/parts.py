"""The parts of a request's messages that show something beside text: where they are, and how they carry it.

Sources: the OpenAI API reference, "Create chat completion" (content parts) and "Create a model response" (input items).
"""

import base64
import mimetypes
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

from msgspec import Struct

from batchyard.domain.attachment import Attachment, attachment
from batchyard.domain.picture import HTML, MP3, PDF, TAKEN, WAV, sniffed

Json: TypeAlias = dict[str, Any]

INPUT = "input"
_LISTS = {"messages": ("content",), INPUT: ("content", "output")}
"""Where a body has messages, and where a message has parts."""
_TEXTS = ("text/", "application/json")
_FORMATS = {WAV: "wav", "audio/x-wav": "wav", MP3: "mp3", "audio/mp3": "mp3"}


class Named(Struct, frozen=True):
    """One part that names what it shows. `param` is its dotted path.

    Of the three, one is there: `url`, whatever it begins with; `file`, by the name that a dialect has put in; `id` of a
    file as the caller wrote it.
    """

    parts: list[Any]
    place: int
    param: str
    responses: bool
    url: str | None = None
    file: Attachment | None = None
    id: str | None = None

    @property
    def part(self) -> Json:
        return self.parts[self.place]

    def show(self, part: Json) -> None:
        """Put another part in the place of this one."""
        self.parts[self.place] = part


def named_parts(key: str, value: object) -> Iterator[Named]:
    """All parts below a key of a body that name a picture or a file. The value is changed by `Named.show`."""
    if not isinstance(value, list):
        return
    for number, message in enumerate(cast("list[object]", value)):
        if not isinstance(message, dict):
            continue
        for name in _LISTS[key]:
            parts = cast("Json", message).get(name)
            if isinstance(parts, list):
                yield from _named(cast("list[Any]", parts), f"{key}[{number}].{name}", responses=key == INPUT)


def message_keys() -> tuple[str, ...]:
    """The keys of a body that have messages."""
    return tuple(_LISTS)


def _named(parts: list[Any], where: str, *, responses: bool) -> Iterator[Named]:
    for place, part in enumerate(parts):
        url, id = _names(cast("Json", part)) if isinstance(part, dict) else (None, None)
        file = None if url is None else attachment(url)
        if url is not None or id is not None:
            yield Named(parts, place, f"{where}[{place}]", responses, None if file else url, file, id)


def _names(part: Json) -> tuple[str | None, str | None]:
    """The URL or the file's id that a part names."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return url, None
        case {"type": "image_url" | "input_image", "image_url": str(url)}:
            return url, None
        case {"type": "input_image" | "input_file", "file_id": str(id)} | {
            "type": "file",
            "file": {"file_id": str(id)},
        }:
            return None, id
        case _:
            return None, None


class Shown(Struct, frozen=True):
    """What a part shows: bytes, what they are, and a file's name."""

    data: bytes
    mime_type: str
    name: str = "file"


def type_of(data: bytes, declared: str | None, name: str) -> str | None:
    """What a file is: text where that is declared, else by its beginning, else as declared or as its name ends."""
    declared = declared or mimetypes.guess_type(name, strict=False)[0]
    if declared is not None and declared.startswith(_TEXTS):
        return declared
    found = sniffed(data)
    if found is not None and found != HTML:
        return found
    if declared is not None and not declared.startswith("image/"):
        return declared
    return "text/plain" if _is_text(data) else None


def is_picture(mime_type: str | None) -> bool:
    return mime_type is not None and mime_type.startswith("image/")


def part_of(shown: Shown, before: Json, *, responses: bool) -> Json | None:
    """The part that carries what is shown, in place of one that named it; None where there is no such part."""
    mime_type = shown.mime_type
    if mime_type in TAKEN:
        return picture_part(data_url(shown.data, mime_type), before, responses=responses)
    if mime_type.startswith(_TEXTS):
        return {"type": "input_text" if responses else "text", "text": shown.data.decode("utf-8", "replace")}
    if mime_type in _FORMATS:
        data = base64.b64encode(shown.data).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": _FORMATS[mime_type]}}
    if mime_type == PDF:
        carried = {"filename": shown.name, "file_data": data_url(shown.data, mime_type)}
        return {"type": "input_file", **carried} if responses else {"type": "file", "file": carried}
    if mime_type.startswith("video/") and not responses:
        return {"type": "video_url", "video_url": {"url": data_url(shown.data, mime_type)}}
    return None


def picture_part(url: str, before: Json, *, responses: bool) -> Json:
    """The part that carries a picture's data URL, as closely looked at as before."""
    inner: Any = before.get("image_url")
    if responses:
        detail = before.get("detail")
        return {"type": "input_image", "image_url": url} | ({} if detail is None else {"detail": detail})
    kept = cast("Json", inner) if isinstance(inner, dict) else {}
    return {"type": "image_url", "image_url": {**kept, "url": url}}


def data_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def _is_text(data: bytes) -> bool:
    if b"\x00" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
