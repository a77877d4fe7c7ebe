"""Requests that name pictures and files, before and after everything was put into them."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from batchyard.config import Images
from batchyard.domain.attachment import reference
from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Failure, Fault, Reply
from batchyard.engine import Abilities, Say
from batchyard.pipeline import inline
from batchyard.pipeline.inline import Inlining, Manner, Room
from tests.support.pictures import GREEN, RED, data_url, png_header
from tests.support.tenants import OURS, THEIRS
from tests.support.upstream import Upstream, hangs
from tests.support.web_server import answers, serving
from tests.unit.pipeline.test_pictures import Files, open_pictures

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
FILES = Files(
    red_png=RED, notes_txt=b"hello", paper_pdf=b"%PDF-1.7", voice_wav=b"RIFF\x04\x00\x00\x00WAVE", x=b"\xff\x00"
)


class Seeing:
    """An engine that keeps what it was asked."""

    restarts = 0

    def __init__(self, *, sees: bool = True) -> None:
        self.asked: list[Request] = []
        self.abilities = Abilities(endpoints=frozenset({CHAT, RESPONSES}), models=None, sees_images=sees)
        self.closed = False

    async def start(self) -> Abilities:
        return self.abilities

    async def infer(self, request: Request) -> Reply:
        self.asked.append(request)
        return Answer(200, b"{}")

    async def stream(self, request: Request, say: Say) -> Reply:
        self.asked.append(request)
        await say(b"{}")
        return Answer(200, b"")

    async def close(self) -> None:
        self.closed = True


UPSTREAM, STRICT = Manner(), Manner(strict=True)


def open_engine(
    manner: Manner = UPSTREAM, *, sees: bool = True, files: Files = FILES, **settings: Any
) -> tuple[Inlining, Seeing]:
    engine = Seeing(sees=sees)
    return Inlining(engine, open_pictures(files.shelf(), **settings), manner, engine.abilities), engine


def chat(*parts: Any, **more: Any) -> bytes:
    content = [{"type": "text", "text": "What is this?"}, *parts]
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": content}], **more})


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def a_request(body: bytes, project: Any = OURS, endpoint: str = CHAT) -> Request:
    return Request(0, "a", endpoint, "m", body, project=project)


async def sent(*parts: Any, manner: Manner = UPSTREAM, **options: Any) -> list[dict[str, Any]]:
    """The parts that the engine gets for these, beside the first."""
    inlining, engine = open_engine(manner, **options)
    assert await inlining.infer(a_request(chat(*parts))) == Answer(200, b"{}")
    [message] = msgspec.json.decode(engine.asked[0].body)["messages"]
    return message["content"][1:]


async def refused(*parts: Any, manner: Manner = UPSTREAM, project: Any = OURS, **options: Any) -> dict[str, Any]:
    """Why the engine is asked nothing."""
    inlining, engine = open_engine(manner, **options)
    reply = await inlining.infer(a_request(chat(*parts), project))
    assert isinstance(reply, Answer) and not engine.asked
    error = msgspec.json.decode(reply.body)["error"]
    return {**error, "status": reply.status}


# What passes as it is


UNTOUCHED: list[bytes] = [
    chat(),
    chat(image(data_url(RED))),
    chat({"type": "text", "text": "see http://a.example/image_url and batchyard-file:x"}),
    chat({"type": "image_url"}, {"type": "image_url", "image_url": {"url": 5}}, "image_url http://", None),
    chat({"type": "file", "file": {"file_data": data_url(b"%PDF-", "application/pdf")}}),
    chat(image("batchyard-data://x")),
    b'{"image_url": "http://a.example/", broken',
    b'[{"image_url": "http://a.example/"}]',
    b'{"messages": {"content": [{"type": "image_url", "image_url": "http://a.example/"}]}}',
    b'{"input": ["image_url http://a.example/"], "messages": null}',
    b'{"tools": [{"type": "image_url", "image_url": {"url": "http://a.example/"}}]}',
]


@pytest.mark.parametrize("body", UNTOUCHED)
async def test_a_body_that_names_nothing_passes_byte_for_byte(body: bytes) -> None:
    inlining, engine = open_engine()
    await inlining.infer(a_request(body))
    assert engine.asked[0].body is body


async def test_the_rest_of_a_body_stays_as_it_was_written() -> None:
    inlining, engine = open_engine()
    body = chat(image(reference("files/red_png"))).replace(
        b'"model"', b'"top_p":1.0,"seed":123456789012345678901,"model"'
    )
    await inlining.infer(a_request(body))
    assert engine.asked[0].body.startswith(b'{"top_p":1.0,"seed":123456789012345678901,"model":"m"')


# Pictures behind URLs


@pytest.mark.parametrize("manner", [UPSTREAM, STRICT])
async def test_a_picture_behind_a_url_is_sent_as_what_it_is(manner: Manner) -> None:
    with serving(answers(200, RED, content_type="image/webp")) as script:
        assert await sent(image(f"{script.url}a", detail="low"), manner=manner) == [image(data_url(RED), detail="low")]
        plain = {"type": "image_url", "image_url": f"{script.url}a"}
        assert await sent(plain, manner=manner) == [image(data_url(RED))]


ESCAPES: list[Callable[[bytes], bytes]] = [
    lambda body: body.replace(b"http://", b"HtTp://"),
    lambda body: body.replace(b"/", rb"\/"),
    lambda body: body.replace(b"image_url", rb"image\u005furl"),
    lambda body: body.replace(b"http://", rb"\u0068ttp://"),
    lambda body: body.replace(b"://", rb"\u003a//"),
    lambda body: body.replace(b"://", rb":/\/"),
    lambda body: body.replace(b"http://", rb" \u0001\nhtt\tp://"),
]


@pytest.mark.parametrize("escape", ESCAPES)
async def test_no_spelling_brings_a_url_past_us(escape: Callable[[bytes], bytes]) -> None:
    inlining, engine = open_engine()
    with serving(answers(200, RED)) as script:
        body = chat(image(f"{script.url}a"))
        await inlining.infer(a_request(escape(body)))
    assert b"http" not in engine.asked[0].body.lower() and b"data:image/png" in engine.asked[0].body


@pytest.mark.parametrize("rest", [b'"input":"\xff"', b'"input":' + b"[" * 300 + b"]" * 300, b'"input":[1,2]'])
async def test_nothing_broken_beside_it_brings_a_url_past_us(rest: bytes) -> None:
    inlining, engine = open_engine()
    with serving(answers(200, RED)) as script:
        await inlining.infer(a_request(chat(image(f"{script.url}a"))[:-1] + b"," + rest + b"}"))
    assert b"http" not in engine.asked[0].body


async def test_urls_pass_or_are_refused_where_the_model_says_so() -> None:
    url = "http://127.0.0.1:9/a.png"
    assert await sent(image(url), manner=Manner(remote=Images.PASS)) == [image(url)]
    error = await refused(image(url), manner=Manner(remote=Images.REFUSE))
    assert error["code"] == "invalid_image_url" and error["param"] == "messages[0].content[1]"


async def test_nothing_is_fetched_for_a_model_that_sees_nothing() -> None:
    with serving(answers(200, RED)) as script:
        assert await sent(image(script.url), manner=STRICT, sees=False) == [image(script.url)]
        assert not script.seen


async def test_a_lost_picture_is_a_lost_attempt() -> None:
    inlining, engine = open_engine()
    with serving(answers(503)) as script:
        reply = await inlining.infer(a_request(chat(image(script.url))))
    assert isinstance(reply, Failure) and reply.fault is Fault.LOST and not engine.asked


async def test_a_stream_is_made_whole_too() -> None:
    inlining, engine = open_engine()
    said: list[bytes] = []

    async def say(piece: bytes) -> None:
        said.append(piece)

    await inlining.stream(a_request(chat(image(reference("files/red_png")))), say)
    await inlining.stream(a_request(chat()), say)
    lost = await inlining.stream(a_request(chat(image(reference("files/none")))), say)
    assert len(said) == len(engine.asked) == 2 and data_url(RED).encode() in engine.asked[0].body
    assert isinstance(lost, Answer) and lost.status == 404


# Pictures in the request


@pytest.mark.parametrize(
    "url",
    [
        data_url(RED, "image/jpeg"),
        data_url(RED, "text/html"),
        data_url(RED).replace("image/png", ""),
        data_url(RED).replace("data:image/png;", "DATA:image/png; charset=x;"),
        data_url(RED).rstrip("="),
        data_url(RED).replace("+", "-").replace("/", "_").replace("image_png", "image/png"),
        data_url(RED)[:60] + "\r\n " + data_url(RED)[60:],
    ],
)
async def test_an_engine_in_the_package_gets_a_picture_under_its_true_type(url: str) -> None:
    assert await sent(image(url, detail="high"), manner=STRICT) == [image(data_url(RED), detail="high")]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("data:image/png;base64,iVBO!", "invalid_base64_image"),
        ("data:image/png;base64,iVBOR", "invalid_base64_image"),
        ("data:image/png,abc", "invalid_image_url"),
        ("data:image/png;base64", "invalid_image_url"),
        ("file:///etc/passwd", "invalid_image_url"),
        ("data:image/png;base64,", "empty_image_file"),
        (data_url(b"BM\x00\x00"), "invalid_image_format"),
        (data_url(RED[:20]), "image_parse_error"),
        (data_url(png_header(8001, 8001)), "image_too_large"),
    ],
)
async def test_an_engine_in_the_package_gets_no_picture_that_may_harm_it(url: str, code: str) -> None:
    error = await refused(image(url), manner=STRICT)
    assert (error["status"], error["code"], error["param"]) == (400, code, "messages[0].content[1]")


async def test_an_upstream_judges_for_itself_what_a_request_carries() -> None:
    url = data_url(b"BM\x00\x00")
    assert await sent(image(url)) == [image(url)]


async def test_a_request_may_carry_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "REQUEST_BYTES", 2 * len(RED))
    two = [image(data_url(RED)), image(reference("files/red_png"))]
    assert len(await sent(*two, manner=STRICT)) == 2
    error = await refused(*two, image(data_url(GREEN)), manner=STRICT)
    assert error["code"] == "image_file_too_large" and error["param"] == "messages[0].content[3]"


# Files


PDF = base64.b64encode(b"%PDF-1.7").decode()
WAV = base64.b64encode(b"RIFF\x04\x00\x00\x00WAVE").decode()


@pytest.mark.parametrize(
    ("name", "mime_type", "part"),
    [
        ("red_png", "image/jpeg", image(data_url(RED))),
        ("red_png", None, image(data_url(RED))),
        ("notes_txt", None, {"type": "text", "text": "hello"}),
        ("red_png", "text/plain", {"type": "text", "text": RED.decode("utf-8", "replace")}),
        ("voice_wav", None, {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
        (
            "paper_pdf",
            None,
            {"type": "file", "file": {"filename": "paper.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        ),
        ("x", "video/mp4", {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,/wA="}}),
    ],
)
async def test_a_reference_becomes_the_part_of_its_type(name: str, mime_type: str | None, part: dict[str, Any]) -> None:
    assert await sent(image(reference(f"files/{name}", mime_type))) == [part]


async def test_a_file_of_another_project_is_no_file() -> None:
    unknown = await refused(image(reference("files/none")))
    foreign = await refused(image(reference("files/red_png")), project=THEIRS)
    nobodys = await refused(image(reference("files/red_png")), project=None)
    assert unknown["status"] == 404 and unknown["code"] == "file_not_found"
    assert foreign == nobodys == {**unknown, "message": unknown["message"].replace("none", "red_png")}


async def test_a_file_of_no_type_that_has_a_part_is_refused() -> None:
    assert (await refused(image(reference("files/x", "font/woff"))))["code"] == "unsupported_file_type"


async def test_a_chat_names_files_by_their_ids() -> None:
    file = {"type": "file", "file": {"file_id": "file-red_png"}}
    assert await sent(file) == [image(data_url(RED))]
    foreign = {"type": "file", "file": {"file_id": "file-theirs"}}
    assert await sent(foreign) == [foreign]  # the upstream may know it
    assert (await refused(foreign, manner=STRICT))["code"] == "file_not_found"


async def test_a_response_names_pictures_and_files_in_its_own_parts() -> None:
    pdf = {"filename": "paper.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    with serving(answers(200, GREEN)) as script:
        given = [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": f"{script.url}g", "detail": "low"},
            {"type": "input_image", "file_id": "file-red_png", "image_url": None},
            {"type": "input_file", "file_id": "file-paper_pdf"},
            {"type": "input_file", "file_id": "file-notes_txt"},
        ]
        items = [
            {"role": "user", "content": given},
            {"type": "function_call_output", "call_id": "c", "output": given[1:2]},
        ]
        inlining, engine = open_engine()
        await inlining.infer(a_request(msgspec.json.encode({"model": "m", "input": items}), endpoint=RESPONSES))
    message, output = msgspec.json.decode(engine.asked[0].body)["input"]
    assert message["content"][1:] == [
        {"type": "input_image", "image_url": data_url(GREEN), "detail": "low"},
        {"type": "input_image", "image_url": data_url(RED)},
        {"type": "input_file", **pdf},
        {"type": "input_text", "text": "hello"},
    ]
    assert output["output"] == message["content"][1:2]


# Room


async def test_room_is_given_first_come_first_served_and_never_above_its_end() -> None:
    room, order = Room(10), list[int]()

    async def use(size: int) -> None:
        await room.take(size)
        order.append(size)

    await room.take(6)
    async with asyncio.TaskGroup() as group:
        for size in (5, 4, 20, 1):
            group.create_task(use(size))
        await asyncio.sleep(0)
        assert order == []
        room.give(6)
        await asyncio.sleep(0)
        assert order == [5, 4]
        room.give(5)
        room.give(4)
        await asyncio.sleep(0)
        assert order == [5, 4, 20]  # alone, as it fits nowhere
        room.give(20)
    assert order == [5, 4, 20, 1]


async def test_one_who_gives_up_leaves_no_hole_in_the_room() -> None:
    room = Room(10)
    await room.take(10)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(room.take(10)) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        room.give(10)
        waiting[1].cancel()  # in the moment in which its turn came
    await room.take(10)


async def test_bodies_that_have_grown_are_under_way_only_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "ROOM_BYTES", 3 * len(RED))
    most, under_way, gate = 0, 0, asyncio.Event()

    class Slow(Seeing):
        async def infer(self, request: Request) -> Reply:
            nonlocal most, under_way
            under_way += 1
            most = max(most, under_way)
            await gate.wait()
            under_way -= 1
            return Answer(200, b"{}")

    inlining = Inlining(Slow(), open_pictures(FILES.shelf()), UPSTREAM)
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(inlining.infer(a_request(chat(image(reference("files/red_png"))))))
        for _ in range(50):
            await asyncio.sleep(0)
        assert under_way == 2
        gate.set()
    assert most == 2


async def test_a_project_whose_pictures_come_slowly_holds_up_no_other() -> None:
    inlining, engine = open_engine()
    async with Upstream(models=hangs()) as upstream, asyncio.TaskGroup() as group:
        slow = [
            group.create_task(inlining.infer(a_request(chat(image(f"{upstream.url}/{number}")), THEIRS)))
            for number in range(inline.AT_ONCE + 1)
        ]
        await upstream.was_asked.wait()
        await inlining.infer(a_request(chat(image(reference("files/red_png")))))
        assert len(engine.asked) == 1 and len(upstream.asked) <= inline.AT_ONCE_OF_A_PROJECT
        for task in slow:
            task.cancel()


async def test_the_engine_behind_is_started_and_closed() -> None:
    engine = Seeing(sees=False)
    inlining = Inlining(engine, open_pictures(), STRICT)
    assert await inlining.start() is engine.abilities and inlining.restarts == 0
    await inlining.infer(a_request(chat(image("http://127.0.0.1:9/"))))
    assert engine.asked
    await inlining.close()
    assert engine.closed
