"""How commands answer: with one JSON object on stdout, and lines for a person on stderr.

Light to import, for commands that answer at once.
"""

import argparse
import sys
from contextlib import suppress


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option that makes stdout hold one JSON object and nothing else."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def print_json(answer: object) -> None:
    """Writes the one JSON object that stdout holds."""
    import msgspec  # takes a tenth of what a small problem's solving does

    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


def say(line: str) -> None:
    """Writes a line for a person; stdout is for answers. Where it can't be written, nobody reads it, and the work goes on."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
