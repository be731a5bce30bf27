"""Calls for proposals and stalls: whether those that are named stood so, and nobody was left out who should have been named."""

from agents.coordinating.calls import are_all_that_may_be_called, called_min
from agents.coordinating.turns import degree
from aggregates.task import NoteStall, OpenBook, RequeueTask, Task
from aggregates.values.capacity import fits
from gateway.audit.judging.candidates import called_task, check_doers
from gateway.audit.judging.findings import Findings
from gateway.audit.judging.shown import distance_of, meets
from gateway.audit.ledger import Books


def check_call(findings: Findings, command: OpenBook, books: Books) -> None:
    """Who is called, and that nobody is passed over for one who has more to do."""
    task = called_task(findings, command, books)
    if task is None:
        return
    excluded = {doer.agent_id for doer in command.doers}
    called = {candidate.agent_id for candidate in command.candidates}
    free = {
        name: one
        for name, one in books.able(task.capabilities)
        if one.is_free
        and (not one.profile.user_id or name in called)  # nobody calls people: they come
        and name not in excluded
        and task.assign_to in ("", name)
        and fits(task.units, one.profile.max_capacity, one.used)
        and meets(one, task)
    }
    if by_the_clock := {name for name, one in free.items() if one.profile.working_hours.shifts} - called:
        # Whether they were on duty follows from rules of time zones, which stand in no log.
        findings.counts.unknown += len(by_the_clock)
        free = {name: one for name, one in free.items() if name not in by_the_clock}
    left_out = sorted(free.keys() - called)
    if command.passed_over is not None and not (command.passed_over and by_the_clock):
        findings.check("passed_over", command.passed_over, bool(left_out))
    if command.passed_over is None:
        if are_all_that_may_be_called(len(called), task.capabilities, task.skills):
            # The least loaded were called where there were too many: nobody who is left out may be less loaded than one who is called.
            busiest = max((candidate.running for candidate in command.candidates), default=0)
            left_out = [name for name in left_out if free[name].running < busiest]
    elif command.passed_over and len(called) >= _called_min(task):
        # Some are called, more or less by how much waits: nobody who is left out may be less taken than one who is called.
        taken = {name: degree(one.running, one.profile.slots, books.awaited(name)) for name, one in free.items()}
        most = max((taken[name] for name in called if name in taken), default=0)
        left_out = [name for name in left_out if taken[name] < most]
    findings.check("candidates left out", [], left_out)


def check_stall(findings: Findings, command: NoteStall, books: Books) -> None:
    """Who comes nearest, that nobody else comes nearer, and who did what came before."""
    task = called_task(findings, command, books)
    if task is None:
        return
    called = {candidate.agent_id for candidate in command.candidates}
    able = {name: one for name, one in books.able(task.capabilities) if task.assign_to in ("", name)}
    left_out = sorted(able.keys() - called)
    if are_all_that_may_be_called(len(called), task.capabilities, task.skills):
        # Those are named that come nearest: nobody who is left out may come nearer than one who is named.
        farthest = max(distance_of(name, able[name], task, command) for name in called if name in able)
        left_out = [name for name in left_out if distance_of(name, able[name], task, command) < farthest]
    findings.check("candidates left out", [], left_out)


def check_offer_again(findings: Findings, command: RequeueTask, _: Books) -> None:
    """Who did what came before."""
    task = findings.told.before
    if isinstance(task, Task):
        check_doers(findings, command.doers, task)
    else:
        findings.counts.unknown += 1


def _called_min(task: Task) -> int:
    """How many are called at least, where there are so many."""
    least = called_min(task.capabilities, task.skills)
    return least if task.no_bids.call_max is None else min(least, task.no_bids.called(task.widening, least))
