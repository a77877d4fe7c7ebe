"""Makes the data folder that tests of a newer release open: `python -m tests.e2e.old_folder OUT.tar.gz`, at a release.

It holds a batch that has ended, and one that was killed in the middle: of 200 requests, half had an answer.
"""

import signal
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.batches import create, ended, requests, serving, until
from tests.support.chat_server import Gate, chatting
from tests.support.cli import Cli

LINES = 200


def make(target: str) -> None:
    gate = Gate(100)
    with TemporaryDirectory() as folder, chatting(gate) as upstream:
        cli = Cli(Path(folder))
        with serving(cli, "--model", "m", "--upstream", upstream.url + "v1") as (run, client):
            ended(client, create(client, requests(3)).id)
            running = create(client, requests(LINES))
            until(client, running.id, lambda batch: bool(batch.request_counts and batch.request_counts.completed))
            run.send(signal.SIGKILL)
            run.finish()
        with tarfile.open(target, "w:gz") as archive:
            archive.add(Path(folder) / "batchyard-data", "batchyard-data", filter=_nobodys)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(uid=0, gid=0, uname="", gname="", deep=False)


if __name__ == "__main__":
    make(sys.argv[1])
