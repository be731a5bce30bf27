"""Who was called or came into question, what they ask, and who did what came before: whether it stood as the command says."""

from collections.abc import Iterable, Sequence
from typing import Any

from agents.coordinating.folding.tasks import ENDED_MAX
from aggregates.task import AssignTask, Candidate, Doer, NoteStall, OpenBook, PlaceBid, Stage, Task, TaskCompleted
from aggregates.values.price_list import about
from gateway.audit.judging.findings import NOBODY, Findings
from gateway.audit.judging.shown import as_candidate, views
from gateway.audit.ledger import Books


def called_task(findings: Findings, command: OpenBook | NoteStall, books: Books) -> Task | None:
    """The task, whose candidates and earlier doers are judged; None where nobody knows it."""
    task = findings.told.before
    if not isinstance(task, Task):
        findings.counts.unknown += 1
        return None
    check_candidates(findings, command.candidates, task, books)
    check_doers(findings, command.doers, task)
    return task


def check_candidates(findings: Findings, candidates: Iterable[Candidate], task: Task, books: Books) -> None:
    """What they offer, and how much each has to do."""
    for said in candidates:
        needed = frozenset(said.capabilities).intersection(task.capabilities)
        shown = (*_capacity_said(findings, said), said.skills, said.region)
        told = (said.position, sorted(needed), said.slots, said.running, *shown, True)
        were = [as_candidate(one, task, findings.counts_units) for one in views(books, said.agent_id)]
        findings.check_one_of(f"candidate {said.agent_id}", told, were)


def _capacity_said(findings: Findings, said: Candidate) -> tuple[Any, ...]:
    return (said.max_capacity, said.used) if findings.counts_units else ()


def check_listed(findings: Findings, command: PlaceBid | AssignTask, books: Books) -> None:
    """What the agent asks by its price list."""
    task, said = findings.told.before, command.listed
    if said is None:
        return
    if not isinstance(task, Task):
        findings.counts.unknown += 1
        return
    topics = (task.task_type.value, *task.capabilities)
    were = [
        (one.position, one.profile.price, about(one.profile.prices, topics)) for one in views(books, command.agent_id)
    ]
    findings.check_one_of("listed", (said.position, said.base, said.prices), were)


def check_doers(findings: Findings, doers: Sequence[Doer], task: Task) -> None:
    """That they did it, and that none of them is left out."""
    for doer in doers:
        record = findings.look_ups.record_at(doer.position) if doer.position < findings.told.position else None
        done = record.event if record is not None else None
        was: Any = NOBODY
        if isinstance(done, TaskCompleted) and record is not None and record.meta.tenant == findings.told.meta.tenant:
            was = (done.task_id, done.agent_id)
        findings.check(f"doer of {doer.task_id}", (doer.task_id, doer.agent_id), was)
    named = {doer.task_id for doer in doers}
    for task_id in task.independent_of:
        if task_id not in named:
            _unnamed_doer(findings, task_id)


def _unnamed_doer(findings: Findings, task_id: str) -> None:
    stood = findings.stood(task_id)
    if stood is None or findings.told.position - stood[0] >= ENDED_MAX:
        findings.counts.unknown += 1
    else:
        findings.check("doers left out", [], [task_id] if stood[1].stage is Stage.COMPLETED else [])
