"""A parent for the tests: starts a child, says its pid, and waits to be killed."""

import asyncio
import sys

from batchyard.transport.child import Child
from batchyard.transport.frames import Frame
from tests.support import talkative_child


async def main(deaf: bool) -> None:
    ready = asyncio.Event()
    child = await Child.spawn(
        "tests.support.talkative_child", on_frame=lambda frame: ready.set(), on_exit=lambda end: None
    )
    child.send(Frame(1, talkative_child.DEAFEN if deaf else talkative_child.ECHO))
    await ready.wait()
    print(child.pid, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] == ["deaf"]))
