"""Questions about a task: its holder asks, whoever submitted it or keeps the work going answers."""

from typing import Any

from starlette.responses import Response

from aggregates.task import AnswerQuestion, AskQuestion, TaskAccepted, stream
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint
from gateway.routes.tasks import own

Question = body_type(AskQuestion, path=("task_id",))
Answer = body_type(AnswerQuestion)


async def ask(call: Call) -> Response:
    """The holder needs to know something; until it is answered, the clock of the budget stands still."""
    body: Any = await call.body(Question)
    question = to_command(AskQuestion, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(question), 201)


async def answer(call: Call) -> Response:
    """Answers the open question of a task. Who may only submit may answer what is asked of their own tasks."""
    body: Any = await call.body(Answer)
    task_id = await own(call)
    await call.begin(stream(task_id))
    number, by = int(call.path["number"]), call.principal.name
    command = to_command(AnswerQuestion, body, task_id=task_id, number=number, answered_by=by)
    return call.reply(await call.ask(command))


QUESTIONS = "/v1/tasks/{task_id}/questions"
routes = (
    Endpoint("POST", QUESTIONS, ask, Permission.AGENTS_ACT, Question, TaskAccepted, 201, asks_once=True),
    Endpoint(
        "PUT",
        f"{QUESTIONS}/{{number}}/answer",
        answer,
        Permission.TASKS_SUBMIT,
        Answer,
        TaskAccepted,
        acts=True,
        asks_once=True,
    ),
)
