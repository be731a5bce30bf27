"""What a reviewer would say: the project is tidy, and each check finds the fault that it is there for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).parents[1]
Check = Callable[[Path], list[str]]

# A small project without a fault; each bad example puts one file on top of it.
GOOD = {
    "pyproject.toml": '[project]\ndependencies = ["trio==0.35.0", "sqlalchemy==2.1.9"]\n',
    "runtime/__init__.py": '"""The engine."""\n',
    "runtime/records.py": '"""Records."""\nimport trio\n',
    "runtime/journal.py": '"""Writes."""\nfrom runtime.records import Event\n\ndef keep(tenant, task, event):\n    pass\n',
    "aggregates/__init__.py": '"""What may happen."""\n',
    "aggregates/task.py": '"""A task."""\nfrom runtime.records import Event\n\ndef decide(state, command):\n    return []\n',
    "aggregates/agent/__init__.py": '"""An agent."""\nfrom aggregates.agent import lease\n\ndef decide(state, command):\n    return []\n',
    "aggregates/agent/lease.py": '"""A lease."""\n\ndef expire(state):\n    return []\n',
    "aggregates/catalog.py": '"""All."""\nfrom aggregates import agent, task\n',
    "agents/__init__.py": '"""Who does it."""\n',
    "agents/coordinator.py": '"""One."""\nfrom aggregates.task import decide\n\nclass Coordinator(Actor[int, str]):\n    pass\n',
    "agents/roster.py": '"""All."""\nfrom agents.coordinator import Coordinator\n',
    "projections/__init__.py": '"""What people see."""\n',
    "projections/tasks.py": '"""Tasks."""\nfrom sqlalchemy import Table\nNAME = "tasks-1"\n',
    "projections/catalog.py": '"""All."""\nfrom . import tasks\n',
    "gateway/__init__.py": '"""The door."""\n',
    "gateway/routes/__init__.py": '"""Routes."""\n',
    "gateway/routes/tasks.py": '"""Tasks."""\nroutes = []\n',
    "gateway/app.py": '"""The table."""\nimport gateway.routes.tasks\n',
    "tests/__init__.py": '"""Tests."""\n',
    "tests/aggregates/__init__.py": '"""Tests."""\n',
    "tests/aggregates/test_agent.py": '"""An agent."""\n',
    "tests/aggregates/test_task.py": '"""A task."""\n',
    "tests/aggregates/test_task_books.py": '"""A task\'s books."""\n',
    "tests/agents/test_coordinator.py": '"""One."""\n',
    "tests/projections/test_tasks.py": '"""Tasks."""\n',
    "tests/gateway/routes/test_tasks.py": '"""Tasks."""\n',
    "tests/stories/test_journey.py": '"""A journey."""\n',
}
LONG = '"""Long."""\n\ndef long():\n' + "    pass\n" * 70

BAD: list[tuple[Check, str, str, str]] = [
    (tidy.without_docstring, "solvers/heat.py", "import math\n", "solvers/heat.py: no docstring"),
    (tidy.without_docstring, "solvers/heat.py", '\n"""Late."""\n', "solvers/heat.py: no docstring"),
    (tidy.without_docstring, "tests/test_x.py", "", "tests/test_x.py: no docstring"),
    (
        tidy.missing_from_table,
        "aggregates/catalog.py",
        '"""All."""\nfrom aggregates import agent\n',
        "aggregates/task.py: not in aggregates/catalog.py",
    ),
    (
        tidy.missing_from_table,
        "aggregates/catalog.py",
        '"""All."""\nfrom aggregates import task\n',
        "aggregates/agent/__init__.py: not in aggregates/catalog.py",
    ),
    (tidy.missing_from_table, "agents/roster.py", '"""All."""\n', "agents/coordinator.py: not in agents/roster.py"),
    (tidy.missing_from_table, "projections/catalog.py", '"""All."""\n', "tasks.py: not in projections/catalog.py"),
    (tidy.missing_from_table, "gateway/app.py", '"""All."""\n', "gateway/routes/tasks.py: not in gateway/app.py"),
    (tidy.missing_from_table, "aggregates/tas.py", '"""No task."""\ndef decide(): ...\n', "aggregates/tas.py: not in"),
    (tidy.not_mirrored, "tests/agent/test_coordinator.py", '"""One."""\n', "there is no folder agent"),
    (tidy.not_mirrored, "tests/gateway/doors/test_app.py", '"""One."""\n', "there is no folder gateway/doors"),
    (tidy.not_mirrored, "tests/aggregates/test_tasks.py", '"""One."""\n', "no module of aggregates has a name"),
    (tidy.without_test, "aggregates/bid.py", '"""A bid."""\ndef decide(): ...\n', "no test_bid.py in tests/aggregates"),
    (
        tidy.without_test,
        "aggregates/bid/__init__.py",
        '"""A bid."""\ndef decide(): ...\n',
        "no test_bid.py in tests/aggregates",
    ),
    (tidy.import_cycles, "runtime/records.py", '"""Records."""\nimport runtime.journal\n', "imports go round: "),
    (
        tidy.import_cycles,
        "runtime/records.py",
        '"""Records."""\ndef f():\n    from . import journal\n',
        "imports go round",
    ),
    (
        tidy.asyncio_imports,
        "examples/agent.py",
        '"""One."""\nfrom asyncio import run\n',
        "examples/agent.py:2: imports asyncio.run",
    ),
    (tidy.asyncio_imports, "gateway/door.py", '"""One."""\nfrom sqlalchemy.ext import asyncio\n', "gateway/door.py:2"),
    (tidy.impure_aggregates, "aggregates/task.py", '"""A task."""\nfrom uuid import uuid4\n', "imports uuid.uuid4"),
    (tidy.impure_aggregates, "aggregates/task.py", '"""A task."""\nimport time\n', "imports time"),
    (tidy.impure_aggregates, "aggregates/values/a.py", '"""A."""\nx = datetime.now(UTC)\n', "calls datetime.now"),
    (tidy.impure_aggregates, "aggregates/task.py", '"""A task."""\nasync def decide(): ...\n', "waits"),
    (
        tidy.imports_beyond_storey,
        "aggregates/task.py",
        '"""A."""\nfrom runtime import journal\n',
        "imports runtime.journal",
    ),
    (
        tidy.imports_beyond_storey,
        "projections/tasks.py",
        '"""A."""\nimport runtime.journal\n',
        "imports runtime.journal",
    ),
    (
        tidy.imports_beyond_storey,
        "agents/solver.py",
        '"""A."""\nfrom agents.coordinator import Coordinator\n\nclass Solver(Actor):\n    pass\n',
        "an actor imports another",
    ),
    (tidy.undeclared_imports, "gateway/door.py", '"""A."""\nimport h11\n', "h11 is no declared dependency"),
    (tidy.domain_words_in_runtime, "runtime/router.py", '"""A."""\nagent_id = 1\n', "agent_id"),
    (tidy.domain_words_in_runtime, "runtime/router.py", '"""A."""\nclass QuboRouter: ...\n', "QuboRouter"),
    (tidy.domain_words_in_runtime, "runtime/router.py", '"""A."""\ndef f(bids): ...\n', "bids"),
    (tidy.long_functions, "solvers/heat.py", LONG, "solvers/heat.py:3: long has 71 lines"),
    (tidy.index_hosts, "README.md", "See py" + "pi.org.\n", "README.md:1: names a package index"),
    (tidy.index_hosts, "constraints.txt", "--extra-index" + "-url x\n", "constraints.txt:1: names a package index"),
    (tidy.machine_paths, "Makefile", "run:\n\tcd /" + "work/main\n", "Makefile:2: a path of one machine"),
    (tidy.machine_paths, "docs/a.md", "(/" + "home/anna/gavel)\n", "docs/a.md:1: a path of one machine"),
    (tidy.unfinished, "gateway/a.py", '"""A."""\n# TO' + "DO later\n", "gateway/a.py:2: unfinished"),
]


@pytest.fixture(scope="module", autouse=True)
def _trees_are_freed() -> Iterator[None]:
    """Hundreds of megabytes, of use to these tests alone."""
    yield
    tidy.parsed.cache_clear()


@pytest.mark.parametrize("check", tidy.CHECKS, ids=lambda check: check.__name__)
def test_the_project_is_tidy(check: Check):
    assert check(ROOT) == []


@pytest.mark.parametrize("check", tidy.CHECKS, ids=lambda check: check.__name__)
def test_a_tidy_project_passes(tmp_path: Path, check: Check):
    lay_out(tmp_path, GOOD)
    assert check(tmp_path) == []


@pytest.mark.parametrize(("check", "name", "text", "fault"), BAD, ids=lambda part: getattr(part, "__name__", ""))
def test_the_fault_is_found(tmp_path: Path, check: Check, name: str, text: str, fault: str):
    lay_out(tmp_path, GOOD | {name: text})
    faults = check(tmp_path)
    assert len(faults) == 1, faults
    assert fault in faults[0]


def test_every_check_has_a_bad_example():
    assert {check for check, *_ in BAD} == set(tidy.CHECKS)


def lay_out(root: Path, text_by_name: dict[str, str]) -> None:
    for name, text in text_by_name.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
