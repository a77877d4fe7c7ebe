"""A child process for the tests of `transport.child`: does what the kind of a frame says."""

import os
import sys
import threading

from batchyard.transport.frames import Frame
from batchyard.transport.parent import Parent

ECHO = 1
PRINT = 2
EXIT = 3
DEAFEN = 4


def main() -> None:
    parent = Parent.attach()
    while (frame := parent.receive()) is not None:
        if frame.kind == ECHO:
            parent.send(frame)
        elif frame.kind == PRINT:
            sys.stderr.buffer.write(frame.data)
            sys.stderr.buffer.flush()
            parent.send(Frame(frame.number, PRINT))
        elif frame.kind == EXIT:
            parent.send(frame)
            os._exit(frame.number)
        elif frame.kind == DEAFEN:
            parent.send(frame)
            threading.Event().wait()  # never reads again, so it does not see that the parent hangs up


if __name__ == "__main__":
    main()
