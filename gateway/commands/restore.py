"""`gavel restore FILE --key-file KEY`: makes an empty data folder that of a backup; the next `gavel serve` goes on from there.

Read models are made anew at that start. Admin keys are, too, beside all keys that were issued and go on opening what they opened.
"""

import argparse
from pathlib import Path

from gateway.backups import restore
from gateway.commands.backup import print_copied
from gateway.commands.common import add_json, add_settings, read_settings
from gateway.verdicts import FINE, NO, Wrong


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what `gavel backup` has made")
    parser.add_argument("--into", type=Path, metavar="DIR", help="an empty folder; by default the data folder")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="KEY",
        action="append",
        required=True,
        help="the file `journal-key` of the data folder that was backed up; for named journals, that of each: repeatable",
    )
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, log_level="warning")
    if settings.journal:
        raise Wrong(
            "GAVEL_JOURNAL puts the journal into PostgreSQL, and a backup is restored into a data folder: unset it"
        )
    copied = restore(options.file, options.into or settings.data, options.key_file)
    print_copied(copied, as_json=options.json)
    return FINE if all(one.whole for one in copied) else NO
