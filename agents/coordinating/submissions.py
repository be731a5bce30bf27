"""Work comes in: submissions with the facts that they are decided by, one or many, and dead letters that are offered again."""

from collections.abc import Sequence

from msgspec.structs import replace

from agents.coordinating.folding.agents import SKILLS_MAX
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.schemas import payload_faults, schema_in_force, schemas_from
from agents.coordinating.terms import Terms
from aggregates.agent import Stage as Standing
from aggregates.task import (
    DependencyFact,
    RequeueTask,
    Stage,
    SubmitTask,
    SubmitTasks,
    TaskFault,
    skills_needed,
    submission_faults,
)
from aggregates.values.skills import missing
from runtime.errors import Overloaded, Refused


def submission(memory: OpenTasks, terms: Terms, command: SubmitTask) -> SubmitTask:
    """With its facts. Raises Overloaded where there is no place for it, Refused where its payload does not fit its schema."""
    _check_places(memory, terms, command.task_id)
    told = _told(memory, terms, command)
    if unfit := payload_faults(memory, told):
        raise Refused.of([*submission_faults(told), *unfit])
    return told


def submissions(memory: OpenTasks, terms: Terms, command: SubmitTasks) -> tuple[list[SubmitTask], list[TaskFault]]:
    """All with their facts, and all that is wrong with them. Raises Overloaded where there is no place for them."""
    if not command.only_asks and len(memory.tasks) + len(command.tasks) > terms.tasks_open_max:
        raise Overloaded(f"{terms.tasks_open_max} tasks may be open", retry_seconds=terms.cycle_seconds)
    told = [replace(_told(memory, terms, one), at=command.at, tenant=command.tenant) for one in command.tasks]
    return told, _faults(memory, told)


def _faults(memory: OpenTasks, told: Sequence[SubmitTask]) -> list[TaskFault]:
    return [
        TaskFault(number=number, pointer=fault.pointer, code=fault.code, detail=fault.detail)
        for number, one in enumerate(told)
        for fault in (*submission_faults(one), *payload_faults(memory, one))
    ]


def again(memory: OpenTasks, terms: Terms, command: RequeueTask) -> RequeueTask:
    """A dead letter's new chance, with its facts. Raises Overloaded where there is no place for it."""
    _check_places(memory, terms, command.task_id)
    ended = memory.ended.get(command.task_id)
    doers = tuple(ended.doers) if ended is not None else ()
    return replace(command, doers=doers, attempts_allowed=terms.attempts_max, schemas_from=schemas_from(memory))


def _told(memory: OpenTasks, terms: Terms, command: SubmitTask) -> SubmitTask:
    facts = tuple(_dependency(memory, name) for name in sorted(set(command.dependencies) - set(command.submitted_with)))
    # Where more skills are about than can be remembered, none can be called unknown.
    known = memory.skills if len(memory.skills) < SKILLS_MAX else {}
    return replace(
        command,
        dependency_facts=facts,
        skills_never_offered=missing(skills_needed(command), known) if known else (),
        budget_seconds_max=terms.budget_seconds_max,
        bidding_seconds_max=terms.bidding_seconds_max,
        attempts_allowed=terms.attempts_max,
        schema=schema_in_force(memory, command.task_type),
        assignee_unknown=command.assign_to is not None and not _is_there(memory, command.assign_to),
    )


def _is_there(memory: OpenTasks, agent_id: str) -> bool:
    """Whether such an agent is registered, or was taken for lost and may come back."""
    agent = memory.agents.get(agent_id)
    return agent is not None and agent.stage is not Standing.DEREGISTERED


def _dependency(memory: OpenTasks, task_id: str) -> DependencyFact:
    entry = memory.tasks.get(task_id) or memory.ended.get(task_id)
    if entry is None:
        return DependencyFact(task_id=task_id, stage=Stage.UNKNOWN, position=0)
    return DependencyFact(task_id=task_id, stage=entry.stage, position=entry.position)


def _check_places(memory: OpenTasks, terms: Terms, task_id: str) -> None:
    if task_id not in memory.tasks and len(memory.tasks) >= terms.tasks_open_max:
        raise Overloaded(f"{terms.tasks_open_max} tasks are open", retry_seconds=terms.cycle_seconds)
