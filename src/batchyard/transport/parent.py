"""The parent, as its supervised child sees it: frames over the inherited socket, from ordinary threads.

A child must not outlive its parent. Two things see to it: the parent's end of the socket closes with the parent, and on
Linux the kernel sends SIGKILL (prctl(2), PR_SET_PDEATHSIG), which also reaches a child that is deep in foreign code.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
from collections import deque

from batchyard.transport.frames import Frame, FrameReader, pack

PR_SET_PDEATHSIG = 1
READ_BYTES = 1 << 18


class Parent:
    """The line to the parent. One thread receives; any thread sends."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._reader = FrameReader()
        self._waiting: deque[Frame] = deque()

    @classmethod
    def attach(cls) -> "Parent":
        """Take up the line that `transport.child` left for this process."""
        _die_with_the_parent()
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        return cls(socket.socket(fileno=int(sys.argv[1])))

    def receive(self) -> Frame | None:
        """The next frame; None once the parent has hung up or is gone."""
        while not self._waiting:
            try:
                data = self._line.recv(READ_BYTES)
            except ConnectionError:
                return None
            if not data:
                return None
            self._waiting.extend(self._reader.feed(data))
        return self._waiting.popleft()

    def send(self, frame: Frame) -> None:
        """Send a frame; what is sent to a parent that is gone is lost, and `receive` will tell."""
        data = pack(frame)
        with self._lock:
            try:
                self._line.sendall(data)
            except ConnectionError:
                return


def _die_with_the_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
