"""Writes results into a journal until it is killed, and says after each flush which line is the last safe one."""

import asyncio
import sys

from batchyard.disks.local import LocalDisk
from batchyard.journals.disk import open_journal
from batchyard.offload import ThreadOffload
from tests.support.results import a_result


async def main(folder: str, lines: int, group: int) -> None:
    journal = await open_journal(LocalDisk(), ThreadOffload(), folder, lines)
    outcomes = journal.outcomes()
    for count, line in enumerate((line for line in range(lines) if not outcomes[line]), 1):
        journal.append(a_result(line))
        if count % group == 0:
            await journal.flush()
            print(line, flush=True)
        await journal.room()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
