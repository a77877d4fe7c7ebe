"""Contents of a Gemini request, as messages of a chat.

A file that a part names stays a reference here (`batchyard-file:NAME`, with the part's MIME type), a picture elsewhere
its URL: who asks the engine puts the bytes in its place, because that takes reading.
"""

import base64
import binascii
import re
from collections import deque
from typing import Any

import msgspec

from batchyard.dialects.gemini import reading as read
from batchyard.dialects.gemini.spelling import Json
from batchyard.dialects.gemini.unfit import Unfit
from batchyard.domain.attachment import reference

KNOWN = frozenset(
    {
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
    }
)
AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
_SERVICE = re.compile(r"^(?:https?://[^/]+/.*?)?(?:files/)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)$")
_ELSEWHERE = re.compile(r"^https?://", re.IGNORECASE)
_OURS = re.compile(r"^https?://[^/]+/(?:.*/)?(?:v1|v1beta|v1alpha)/files/([a-z0-9-]+)$")


def system_text(content: object) -> str:
    """The words of a system instruction; its role means nothing. Raises Unfit where there is anything else."""
    if isinstance(content, str):
        return content
    given = read.an_object(content, "systemInstruction")
    parts = read.objects(given.get("parts", []), "systemInstruction.parts")
    for number, part in enumerate(parts):
        if "text" not in part:
            raise Unfit("A system instruction has words alone.", f"systemInstruction.parts[{number}]", "Give it text.")
    return "\n".join(read.text(part["text"], "systemInstruction.parts.text") for part in parts)


def messages(contents: object, detail: str | None = None) -> list[Json]:
    """All contents as messages, in their order. `detail` is how closely pictures are looked at. Raises Unfit."""
    if isinstance(contents, str):
        return [{"role": "user", "content": contents}]
    return _Conversation(detail).read(read.objects(contents, "contents"))


class _Conversation:
    """Knows the calls that were made and not answered yet, as their answers may come without an id."""

    def __init__(self, detail: str | None) -> None:
        self._detail = detail
        self._messages: list[Json] = []
        self._open: dict[str, deque[str]] = {}
        self._calls = 0

    def read(self, contents: list[Json]) -> list[Json]:
        for number, content in enumerate(contents):
            field = f"contents[{number}]"
            parts = read.objects(content.get("parts", []), f"{field}.parts")
            role = content.get("role") or "user"
            if role == "model":
                self._said(parts, f"{field}.parts")
            elif role in ("user", "function", "tool"):
                self._asked(parts, f"{field}.parts")
            else:
                raise Unfit(f"'{role}' is no role of a content.", f"{field}.role", "Roles are user and model.")
        return self._messages

    def _said(self, parts: list[Json], field: str) -> None:
        """What the model said: words, calls, both. Its thoughts are not told to it again."""
        words: list[str] = []
        calls: list[Json] = []
        for number, part in enumerate(parts):
            where = f"{field}[{number}]"
            read.only(part, KNOWN, where)
            if part.get("thought"):
                continue
            if "functionCall" in part:
                calls.append(self._call(read.an_object(part["functionCall"], f"{where}.functionCall"), where))
            elif _marks_only(part):
                continue
            else:
                words.append(_words(part, where))
        message: Json = {"role": "assistant", "content": "".join(words) or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        self._messages.append(message)

    def _call(self, call: Json, where: str) -> Json:
        name = read.text(call.get("name"), f"{where}.functionCall.name")
        self._calls += 1
        id = str(call.get("id") or f"call_{self._calls}")
        self._open.setdefault(name, deque()).append(id)
        arguments = msgspec.json.encode(call.get("args") or {}).decode()
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _asked(self, parts: list[Json], field: str) -> None:
        """What the user said: answers of functions, each a message, then everything else as one."""
        shown: list[Json] = []
        for number, part in enumerate(parts):
            where = f"{field}[{number}]"
            read.only(part, KNOWN, where)
            if "functionResponse" in part:
                self._answer(read.an_object(part["functionResponse"], f"{where}.functionResponse"), where)
            elif not part.get("thought") and not _marks_only(part):
                shown.append(self._part(part, where))
        if not shown and any("functionResponse" in part for part in parts):
            return
        lone = len(shown) == 1 and shown[0]["type"] == "text"
        self._messages.append({"role": "user", "content": shown[0]["text"] if lone else shown or ""})

    def _answer(self, answer: Json, where: str) -> None:
        name = read.text(answer.get("name"), f"{where}.functionResponse.name")
        if answer.get("parts"):
            raise Unfit("Answers of functions are JSON alone.", f"{where}.functionResponse.parts", "Give a response.")
        waiting = self._open.get(name, deque())
        id = str(answer.get("id") or (waiting[0] if waiting else f"call_{name}"))
        if id in waiting:
            waiting.remove(id)
        content = msgspec.json.encode(answer.get("response") or {}).decode()
        self._messages.append({"role": "tool", "tool_call_id": id, "content": content})

    def _part(self, part: Json, where: str) -> Json:
        if "inlineData" in part:
            return self._inline(read.an_object(part["inlineData"], f"{where}.inlineData"), where)
        if "fileData" in part:
            return self._file(read.an_object(part["fileData"], f"{where}.fileData"), where)
        return {"type": "text", "text": _words(part, where)}

    def _inline(self, blob: Json, where: str) -> Json:
        field = f"{where}.inlineData"
        mime = _mime(blob.get("mimeType"), f"{field}.mimeType")
        data = standard_base64(read.text(blob.get("data"), f"{field}.data"), f"{field}.data")
        if mime.startswith("text/") or mime == "application/json":
            return {"type": "text", "text": base64.b64decode(data).decode("utf-8", "replace")}
        return self._media(mime, f"data:{mime};base64,{data}", data, field, str(blob.get("displayName") or "file"))

    def _file(self, given: Json, where: str) -> Json:
        field = f"{where}.fileData"
        mime = None if given.get("mimeType") is None else _mime(given["mimeType"], f"{field}.mimeType")
        uri = read.text(given.get("fileUri"), f"{field}.fileUri")
        if _ELSEWHERE.match(uri) and not _OURS.match(uri):
            return self._elsewhere(uri, mime, field)
        url = reference(file_name(uri, f"{field}.fileUri"), mime)
        return {"type": "image_url", "image_url": self._picture(url)}

    def _elsewhere(self, uri: str, mime: str | None, field: str) -> Json:
        if mime is not None and not mime.startswith("image/"):
            raise Unfit(
                "Only pictures are taken from elsewhere.", f"{field}.fileUri", "Upload the file and give its uri."
            )
        return {"type": "image_url", "image_url": self._picture(uri)}

    def _media(self, mime: str, url: str, data: str, field: str, name: str) -> Json:
        if mime.startswith("image/"):
            return {"type": "image_url", "image_url": self._picture(url)}
        if mime in AUDIO:
            return {"type": "input_audio", "input_audio": {"data": data, "format": AUDIO[mime]}}
        if mime == "application/pdf":
            return {"type": "file", "file": {"filename": name, "file_data": url}}
        if mime.startswith("video/"):
            return {"type": "video_url", "video_url": {"url": url}}
        raise Unfit(f"Unsupported MIME type: {mime}", f"{field}.mimeType", "Pictures, audio, PDF and text can be sent.")

    def _picture(self, url: str) -> Json:
        return {"url": url} if self._detail is None else {"url": url, "detail": self._detail}


def file_name(uri: str, field: str) -> str:
    """The name of one of our files, from any of the forms in which clients write it. Raises Unfit."""
    found = _OURS.match(uri) or (_SERVICE.match(uri) if "://" not in uri else None)
    if found is None:
        raise Unfit(
            f"'{uri[:200]}' is not a file of this server.", field, "Upload the file and give its uri or its name."
        )
    return f"files/{found[1]}"


def standard_base64(data: str, field: str) -> str:
    """Base64 in either alphabet, padded or not, as the standard one with padding. Raises Unfit."""
    plain = data.translate(_TO_STANDARD).rstrip("=")
    padded = plain + "=" * (-len(plain) % 4)
    try:
        base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unfit(f"'{field}' is not base64.", field) from error
    return padded


_TO_STANDARD = str.maketrans("-_", "+/", "\r\n ")


def _words(part: Json, where: str) -> str:
    if "text" in part:
        return read.text(part["text"], f"{where}.text")
    if "executableCode" in part:
        code = read.an_object(part["executableCode"], f"{where}.executableCode")
        return f"```{str(code.get('language', '')).lower()}\n{code.get('code', '')}\n```"
    if "codeExecutionResult" in part:
        result = read.an_object(part["codeExecutionResult"], f"{where}.codeExecutionResult")
        return f"```\n{result.get('output', '')}\n```"
    raise Unfit(
        "A part has nothing that can be sent.",
        where,
        "Give it text, inlineData, fileData or a function's call or response.",
    )


def _marks_only(part: Json) -> bool:
    """A part that carries only marks of an earlier answer (a thought's signature)."""
    return bool(part) and part.keys() <= {"thoughtSignature", "thought", "partMetadata"}


def _mime(value: Any, field: str) -> str:
    mime = read.text(value, field).lower().split(";")[0].strip()
    if "/" not in mime:
        raise Unfit(f"Unsupported MIME type: {mime}", field, "Write it as image/png, audio/wav and the like.")
    return mime
