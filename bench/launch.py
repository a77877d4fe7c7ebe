"""Run one command and tell what it cost, on standard output as JSON. Started by `command.py`; imports next to nothing.

    python -I -S launch.py [--core N] [--kill FILE=BYTES] [--stage NAME=FILE]... -- COMMAND...

A process inherits the peak of memory of the one that started it, as far as the system's own count goes, so a large
test runner must not start what it measures. `--stage` names a part of the command that begins when a file appears; the
peak so far is noted at the end of each. `--kill` ends the command with SIGKILL once a file has so many bytes. What the
command says on standard output goes to standard error.
"""

import os
import signal
import sys
import time

LOOK_SECONDS = 0.02


def main() -> None:
    core, kill, stages, command = _arguments(sys.argv[1:])
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    if core is not None:
        os.sched_setaffinity(pid, {core})
    peaks = {name: 0 for name, _ in stages}
    times = {}
    while True:
        done, status, used = os.wait4(pid, os.WNOHANG)
        if done:
            break
        _look(pid, stages, peaks, times, began)
        if kill and _size(kill[0]) >= int(kill[1]):
            os.kill(pid, signal.SIGKILL)
            kill = None
        time.sleep(LOOK_SECONDS)
    fields = {
        "exit_code": os.waitstatus_to_exitcode(status),
        "wall_seconds": time.perf_counter() - began,
        "user_seconds": used.ru_utime,
        "system_seconds": used.ru_stime,
        "peak_bytes": used.ru_maxrss << (0 if sys.platform == "darwin" else 10),
        "stage_peaks": peaks,
        "stage_begins": times,
    }
    print(repr(fields).replace("'", '"'))


def _arguments(words):
    core = kill = None
    stages = []
    while words[0] != "--":
        flag, value, *words = words
        if flag == "--core":
            core = int(value)
        elif flag == "--kill":
            kill = value.rpartition("=")[::2]
        else:
            stages.append(value.partition("=")[::2])
    return core, kill, stages, words[1:]


def _look(pid, stages, peaks, times, began):
    """Note the peak so far under the last stage that has begun."""
    now = None
    for name, path in stages:
        if name in times or os.path.exists(path):
            now = name
            times.setdefault(name, time.perf_counter() - began)
    if now is not None:
        peaks[now] = max(peaks[now], _peak(pid))


def _size(path):
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _peak(pid):
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


main()
