"""A common beat for walks."""

import asyncio
from contextlib import ExitStack

from batchyard.pipeline.beat import Beat
from tests.support.virtual_time import in_virtual_time


async def _waited(beat: Beat, after: float) -> float:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(after)
    await beat.wait()
    return loop.time()


def test_many_go_on_together_and_few_at_once() -> None:
    async def main() -> None:
        beat, loop = Beat(seconds=1, few=2), asyncio.get_running_loop()
        with ExitStack() as walks:
            for _ in range(2):
                walks.enter_context(beat.walking())
            began = loop.time()
            await beat.wait()
            assert loop.time() == began
            walks.enter_context(beat.walking())
            times = await asyncio.gather(*(_waited(beat, after) for after in (0.0, 0.25, 0.75)))
            assert [time - began for time in times] == [1, 1, 1]
            assert await _waited(beat, 0.0) - began == 2
        began = loop.time()
        await beat.wait()
        assert loop.time() == began

    in_virtual_time(main())
