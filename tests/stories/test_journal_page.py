"""What the page on the journal says is so: each promise names tests that are there, and its example is a table that a program takes."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from runtime.codec import Codec
from runtime.records import Event, Retired
from runtime.room import LOOK_SECONDS
from runtime.store.layouts import FORMAT
from runtime.store.sqlite import REPLY_SECONDS
from runtime.uploads import DONE_MAX, IDLE_SECONDS, OPEN_MAX
from tests.gateway.clients import settings_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "journal.md").read_text()
PROMISES = re.findall(r"^\d+\. .*?(?=^\d+\. |^#)", TEXT.partition("## How an event")[0] + "#", re.DOTALL | re.MULTILINE)


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`([\w/]+)::(test_\w+)`", text)


def names_in(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / f"{name}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_promises_are_numbered_one_after_the_other():
    assert [int(promise.partition(".")[0]) for promise in PROMISES] == list(range(1, len(PROMISES) + 1))
    assert len(PROMISES) >= 45


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.partition(".")[0])
def test_each_promise_names_tests_that_are_there(promise: str):
    tests = named(promise)
    assert tests
    assert [f"{file}::{test}" for file, test in tests if test not in names_in(file)] == []


def test_the_numbers_are_those_of_the_program(tmp_path: Path):
    settings = settings_of(tmp_path)
    assert f"kept for {REPLY_SECONDS / 3600:.0f} hours" in TEXT
    assert f"`state_cache_bytes_max` ({settings.state_cache_bytes_max >> 20} MiB)" in TEXT
    assert f"`disk_free_bytes_min` ({settings.disk_free_bytes_min >> 20} MiB)" in TEXT
    assert f"`blob_tenant_bytes_max` ({settings.blob_tenant_bytes_max >> 30} GiB)" in TEXT
    assert f"`blob_grace_seconds` ({settings.blob_grace_seconds / 86400:.0f} days)" in TEXT
    assert f"may have {OPEN_MAX} uploads open at a time" in TEXT
    assert f"{IDLE_SECONDS / 3600:.0f} hours without a byte" in TEXT
    assert f"What came of the last {DONE_MAX}" in TEXT
    assert LOOK_SECONDS == 1.0
    assert re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE) == [str(number) for number in range(1, FORMAT + 1)]


def test_the_example_is_a_table_that_a_program_takes():
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    space: dict[str, Any] = {}
    exec(example, space)
    events = {
        name: msgspec.defstruct(name, [("cents", int, 0)], bases=(Event,), frozen=True)
        for name in ("BidPlaced", "TaskDone", "TaskLost")
    }
    tables = {name: space[name] for name in ("UPCASTS", "RETIRED")}
    task: Any = SimpleNamespace(__name__="task", EVENTS=tuple(events.values()), COMMANDS=(), RULES=1, **tables)
    codec = Codec([task])

    def read(kind: str, **said: Any) -> Event:
        return codec.event(kind, msgspec.msgpack.encode(said))

    assert read("task.BidPlaced", price=1.5) == events["BidPlaced"](cents=150)
    assert type(read("task.TaskEnded", ok=False)) is events["TaskLost"]
    assert read("task.TaskNudged", by="ann") == Retired(said={"by": "ann"})
