"""A stand-in for an inference server: answers in the OpenAI form and misbehaves as its environment says.

Any arguments are accepted; `--port` is obeyed. Standard library only, started as a script.

    FAKE_REFUSE=text         print the text and exit with code 3
    FAKE_REFUSE_AFTER=file   as FAKE_REFUSE, but only once the file exists
    FAKE_HANG=1              never listen
    FAKE_UNREADY_PROBES=n    answer the first n health probes with 503
    FAKE_STUBBORN=1          ignore SIGTERM
    FAKE_CHATTY=1            print without end
    FAKE_FORK=file           leave a child in the group and one in a session of its own; their ids go to the file
    FAKE_LIVES=file          append a line with the process id, the port, the key and the arguments at each start
    FAKE_KEY=name            require the bearer key that stands in this environment variable
    FAKE_STALLED=file        append a line for each request that stalls
    FAKE_PATHS=a,b           the paths that /openapi.json lists

A request whose body says "die" ends the process at once, "fall ill" is answered with 500 and ends the process a moment
later, "stall" waits for a minute, "fail" is answered with 500.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SAID = os.environ.get
unready_probes = int(SAID("FAKE_UNREADY_PROBES", "0"))


class Door(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        global unready_probes
        if self.path == "/health" and unready_probes > 0:
            unready_probes -= 1
            self._answer(503, {})
        elif self.path == "/health":
            self._answer(200, {})
        elif self.path == "/openapi.json":
            paths = SAID("FAKE_PATHS", "/v1/chat/completions,/v1/completions,/health").split(",")
            self._answer(200, {"paths": dict.fromkeys(paths, "described here")})
        elif not self._is_allowed():
            self._answer(401, {"error": {"message": "wrong key"}})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": "tiny", "max_model_len": 1024}]})
        else:
            self._answer(404, {"error": {"message": "not here"}})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not self._is_allowed():
            self._answer(401, {"error": {"message": "wrong key"}})
        elif '"die"' in body:
            os.kill(os.getpid(), signal.SIGKILL)
        elif '"fall ill"' in body:
            threading.Timer(0.2, os._exit, (9,)).start()
            self._answer(500, {"error": {"message": "the engine is dead"}})
        elif '"fail"' in body:
            self._answer(500, {"error": {"message": "that went wrong"}})
        else:
            if '"stall"' in body:
                note("FAKE_STALLED", "one")
                time.sleep(60)
            self._answer(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "here"}}]})

    def _is_allowed(self) -> bool:
        name = SAID("FAKE_KEY")
        return name is None or self.headers["Authorization"] == f"Bearer {os.environ[name]}"

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def note(variable: str, line: str) -> None:
    if path := SAID(variable):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


def fork(sessions: bool) -> int:
    child = os.fork()
    if child == 0:
        if sessions:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(120)
        os._exit(0)
    return child


def chat() -> None:
    while True:
        print("still here", flush=True)


def main() -> None:
    words = sys.argv[1:]
    port = int(words[words.index("--port") + 1])
    note("FAKE_LIVES", f"{os.getpid()} {port} {SAID(SAID('FAKE_KEY', ''), '-')} {' '.join(words)}")
    print("fake server starting", flush=True)
    refusal, after = SAID("FAKE_REFUSE"), SAID("FAKE_REFUSE_AFTER")
    if refusal and (after is None or Path(after).exists()):
        print(refusal, file=sys.stderr, flush=True)
        sys.exit(3)
    if SAID("FAKE_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if SAID("FAKE_CHATTY"):
        threading.Thread(target=chat, daemon=True).start()
    if children := SAID("FAKE_FORK"):
        Path(children).write_text(f"{fork(False)} {fork(True)}")
    if SAID("FAKE_HANG"):
        time.sleep(120)
    Server(("127.0.0.1", port), Door).serve_forever()


if __name__ == "__main__":
    main()
