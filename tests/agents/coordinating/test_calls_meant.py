"""Tasks that are meant for one agent: it alone is called, and they wait for it where it is busy or away."""

from pathlib import Path

import pytest
import trio

from agents.coordinating.assigning import best_for
from aggregates.agent import AgentDeregistered, AgentLost, DeregisterAgent, Heartbeat
from aggregates.coordination import FindOpenWork
from aggregates.task import BookOpened, BookVoided, CompleteTask, TaskStalled
from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.errors import Refused
from runtime.replay import Replay
from tests.agents.crew import BRISK, CALM, Crew, open_crew

CYCLING = CALM._replace(cycle_seconds=0.05)


def audited(crew: Crew) -> None:
    """All of it is decided alike again, and all facts were so."""
    path = Path(crew.system.journal.store.place)
    with open_journal(path) as connection:
        log = JournalFile(connection, path)
        look_ups = LookUps(log)
        facts = Facts(look_ups)
        replay = Replay(look_ups, log.codec, last=log.newest_position(), witness=facts)
        assert list(replay.run()) == []
        assert (replay.equal, facts.false) == (replay.commands, [])


async def test_it_alone_is_called_once_it_is_free_and_others_get_what_is_for_anybody(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CYCLING) as crew:
        for name in ("ann", "bob"):
            await crew.register(name)
        await crew.submit("first", assign_to="ann")
        assert (await crew.next(BookOpened)).eligible == ("ann",)
        crew.read = 0
        await crew.awarded("first", "ann")
        await crew.submit("second", assign_to="ann")
        await crew.submit("other")
        assert (await crew.next(BookOpened)).task_id == "other"
        await trio.sleep(0.2)  # some cycles, in which it is not said to lack anybody
        assert not [event for event in await crew.events() if isinstance(event, TaskStalled)]
        preview = best_for(await crew.ask(FindOpenWork()), lambda: False)
        assert [(one.task_id, one.reason.value) for one in preview.unassigned] == [("second", "no_free_slots")]
        await crew.ask(CompleteTask(task_id="first", agent_id="ann", token=1))
        call = await crew.next(BookOpened, task_id="second")
        assert call.eligible == ("ann",)
        await crew.refuse(call, "ann")
        assert (await crew.next(BookVoided)).reason == "all_refused"
        audited(crew)


async def test_it_is_waited_for_while_it_is_away_and_that_is_said(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        await crew.register("ann")
        await crew.next(AgentLost)
        await crew.submit("t1", assign_to="ann")
        await crew.register("bob")
        assert (await crew.next(TaskStalled)).reason == "assignee_missing"
        await crew.ask(Heartbeat(agent_id="ann"))
        assert (await crew.next(BookOpened)).eligible == ("ann",)
        audited(crew)


async def test_what_it_lacks_is_said_and_who_is_not_registered_is_a_fault_among_others(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CYCLING) as crew:
        await crew.register("ann", capabilities=(), skills=())
        await crew.register("bob")
        await crew.submit("t1", assign_to="ann")
        assert (await crew.next(TaskStalled)).reason == "skills_missing"
        await crew.register("cid")
        await crew.ask(DeregisterAgent(agent_id="cid"))
        await crew.next(AgentDeregistered)
        for name in ("cid", "dora"):
            with pytest.raises(Refused) as caught:
                await crew.submit("t2", assign_to=name, dependencies=("none",))
            assert {fault.code for fault in caught.value.faults} == {"assignee_unknown", "dependency_unknown"}
        audited(crew)
