"""`gavel backup FILE`: a whole copy of the journal and its blobs, of a running node or a stopped one, judged before it is called good.

The blobs come after the journal, so that all that it refers to is there; they lie in the folder FILE.blobs, where there are any. A
plain copy of the file of a running node would lose what stands in SQLite's write-ahead log.
"""

import argparse
from pathlib import Path

from gateway.commands.common import add_json, add_settings, print_json, read_settings
from gateway.folder import DataFolder
from gateway.journals import copy_journal
from gateway.verdicts import FINE, NO, Wrong
from runtime.blobs import copy_blobs
from runtime.evidence import Unreadable
from runtime.verification import verify


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; it must not exist yet")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, log_level="warning")
    folder = DataFolder(settings.data)
    beside = options.file.with_name(f"{options.file.name}.blobs")
    if beside.exists():
        raise Wrong(f"{beside} exists")
    copy_journal(settings, options.file)
    blobs, blob_bytes, altered = _copy_blobs(folder.blobs, beside)
    try:
        report = verify(options.file)
    except Unreadable as error:
        raise Wrong(str(error)) from error
    whole = report.whole and not altered
    if options.json:
        size = options.file.stat().st_size
        answer = {"file": str(options.file), "bytes": size, "positions": report.positions, "root": report.root}
        answer |= {"blobs": blobs, "blob_bytes": blob_bytes, "blobs_altered": altered}
        print_json(answer | {"whole": whole})
    else:
        verdict = "whole" if whole else "ALTERED"
        print(f"{options.file}: {report.positions} records, root {report.root}, {blobs} blobs, {verdict}")
        for digest in altered:
            print(f"blob {digest} was altered")
    return FINE if whole else NO


def _copy_blobs(source: Path, target: Path) -> tuple[int, int, list[str]]:
    if not any(source.glob("owners/*/*")):
        return 0, 0, []
    try:
        return copy_blobs(source, target)
    except OSError as error:
        raise Wrong(f"{source} can't be copied to {target}: {error}") from error
