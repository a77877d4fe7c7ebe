"""What Prometheus reads while batches run."""

from prometheus_client.parser import text_string_to_metric_families

from batchyard.domain.request import Request
from batchyard.domain.result import Answer, Reply, Usage
from tests.support.serving import MODEL, Live, live
from tests.support.watching import portion
from tests.wire.openai.test_walks import WALKS, Gate, a_line, create, ended, jsonl, until

Samples = dict[tuple[str, ...], float]


async def samples(server: Live) -> Samples:
    """What the page says, by name and the labels in the order of their names."""
    _, _, page = await server.call("GET", "/metrics", headers={"authorization": None})
    families = text_string_to_metric_families(page.decode())
    return {
        (each.name, *(each.labels[name] for name in sorted(each.labels))): each.value
        for family in families
        for each in family.samples
    }


class Counting(Gate):
    """Answers that say what they cost."""

    async def __call__(self, request: Request) -> Reply | None:
        return await super().__call__(request) or Answer(200, b"{}", usage=Usage(7, 3, 2))


async def test_a_running_batch_can_be_seen() -> None:
    gate = Counting()
    lines = [a_line("a"), a_line("b", "bad"), *(a_line(f"s{n}", f"slow {n}") for n in range(8))]
    async with live(script=gate, walks=WALKS, slots=4) as server, server.client() as client:
        batch = await create(client, jsonl(*lines))
        await until(client, batch.id, lambda it: bool(it.request_counts and it.request_counts.failed == 1))
        seen = await samples(server)
        assert seen["batchyard_batches", "in_progress"] == 1
        assert seen["batchyard_batches", "validating"] == seen["batchyard_batches_waiting",] == 0
        assert 86_000 < seen["batchyard_least_slack_seconds",] <= 86_400
        assert seen["batchyard_batch_lines_total", MODEL, "succeeded"] == 1
        assert seen["batchyard_batch_lines_total", MODEL, "errored"] == 1
        assert 0 < seen["batchyard_batch_inflight", MODEL] <= 5  # four slots and one to follow
        assert seen["batchyard_batch_inflight", MODEL] + seen["batchyard_batch_waiting_requests", MODEL] <= 8
        assert seen["batchyard_batch_pace", MODEL] >= 1 and seen["batchyard_engine_up", MODEL] == 1
        gate.open.set()
        done = await ended(client, batch.id)
        seen = await samples(server)
        assert seen["batchyard_batch_lines_total", MODEL, "succeeded"] == 9
        tokens = {kind: seen["batchyard_tokens_total", kind, "batch", MODEL] for kind in ("input", "output", "cached")}
        assert tokens == {"input": 63, "output": 27, "cached": 18}
        assert done.usage and done.usage.output_tokens == 27
        assert seen["batchyard_batches_ended_total", "completed"] == 1
        assert seen["batchyard_batch_seconds_count", "completed"] == 1
        assert seen["batchyard_journal_commit_seconds_count",] >= 1
        assert seen["batchyard_batch_inflight", MODEL] == seen["batchyard_batches", "in_progress"] == 0
        assert seen["batchyard_least_slack_seconds",] == float("inf")


async def test_a_queue_that_nobody_works_off_ages() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        await ended(client, (await create(client, jsonl(a_line("a")))).id)
        assert (await samples(server))["batchyard_oldest_waiting_batch_seconds",] == 0
    async with live() as server, server.client() as client:  # here nothing walks
        batch = await create(client, jsonl(a_line("a")))
        seen = await samples(server)
        assert seen["batchyard_batches_waiting",] == seen["batchyard_batches", "validating"] == 1
        assert seen["batchyard_oldest_waiting_batch_seconds",] >= 0 < batch.created_at


async def test_no_label_names_a_batch_or_a_project() -> None:
    async with live(walks=WALKS) as server, server.client() as client:
        batch = await create(client, jsonl(a_line("a")))
        await ended(client, batch.id)
        await portion(client, batch.id)
        _, _, page = await server.call("GET", "/metrics")
        assert batch.id.encode() not in page and b"proj_" not in page
