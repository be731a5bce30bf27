"""What holds for all tests: the time budget of each folder, soak and rotating tests, and how random tests are run.

What takes too long for every run carries a mark. `soak`: it runs under `--soak` alone. `rotate(keep)`: of a
parametrized family only `keep` cases run, chosen by the commit, so that a few commits cover all of them; under `--soak`
the family is whole, and made-up examples are fresh ones. The header names the commit; `--rotate-by COMMIT` runs its choice again.

What waits for something that never comes has a bound: after `TEST_SECONDS_MAX` an async test fails where it waits, and after
pytest's `faulthandler_timeout` the run ends with the stacks of all threads. Neither says how fast anything has to be; `--soak`
has neither.

Temporary folders lie in memory where the machine has room there: a node's first start waits for the disk thirty times, and there are a
thousand starts. All calls are the same, syncs too; what a power cut would leave is simulated. `--on-disk` and `--soak` use the disk.
"""

import functools
import gc
import hashlib
import inspect
import logging
import math
import os
import random
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
import trio
from trio.testing import MockClock

ROOT = Path(__file__).parents[1]

# Seconds that the tests of each group of folders may take together on two cores, the door's beside the others.
BUDGET_SECONDS_BY_FOLDERS = {
    ("runtime",): 60,
    ("aggregates", "projections"): 40,
    ("agents",): 60,
    ("solvers",): 90,
    # A node for most tests, a browser, processes of the command line, a thousand made-up requests.
    ("gateway",): 310,
    # A crowd of agents at a node that is killed, and a recorded day, among others.
    ("stories", "contract"): 150,
    ("simulation",): 120,
    ("faults",): 60,
}

ON_DISK = tempfile.gettempdir()
IN_MEMORY = Path("/dev/shm")
IN_MEMORY_BYTES_MIN = 1 << 30  # several times what a run leaves there at once

YOUNG_MAX = 5_000
"""After so many more containers than were freed, Python looks for cycles; by default after 700."""

TEST_SECONDS_MAX = 600.0
"""Ten times what the longest test takes beside others: what is not over by then hangs."""

SEED = 1680040155093578847
"""Made-up examples are the same in every run, so that what has passed once passes again; under --soak they are fresh.

The same holds for a test that takes a `seed`: the number stands in its name.
"""

# No deadline: the machine may be busy, and a slow example is no fault.
hypothesis.settings.register_profile("gavel", deadline=None, derandomize=False, print_blob=True)
hypothesis.settings.load_profile("gavel")

seconds_by_folder_key = pytest.StashKey[defaultdict[str, float]]()
commit_key = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gavel")
    group.addoption("--soak", action="store_true", help="run everything: soak tests and whole rotating families")
    group.addoption(
        "--on-disk", action="store_true", help="temporary folders on the disk, though there be room in memory"
    )
    group.addoption("--strict-budgets", action="store_true", help="fail when a folder exceeds its time budget")
    group.addoption("--rotate-by", metavar="COMMIT", help="choose the rotating cases as this commit does")


@pytest.hookimpl(tryfirst=True)  # before hypothesis reads its seed
def pytest_configure(config: pytest.Config) -> None:
    if not (config.getoption("--on-disk") or config.getoption("--soak")):
        use_memory()
    config.stash[seconds_by_folder_key] = defaultdict(float)
    # structlog's own tracebacks show every local variable: a tenth of a second for each actor that a test makes fail.
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], plain])
    config.stash[commit_key] = config.getoption("--rotate-by") or commit_at(ROOT)
    if not config.getoption("--soak") and config.getoption("--hypothesis-seed", None) is None:
        config.option.hypothesis_seed = SEED


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "seed" in metafunc.fixturenames and not any("seed" in names for names in named):
        is_fresh = metafunc.config.getoption("--soak")
        chance = random.Random(None if is_fresh else f"{SEED} {metafunc.definition.nodeid}")
        metafunc.parametrize("seed", [chance.randrange(10**6)])


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session):
    """What the tests import stands till the end: to look for cycles in it, again and again, takes a tenth of a run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(YOUNG_MAX)
        gc.enable()


def use_memory() -> None:
    """Has temporary folders, those of started programs too, lie in memory, unless the environment names a place."""
    if "TMPDIR" in os.environ or not os.access(IN_MEMORY, os.W_OK | os.X_OK):
        return
    if shutil.disk_usage(IN_MEMORY).free >= IN_MEMORY_BYTES_MIN:
        os.environ["TMPDIR"] = str(IN_MEMORY)
        tempfile.tempdir = None


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the disk, where all temporary folders lie for as long."""
    monkeypatch.setenv("TMPDIR", ON_DISK)
    monkeypatch.setattr(tempfile, "tempdir", None)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def pytest_report_header(config: pytest.Config) -> str:
    return f"rotating cases: all, or those of commit {config.stash[commit_key] or '(none)'}"


def commit_at(folder: Path) -> str:
    """Name the commit that is checked out; outside a repository there is none, and the choice is a fixed one."""
    git = shutil.which("git")
    if git is None:
        return ""
    answer = subprocess.run([git, "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="runs under --soak"))
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj)
    left_out = rotated_out(items, config.stash[commit_key])
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def bounded(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The same test; where it waits when its time is up, it is told so. On a mocked clock time is no measure."""

    @functools.wraps(test)
    async def within(*arguments: object, **fixtures: object) -> None:
        is_mocked = isinstance(trio.lowlevel.current_clock(), MockClock)
        with trio.fail_after(math.inf if is_mocked else TEST_SECONDS_MAX):
            await test(*arguments, **fixtures)

    return within


def rotated_out(items: list[pytest.Item], commit: str) -> set[pytest.Item]:
    """Find the cases that this commit leaves out: a family is ordered by a hash of commit and case, its first ones run."""
    family_by_name: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("rotate"):
            family_by_name[item.nodeid.partition("[")[0]].append(item)
    left_out: set[pytest.Item] = set()
    for family in family_by_name.values():
        mark = family[0].get_closest_marker("rotate")
        assert mark is not None
        ordered = sorted(family, key=lambda item: hashlib.sha256(f"{commit} {item.nodeid}".encode()).digest())
        left_out.update(ordered[mark.kwargs["keep"] :])
    return left_out


@pytest.fixture
def logs_as_they_were() -> Iterator[None]:
    """Commands that run in this process leave its logs as they were."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    item.config.stash[seconds_by_folder_key][folder_of(item.nodeid)] += call.duration
    return (yield)


def folder_of(nodeid: str) -> str:
    """Name the folder below tests/ that a test is in; the tests beside this file are of none."""
    parts = nodeid.partition("::")[0].split("/")
    return parts[1] if len(parts) > 2 else ""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    seconds_by_folder = config.stash[seconds_by_folder_key]
    terminalreporter.section("time budgets")
    for folders, budget in BUDGET_SECONDS_BY_FOLDERS.items():
        seconds = sum(seconds_by_folder[folder] for folder in folders)
        line = f"{' and '.join(folders):28} {seconds:6.1f} of {budget} s"
        if seconds > budget and not config.getoption("--soak"):
            terminalreporter.write_line(f"{line}: OVER BUDGET", red=True, bold=True)
        else:
            terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    seconds_by_folder = config.stash[seconds_by_folder_key]
    over = any(
        sum(seconds_by_folder[folder] for folder in folders) > budget
        for folders, budget in BUDGET_SECONDS_BY_FOLDERS.items()
    )
    if over and config.getoption("--strict-budgets") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
