"""The notebook on Gemini's batches, step by step, with whatever release of the official client is first on the path.

Usage: notebook.py URL KEY PICTURE HOOK    prints one JSON object of what it saw. Runs on its own, without the package.
PICTURE is a picture to ask about, HOOK a URL that wants to hear of jobs. The names of the models are the notebook's.
"""

import asyncio
import base64
import inspect
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from google import genai
from google.genai import errors, types

URL, KEY, PICTURE, HOOK = sys.argv[1:5]
CHAT, VECTORS, PAINTER = "gemini-3.6-flash", "gemini-embedding-001", "gemini-2.5-flash-image"
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")
MANY = 400

Json = dict[str, Any]


class Notebook:
    """The steps, over the client or over its `aio`: what the latter gives is awaited, and all else is the same."""

    def __init__(self, talk: Any, folder: Path) -> None:
        self.talk = talk
        self.folder = folder
        self.picture = Path(PICTURE).read_bytes()

    async def run(self) -> Json:
        return {
            "file": await self.from_a_file(),
            "inline": await self.inline(),
            "refused": await self.refused(),
            "listed": await self.listed(),
            "cancelled": await self.cancelled(),
            "vectors": await self.vectors(),
            "inline_vectors": await self.inline_vectors(),
            "seen": await self.seen(),
            "made": await self.made(),
            "webhooks": await self.webhooks(),
            "files": await self.files(),
        }

    async def from_a_file(self) -> Json:
        """Upload requests, ask for a job, look until it has ended, download what it brought and read it."""
        sent = await self.uploaded("requests.json", [_asking("request_1", NORWAY), _asking("request_2", SUM)])
        job = await got(self.talk.batches.create(model=CHAT, src=sent.name, config={"display_name": "from-a-file"}))
        at_first = job.state.name
        job = await self.ended(job)
        rows = await self.rows(job)
        return {
            "first": at_first,
            "state": job.state.name,
            "done": job.done,
            "model": job.model,
            "name": job.display_name,
            "versions": sorted({row["response"]["modelVersion"] for row in rows}),
            "texts": {row["key"]: _text(row) for row in rows},
        }

    async def inline(self) -> Json:
        """Requests in the call, and their answers in the job: each with its metadata, or why there is none."""
        src: list[Any] = [
            {"contents": [{"parts": [{"text": NORWAY}]}]},
            {"contents": SUM, "config": {"temperature": 0, "candidate_count": 1}, "metadata": {"key": "sum"}},
            {"contents": [{"parts": [{"text": NORWAY}]}], "config": {"max_output_tokens": 1 << 30}},
        ]
        job = await got(self.talk.batches.create(model=CHAT, src=src, config={"display_name": "inline"}))
        job = await self.ended(job)
        answers = job.dest.inlined_responses
        return {
            "state": job.state.name,
            "file": job.dest.file_name,
            "texts": [each.response.text if each.response else None for each in answers],
            "errors": [each.error.code if each.error else None for each in answers],
            "metadata": [each.metadata for each in answers],
        }

    async def refused(self) -> list[Any]:
        """A file with a bad row is refused when the job is asked for, and the row is named."""
        sent = await self.uploaded("bad.jsonl", [_asking("fine", NORWAY), _asking("bad", NORWAY, temprature=1)])
        try:
            await got(self.talk.batches.create(model=CHAT, src=sent.name))
        except errors.ClientError as error:
            return [error.code, error.status, "line 2" in str(error), "temprature" in str(error)]
        return []

    async def listed(self) -> list[list[Any]]:
        """The newest jobs, as the notebook prints them."""
        listed = await got(self.talk.batches.list(config={"page_size": 10}))
        shown: list[list[Any]] = []
        for job in listed.page[:2]:
            assert job.name and job.create_time.strftime("%Y-%m-%d %H:%M:%S")
            shown.append([job.display_name, job.state.name, job.dest.file_name if job.dest else None])
        return shown

    async def cancelled(self) -> Json:
        """Cancel a job under way: each of its rows has a result all the same. Then delete it."""
        rows = [_asking(f"request_{number}", f"What is {number % 50} + {number % 49}?") for number in range(MANY)]
        sent = await self.uploaded("many.jsonl", rows)
        job = await got(self.talk.batches.create(model=CHAT, src=sent.name))
        await got(self.talk.batches.cancel(name=job.name))
        job = await self.ended(job)
        answers = await self.rows(job)
        await got(self.talk.batches.delete(name=job.name))
        try:
            await got(self.talk.batches.get(name=job.name))
        except errors.ClientError as error:
            gone = [error.code, error.status]
        else:
            gone = []
        return {
            "state": job.state.name,
            "whole": [row["key"] for row in answers] == [row["key"] for row in rows],
            "codes": sorted({row["error"]["code"] for row in answers if "error" in row}),
            "gone": gone,
        }

    async def vectors(self) -> Json:
        """Embeddings of a file's texts, as short as asked for."""
        rows: list[Json] = [
            {"key": f"request_{n}", "request": {"output_dimensionality": size, "content": {"parts": [{"text": "1"}]}}}
            for n, size in ((1, 3), (2, 4))
        ]
        sent = await self.uploaded("embeddings.jsonl", rows)
        job = await got(
            self.talk.batches.create_embeddings(model=VECTORS, src=types.EmbeddingsBatchJobSource(file_name=sent.name))
        )
        return {row["key"]: row["response"]["embedding"]["values"] for row in await self.rows(await self.ended(job))}

    async def inline_vectors(self) -> list[list[float]]:
        """Embeddings of texts in the call."""
        texts = types.EmbedContentBatch(contents=["1", "2"], config={"output_dimensionality": 4})  # type: ignore[arg-type]
        src = types.EmbeddingsBatchJobSource(inlined_requests=texts)
        job = await self.ended(await got(self.talk.batches.create_embeddings(model=VECTORS, src=src)))
        return [each.response.embedding.values for each in job.dest.inlined_embed_content_responses]

    async def seen(self) -> Json:
        """A picture, uploaded and named in a row, by the fields that its upload brought; and the same inside a row."""
        picture = await got(self.talk.files.upload(file=PICTURE))
        inside = {"mime_type": picture.mime_type, "data": base64.b64encode(self.picture).decode()}
        named = {"file_uri": picture.uri, "mime_type": picture.mime_type}
        rows = [
            _asking("request_1", NORWAY),
            _row("request_2_image", [{"text": LOOK}, {"file_data": named}]),
            _row("request_3_image", [{"text": LOOK}, {"inlineData": inside}]),
        ]
        sent = await self.uploaded("with-picture.json", rows)
        job = await self.ended(await got(self.talk.batches.create(model=CHAT, src=sent.name)))
        texts = {row["key"]: _text(row) for row in await self.rows(job)}
        asked_now = await got(self.talk.models.generate_content(model=CHAT, contents=[LOOK, picture], config=STILL))
        return {"type": picture.mime_type, "texts": texts, "now": asked_now.text}

    async def made(self) -> list[Json]:
        """Pictures made from words: parts of the answers, beside texts."""
        wanted = {"response_modalities": ["TEXT", "IMAGE"]}
        rows = [_row(f"image_request_{each}", [{"text": f"A big letter {each}"}], **wanted) for each in "AB"]
        sent = await self.uploaded("pictures.json", rows)
        job = await got(self.talk.batches.create(model=PAINTER, src=sent.name, config={"display_name": "pictures"}))
        job = await self.ended(job)
        found: list[Json] = []
        for row in await self.rows(job):
            for part in row["response"]["candidates"][0]["content"]["parts"]:
                if part.get("inlineData"):
                    found.append({"key": row["key"], **part["inlineData"]})
        return found

    async def webhooks(self) -> Json | None:
        """A webhook for jobs of the project, and one of a job's own; None where the client has none yet."""
        hooks = getattr(self.talk, "webhooks", None)
        if hooks is None:
            return None
        told = ["batch.succeeded", "batch.failed"]
        made = await got(hooks.create(name="notebook", uri=HOOK, subscribed_events=told))
        listed = await got(hooks.list())
        await got(hooks.ping(made.id))
        await got(hooks.delete(made.id))
        own: Any = {"webhook_config": {"uris": [HOOK], "user_metadata": {"step": "own"}}}
        job = await got(self.talk.batches.create(model=CHAT, src=[{"contents": NORWAY}], config=own))
        return {
            "secret": made.new_signing_secret.startswith("whsec_"),
            "listed": [each.id for each in listed.webhooks] == [made.id],
            "left": len((await got(hooks.list())).webhooks or []),
            "job": job.name,
        }

    async def files(self) -> int:
        """Delete all files, results too, by their names; how many are left."""
        for file in await self.all_files():
            await got(self.talk.files.delete(name=file.name))
        return len(await self.all_files())

    async def all_files(self) -> list[Any]:
        pages = await got(self.talk.files.list(config={"page_size": 3}))
        return [file async for file in pages] if hasattr(pages, "__aiter__") else list(pages)

    async def uploaded(self, name: str, rows: list[Json]) -> Any:
        """A file of rows. A client cannot tell the type of .jsonl, and knows that of .json."""
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        said = {"mime_type": "jsonl"} if path.suffix == ".jsonl" else {}
        return await got(self.talk.files.upload(file=str(path), config={"display_name": name, **said}))

    async def ended(self, job: Any) -> Any:
        while (found := await got(self.talk.batches.get(name=job.name))).state.name not in ENDED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # as people's scripts do
        return found

    async def rows(self, job: Any) -> list[Json]:
        read = await got(self.talk.files.download(file=job.dest.file_name))
        return [json.loads(line) for line in read.decode("utf-8").splitlines() if line]


async def got(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


NORWAY, SUM, LOOK = "What is the capital of Norway?", "What is 12 + 30?", "What is in this picture?"
STILL: Any = {"temperature": 0, "max_output_tokens": 8}


def _asking(key: str, text: str, **config: Any) -> Json:
    return _row(key, [{"text": text}], **config)


def _row(key: str, parts: list[Json], **config: Any) -> Json:
    settings = {**STILL, **config}
    if "response_modalities" in config:
        settings = config
    return {"key": key, "request": {"contents": [{"parts": parts}], "generation_config": settings}}


def _text(row: Json) -> str:
    return "".join(part["text"] for part in row["response"]["candidates"][0]["content"]["parts"])


async def main() -> None:
    warnings.simplefilter("ignore")  # some calls are called experimental
    client = genai.Client(api_key=KEY, http_options={"base_url": URL})  # pyright: ignore[reportArgumentType]
    seen: Json = {"version": genai.__version__}
    with tempfile.TemporaryDirectory() as folder:
        seen["sync"] = await Notebook(client, Path(folder)).run()
        seen["async"] = await Notebook(client.aio, Path(folder)).run()
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main())
