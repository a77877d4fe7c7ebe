"""A real model that sees, asked about pictures on every wire and in every way that a picture can be given.

Its tower is random, so what it sees means nothing: but the odds of its answer depend on the picture, and on nothing
else. So the same picture must look the same however it came, and other pictures otherwise.
"""

# The clients name types of libraries that need not be there.
# pyright: reportUnknownMemberType=false

import base64
import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from google.genai import client as parts
from google.genai import errors as genai_errors
from google.genai import types
from openai import AsyncAzureOpenAI, AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError

from batchyard.config import Images, ImageSettings
from batchyard.domain.access import Role
from batchyard.endpoints.responses import AS_CHAT
from batchyard.engines import http
from batchyard.pipeline.inline import Manner
from batchyard.pipeline.translate import Translating
from tests.support.embedded import open_llamacpp
from tests.support.genai import talking
from tests.support.pictures import BLUE, GREEN, RED, data_url
from tests.support.serving import MODEL, Live, live
from tests.support.upstream import Upstream
from tests.support.web_server import Exchange, Script, answers, serving
from tests.wire.gemini.test_batches import created as job_created
from tests.wire.gemini.test_batches import ended as job_ended
from tests.wire.openai.test_walks import CHAT, WALKS, create, ended, jsonl, results

COLOURS = {"red": RED, "green": GREEN, "blue": BLUE}
LOOPBACK = ImageSettings(allow_private=("127.0.0.1",))
STRICT = Manner(strict=True)
SAMPLED: dict[str, Any] = {"temperature": 0, "max_tokens": 4, "logprobs": True, "top_logprobs": 1}


def gallery(exchange: Exchange) -> None:
    """A web server's pictures, by their names."""
    name = exchange.seen.path.partition("?")[0].strip("/")
    found = COLOURS.get(name)
    exchange.reply(404 if found is None else 200, found or b"", {"content_type": "application/octet-stream"})


@asynccontextmanager
async def seeing(eyes: Path, images: ImageSettings = LOOPBACK, **options: Any) -> AsyncGenerator[Live]:
    engine = Translating(open_llamacpp(mmproj_path=str(eyes)), AS_CHAT)
    async with live(engine=engine, manner=STRICT, images=images, walks=WALKS, **options) as server:
        yield server


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asking(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Name"}, part]}], **SAMPLED}


def odds(body: Any) -> float:
    """How the answer of a chat begins: how sure the model is of its first token."""
    return round(body["choices"][0]["logprobs"]["content"][0]["logprob"], 2)


async def ask(client: AsyncOpenAI | AsyncAzureOpenAI, part: dict[str, Any]) -> float:
    answer = await cast("Any", client).chat.completions.create(model=MODEL, **asking(part))
    assert answer.usage.prompt_tokens > 30
    return odds(answer.model_dump())


async def looks(client: AsyncOpenAI | AsyncAzureOpenAI) -> dict[str, float]:
    """How each picture looks, given as a data URL; no two look alike."""
    seen = {name: await ask(client, image(data_url(data))) for name, data in COLOURS.items()}
    assert len(set(seen.values())) == 3
    return seen


async def uploaded(client: AsyncOpenAI | AsyncAzureOpenAI, name: str = "red") -> str:
    return (await client.files.create(file=(f"{name}.bin", COLOURS[name]), purpose="user_data")).id


async def test_people_show_pictures_as_data_as_files_and_as_urls(eyes: Path) -> None:
    with serving(gallery) as web:
        async with seeing(eyes) as server, server.client() as client:
            seen = await looks(client)
            for name, data in COLOURS.items():
                file = await uploaded(client, name)
                assert await ask(client, {"type": "file", "file": {"file_id": file}}) == seen[name]
                assert await ask(client, image(f"{web.url}{name}?size=1")) == seen[name]
                assert await ask(client, image(data_url(data, "image/jpeg"))) == seen[name]
            async with server.azure() as azure:
                assert await ask(azure, image(f"{web.url}red")) == seen["red"]
                assert await ask(azure, image(data_url(GREEN))) == seen["green"]


async def test_a_streamed_answer_and_a_response_see_them_too(eyes: Path) -> None:
    with serving(gallery) as web:
        async with seeing(eyes) as server, server.client() as client:
            seen = await looks(client)
            stream = await client.chat.completions.create(model=MODEL, **asking(image(f"{web.url}blue")), stream=True)
            pieces = [piece.model_dump() async for piece in stream]
            first = next(piece for piece in pieces if piece["choices"] and piece["choices"][0]["logprobs"])
            assert odds(first) == seen["blue"]
            for part in ({"image_url": f"{web.url}green"}, {"file_id": await uploaded(client, "green")}):
                content = [{"type": "input_text", "text": "Name"}, {"type": "input_image", "detail": "auto", **part}]
                status, answer = await server.json("POST", "/v1/responses", {
                    "model": MODEL, "input": [{"role": "user", "content": content}], "temperature": 0,
                    "max_output_tokens": 16, "include": ["message.output_text.logprobs"], "top_logprobs": 1,
                })  # fmt: skip
                assert status == 200 and answer["usage"]["input_tokens"] > 30
                told = answer["output"][0]["content"][0]["logprobs"]
                assert round(told[0]["logprob"], 2) == seen["green"]


async def walked(
    client: AsyncOpenAI | AsyncAzureOpenAI, url: str, rows: dict[str, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What became of a batch of these parts: its output and its errors."""
    lines = [
        {"custom_id": id, "method": "POST", "url": url, "body": {"model": MODEL, **asking(part)}}
        for id, part in rows.items()
    ]
    batch = await create(cast("AsyncOpenAI", client), jsonl(*lines), endpoint=url)
    return await results(cast("AsyncOpenAI", client), await ended(cast("AsyncOpenAI", client), batch.id), list(rows))


@pytest.mark.parametrize("form", ["openai", "azure"])
async def test_lines_of_a_batch_show_pictures_and_each_that_cannot_says_why(eyes: Path, form: str) -> None:
    with serving(gallery) as web:
        async with seeing(eyes) as server, server.client() as client, server.azure() as azure:
            seen = await looks(client)
            good = {f"url-{name}-{n}": image(f"{web.url}{name}") for name in COLOURS for n in range(4)}
            good |= {f"data-{name}": image(data_url(data)) for name, data in COLOURS.items()}
            good |= {
                f"file-{name}": {"type": "file", "file": {"file_id": await uploaded(client, name)}} for name in COLOURS
            }
            bad = {
                "gone": (image(f"{web.url}gone?key=secret"), 400, "failed_to_download_image"),
                "inside": (image("http://10.0.0.1/a.png"), 400, "invalid_image_url"),
                "foreign": ({"type": "file", "file": {"file_id": "file-unknown"}}, 404, "file_not_found"),
                "broken": (image("data:image/png;base64,!"), 400, "invalid_base64_image"),
            }
            rows = good | {id: part for id, (part, _, _) in bad.items()}
            output, failed = await walked(*((client, CHAT) if form == "openai" else (azure, "/chat/completions")), rows)
            for id in good:
                assert odds(output[id]["response"]["body"]) == seen[id.split("-")[1]], id
            for id, (_, status, code) in bad.items():
                response = failed[id]["response"]
                error = response["body"]["error"]
                assert (response["status_code"], error["code"]) == (status, code), error
                assert error["param"] == "messages[0].content[1]" and "secret" not in json.dumps(failed[id])
            paths = [each.path for each in web.seen]
            assert [paths.count(f"/{name}") for name in COLOURS] == [1, 1, 1], "fetched once, shown many times"


async def test_contents_show_pictures_inline_as_files_and_as_urls(eyes: Path) -> None:
    config = types.GenerateContentConfig(temperature=0, max_output_tokens=4, response_logprobs=True, logprobs=1)
    with serving(gallery) as web:
        async with seeing(eyes) as server, server.client() as openai, talking(server) as client:
            seen = await looks(openai)

            async def look(part: types.Part) -> float:
                answer = await client.models.generate_content(
                    model=MODEL, contents=types.Content(role="user", parts=[types.Part(text="Name"), part]),
                    config=config,
                )  # fmt: skip
                told = answer.model_dump()["candidates"][0]["logprobs_result"]["chosen_candidates"]
                return round(told[0]["log_probability"], 2)

            name = await named_file(client, "green")
            assert await look(types.Part.from_bytes(data=RED, mime_type="image/jpeg")) == seen["red"]
            assert await look(types.Part.from_uri(file_uri=f"{web.url}blue", mime_type="image/png")) == seen["blue"]
            for uri in (f"files/{name}", name, f"{server.url}/v1beta/files/{name}"):
                assert await look(types.Part.from_uri(file_uri=uri, mime_type="image/webp")) == seen["green"]
            with pytest.raises(genai_errors.ClientError) as gone:
                await look(types.Part.from_uri(file_uri="files/nothere", mime_type="image/png"))
            assert (gone.value.code, gone.value.status) == (403, "PERMISSION_DENIED")
            with pytest.raises(genai_errors.ClientError) as broken:
                await look(types.Part.from_uri(file_uri=f"{web.url}gone", mime_type="image/png"))
            assert (broken.value.code, broken.value.status) == (400, "INVALID_ARGUMENT")


async def named_file(client: parts.AsyncClient, colour: str) -> str:
    """A file that Gemini's client uploads, under a name of its own; its type is a lie."""
    config = types.UploadFileConfig(name="my-cat", mime_type="image/webp")
    made = await client.files.upload(file=io.BytesIO(COLOURS[colour]), config=config)
    assert made.name == "files/my-cat"
    return "my-cat"


async def test_rows_of_a_gemini_job_show_pictures_and_a_file_that_is_not_there_is_an_error_of_its_row(
    eyes: Path,
) -> None:
    config = {"temperature": 0, "max_output_tokens": 4, "response_logprobs": True, "logprobs": 1}
    with serving(gallery) as web:
        async with seeing(eyes) as server, server.client() as openai, talking(server) as client:
            seen = await looks(openai)
            name, letters = await named_file(client, "green"), (await uploaded(openai)).removeprefix("file-")
            shown = {
                "red": types.Part.from_bytes(data=RED, mime_type="image/png"),
                "green": types.Part.from_uri(file_uri=f"files/{name}", mime_type="image/png"),
                "blue": types.Part.from_uri(file_uri=f"{web.url}blue", mime_type="image/png"),
                "red by its id": types.Part.from_uri(
                    file_uri=f"{server.url}/v1beta/files/{letters}", mime_type="image/png"
                ),
                "unknown": types.Part.from_uri(file_uri="files/nothere", mime_type="image/png"),
                "inside": types.Part.from_uri(file_uri="http://10.0.0.1/a.png", mime_type="image/png"),
            }
            rows: list[Any] = [
                {"contents": [types.Content(role="user", parts=[types.Part(text="Name"), part])], "config": config}
                for part in shown.values()
            ]
            done = await job_ended(client, await job_created(client, rows))
            assert done.dest is not None
            answers = dict(zip(shown, done.dest.inlined_responses or [], strict=True))
            for row in ("red", "green", "blue", "red by its id"):
                told: Any = answers[row].model_dump()["response"]["candidates"][0]["logprobs_result"]
                assert round(told["chosen_candidates"][0]["log_probability"], 2) == seen[row.split()[0]], row
            assert [
                error.code if error else None for error in (answers[row].error for row in ("unknown", "inside"))
            ] == [7, 3]


async def test_nothing_inside_is_fetched_unless_that_was_allowed(eyes: Path) -> None:
    with serving(gallery) as web:
        async with seeing(eyes, ImageSettings()) as server, server.client() as client:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                with pytest.raises(BadRequestError) as refused:
                    await ask(client, image(web.url.replace("127.0.0.1", host) + "red"))
                assert refused.value.code == "invalid_image_url"
    assert not web.seen


async def test_a_server_of_pictures_that_fails_is_asked_again_by_batches_and_told_to_people(eyes: Path) -> None:
    with serving(answers(503), answers(200, RED)) as web:
        async with seeing(eyes) as server, server.client() as client:
            with pytest.raises(InternalServerError) as lost:
                await ask(client, image(f"{web.url}a"))
            assert lost.value.status_code == 502 and lost.value.code == "failed_to_download_image"
            output, _ = await walked(client, CHAT, {"a": image(f"{web.url}a")})
            assert odds(output["a"]["response"]["body"]) == (await looks(client))["red"]


async def test_a_file_of_another_project_is_unknown(eyes: Path) -> None:
    async with seeing(eyes) as server, server.client() as client:
        ours = await uploaded(client)
        theirs = server.client(key=await server.key(Role.EDITOR, project="them"))
        async with theirs:
            with pytest.raises(NotFoundError) as foreign:
                await ask(theirs, {"type": "file", "file": {"file_id": ours}})
            with pytest.raises(NotFoundError) as unknown:
                await ask(theirs, {"type": "file", "file": {"file_id": "file-unknown"}})
    assert foreign.value.message.replace(ours, "file-unknown") == unknown.value.message


# Upstreams


@asynccontextmanager
async def behind(upstream: Upstream, manner: Manner) -> AsyncGenerator[Live]:
    engine = http.open(http.Config(urls=(upstream.url,)))
    async with live(engine=engine, manner=manner, images=LOOPBACK, walks=WALKS) as server:
        yield server


def shown_to(upstream: Upstream) -> list[Any]:
    return [asked.json["messages"][0]["content"][1] for asked in upstream.posts]


async def show(server: Live, web: Script) -> None:
    """One picture, by a person and by a line of a batch."""
    part = image(f"{web.url}red")
    async with server.client() as client:
        await server.json("POST", CHAT, {"model": MODEL, **asking(part)})
        await walked(client, CHAT, {"a": part})


async def test_an_upstream_gets_the_picture_itself(eyes: Path) -> None:
    with serving(gallery) as web:
        async with Upstream() as upstream, behind(upstream, Manner()) as server:
            await show(server, web)
            assert shown_to(upstream) == [image(data_url(RED))] * 2


async def test_an_upstream_gets_the_url_where_its_model_says_so() -> None:
    with serving(gallery) as web:
        async with Upstream() as upstream, behind(upstream, Manner(remote=Images.PASS)) as server:
            await show(server, web)
            assert shown_to(upstream) == [image(f"{web.url}red")] * 2
            assert not web.seen


async def test_an_upstream_gets_gemini_s_files_as_pictures() -> None:
    async with Upstream() as upstream, behind(upstream, Manner()) as server, talking(server) as client:
        name = await named_file(client, "green")
        part = {"fileData": {"fileUri": f"files/{name}", "mimeType": "image/png"}}
        inline = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(RED).decode()}}
        path = f"/v1beta/models/{MODEL}:generateContent"
        await server.json("POST", path, {"contents": [{"parts": [{"text": "a"}, part, inline]}]})
        [asked] = upstream.posts
        assert asked.json["messages"][0]["content"][1:] == [image(data_url(GREEN)), image(data_url(RED))]
