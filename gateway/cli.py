"""The command line: one module a command, loaded only when it is asked for, so that `gavel --help` answers at once.

Each module of `gateway/commands/` offers `arguments(parser)` and `run(options) -> exit code`. Exit codes: 0 fine, 1 the answer is
no, 2 the question was wrong. With `--json` a command writes one JSON object to stdout and nothing else; logs go to stderr.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from gateway.verdicts import FINE, INTERRUPTED, WRONG, Wrong

COMMANDS = {
    "serve": "run a node until it is told to stop",
    "selftest": "check this machine, and a node from the first task to its seal",
    "demo": "watch agents bid for real problems, solve and check them, and see the log proven",
    "solve": "solve one problem file",
    "log": "follow, export, replay or check the log",
    "audit": "judge a journal from the outside",
    "backup": "copy the journals and the blobs of a node, running or not",
    "restore": "make an empty data folder that of a backup",
    "blobs": "show what blobs take up, and collect those that nothing refers to",
    "journals": "give strictly isolated tenants a journal of their own, and show those there are",
    "keys": "create, list and revoke keys; print a sign-in link",
    "users": "register people, list them, send them away and let them in again, set their passwords",
    "subject": "export or erase what is recorded of a person, and wrap the keys of persons anew",
    "projections": "show the read models, make them anew, take them past an event that stops them",
    "query": "ask the read models in SQL, as they stand or as they stood",
    "actors": "show the actors of the running node",
    "requeue": "have dead letters offered again",
    "settings": "list every setting with its type, default, meaning and value",
    "simulate": "run a whole node from a seed, with faults, and check that everything holds",
    "bench": "measure this program against others, in the same run",
    "work": "do one task of the demo: the task's JSON in, the result's JSON out",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _stand_in_for_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = build_parser(_named(given)).parse_args(given)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except Wrong as error:
        print(f"gavel: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough. Python would write the rest while it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    finally:
        _drop_what_stderr_does_not_take()


def _drop_what_stderr_does_not_take() -> None:
    """Lines that could not be written are lost; Python would try once more while it ends, and end as failed."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _stand_in_for_closed_streams() -> None:
    """Whoever started us may have closed stdin, stdout or stderr: Python then has none, and the next file to be opened gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number, inheritable=True)
                os.close(opened)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 — for as long as the program runs


def build_parser(name: str = "") -> argparse.ArgumentParser:
    """The parser of one command, or, where none is called that, of all commands, without what each takes."""
    parser = argparse.ArgumentParser(prog="gavel", description="An event-sourced, actor-based runtime for agents.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in [name] if name in COMMANDS else COMMANDS:
        meaning = COMMANDS[command]
        own = commands.add_parser(command, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}.")
        if command == name:
            module = import_module(f"gateway.commands.{command}")
            module.arguments(own)
            own.set_defaults(run=module.run)
    return parser


def _named(given: Sequence[str]) -> str:
    return next((word for word in given if not word.startswith("-")), "")


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # costs more than all of --help

        print(f"gavel {version('gavel-runtime')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
