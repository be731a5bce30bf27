"""What whoever has a task says of it, be it an agent or a person in their inbox."""

from typing import Annotated

import msgspec

from aggregates.task import CompleteTask, FailTask, StartTask, TaskAccepted
from aggregates.values.document import Document
from aggregates.values.numbers import NonNegative, Token
from aggregates.values.text import Note
from gateway.api.bodies import NO_NUL
from runtime.records import Command


class Report(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A report with the token of the award; each route says by which words tasks are begun, done, given up and given back."""

    status: str
    token: Token
    result: Document = {}
    charged: NonNegative | None = None
    reason: Annotated[Note, NO_NUL] = ""
    retryable: bool = True


def to_report(report: Report, task_id: str, agent_id: str) -> Command[TaskAccepted]:
    """The command that a report stands for, in the name of an agent."""
    match report.status:
        case "started":
            return StartTask(task_id=task_id, agent_id=agent_id, token=report.token)
        case "completed":
            return CompleteTask(
                task_id=task_id, agent_id=agent_id, token=report.token, result=report.result, charged=report.charged
            )
        case "failed" | "declined" | "released" as given_up:
            return FailTask(
                task_id=task_id,
                agent_id=agent_id,
                token=report.token,
                reason=report.reason,
                retryable=report.retryable,
                declined=given_up != "failed",
            )
        case unknown:
            raise AssertionError(f"no command for a task that is {unknown}")
