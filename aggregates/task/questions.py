"""A question of the holder to whoever knows: while it is open the task waits for input, and the clock of its budget stands still."""

from collections.abc import Sequence
from hashlib import sha256

from aggregates.task.commands import AnswerQuestion, AskQuestion
from aggregates.task.events import QuestionAnswered, QuestionAsked, TaskEvent
from aggregates.task.lease import check_lease
from aggregates.task.state import Task
from aggregates.task.terms import HELD, QUESTIONS_MAX
from runtime.errors import Refused


def question(task: Task, command: AskQuestion | AnswerQuestion) -> Sequence[TaskEvent]:
    """The holder asks, or is answered."""
    if isinstance(command, AnswerQuestion):
        return _answer(task, command)
    check_lease(task, command)
    return _ask(task, command)


def _ask(task: Task, command: AskQuestion) -> Sequence[TaskEvent]:
    digest = sha256(command.question.encode()).digest()
    if task.question_at and digest == task.question_digest:
        return []
    if task.question_at:
        raise Refused("question_open", f"question {task.questions} of {command.task_id} has no answer yet")
    if task.questions >= QUESTIONS_MAX:
        raise Refused("questions_too_many", f"{QUESTIONS_MAX} were asked about {command.task_id}")
    return [
        QuestionAsked(
            task_id=command.task_id,
            agent_id=command.agent_id,
            token=command.token,
            number=task.questions + 1,
            question=command.question,
            question_digest=digest,
            asked_at=command.at,
            data_subject=task.data_subject,
        )
    ]


def _answer(task: Task, command: AnswerQuestion) -> Sequence[TaskEvent]:
    digest = sha256(command.answer.encode()).digest()
    if not 1 <= command.number <= task.questions:
        raise Refused("question_unknown", f"{command.task_id} has no question {command.number}", status=404)
    is_open = task.question_at > 0 and task.stage in HELD  # it ends with its lease, however that ends
    if command.number < task.questions or not is_open:
        if command.number == task.questions and digest == task.answer_digest:
            return []
        raise Refused("question_closed", f"question {command.number} of {command.task_id} waits for no answer")
    return [
        QuestionAnswered(
            task_id=command.task_id,
            agent_id=task.assignee,
            token=task.attempt,
            number=command.number,
            answer=command.answer,
            answer_digest=digest,
            answered_by=command.answered_by,
            waited_seconds=command.at - task.question_at,
            data_subject=task.data_subject,
        )
    ]
