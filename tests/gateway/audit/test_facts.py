"""Facts that an auditor derives anew: what is only noted on a task's stream does not change since when it stands as it does."""

from pathlib import Path

import pytest

from aggregates.agent import AgentLost
from aggregates.task import CompleteTask, LateReported, LeaseExpired, TaskUnblocked
from gateway.audit.report import replay_journal
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.errors import Refused
from tests.agents.crew import BRISK, Crew, open_crew


async def report_late(crew: Crew) -> None:
    with pytest.raises(Refused, match="token_stale"):
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1, result={}))
    await crew.next(LateReported)


async def test_who_depends_on_a_task_that_was_reported_on_too_late_is_told_where_it_stands(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.next(AgentLost)
        await crew.next(LeaseExpired)
        await crew.register("bob")
        await crew.awarded("t1", "bob")
        await report_late(crew)
        await crew.submit("t2", dependencies=("t1",))
        await crew.ask(CompleteTask(task_id="t1", agent_id="bob", token=2, result={}))
        await crew.next(TaskUnblocked)
        await report_late(crew)
        await crew.submit("t3", dependencies=("t1",))
    with open_journal(tmp_path / "journal.db") as connection:
        log = JournalFile(connection, tmp_path / "journal.db")
        found, _ = replay_journal(log, 1, log.newest_position())
    assert (found.different, found.equal, found.false_facts) == (0, found.commands, [])
