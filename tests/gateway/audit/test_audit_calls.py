"""An auditor judges whom the coordinator has called where not everybody could be called for everything."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio

from agents.coordinating import calls
from agents.coordinating.calls import CALLED_MIN
from aggregates.coordination import StartCoordination, StopCoordination
from aggregates.task import BookOpened, CompleteTask, StartTask, TaskAwarded
from runtime.records import Event
from tests.agents.crew import Crew, open_crew
from tests.gateway.audit.altered import Plain, alter, find
from tests.gateway.audit.test_audit_replay import found

AGENTS, TASKS, AWARDS = 30, 90, 80


async def work(crew: Crew, awards: int) -> Counter[type[Event]]:
    """All who are called bid, and every third task is done; until so many were awarded."""
    seen: Counter[type[Event]] = Counter()
    while seen[TaskAwarded] < awards:
        await crew.system.journal.wait_past(crew.read)
        for record in await crew.system.journal.read(crew.read):
            crew.read, event = record.position, record.event
            seen[type(event)] += 1
            if isinstance(event, BookOpened):
                for number, name in enumerate(event.eligible):
                    await crew.bid(event, name, price=float(number + 1))
            elif isinstance(event, TaskAwarded) and seen[TaskAwarded] % 3 == 0:
                by: dict[str, Any] = {"task_id": event.task_id, "agent_id": event.agent_id, "token": event.token}
                await crew.ask(StartTask(**by))
                await crew.ask(CompleteTask(**by, result={}))
    return seen


async def be_busy(folder: Path) -> None:
    async with open_crew(folder) as crew:
        for number in range(AGENTS):
            await crew.register(f"a{number:02}", slots=1 + number % 3)
        await crew.ask(StopCoordination(reason="until all are there"))
        for number in range(TASKS):
            await crew.submit(f"t{number}", bidding_seconds=60.0)
        await crew.ask(StartCoordination())
        with trio.fail_after(60):
            await work(crew, AWARDS)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "CALLED_AT_ONCE", 100)
        trio.run(be_busy, folder)
    return folder


@pytest.fixture
def journal(lasting: Path, tmp_path: Path) -> Path:
    return shutil.copytree(lasting, tmp_path / "copy") / "journal.db"


def is_partial(said: Plain) -> bool:
    return bool(said["passed_over"])


def test_whose_turn_it_was_is_what_the_log_says(journal: Path) -> None:
    position = find(journal, "task.OpenBook", is_partial)
    _, facts, _ = found(journal)
    assert facts.false == []
    alter(journal, position, lambda said: said["meta"]["command"]["data"].update(passed_over=False))
    _, facts, _ = found(journal)
    assert {(one.position, one.fact) for one in facts.false} == {
        (position, "passed_over"),
        (position, "candidates left out"),
    }


def test_that_fewer_were_called_than_may_be_is_found(journal: Path) -> None:
    position = find(journal, "task.OpenBook", is_partial)

    def fewer(said: Plain) -> None:
        candidates = said["meta"]["command"]["data"]["candidates"]
        del candidates[CALLED_MIN - 1 :]

    alter(journal, position, fewer)
    _, facts, _ = found(journal)
    assert (position, "candidates left out") in {(one.position, one.fact) for one in facts.false}


def test_that_somebody_was_called_out_of_turn_is_found(journal: Path) -> None:
    """One who was called for the first book again for another, in the place of somebody who was called for none."""
    first: list[Plain] = []

    def is_first(said: Plain) -> bool:
        first.extend(said["candidates"] if is_partial(said) else [])
        return is_partial(said)

    find(journal, "task.OpenBook", is_first)
    names = {one["agent_id"] for one in first}
    second = find(
        journal,
        "task.OpenBook",
        lambda said: is_partial(said) and names.isdisjoint(one["agent_id"] for one in said["candidates"]),
    )

    def again(said: Plain) -> None:
        said["meta"]["command"]["data"]["candidates"][0] = first[0]

    alter(journal, second, again)
    _, facts, _ = found(journal)
    assert {(one.position, one.fact) for one in facts.false} >= {(second, "candidates left out")}
