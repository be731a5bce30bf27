"""`gavel serve`: runs a node until SIGTERM or SIGINT, then stops it in order; SIGHUP has it read its certificate again.

A terminal that is closed sends SIGHUP too: that ends a node which was started in it.
"""

import argparse
import os
import signal
import sys
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from gateway.api import faults
from gateway.backends import backends_of
from gateway.commands.answers import say
from gateway.commands.common import add_settings, read_resolved
from gateway.door.notify import Notifier
from gateway.node import Exposed, FolderUnusable, Node, NotBound, NotInstalled, open_node
from gateway.settings import PREFIX, GavelSettings
from gateway.verdicts import CRASHED, FINE, Wrong
from runtime.evidence import Unreadable
from runtime.garbage import collect_seldom
from runtime.settings import Resolved, rows
from runtime.store.sqlite import Locked
from runtime.threads import run_blocking
from solvers.backends import Readiness, named

log = structlog.get_logger("gateway.serve")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        action="append",
        help="where the door listens, HOST:PORT or unix:/PATH, 127.0.0.1:8070 by default; repeatable",
    )
    parser.add_argument(
        "--insecure", action="store_true", default=None, help="allow to listen beyond loopback without TLS"
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    found = read_resolved(options, bind=options.bind, insecure=options.insecure)
    settings = found.settings
    _tell_sources(found)
    _tell_backend(settings)
    try:
        trio.run(partial(_serve, settings))
    except Exposed as error:
        raise Wrong(f"{error}: give the node a certificate, or say --insecure if that is meant") from error
    except (FolderUnusable, Locked, NotBound, NotInstalled, Unreadable) as error:
        raise Wrong(str(error)) from error
    except Exception as error:
        log.error("node_crashed", exc_info=error)
        log.critical("node_stopped", reason=f"{type(error).__name__}: {error}")
        return CRASHED
    log.info("node_stopped", reason="asked to")
    return FINE


def _tell_sources(found: Resolved[GavelSettings]) -> None:
    """What was said twice, and what was said in vain: either is easily taken for something that holds."""
    for row in rows(found, PREFIX):
        if row.over:
            log.info("setting_overridden", setting=row.name, value=row.value, by=row.source, over=list(row.over))
        if row.source != "default" and not row.used:
            log.info("setting_without_effect", setting=row.name, by=row.source, reason="no part acts on it yet")


def _tell_backend(settings: GavelSettings) -> None:
    """That the service which is named can't be reached: solves that ask for it will be refused."""
    if not settings.quantum_backend:
        return
    try:
        standing = named(settings.quantum_backend, backends_of(settings)).standing()
    except ValueError as error:
        log.warning("backend_unknown", backend=settings.quantum_backend, reason=str(error))
        return
    if standing.readiness is not Readiness.READY:
        readiness, reason = standing.readiness.value, standing.reason
        log.warning("backend_not_ready", backend=settings.quantum_backend, readiness=readiness, reason=reason)


@dataclass
class _Run:
    """What the node's run and the signals to it share."""

    settings: GavelSettings
    manager: Notifier = field(default_factory=Notifier)
    stop: trio.Event = field(default_factory=trio.Event)
    node: Node | None = None
    """The node, as soon as it is open."""
    terminal: int | None = field(default_factory=lambda: sys.stderr.fileno() if sys.stderr.isatty() else None)
    """The open file of the terminal that it was started in."""


def is_closed(terminal: int) -> bool:
    """Whether nobody is at the terminal any more."""
    return not os.isatty(terminal)


async def _serve(settings: GavelSettings) -> None:
    crash: Exception | None = None
    this = _Run(settings)
    async with trio.open_nursery() as nursery:
        watching = await nursery.start(_watch_signals, nursery.cancel_scope, this)
        try:
            await _run(this)
        except Exception as error:  # noqa: BLE001 — raised below: in here the nursery would wrap it
            crash = error
        watching.cancel()
    if crash is not None:
        raise crash


async def _watch_signals(
    run: trio.CancelScope, this: _Run, task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED
) -> None:
    """Stops the node at the first signal, in order if it is open, else at once; a second signal changes nothing."""
    taken = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
    with trio.CancelScope() as ended, trio.open_signal_receiver(*taken) as signals:
        task_status.started(ended)
        async for number in signals:
            if number == signal.SIGHUP and not (this.terminal is not None and is_closed(this.terminal)):
                await _reload(this)
                continue
            log.info("stopping", signal=signal.Signals(number).name)
            this.stop.set()
            if this.node is None:
                run.cancel()


async def _reload(this: _Run) -> None:
    log.info("reloading")
    if this.node is None:
        return
    await this.manager.reloading()
    if this.node.certificates is not None:
        await this.node.certificates.reload()
    await this.manager.ready()


def welcome(settings: GavelSettings, node: Node) -> None:
    """For whoever has started it. What collects logs gets no ticket, which would sign its readers in, and no lines that are none."""
    if settings.log_format == "json" or is_collected(sys.stderr.fileno(), os.environ.get("JOURNAL_STREAM", "")):
        return
    if settings.insecure:
        say("Keys and answers travel unencrypted: --insecure allows any address to be bound without TLS.")
    say(f"Gavel listens at {node.url}; its data is in {settings.data}")
    say(f"Sign in, once: {node.sign_in_link()}")


def is_collected(errors: int, journal_stream: str) -> bool:
    """Whether systemd's journal reads this open file: `journal_stream` names the file that it does read, by device and inode."""
    found = os.fstat(errors)
    return journal_stream == f"{found.st_dev}:{found.st_ino}"


async def _run(this: _Run) -> None:
    settings, manager = this.settings, this.manager
    async with open_node(settings) as node, trio.open_nursery() as nursery:
        this.node = node
        collect_seldom()
        welcome(settings, node)
        nursery.start_soon(manager.keep_watched)
        await manager.ready()
        nursery.start_soon(partial(run_blocking, faults.load, abandon_on_cancel=True))
        # Leaving the block, unlike cancelling it, lets the door close before the actors and the journal.
        await this.stop.wait()
        node.is_draining = settings.drain_seconds > 0
        await manager.stopping()
        if node.is_draining:
            log.info("draining", seconds=settings.drain_seconds)
            await trio.sleep(settings.drain_seconds)
        nursery.cancel_scope.cancel()
