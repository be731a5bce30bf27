"""`gavel audit rotate-key`: a new key signs the journal from now on; that it does is a record, signed by the old key and the new one."""

import argparse
from typing import Any

from gateway.client import Client
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings
from gateway.commands.reach import reach
from gateway.verdicts import FINE


def arguments(questions: Any) -> None:
    rotating = questions.add_parser("rotate-key", help="have a new key sign the journal, on record")
    rotating.add_argument("--reason", default="", help="why, for the record")
    add_settings(rotating)
    add_journal(rotating)
    add_json(rotating)
    rotating.set_defaults(act=_rotate)


def _rotate(options: argparse.Namespace) -> int:
    def ask(client: Client) -> dict[str, Any]:
        accepted: dict[str, Any] = client.post("/v1/audit/rotations", {"reason": options.reason})
        return accepted

    answer = reach(options, ask)
    if options.json:
        print_json(answer)
    else:
        print(f"rotated at position {answer['position']}, from {answer['old']} to {answer['new']}")
        print("keep the new public key where auditors find it, and the file journal-key as you kept the old one")
    return FINE
