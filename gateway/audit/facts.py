"""Whether the facts that commands carry were so: each is derived from the log anew and compared with what the command says.

A fact names the position at which it was read. What the log showed there has to be what the command carries, and nothing before the step
may have changed it since. What no log can show (when an agent was last heard from) is held against what bounds it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aggregates.agent import ClearAgent, LoseAgent, SuspectAgent
from aggregates.coordination import AssignBatch
from aggregates.solve_job import CompleteSolve, QueueSolve
from aggregates.task import (
    AskQuestion,
    AssignTask,
    AwardTask,
    CommitBid,
    CompleteTask,
    ExpireLease,
    FailDependent,
    FailTask,
    NoteStall,
    OpenBook,
    PlaceBid,
    RebalanceTask,
    RefuseBid,
    ReportProgress,
    RequeueTask,
    RevealBid,
    StartTask,
    SubmitTask,
    UnblockTask,
    WithdrawBid,
)
from gateway.audit.judging.awards import check_award, check_batch
from gateway.audit.judging.calls import check_call, check_offer_again, check_stall
from gateway.audit.judging.candidates import check_listed
from gateway.audit.judging.findings import Findings
from gateway.audit.judging.holders import check_assignment, check_rebalancing
from gateway.audit.judging.silence import check_holder, check_sign_of_life, check_silence
from gateway.audit.judging.solves import check_problem, check_solution
from gateway.audit.judging.submissions import check_dependency_end, check_result, check_submission
from gateway.audit.ledger import Books
from gateway.audit.look_ups import LookUps
from runtime.records import Command, Event, Meta
from runtime.replay import Told

WORDS = (
    *(PlaceBid, CommitBid, RevealBid, WithdrawBid, RefuseBid),
    *(StartTask, CompleteTask, FailTask, AskQuestion, ReportProgress),
)
"""What an agent says itself: whoever says it is heard from."""

JUDGES: Mapping[type[Command[Any]], Callable[[Findings, Any, Books], None]] = {
    SubmitTask: check_submission,
    UnblockTask: check_dependency_end,
    FailDependent: check_dependency_end,
    OpenBook: check_call,
    NoteStall: check_stall,
    RequeueTask: check_offer_again,
    AssignTask: check_assignment,
    CompleteTask: check_result,
    AwardTask: check_award,
    AssignBatch: check_batch,
    RebalanceTask: check_rebalancing,
    PlaceBid: check_listed,
    ExpireLease: check_holder,
    SuspectAgent: check_silence,
    ClearAgent: check_sign_of_life,
    LoseAgent: check_silence,
    QueueSolve: check_problem,
    CompleteSolve: check_solution,
}


class Facts:
    """Follows a log and judges the facts in its commands. A witness of a replay."""

    def __init__(self, look_ups: LookUps) -> None:
        self.findings = Findings(look_ups)
        self.counts, self.false = self.findings.counts, self.findings.false
        self._books: dict[str, Books] = {}

    def hear(self, told: Told, is_asked: bool) -> None:
        """A command: its facts are judged if anybody asks, and whoever speaks in it is heard from."""
        command, meta = told.command, told.meta
        books = self._books.get(meta.tenant)
        if books is None:
            books = self._books[meta.tenant] = Books()
        books.begin(meta)
        if is_asked:
            findings = self.findings
            findings.told = told
            findings.counts.checked += 1
            if command.at != meta.at or command.tenant != meta.tenant:
                findings.lies("stamp", [command.at, command.tenant], [meta.at, meta.tenant])
            judge = JUDGES.get(type(command))
            if judge is not None:
                judge(findings, command, books)
        if isinstance(command, WORDS):
            books.hear(command.agent_id, command.at)

    def take(self, position: int, event: Event, meta: Meta) -> None:
        """An event: it is entered in the books."""
        books = self._books.get(meta.tenant)
        if books is None:
            books = self._books[meta.tenant] = Books()
        books.take(position, event, meta)

    def miss(self, tenant: str) -> None:
        """A record that can't be read: the books lack it from here on."""
        self.findings.missed.add(tenant)
