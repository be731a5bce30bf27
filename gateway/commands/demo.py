"""`gavel demo`: a node and agents of its own, real problems, and a log that proves what happened.

Exit code 0 where everything held, 1 where something did not.
"""

import argparse
import os
import secrets
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path

import trio

from gateway.client import Denied, NotReached
from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings, read_settings
from gateway.demo.crew import AGENTS_MAX, AGENTS_MIN
from gateway.demo.outcome import Outcome
from gateway.demo.problems import in_folder, published
from gateway.demo.run import Plan, perform
from gateway.demo.stage import Stage
from gateway.node import FolderUnusable, PortTaken, open_node
from gateway.settings import GavelSettings
from gateway.verdicts import FINE, INTERRUPTED, NO, Wrong
from runtime.evidence import Unreadable
from runtime.store.sqlite import Locked

SECONDS, SECONDS_MAX = 8.0, 20.0
AGENTS = 5
LEASE_SECONDS = 6.0
SEED_MAX = 2**31


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--problems", type=Path, metavar="DIR", help="problem files; by default published instances are made"
    )
    parser.add_argument(
        "--agents", type=int, default=AGENTS, metavar="N", help=f"how many processes, {AGENTS} by default"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for each problem, {SECONDS:g} by default")
    parser.add_argument("--seed", type=int, help="the first solver's seed; the others count on from it")
    parser.add_argument("--exit", action="store_true", help="end when everything is proven, instead of serving on")
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    _check(options)
    fresh = Path(tempfile.mkdtemp(prefix="gavel-demo-")) if _is_without_data(options) else None
    settings = read_settings(
        options,
        data=fresh or options.data,
        bind="http://127.0.0.1:0",
        lease_seconds=LEASE_SECONDS,
        log_level="warning",  # the stage tells what happens
    )
    try:
        code: int = trio.run(partial(_watched, options, settings))
    except (FolderUnusable, Locked, Unreadable, PortTaken) as error:
        raise Wrong(str(error)) from error
    except (Denied, NotReached) as error:
        raise Wrong(f"the node did not take a part of the demo: {error}") from error
    finally:
        if fresh is not None:
            shutil.rmtree(fresh, ignore_errors=True)
    return code


def _check(options: argparse.Namespace) -> None:
    if not AGENTS_MIN <= options.agents <= AGENTS_MAX:
        raise Wrong(f"--agents must be between {AGENTS_MIN} and {AGENTS_MAX}")
    if not 0.5 <= options.seconds <= SECONDS_MAX:
        raise Wrong(f"--seconds must be between 0.5 and {SECONDS_MAX:g}")
    if options.seed is not None and not 0 <= options.seed < SEED_MAX:
        raise Wrong(f"--seed must be between 0 and {SEED_MAX - 1}")


def _is_without_data(options: argparse.Namespace) -> bool:
    return options.data is None and not os.environ.get("GAVEL_DATA")


async def _watched(options: argparse.Namespace, settings: GavelSettings) -> int:
    """Ends in order at SIGINT and SIGTERM: agents first, then the node."""
    codes: list[int] = []
    failure: Exception | None = None
    asked = trio.Event()
    async with trio.open_nursery() as nursery:
        watching = await nursery.start(_watch_signals, nursery.cancel_scope, asked)
        try:
            await _demo(options, settings, codes)
        except Exception as error:  # noqa: BLE001 — raised below: in here the nursery would wrap it
            failure = error
        watching.cancel()
    if failure is not None and not asked.is_set():  # who is asked to end breaks off calls that are under way
        raise _alone(failure)
    return codes[0] if codes else INTERRUPTED


def _alone(error: Exception) -> Exception:
    """What a nursery has wrapped, if it is alone in there."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _watch_signals(
    all_else: trio.CancelScope, asked: trio.Event, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope, trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started(scope)
        async for _ in signals:
            asked.set()
            all_else.cancel()


async def _demo(options: argparse.Namespace, settings: GavelSettings, codes: list[int]) -> None:
    with Stage(aside=options.json) as stage:
        problems, skipped = in_folder(options.problems) if options.problems else (published(), [])
        async with open_node(settings) as node:
            stage.say(f"The console: {node.sign_in_link()}", "bold")
            stage.say(f"The data: {settings.data}")
            for file in skipped:
                stage.say(f"{file.name} is skipped: {file.reason}", "yellow")
            seed = secrets.randbelow(SEED_MAX) if options.seed is None else options.seed
            plan = Plan(problems, options.agents, options.seconds, seed)
            await perform(plan, node, stage, partial(_conclude, options, stage, settings.data, codes))


async def _conclude(
    options: argparse.Namespace, stage: Stage, data: Path, codes: list[int], outcome: Outcome, wrong: list[str]
) -> None:
    stage.show_table(outcome.problems)
    figures = (
        f"{outcome.completed} of {outcome.tasks} tasks done, {outcome.reawarded} awarded anew, {outcome.events} records"
    )
    stage.say(f"{figures}, {outcome.seconds:.1f} s")
    for fault in wrong:
        stage.say(f"Did not hold: {fault}", "bold red")
    if not wrong:
        stage.say("Everything held.", "bold green")
    codes.append(NO if wrong else FINE)
    if options.json:
        print_json(outcome)
    if not options.exit:
        stage.say("Serving on until Ctrl-C; the console shows every step. Another sign-in link:")
        stage.say(f"  gavel keys link --data {data}")
        await trio.sleep_forever()
