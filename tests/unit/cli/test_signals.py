import asyncio
import os
import signal

from batchyard.cli.signals import Signals
from batchyard.pipeline.stop import Stop
from batchyard.pipeline.tally import Tally


async def test_ctrl_c_first_drains_and_then_stops_at_once() -> None:
    stop, said = Stop(), list[str]()
    before = signal.getsignal(signal.SIGINT)
    signals = Signals(stop, Tally(inflight=12), said.append)
    signals.listen()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.asked.wait(), 5)
        assert not stop.now.is_set()
        assert "12 requests under way" in said[0] and "again to stop at once" in said[0]
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.now.wait(), 5)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "a third one ends the process"
    finally:
        signals.close()
        signal.signal(signal.SIGINT, before)


async def test_a_supervisor_gets_a_short_grace() -> None:
    stop, said = Stop(), list[str]()
    signals = Signals(stop, Tally(inflight=3), said.append)
    signals.listen()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.asked.wait(), 5)
        assert not stop.now.is_set() and "3 requests" in said[0]
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.now.wait(), 5)
    finally:
        signals.close()


async def test_the_grace_ends_by_itself(monkeypatch: object) -> None:
    from batchyard.cli import signals as module

    stop = Stop()
    signals = Signals(stop, Tally(), lambda text: None)
    earlier, module.GRACE_SECONDS = module.GRACE_SECONDS, 0.0
    try:
        signals.end()
        await asyncio.wait_for(stop.now.wait(), 5)
    finally:
        module.GRACE_SECONDS = earlier
