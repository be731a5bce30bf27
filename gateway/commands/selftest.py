"""`gavel selftest`: checks the machine and the settings, and a node that lives for as long as that takes; or the one that runs.

Exit code 0 where everything held, 1 where something did not.
"""

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from gateway.client import Client, read_admin_key, running_node
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings, read_settings
from gateway.commands.reach import HERE
from gateway.connecting import trust_of
from gateway.selftest import Finding, of_machine, of_node
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable
from gateway.verdicts import FINE, NO, Wrong

UNREAD = {"handler_warn_seconds": 0.0, "handler_seconds_max": 0.0, "data_retention": "", "opentelemetry": False}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--running",
        action="store_true",
        help="ask the node that runs on the data folder; it gets a task of the tenant `selftest`",
    )
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, log_level="warning")
    there = running_node(DataFolder(settings.data), trust=trust_of(settings))
    if options.running and there is None:
        raise Wrong(f"no node runs on {settings.data}")
    findings: list[Finding] = []
    _take(options, findings, list(of_machine(settings, is_running=there is not None)))
    if options.running and there is not None:
        for finding in of_node(there, is_shared=True):
            _take(options, findings, [finding])
    else:
        _with_own_node(options, settings, findings)
    passed = all(finding.ok for finding in findings)
    if options.json:
        print_json({"ok": passed, "checks": findings})
    return FINE if passed else NO


def _take(options: argparse.Namespace, findings: list[Finding], made: list[Finding]) -> None:
    findings += made
    for finding in made:
        if not options.json:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name:<12} {finding.found}", flush=True)


def _with_own_node(options: argparse.Namespace, settings: GavelSettings, findings: list[Finding]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="gavel-selftest-"))
    try:
        trio.run(partial(_open_and_check, options, _apart(settings, folder), findings))
    except (FolderUnusable, OSError) as error:
        _take(options, findings, [Finding("start", False, str(error), 0.0)])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _apart(settings: GavelSettings, folder: Path) -> GavelSettings:
    """The settings of a node that touches nothing of the one that they are of."""
    return replace(
        settings,
        data=folder,
        journal="",
        read_models="",
        checkpoints=None,
        witnesses=(),
        witness_logs=(),
        bind=HERE,
        extra_binds=(),
        tls_certificate=None,
        tls_client_ca=None,
        house_solver=False,
        **UNREAD,
    )


async def _open_and_check(options: argparse.Namespace, settings: GavelSettings, findings: list[Finding]) -> None:
    from gateway.node import open_node  # loads every part of a node, which a running one makes unnecessary

    async with open_node(settings) as node:
        client = Client(node.url, read_admin_key(node.folder))
        checks = of_node(client, is_shared=False)
        while finding := await trio.to_thread.run_sync(next, checks, None):
            _take(options, findings, [finding])
