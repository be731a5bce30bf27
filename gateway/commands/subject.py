"""`gavel subject list|export|erase|rewrap`: whose personal data is recorded, all of one person, its erasure, and a new master key."""

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from msgspec.structs import replace

from aggregates.journal import SHARED
from gateway.client import Client, running_node
from gateway.commands.answers import add_json, print_json, say
from gateway.commands.common import add_journal, add_settings, named_folder, read_settings
from gateway.commands.reach import reach
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable
from gateway.storage.keyrings import master_of, open_keyring
from gateway.verdicts import FINE, Wrong
from runtime.keyring import KeyringUnusable
from runtime.master import NoMaster

PAGE = 500


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show the data subjects of whom something is recorded")
    listing.set_defaults(act=_list)
    export = actions.add_parser("export", help="write all personal data of one person as JSON, for that person")
    export.add_argument("data_subject", metavar="ID", help="the id that your tenant has given to the person")
    export.set_defaults(act=_export)
    erase = actions.add_parser(
        "erase", help="destroy the keys under which a person's data stands, and all copies of it"
    )
    erase.add_argument("data_subject", metavar="ID", help="the id that your tenant has given to the person")
    erase.add_argument("--reason", required=True, help="why; it is recorded")
    erase.set_defaults(act=_erase)
    rewrap = actions.add_parser(
        "rewrap",
        help="wrap all keys by a new master key, while no node runs: give the new one by GAVEL_NEW_MASTER_KEY, "
        "GAVEL_NEW_MASTER_KEY_FILE or GAVEL_NEW_MASTER_KEY_COMMAND, and name it in the settings then",
    )
    rewrap.set_defaults(act=None)
    for action in (listing, export, erase, rewrap):
        add_settings(action)
        add_journal(action)
        add_json(action)


def run(options: argparse.Namespace) -> int:
    if options.act is None:
        return _rewrap(options)
    answer = reach(options, lambda client: options.act(client, options))
    if options.json or options.act is _export:
        print_json(answer)
    elif options.act is _erase:
        print(f"{answer['data_subject']} is erased: {answer['keys']} keys were destroyed")
    else:
        for row in answer["subjects"]:
            print(
                f"{row['data_subject']}: {row['records']} records, positions {row['first_position']} to {row['last_position']}"
            )
    return FINE


def _list(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    rows: list[Any] = []
    after: str | None = ""
    while after is not None:
        page = client.get(f"/v1/subjects?{urlencode({'after': after, 'limit': PAGE})}")
        rows, after = rows + page["subjects"], page["next"]
    return {"subjects": rows}


def _export(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    where = f"/v1/subjects/{quote(options.data_subject, safe='')}"
    answer: dict[str, Any] = client.get(f"{where}?limit={PAGE}")
    while answer["next"] is not None:
        page = client.get(f"{where}?limit={PAGE}&after={answer['next']}")
        answer = answer | {"records": answer["records"] + page["records"], "next": page["next"]}
    return answer


def _erase(client: Client, options: argparse.Namespace) -> dict[str, Any]:
    query = urlencode({"reason": options.reason})
    answer: dict[str, Any] = client.delete(f"/v1/subjects/{quote(options.data_subject, safe='')}?{query}")
    return answer


def _renewed(settings: GavelSettings) -> GavelSettings:
    """The settings with the master key that the environment names as the new one; without any the old one wraps a new common key."""
    given = {name: os.environ.get(f"GAVEL_NEW_{name.upper()}", "") for name in ("master_key", "master_key_command")}
    path = os.environ.get("GAVEL_NEW_MASTER_KEY_FILE", "")
    if not path and not any(given.values()):
        return settings
    return replace(settings, master_key_file=Path(path) if path else None, **given)


def _rewrap(options: argparse.Namespace) -> int:
    """Works on the files: the node that uses them would go on with the old key."""
    settings = read_settings(options, log_level="warning")
    folder = DataFolder(settings.data)
    if running_node(folder, folder) is not None:
        raise Wrong(f"a node runs on {settings.data}, with the old master key: stop it first")
    names = [SHARED, *sorted(path.name for path in folder.journals.glob("*") if path.is_dir())]
    wrapped: dict[str, int] = {}
    try:
        master = master_of(_renewed(settings))
        for name in names:
            keyring = open_keyring(settings, named_folder(settings, name))
            try:
                wrapped[name] = keyring.rewrap(master)
            finally:
                keyring.close()
    except (FolderUnusable, NoMaster, KeyringUnusable) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json({"keys": wrapped})
    else:
        say(f"{sum(wrapped.values())} keys are wrapped anew; name the new master key in the settings now")
    return FINE
