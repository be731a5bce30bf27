"""A submission: what is asked for, all that is wrong with it, and how its dependencies let it go."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from operator import attrgetter

from aggregates.task.commands import FailDependent, SubmitTask, UnblockTask
from aggregates.task.events import (
    DependencyMet,
    DependencyUnmet,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.task.state import Task
from aggregates.task.terms import BIDDING_SECONDS, BIDDING_SECONDS_MAX, ENDED, DependencyPolicy, Stage, TaskType
from aggregates.values.capacity import resource_faults, units_of
from aggregates.values.document import encoded, faults
from aggregates.values.no_bids import NoWinner
from aggregates.values.pointers import child
from aggregates.values.ranking import AwardPolicy
from aggregates.values.skill_terms import need_faults, needs_in_order
from runtime.errors import FieldFault, Refused
from runtime.records import HOUSE, marked

HOUSE_KNOWS = frozenset(marked(SubmitTask, HOUSE))
"""The fields of a submission that the house sets: they are not what was asked for."""

ASKED = tuple(name for name in SubmitTask.__struct_fields__ if name not in HOUSE_KNOWS)

AT_FIRST = (
    *("task_type", "description", "capabilities", "requirements", "priority", "dependencies", "independent_of"),
    *("budget_seconds", "bidding_seconds", "deadline", "estimated_duration", "payload", "attempts_max"),
)
"""What could be asked for from the first."""

_UNASKED = SubmitTask(task_id="none", task_type=TaskType.ANALYSIS)
LATER = {name: getattr(_UNASKED, name) for name in ASKED if name not in AT_FIRST}
"""What came later, as it is where nobody asks for it."""

_at_first, _later = attrgetter(*AT_FIRST), attrgetter(*LATER)
_NOTHING_LATER = tuple(LATER.values())


def asked_digest(command: SubmitTask) -> bytes:
    """The sha256 of what was asked for, without what the house knew at the time.

    What could not be asked for from the first is left out while it is as it would be unasked: the same submission has one digest for ever.
    """
    asked, later = dict(zip(AT_FIRST, _at_first(command), strict=True)), _later(command)
    if later != _NOTHING_LATER:
        asked |= {name: value for name, value in zip(LATER, later, strict=True) if value != LATER[name]}
    return sha256(encoded(asked)).digest()


def skills_needed(command: SubmitTask) -> tuple[str, ...]:
    """The names of all skills that are asked for."""
    return tuple(sorted({*command.capabilities, *(need.name for need in command.skills)}))


def documents_fit(command: SubmitTask) -> bool:
    return not (faults("requirements", command.requirements) or faults("payload", command.payload))


def submit(command: SubmitTask) -> Sequence[TaskEvent]:
    found = submission_faults(command)
    if found:
        raise Refused.of(found)
    facts = command.dependency_facts
    pending = [fact.task_id for fact in facts if fact.stage not in ENDED]
    return [
        TaskSubmitted(
            task_id=command.task_id,
            task_type=command.task_type,
            description=command.description,
            capabilities=skills_needed(command),
            requirements=command.requirements,
            priority=command.priority,
            dependencies=_in_order(command.dependencies),
            independent_of=_in_order(command.independent_of),
            waiting_for=_in_order((*pending, *command.submitted_with)),
            budget_seconds=command.budget_seconds or command.budget_seconds_max,
            bidding_seconds=command.bidding_seconds or min(BIDDING_SECONDS, command.bidding_seconds_max),
            deadline=command.deadline,
            estimated_duration=command.estimated_duration,
            payload=command.payload,
            attempts_max=command.attempts_max or command.attempts_allowed,
            submitted_by=command.submitted_by,
            submitted_at=command.at,
            digest=asked_digest(command),
            data_subject=command.data_subject,
            units=units_of(command.requirements),
            skills=needs_in_order(command.skills),
            regions=_in_order(command.regions),
            retry=command.retry,
            no_bids=command.no_bids,
            bidding_seconds_max=command.bidding_seconds_max
            if command.no_bids.then is NoWinner.WIDEN
            else BIDDING_SECONDS_MAX,
            award_policy=command.award_policy,
            not_before=command.not_before,
            queue=command.queue,
            concurrency=command.concurrency,
            blobs=command.blobs,
            dependency_policy=command.dependency_policy,
            unmet=_in_order([fact.task_id for fact in facts if _is_unmet(fact.stage)]),
            schema_version=command.schema.version if command.schema is not None else 0,
            price_max=command.price_max,
            surcharge=command.surcharge,
            dry_run=command.dry_run,
            assign_to=command.assign_to or "",
        )
    ]


def _in_order(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names))) if names else ()


def submission_faults(command: SubmitTask) -> list[FieldFault]:
    """Everything that is wrong with a submission."""
    found: list[FieldFault] = []
    if command.dependencies or command.independent_of:
        found += _dependency_faults(command)
    if command.skills_never_offered or command.skills:
        found += _skill_faults(command)
    found += _bound_faults(command)
    for name in command.blobs_missing:
        detail = f"there is no blob {command.blobs[name]}; bring it first"
        found.append(FieldFault(child("/blobs", name), "blob_unknown", detail))
    if command.assignee_unknown:
        found.append(FieldFault("/assign_to", "assignee_unknown", f"no agent {command.assign_to} is registered"))
    for field, document in (("requirements", command.requirements), ("payload", command.payload)):
        for flaw in faults(field, document):
            found.append(FieldFault(flaw.pointer, f"{field}_unfit", str(flaw)))
    for flaw in resource_faults(command.requirements):
        found.append(FieldFault(flaw.pointer, "resources_unfit", str(flaw)))
    return found


def _dependency_faults(command: SubmitTask) -> Iterator[FieldFault]:
    stages = {fact.task_id: fact.stage for fact in command.dependency_facts}
    stages |= dict.fromkeys(command.submitted_with, Stage.SUBMITTED)
    for index, name in enumerate(command.dependencies):
        pointer, stage = f"/dependencies/{index}", stages.get(name, Stage.UNKNOWN)
        if name == command.task_id:
            yield FieldFault(pointer, "dependency_cycle", f"{name} → {name}")
        elif stage is Stage.UNKNOWN:
            yield FieldFault(pointer, "dependency_unknown", name)
        elif _is_unmet(stage) and command.dependency_policy is not DependencyPolicy.RUN:
            yield FieldFault(pointer, "dependency_failed", f"{name} is {stage.value}")
    for index, name in enumerate(command.independent_of):
        if name not in command.dependencies:
            text = f"independent_of must name dependencies, since nobody knows yet who does {name}"
            yield FieldFault(f"/independent_of/{index}", "independence_unclear", text)


def _is_unmet(stage: Stage) -> bool:
    return stage in ENDED and stage is not Stage.COMPLETED


def _skill_faults(command: SubmitTask) -> Iterator[FieldFault]:
    places = {need.name: f"/skills/{index}/name" for index, need in reversed(list(enumerate(command.skills)))}
    places |= {name: f"/capabilities/{index}" for index, name in enumerate(command.capabilities)}
    for name in command.skills_never_offered:
        yield FieldFault(places.get(name, "/capabilities"), "skill_unknown", f"no agent has ever offered {name}")
    for flaw in need_faults(command.skills):
        yield FieldFault(flaw.pointer, "range_unfit", str(flaw))


def _bound_faults(command: SubmitTask) -> Iterator[FieldFault]:
    yield from window_faults(command.at, command.deadline, command.not_before, command.estimated_duration)
    if command.dry_run and command.award_policy is AwardPolicy.BATCH_OPTIMAL:
        yield FieldFault("/dry_run", "dry_run_in_batch", "what is settled with others decides what they get")
    if (command.budget_seconds or 0) > command.budget_seconds_max:
        yield FieldFault("/budget_seconds", "budget_too_long", f"{command.budget_seconds_max:g} s is the most")
    if (command.bidding_seconds or 0) > command.bidding_seconds_max:
        yield FieldFault("/bidding_seconds", "bidding_too_long", f"{command.bidding_seconds_max:g} s is the most")
    if (command.attempts_max or 0) > command.attempts_allowed:
        yield FieldFault("/attempts_max", "attempts_too_many", f"{command.attempts_allowed} is the most")


def window_faults(
    at: float, deadline: float | None, not_before: float | None, estimated_duration: float | None
) -> Iterator[FieldFault]:
    """Why what is asked for can't be done between its earliest start, or now, and its deadline."""
    if deadline is None:
        return
    begins = max(at, not_before or 0.0)
    if deadline <= at:
        yield FieldFault("/deadline", "deadline_passed", f"{at - deadline:.0f} s ago")
    elif deadline <= begins:
        yield FieldFault("/not_before", "not_before_late", f"the deadline is {begins - deadline:.0f} s earlier")
    elif estimated_duration is not None and begins + estimated_duration > deadline:
        text = f"it can begin {deadline - begins:.0f} s before its deadline, and takes {estimated_duration:g} s"
        yield FieldFault("/estimated_duration", "deadline_infeasible", text)


def unblock(task: Task, command: UnblockTask) -> Sequence[TaskEvent]:
    if command.dependency not in task.waiting_for or task.stage is not Stage.BLOCKED:
        return []
    met = DependencyMet(task_id=command.task_id, dependency=command.dependency)
    return [met] if len(task.waiting_for) > 1 else [met, TaskUnblocked(task_id=command.task_id)]


def fail_dependent(task: Task, command: FailDependent) -> Sequence[TaskEvent]:
    """A dependency has ended without a result: the task ends too, or goes on without."""
    if command.dependency not in task.waiting_for or task.stage is not Stage.BLOCKED:
        return []
    reason = f"dependency_failed: {command.dependency} is {command.stage.value}"
    match task.dependency_policy:
        case DependencyPolicy.FAIL:
            return [TaskFailed(task_id=command.task_id, agent_id="", token=0, reason=reason, final=True)]
        case DependencyPolicy.SKIP:
            return [TaskCancelled(task_id=command.task_id, reason=reason)]
        case DependencyPolicy.RUN:
            unmet = DependencyUnmet(
                task_id=command.task_id,
                dependency=command.dependency,
                stage=command.stage,
                unmet=tuple(sorted({*task.unmet, command.dependency})),
            )
            return [unmet] if len(task.waiting_for) > 1 else [unmet, TaskUnblocked(task_id=command.task_id)]
