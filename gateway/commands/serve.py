"""`gavel serve`: runs a node until SIGTERM or SIGINT, then stops it in order."""

import argparse
import signal
from functools import partial

import structlog
import trio

from gateway.commands.common import add_settings, read_settings, say
from gateway.node import Exposed, FolderUnusable, NotInstalled, PortTaken, open_node
from gateway.settings import GavelSettings
from gateway.verdicts import CRASHED, FINE, Wrong
from runtime.evidence import Unreadable
from runtime.garbage import collect_seldom
from runtime.store.sqlite import Locked

log = structlog.get_logger("gateway.serve")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bind", metavar="HOST:PORT", help="where the door listens, 127.0.0.1:8070 by default")
    parser.add_argument(
        "--insecure", action="store_true", default=None, help="allow to listen beyond loopback without TLS"
    )
    add_settings(parser)


def run(options: argparse.Namespace) -> int:
    settings = read_settings(options, bind=options.bind, insecure=options.insecure)
    try:
        trio.run(partial(_serve, settings))
    except Exposed as error:
        raise Wrong(f"{error}: say --insecure if that is meant") from error
    except (FolderUnusable, Locked, NotInstalled, Unreadable, PortTaken) as error:
        raise Wrong(str(error)) from error
    except Exception as error:
        log.error("node_crashed", exc_info=error)
        log.critical("node_stopped", reason=f"{type(error).__name__}: {error}")
        return CRASHED
    log.info("node_stopped", reason="asked to")
    return FINE


async def _serve(settings: GavelSettings) -> None:
    crash: Exception | None = None
    stop, is_open = trio.Event(), trio.Event()
    async with trio.open_nursery() as nursery:
        watching = await nursery.start(_watch_signals, nursery.cancel_scope, stop, is_open)
        try:
            await _run(settings, stop, is_open)
        except Exception as error:  # noqa: BLE001 — raised below: in here the nursery would wrap it
            crash = error
        watching.cancel()
    if crash is not None:
        raise crash


async def _watch_signals(
    node: trio.CancelScope,
    stop: trio.Event,
    is_open: trio.Event,
    task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Stops the node at the first signal, in order if it is open, else at once; a second signal changes nothing."""
    with trio.CancelScope() as ended, trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started(ended)
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name)
            stop.set()
            if not is_open.is_set():
                node.cancel()


async def _run(settings: GavelSettings, stop: trio.Event, is_open: trio.Event) -> None:
    async with open_node(settings) as node:
        is_open.set()
        collect_seldom()
        if settings.insecure:
            say("Keys and answers travel unencrypted: --insecure allows any address to be bound without TLS.")
        say(f"Gavel listens at {node.url}; its data is in {settings.data}")
        say(f"Sign in, once: {node.sign_in_link()}")
        # Leaving the block, unlike cancelling it, lets the door close before the actors and the journal.
        await stop.wait()
