"""The coordinator takes back what was not begun from who has drifted, few times, and says only what was so."""

from collections import Counter
from math import log2
from pathlib import Path
from random import Random

import pytest
import trio
from msgspec.structs import replace

from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.rebalancing import MOVES_MAX, Rebalancing
from agents.coordinating.terms import Terms
from aggregates import task as tasks
from aggregates.agent import AgentDraining, AgentRegistered, DrainAgent, FindReputation
from aggregates.queue import QueuePaused
from aggregates.task import CompleteTask, StartTask, TaskAwarded, TaskRebalanced, TaskSubmitted
from gateway.audit.report import replay_journal
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.errors import Refused
from runtime.records import Event
from tests.agents.coordinating.test_open_tasks import told
from tests.agents.crew import Crew, kinds, open_crew
from tests.examples import AT, TENANT, event_by_type

QUICK = Terms(
    lease_seconds=60.0, budget_seconds_max=100.0, cycle_seconds=0.2, rebalance_gain=0.1, rebalance_seconds=0.4
)


async def held_by_ann(crew: Crew, *names: str, eta_seconds: float = 90.0) -> None:
    """Ann is alone, and wins these."""
    for name in names:
        await crew.submit(name, budget_seconds=95.0)
        call = await crew.next(tasks.BookOpened, task_id=name)
        await crew.bid(call, "ann", eta_seconds=eta_seconds)
        await crew.next(TaskAwarded, task_id=name)


async def test_who_leaves_loses_what_it_has_not_begun_and_nothing_is_held_against_it(tmp_path: Path) -> None:
    async with open_crew(tmp_path, QUICK) as crew:
        await crew.register("ann", slots=4)
        await held_by_ann(crew, "t1", "t2")
        await crew.ask(StartTask(task_id="t2", agent_id="ann", token=1))
        await crew.register("bob")
        await crew.ask(DrainAgent(agent_id="ann", reason="enough"))
        moved = await crew.next(TaskRebalanced)
        assert (moved.task_id, moved.agent_id, moved.better, moved.score) == ("t1", "ann", "bob", 0.0)
        assert (await crew.awarded("t1", "bob")).token == 2
        with pytest.raises(Refused, match="token_stale"):
            await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.ask(CompleteTask(task_id="t1", agent_id="bob", token=2))
        await crew.ask(CompleteTask(task_id="t2", agent_id="ann", token=1))
        counts = {one.name: one.counts for one in (await crew.ask(FindReputation(agent_id="ann"))).figures}
        assert counts["success_rate"] == {"succeeded": 1, "failed": 0, "no_shows": 0}
    with open_journal(tmp_path / "journal.db") as connection:
        log = JournalFile(connection, tmp_path / "journal.db")
        found, _ = replay_journal(log, 1, log.newest_position())
    assert (found.different, found.equal, found.false_facts) == (0, found.commands, [])


async def test_who_is_late_with_one_loses_another_that_was_not_begun(tmp_path: Path) -> None:
    async with open_crew(tmp_path, QUICK) as crew:
        await crew.register("ann", slots=4)
        await held_by_ann(crew, "t1", eta_seconds=0.1)
        await crew.ask(StartTask(task_id="t1", agent_id="ann", token=1))
        await held_by_ann(crew, "t2")
        await crew.register("bob")
        moved = await crew.next(TaskRebalanced)
        assert (moved.task_id, moved.better, moved.score) == ("t2", "bob", 0.0)
    with open_journal(tmp_path / "journal.db") as connection:
        log = JournalFile(connection, tmp_path / "journal.db")
        found, _ = replay_journal(log, 1, log.newest_position())
    assert (found.different, found.false_facts) == (0, [])


async def test_what_is_held_back_or_was_awarded_just_now_stays(tmp_path: Path) -> None:
    async with open_crew(tmp_path, QUICK._replace(rebalance_seconds=3600.0)) as crew:
        await crew.register("ann", slots=4)
        await held_by_ann(crew, "t1")
        await crew.register("bob")
        await crew.ask(DrainAgent(agent_id="ann", reason="enough"))
        await trio.sleep(0.6)
        assert "TaskRebalanced" not in kinds(await crew.events())


TERMS = Terms(rebalance_gain=0.05, rebalance_seconds=60.0)
NAMES = tuple(f"a{number}" for number in range(6))


class Town:
    """Agents and tasks as the coordinator remembers them; books end as a seed wants it."""

    def __init__(self, seed: int) -> None:
        self.random, self.memory, self.position, self.at = Random(seed), OpenTasks(), 0, AT
        self.states: dict[str, tasks.Task] = {}
        for name in NAMES:
            self.say(replace(event_by_type[AgentRegistered], agent_id=name, slots=8))

    def say(self, event: Event) -> None:
        self.position += 1
        self.memory = told([event], self.memory, self.at - AT, self.position)
        if (name := getattr(event, "task_id", "")) != "":
            self.states[name] = tasks.evolve(self.states.get(name, tasks.initial), event)  # type: ignore[arg-type]

    def award(self, name: str) -> None:
        """To anybody with a slot, whoever was said to be better."""
        free = [agent.agent_id for agent in self.memory.agents.values() if agent.free]
        state = self.states[name]
        self.say(
            replace(
                event_by_type[TaskAwarded],
                task_id=name,
                agent_id=self.random.choice(free),
                attempt=state.attempt + 1,
                token=state.attempt + 1,
                awarded_at=self.at,
                eta_seconds=self.random.choice((30.0, 3000.0, 30000.0)),
            )
        )


@pytest.mark.parametrize("seed", range(3))
def test_however_books_end_a_task_moves_few_times(seed: int) -> None:
    town = Town(seed)
    for number in range(24):
        name = f"t{number:02}"
        town.say(replace(event_by_type[TaskSubmitted], task_id=name, capabilities=("qubo",)))
        town.award(name)
    rebalancing, moves, cycles = Rebalancing(TERMS), Counter[str](), 300
    for _ in range(cycles):
        town.at += TERMS.cycle_seconds
        found = rebalancing.moves(town.memory, town.at)
        assert len(found) <= min(MOVES_MAX, len(NAMES))
        for _, command in found:
            stamped = replace(command, at=town.at, tenant=TENANT)
            (moved,) = tasks.decide(town.states[stamped.task_id], stamped)  # what was looked for is what is decided
            town.say(moved)
        for _, command in found:
            town.award(command.task_id)
            moves[command.task_id] += 1
    most = log2(1 + cycles * TERMS.cycle_seconds / TERMS.rebalance_seconds)
    assert 0 < max(moves.values()) <= most


def test_nothing_moves_where_nobody_has_asked_for_it() -> None:
    town = Town(1)
    town.say(replace(event_by_type[TaskSubmitted], task_id="t1", capabilities=("qubo",)))
    town.award("t1")
    town.say(replace(event_by_type[AgentDraining], agent_id=town.memory.tasks["t1"].assignee))
    town.at += 3600.0
    assert Rebalancing(Terms()).moves(town.memory, town.at) == []
    assert len(Rebalancing(TERMS).moves(town.memory, town.at)) == 1
    town.say(replace(event_by_type[QueuePaused], queue=town.memory.tasks["t1"].queue))
    assert Rebalancing(TERMS).moves(town.memory, town.at) == []
