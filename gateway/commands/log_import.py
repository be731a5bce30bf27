"""`gavel log import FILE --key-file KEY`: makes an empty data folder, or an empty PostgreSQL database, the journal of a whole export.

All or nothing. The next `gavel serve` goes on from there, as after `gavel restore`; blobs are in no export.
"""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from aggregates.journal import SHARED
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings, read_settings
from gateway.verdicts import FINE, NO
from runtime.export_reading import BadExport


def add_import(actions: Any) -> None:
    """The action and its options."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "import", help="make an empty data folder the journal of a whole export; with GAVEL_JOURNAL, an empty database"
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="what `gavel log export` has written whole; - for stdin"
    )
    parser.add_argument("--into", type=Path, metavar="DIR", help="an empty folder; by default the data folder")
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="KEY",
        required=True,
        help="the file `journal-key` of the journal that was exported",
    )
    parser.add_argument(
        "--journal",
        metavar="NAME",
        default=SHARED,
        help="a named journal that the shared one lists; by default the shared one",
    )
    parser.set_defaults(act=_import)
    add_settings(parser)
    add_json(parser)


def _import(options: argparse.Namespace) -> int:
    from gateway.commands.log_export import opened_export
    from gateway.upkeep.imports import import_log

    settings = read_settings(options, log_level="warning", data=options.into or options.data)
    try:
        with opened_export(options.file) as file:
            checked = import_log(settings, file, options.key_file, options.journal)
    except BadExport as error:
        if options.json:
            print_json({"imported": False, "reason": str(error)})
        else:
            print(f"nothing was imported: {options.file} does not hold: {error}")
        return NO
    if options.json:
        print_json({"imported": True, **msgspec.structs.asdict(checked)})
    else:
        print(
            f"{checked.records} records of {checked.origin}, root {checked.root}, and {checked.rows['replies']} replies"
        )
    return FINE
