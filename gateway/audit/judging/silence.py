"""Silence: what no log can show, when an agent was last heard from, is held against what bounds it."""

from aggregates.agent import ClearAgent, LoseAgent, SuspectAgent
from aggregates.task import ExpireLease, Task
from gateway.audit.judging.findings import NOBODY, Findings
from gateway.audit.ledger import Account, Books


def check_holder(findings: Findings, command: ExpireLease, books: Books) -> None:
    """When the holder was heard last, or where it is recorded that it is gone; of a person, from when on their time counts."""
    task = findings.told.before
    account = books.accounts.get(task.assignee) if isinstance(task, Task) else None
    if account is None:
        findings.counts.unknown += 1
        return
    if command.agent_gone_position:
        findings.check("agent_gone_position", command.agent_gone_position, account.gone_at)
    elif isinstance(task, Task) and task.is_person:
        findings.check("last_heard_at", command.last_heard_at, task.held_since)
        return
    _last_heard(findings, command.last_heard_at, command.at, account)


def check_silence(findings: Findings, command: SuspectAgent | LoseAgent, books: Books) -> None:
    """When the agent was heard last."""
    account = books.accounts.get(command.agent_id)
    if account is None:
        findings.check("agent_id", command.agent_id, NOBODY)
        return
    _last_heard(findings, command.last_heard_at, command.at, account)


def check_sign_of_life(findings: Findings, command: ClearAgent, books: Books) -> None:
    """When the agent was heard again."""
    account = books.accounts.get(command.agent_id)
    if account is None:
        findings.check("agent_id", command.agent_id, NOBODY)
        return
    findings.bound("heard_at", command.heard_at, max(account.heard_at, account.since), command.at)


def _last_heard(findings: Findings, said: float, at: float, account: Account) -> None:
    """Never before what it said on record, or registered or came back; never after the decision."""
    findings.bound("last_heard_at", said, max(account.heard_at, account.since), at)
