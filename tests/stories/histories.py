"""Journals of real nodes that are kept: what was decided there then has to be decided again by every later program.

`python -m tests.stories.histories` lives the life in `life.py`, in which every command of every aggregate decides something, and keeps its
journal under the next number. What is kept is never changed: who adds a command adds it to the life, and keeps one more.
"""

import lzma
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.stories.layouts import FOLDER as LAYOUTS
from tests.stories.life import live

FOLDER = Path(__file__).parent / "histories"


def lives() -> list[Path]:
    """The histories of lives, the newest last."""
    return sorted(FOLDER.glob("*.db.xz"), key=lambda path: int(path.name.removesuffix(".db.xz").rpartition("-")[2]))


def kept() -> list[Path]:
    """All histories: those of lives, and those that earlier layouts have written."""
    return [*lives(), *sorted(LAYOUTS.glob("*.db.xz"))]


def unpack(history: Path, folder: Path) -> Path:
    """Puts a kept journal into a folder and returns its path."""
    target = folder / history.name.removesuffix(".xz")
    target.write_bytes(lzma.decompress(history.read_bytes()))
    return target


def main() -> int:
    """Keeps the journal of one more life."""
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / f"life-{len(lives()) + 1}.db.xz"
    with TemporaryDirectory() as name:
        live(Path(name) / "journal.db")
        target.write_bytes(lzma.compress((Path(name) / "journal.db").read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{target.name}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
