"""Holders of tasks: whether those who were given a task, or had it taken for a better one, stood as they were said to."""

from aggregates.task import AssignTask, Contender, RebalanceTask, Task
from gateway.audit.judging.candidates import check_candidates, check_doers, check_listed
from gateway.audit.judging.findings import NOBODY, Findings
from gateway.audit.judging.shown import as_offer, views
from gateway.audit.ledger import Books


def check_assignment(findings: Findings, command: AssignTask, books: Books) -> None:
    """What the agent offers and asks, and how long it may be silent."""
    task = findings.told.before
    if not isinstance(task, Task):
        findings.counts.unknown += 1
    elif command.candidate is not None:
        check_candidates(findings, [command.candidate], task, books)
        check_doers(findings, command.doers, task)
        leases = [one.profile.lease_seconds for one in views(books, command.agent_id)]
        findings.check_one_of("lease_seconds", command.lease_seconds, leases)
        people = [bool(one.profile.user_id) for one in views(books, command.agent_id)]
        findings.check_one_of("is_person", command.is_person, people)
        check_listed(findings, command, books)


def check_rebalancing(findings: Findings, command: RebalanceTask, books: Books) -> None:
    """Which of the free are compared is the coordinator's choice; what is said of them is judged."""
    task = findings.told.before
    if not isinstance(task, Task):
        findings.counts.unknown += 1
        return
    check_doers(findings, command.doers, task)
    for said in (command.holder, *command.candidates):
        _contender(findings, said, command, task, books)


def _contender(findings: Findings, said: Contender, command: RebalanceTask, task: Task, books: Books) -> None:
    facts, offered = said.facts, said.offered
    fact, one = f"contender {facts.agent_id}", books.standing(facts.agent_id)
    if one is None:
        findings.check(fact, facts.agent_id, NOBODY)
        return
    beside = books.beside(facts.agent_id, command.task_id)
    if beside is None:
        findings.counts.unknown += 1
        return
    running, units, promised = beside
    past = (facts.recent, facts.max_capacity, facts.agent_type, said.is_active)
    what = (frozenset(offered.capabilities), offered.skills, offered.region)
    told = (facts.position, facts.slots, facts.running, facts.used, *past, *what, said.promised)
    profile = one.profile
    was = (one.position, profile.slots, running, units, one.recent, profile.max_capacity, profile.agent_type)
    findings.check(fact, told, (*was, one.is_active, *as_offer(one, task), promised))
