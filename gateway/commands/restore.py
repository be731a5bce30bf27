"""`gavel restore FILE --key-file KEY`: makes an empty data folder that of a backup; the next `gavel serve` goes on from there.

Read models are made anew at that start. Admin keys are, too, beside all keys that were issued and go on opening what they opened.
"""

import argparse
from pathlib import Path

from msgspec.structs import replace

from gateway.commands.answers import add_json, say
from gateway.commands.backup import print_copied
from gateway.commands.common import add_settings, read_settings
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, write_private
from gateway.storage.keyrings import master_of
from gateway.upkeep.backups import Opening, keys_beside, restore
from gateway.verdicts import FINE, NO, Wrong
from runtime.master import Master, NoMaster


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
    parser.add_argument(
        "--master-key-file",
        type=Path,
        metavar="KEY",
        help="the file `master-key` of the data folder that was backed up, unless the settings name the master key",
    )
    parser.add_argument(
        "--without-keys", action="store_true", help="leave the keys of personal data behind: it can't be read then"
    )
    parser.add_argument(
        "--erasures",
        type=Path,
        metavar="LIST",
        action="append",
        default=[],
        help="the newest `erasures.jsonl` of the data folder that was backed up: who was erased since is erased here; repeatable",
    )
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, log_level="warning")
    if settings.journal:
        raise Wrong(
            "GAVEL_JOURNAL puts the journal into PostgreSQL, and a backup is restored into a data folder: unset it"
        )
    into = options.into or settings.data
    opening = Opening(options.key_file, _master(options, settings), options.erasures, options.without_keys)
    copied = restore(options.file, into, opening)
    whole = all(one.whole for one in copied)
    if whole and options.master_key_file is not None:
        write_private(DataFolder(into).master_key, options.master_key_file.read_text())
    print_copied(copied, as_json=options.json)
    if not options.json and opening.master is not None and not options.erasures:
        say("no --erasures were given: who was erased after this backup was made can be read again")
    return FINE if whole else NO


def _master(options: argparse.Namespace, settings: GavelSettings) -> Master | None:
    """The master key of the keys beside the backup; None where there are none, or they are left behind. Raises Wrong."""
    if options.without_keys or not keys_beside(options.file).is_file():
        return None
    if options.master_key_file is None and not (
        settings.master_key or settings.master_key_command or settings.master_key_file
    ):
        raise Wrong(
            f"{keys_beside(options.file)} holds the keys of personal data: give --master-key-file, name the master key in the "
            "settings, or leave them behind by --without-keys"
        )
    named = settings if options.master_key_file is None else replace(settings, master_key_file=options.master_key_file)
    try:
        return master_of(named)
    except NoMaster as error:
        raise Wrong(str(error)) from error
