"""`gavel log tail|state|why|export|import|archive|replay|check`: looks at the log, copies it, makes read models of it, folds it anew."""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from gateway.commands import log_tail, log_why
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_journal, add_settings, read_journal_settings
from gateway.commands.log_archive import add_archive
from gateway.commands.log_export import add_export
from gateway.commands.log_import import add_import
from gateway.commands.reach import reach
from gateway.storage.folder import DataFolder
from gateway.storage.journal_file import open_journal
from gateway.storage.journals import attach_archives, copy_file, copy_journal, journal_file, read_models_place
from gateway.storage.keyrings import keys_of
from gateway.verdicts import FINE, NO


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    log_tail.arguments(actions.add_parser("tail", help=log_tail.MEANING))
    state = actions.add_parser("state", help="show what a stream had become, now or then")
    state.add_argument("stream", metavar="STREAM", help="its name, as the log tells it: task-019…")
    state.add_argument("--at", metavar="WHEN", help="a position, or a time: 2026-01-31T12:00:00Z (default: now)")
    state.set_defaults(act=_state)
    replay = actions.add_parser(
        "replay", help="rebuild the read models from the log and compare them with the live ones"
    )
    replay.set_defaults(act=_replay)
    check = actions.add_parser(
        "check", help="fold the whole log with this program, and name each record that it can't read or fold"
    )
    check.set_defaults(act=_check)
    log_why.arguments(actions.add_parser("why", help=log_why.MEANING))
    for action in (state, replay, check):
        add_settings(action)
        add_journal(action)
        add_json(action)
    add_export(actions)
    add_import(actions)
    add_archive(actions)


def run(options: argparse.Namespace) -> int:
    code: int = options.act(options)
    return code


def _state(options: argparse.Namespace) -> int:
    asked = {"stream": options.stream} | ({} if options.at is None else {"at": options.at})
    answer = reach(options, lambda client: client.get(f"/v1/log/state?{urlencode(asked)}"))
    if options.json:
        print_json(answer)
    else:
        at = datetime.fromtimestamp(answer["at"], UTC).isoformat(timespec="milliseconds")
        print(f"{answer['stream']} version {answer['version']}, position {answer['position']}, {at}")
        print(msgspec.json.format(msgspec.json.encode(answer["state"])).decode())
    return FINE


def _replay(options: argparse.Namespace) -> int:
    """Works on copies, so that it makes no difference whether a node runs; read models may lag, so they are copied first."""
    from gateway.upkeep.log_replay import digests_of, replay_copies

    settings = read_journal_settings(options)
    with tempfile.TemporaryDirectory() as name:
        read_models, journal = Path(name) / "read.db", Path(name) / "journal.db"
        if settings.read_models:
            live = digests_of(read_models_place(settings, DataFolder(settings.data)))
        else:
            copy_file(DataFolder(settings.data).read_models, read_models)
            live = digests_of(read_models)
        copy_journal(settings, journal)
        attach_archives(settings, journal)
        with keys_of(settings) as keys:
            answer = replay_copies(journal, live, Path(name) / "rebuilt.db", keys)
    if options.json:
        print_json(answer)
    else:
        for table, finding in answer.tables.items():
            print(f"{table}: {finding.rows} rows, {'equal' if finding.equal else 'DIFFERENT'}")
        print(
            f"{answer.records} records replayed in {answer.seconds:.2f} s: {'equal' if answer.equal else 'DIFFERENT'}"
        )
    return FINE if answer.equal else NO


def _check(options: argparse.Namespace) -> int:
    """Reads the file as it is, of a running node too: what a program can't read must not keep it from saying so."""
    from gateway.upkeep.log_replay import refold

    settings = read_journal_settings(options)
    started = time.perf_counter()
    with journal_file(settings) as journal, open_journal(journal) as connection, tempfile.TemporaryDirectory() as name:
        connection.execute("COMMIT")
        with keys_of(settings) as keys:
            found = refold(connection, Path(name) / "folded.db", keys)
    seconds = round(time.perf_counter() - started, 3)
    if options.json:
        print_json({"folds": not found.faults_count, "seconds": seconds, **msgspec.to_builtins(found)})
    else:
        for fault in found.faults:
            print(f"position {fault.position}: {fault.kind} of {fault.stream}: {fault.at}: {fault.reason}")
        verdict = f"{found.faults_count} FAULTS" if found.faults_count else "all can be read and folded"
        print(f"{found.records} records of {found.streams} streams in {seconds:.2f} s: {verdict}")
    return NO if found.faults_count else FINE
