"""Pictures behind URLs and files of projects: fetched once, judged by what they are, kept apart."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import structs

from batchyard.config import ImageSettings
from batchyard.domain.access import ProjectId
from batchyard.domain.attachment import Attachment
from batchyard.domain.errors import Unavailable
from batchyard.domain.file import File, FileId
from batchyard.domain.result import Answer, Failure, Fault
from batchyard.pipeline.parts import Shown
from batchyard.pipeline.pictures import FAILED_SECONDS, KEPT_SECONDS, CannotShow, Pictures, Shelf, shown
from batchyard.transport.outside import Outside
from tests.support import pictures as made
from tests.support.pictures import GREEN, RED
from tests.support.tenants import OURS, THEIRS
from tests.support.upstream import Asked, Talk, Upstream, answer, drips, hangs, says
from tests.support.web_server import Exchange, Script, Step, answers, breaks_off, redirects_to, serving


class Now:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def open_pictures(shelf: Shelf | None = None, now: Now | None = None, **settings: Any) -> Pictures:
    given = structs.replace(ImageSettings(allow_private=("127.0.0.1", "localhost")), **settings)
    outside = Outside(given.allow_private, only=given.only_hosts, timeout_seconds=given.timeout_seconds)
    return Pictures(given, outside, shelf, now=now or Now())


async def refused(pictures: Pictures, url: str) -> dict[str, Any]:
    """Why a picture is not shown, where the request is at fault."""
    with pytest.raises(CannotShow) as caught:
        await pictures.fetched(OURS, url, "messages[0].content[1]")
    reply = caught.value.reply
    assert isinstance(reply, Answer) and reply.status == 400, reply
    error = msgspec.json.decode(reply.body)["error"]
    assert error["param"] == "messages[0].content[1]" and error["type"] == "invalid_request_error"
    return error


async def lost(pictures: Pictures, url: str) -> Failure:
    """Why a picture is not there now; asking again may help."""
    with pytest.raises(CannotShow) as caught:
        await pictures.fetched(OURS, url, "")
    reply = caught.value.reply
    assert isinstance(reply, Failure) and reply.fault is Fault.LOST and reply.code == "failed_to_download_image"
    return reply


async def test_a_picture_is_what_it_is_whatever_its_server_calls_it() -> None:
    with serving(answers(200, RED, content_type="text/html")) as script:
        assert await open_pictures().fetched(OURS, script.url, "") == Shown(RED, "image/png")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"<html>Sign in</html>", "invalid_image_format", "text/html"),
        (b"%PDF-1.7", "invalid_image_format", "application/pdf"),
        (b"hello", "invalid_image_format", "no picture that is known"),
        (b"", "empty_image_file", "is empty"),
        (RED[:20], "image_parse_error", "image/png"),
        (made.png_header(30_000, 30_000), "image_too_large", "30000 by 30000"),
        (RED + bytes(20_000_000), "image_file_too_large", "20000000 bytes"),
    ],
)
async def test_what_no_model_is_shown_is_refused_by_name(body: bytes, code: str, says: str) -> None:
    with serving(answers(200, body, content_type="image/png")) as script:
        error = await refused(open_pictures(), f"{script.url}cat.png?token=secret")
    assert error["code"] == code and says in error["message"]
    assert f"{script.url}cat.png" in error["message"] and "secret" not in error["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 304])
async def test_a_picture_that_is_not_there_is_the_requests_own_fault(status: int) -> None:
    with serving(answers(status)) as script:
        error = await refused(open_pictures(), f"{script.url}a.png")
    assert error["code"] == "failed_to_download_image" and str(status) in error["message"]


def drops(exchange: Exchange) -> None:
    exchange.close_connection = True


@pytest.mark.parametrize("step", [answers(500), answers(503), answers(429), answers(408), breaks_off(RED, 9), drops])
async def test_a_server_that_fails_may_be_asked_again(step: Step) -> None:
    with serving(step) as script:
        failure = await lost(open_pictures(), f"{script.url}a.png?secret")
    assert f"{script.url}a.png" in failure.message and "secret" not in failure.message


async def test_a_server_that_is_slow_or_not_there_may_be_asked_again() -> None:
    async with Upstream(models=drips(b"HTTP/1.1 200 OK\r\n" * 100, 0.01)) as upstream:
        assert "within 0.05 s" in (await lost(open_pictures(timeout_seconds=0.05), upstream.url)).message
    assert "could not be reached" in (await lost(open_pictures(), upstream.url)).message
    assert "cannot be resolved" in (await lost(open_pictures(), "http://nowhere.invalid/")).message


async def test_what_is_inside_is_refused_before_anything_is_sent() -> None:
    with serving(answers(200, RED)) as script:
        strict = open_pictures(allow_private=())
        port = script.url.rsplit(":", 1)[1]
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "[::1]"):
            error = await refused(strict, f"http://{host}:{port}")
            assert error["code"] == "invalid_image_url" and "public internet" in error["message"]
    assert not script.seen
    with serving(redirects_to("http://169.254.169.254/latest/meta-data", 302)) as script:
        assert "public internet" in (await refused(open_pictures(), script.url))["message"]


@pytest.mark.parametrize("url", ["http://user:pw@a.example/x", "http://[::1", "https://", "http://a b/"])
async def test_a_url_that_is_none_is_refused_without_being_told(url: str) -> None:
    error = await refused(open_pictures(), url)
    assert error["code"] == "invalid_image_url" and "pw" not in error["message"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://u:p@a.example:8/b/c?d=e#f", "https://a.example:8/b/c"),
        ("http://a/" + "b" * 300, "http://a/" + "b" * 191 + "..."),
    ],
)
def test_a_url_is_told_without_its_secrets(url: str, told: str) -> None:
    assert shown(url) == told


# Keeping


async def ask(pictures: Pictures, script: Script, project: ProjectId = OURS, path: str = "a") -> bytes:
    return (await pictures.fetched(project, script.url + path, "")).data


async def test_a_picture_is_fetched_once_in_a_while() -> None:
    now = Now()
    pictures = open_pictures(now=now)
    with serving(answers(200, RED), answers(200, GREEN)) as script:
        assert [await ask(pictures, script) for _ in range(3)] == [RED] * 3
        assert len(script.seen) == 1
        now.seconds += KEPT_SECONDS
        assert await ask(pictures, script) == GREEN


async def test_many_who_ask_at_once_fetch_it_once() -> None:
    pictures = open_pictures()
    with serving(answers(200, RED)) as script:
        assert set(await asyncio.gather(*(ask(pictures, script) for _ in range(20)))) == {RED}
        assert len(script.seen) == 1


async def test_one_who_gives_up_leaves_the_others_their_picture() -> None:
    moves = [hangs(), says(answer(RED))]

    async def move(asked: Asked, talk: Talk) -> None:
        await moves.pop(0)(asked, talk)

    pictures = open_pictures()
    async with Upstream(models=move) as upstream, asyncio.TaskGroup() as group:
        first = group.create_task(pictures.fetched(OURS, upstream.url, ""))
        second = group.create_task(pictures.fetched(OURS, upstream.url, ""))
        await upstream.was_asked.wait()
        first.cancel()
        assert (await second).data == RED and len(upstream.asked) == 2


async def test_projects_share_no_picture() -> None:
    pictures = open_pictures()
    with serving(answers(200, RED)) as script:
        await ask(pictures, script, OURS)
        await ask(pictures, script, THEIRS)
        assert len(script.seen) == 2


async def test_no_more_is_kept_than_may_be_and_what_was_used_last_stays() -> None:
    pictures = open_pictures(cache_bytes=3 * len(RED) + 900)
    with serving(answers(200, RED)) as script:
        for path in ("a", "b", "a", "c", "d", "a"):
            await ask(pictures, script, path=path)
        assert [seen.path for seen in script.seen] == ["/a", "/b", "/c", "/d"]
        await ask(pictures, script, path="b")
        assert len(script.seen) == 5


async def test_nothing_is_kept_where_nothing_may_be() -> None:
    pictures = open_pictures(cache_bytes=0)
    with serving(answers(200, RED)) as script:
        assert [await ask(pictures, script) for _ in range(2)] == [RED] * 2
        assert len(script.seen) == 2


async def test_a_failure_is_remembered_for_a_moment_and_says_when_to_ask_again() -> None:
    now = Now()
    pictures = open_pictures(now=now)
    with serving(answers(503), answers(200, RED)) as script:
        assert (await lost(pictures, script.url)).retry_after_seconds is None
        now.seconds += 0.5
        assert (await lost(pictures, script.url)).retry_after_seconds == FAILED_SECONDS - 0.5
        assert len(script.seen) == 1
        now.seconds += FAILED_SECONDS
        assert await ask(pictures, script, path="") == RED


# Files


class Files:
    """Files of one project, by id and by Gemini's name."""

    def __init__(self, **contents: bytes) -> None:
        self.contents = contents
        self.reads: list[str] = []
        self.broken = self.lost = False

    def shelf(self) -> Shelf:
        return Shelf(self.named, self.of_id, self.read)

    async def of_id(self, project: ProjectId, id: FileId) -> File | None:
        if self.lost:
            raise Unavailable("The store is away.")
        name = id.removeprefix("file-")
        if project != OURS or name not in self.contents:
            return None
        return File(
            id=id, project=project, filename=name.replace("_", "."), purpose="user_data",
            bytes=len(self.contents[name]), created_at=1, sha256="", blob=f"files/{id}",
        )  # fmt: skip

    async def named(self, project: ProjectId, name: str) -> File | None:
        return await self.of_id(project, FileId(f"file-{name.removeprefix('files/')}"))

    async def read(self, file: File) -> bytes:
        self.reads.append(file.id)
        if self.broken:
            raise Unavailable("The disk is away.")
        return self.contents[file.filename.replace(".", "_")]


async def test_a_file_is_found_by_id_and_by_name_and_read_once() -> None:
    files = Files(cat_bin=RED)
    pictures = open_pictures(files.shelf())
    by_id = await pictures.file(OURS, FileId("file-cat_bin"), "")
    by_name = await pictures.file(OURS, Attachment("files/cat_bin", "image/jpeg"), "")
    assert by_id == by_name == Shown(RED, "image/png", "cat.bin") and len(files.reads) == 1


async def test_another_projects_file_is_none_even_where_it_was_just_read() -> None:
    pictures = open_pictures(Files(cat=RED).shelf())
    assert await pictures.file(OURS, FileId("file-cat"), "") is not None
    assert await pictures.file(THEIRS, FileId("file-cat"), "") is None
    assert await pictures.file(None, FileId("file-cat"), "") is None
    assert await open_pictures().file(OURS, FileId("file-cat"), "") is None


@pytest.mark.parametrize(
    ("name", "data", "declared", "mime_type"),
    [
        ("a_txt", b"hello", None, "text/plain"),
        ("a", b"BM is how this text begins", "text/markdown", "text/markdown"),
        ("a_png", b"hello", None, "text/plain"),
        ("a", b"%PDF-1.7", None, "application/pdf"),
        ("a", b"%PDF-1.7", "image/png", "application/pdf"),
        ("a_mp3", b"\xff\xe3\x00", None, "audio/mpeg"),
        ("a", b"\x00\x00\x00\x20ftypisom", None, "video/mp4"),
        ("a", b"\xff\x00", "audio/wav", "audio/wav"),
    ],
)
async def test_the_type_of_a_file_is_what_it_is_or_else_what_it_is_called(
    name: str, data: bytes, declared: str | None, mime_type: str
) -> None:
    pictures = open_pictures(Files(**{name: data}).shelf())
    found = await pictures.file(OURS, Attachment(f"files/{name}", declared), "")
    assert found is not None and found.mime_type == mime_type


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xff\x00", "unsupported_file_type"), (b"", "unsupported_file_type"), (b"BM\x00\x00", "invalid_image_format"),
     (made.gif(10_000, 10_000), "image_too_large"), (bytes(21_000_000), "image_file_too_large")],
)  # fmt: skip
async def test_a_file_that_cannot_be_shown_is_refused(data: bytes, code: str) -> None:
    pictures = open_pictures(Files(a=data).shelf())
    with pytest.raises(CannotShow) as caught:
        await pictures.file(OURS, FileId("file-a"), "messages[0]")
    reply = caught.value.reply
    assert isinstance(reply, Answer) and msgspec.json.decode(reply.body)["error"]["code"] == code


async def test_a_file_that_cannot_be_read_now_may_be_asked_for_again() -> None:
    files = Files(a=RED)
    files.broken = True
    pictures = open_pictures(files.shelf())
    with pytest.raises(CannotShow) as caught:
        await pictures.file(OURS, FileId("file-a"), "")
    assert isinstance(caught.value.reply, Failure) and caught.value.reply.fault is Fault.LOST
    files.broken, files.lost = False, True
    for named in (FileId("file-a"), Attachment("files/a")):
        with pytest.raises(CannotShow) as caught:
            await pictures.file(OURS, named, "")
        assert isinstance(caught.value.reply, Failure) and caught.value.reply.fault is Fault.LOST
    files.lost = False
    assert await pictures.file(OURS, FileId("file-a"), "") is not None
