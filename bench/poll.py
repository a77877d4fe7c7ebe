"""Ask one question of a server again and again until standard input ends; tell how long the answers took, as JSON.

python -I -S poll.py HOST PORT PATH KEY [SECONDS_BETWEEN]

In a process of its own, so that nothing else delays what is measured; imports next to nothing.
"""

import select
import socket
import sys
import time

PAUSE_SECONDS = 0.01


def main() -> None:
    host, port, path, key, *pause = sys.argv[1:]
    request = f"GET {path} HTTP/1.1\r\nhost: poll\r\nauthorization: Bearer {key}\r\n\r\n".encode()
    pause_seconds = float(pause[0]) if pause else PAUSE_SECONDS
    took, line = [], socket.create_connection((host, int(port)))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while not select.select([0], [], [], pause_seconds)[0]:
        began = time.perf_counter()
        line.sendall(request)
        read_answer(line)
        took.append(time.perf_counter() - began)
    print(table(sorted(took)))


def read_answer(line: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(1 << 16)
        if not more:
            raise SystemExit("the server hung up")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(head.decode())
    for field in head.split(b"\r\n"):
        if field.lower().startswith(b"content-length:"):
            left = int(field[15:]) - len(body)
            while left > 0:
                left -= len(line.recv(left))


def table(took: list[float]) -> str:
    if not took:
        return '{"calls": 0, "p50_ms": 0, "p99_ms": 0, "max_ms": 0}'
    p50, p99 = took[len(took) // 2], took[min(len(took) * 99 // 100, len(took) - 1)]
    told = {"calls": len(took), "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "max_ms": took[-1] * 1e3}
    return repr(told).replace("'", '"')


main()
