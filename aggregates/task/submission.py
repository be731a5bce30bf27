"""A submission: what is asked for, all that is wrong with it, and how its dependencies let it go."""

from collections.abc import Sequence
from hashlib import sha256

from aggregates.task.commands import SubmitTask, UnblockTask
from aggregates.task.events import DependencyMet, TaskEvent, TaskSubmitted, TaskUnblocked
from aggregates.task.state import Task
from aggregates.task.terms import BIDDING_SECONDS, ENDED, Stage
from aggregates.values.capacity import resource_faults, units_of
from aggregates.values.document import encoded, faults
from aggregates.values.ranking import AwardPolicy
from aggregates.values.skill_terms import need_faults, needs_in_order
from aggregates.values.skills import missing
from runtime.errors import Refused
from runtime.records import HOUSE, marked

HOUSE_KNOWS = frozenset(marked(SubmitTask, HOUSE))
"""The fields of a submission that the house sets: they are not what was asked for."""

ASKED = tuple(name for name in SubmitTask.__struct_fields__ if name not in HOUSE_KNOWS)


def asked_digest(command: SubmitTask) -> bytes:
    """The sha256 of what was asked for, without what the house knew at the time."""
    asked = {name: getattr(command, name) for name in ASKED}
    if not command.data_subject:
        del asked["data_subject"]  # there was no such field in earlier submissions
    for name in ("skills", "regions"):
        if not asked[name]:
            del asked[name]
    if command.award_policy is AwardPolicy.WEIGHTED_SCORE:
        del asked["award_policy"]
    return sha256(encoded(asked)).digest()


def skills_needed(command: SubmitTask) -> tuple[str, ...]:
    """The names of all skills that are asked for."""
    return tuple(sorted({*command.capabilities, *(need.name for need in command.skills)}))


def documents_fit(command: SubmitTask) -> bool:
    return not (faults("requirements", command.requirements) or faults("payload", command.payload))


def submit(command: SubmitTask) -> Sequence[TaskEvent]:
    found = submission_faults(command)
    if found:
        detail = "; ".join(f"{code}: {text}" for code, text in found)
        raise Refused(found[0][0], detail if len(found) > 1 else found[0][1], status=422)
    unmet = {fact.task_id for fact in command.dependency_facts if fact.stage is not Stage.COMPLETED}
    waiting_for = sorted(unmet | set(command.submitted_with))
    return [
        TaskSubmitted(
            task_id=command.task_id,
            task_type=command.task_type,
            description=command.description,
            capabilities=skills_needed(command),
            requirements=command.requirements,
            priority=command.priority,
            dependencies=tuple(sorted(set(command.dependencies))),
            independent_of=tuple(sorted(set(command.independent_of))),
            waiting_for=tuple(waiting_for),
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
            regions=tuple(sorted(set(command.regions))),
            award_policy=command.award_policy,
        )
    ]


def submission_faults(command: SubmitTask) -> list[tuple[str, str]]:
    """Everything that is wrong with a submission: code and explanation."""
    stages = {fact.task_id: fact.stage for fact in command.dependency_facts}
    stages |= dict.fromkeys(command.submitted_with, Stage.SUBMITTED)
    found = [("dependency_unknown", name) for name, stage in stages.items() if stage is Stage.UNKNOWN]
    found += [
        ("dependency_failed", f"{name} is {stage.value}")
        for name, stage in stages.items()
        if stage in ENDED and stage is not Stage.COMPLETED
    ]
    found += [("dependency_unknown", name) for name in command.dependencies if name not in stages]
    if unclear := missing(command.independent_of, command.dependencies):
        text = f"independent_of must name dependencies, since nobody knows yet who does {', '.join(unclear)}"
        found.append(("independence_unclear", text))
    if command.skills_never_offered:
        text = f"no agent has ever offered {', '.join(command.skills_never_offered)}"
        found.append(("skill_unknown", text))
    found += [("range_unfit", fault) for fault in need_faults(command.skills)]
    if command.deadline is not None and command.deadline <= command.at:
        found.append(("deadline_passed", f"{command.at - command.deadline:.0f} s ago"))
    if (command.budget_seconds or 0) > command.budget_seconds_max:
        found.append(("budget_too_long", f"{command.budget_seconds_max:g} s is the most"))
    if (command.bidding_seconds or 0) > command.bidding_seconds_max:
        found.append(("bidding_too_long", f"{command.bidding_seconds_max:g} s is the most"))
    if (command.attempts_max or 0) > command.attempts_allowed:
        found.append(("attempts_too_many", f"{command.attempts_allowed} is the most"))
    found += [("requirements_unfit", fault) for fault in faults("requirements", command.requirements)]
    found += [("resources_unfit", fault) for fault in resource_faults(command.requirements)]
    found += [("payload_unfit", fault) for fault in faults("payload", command.payload)]
    return found


def unblock(task: Task, command: UnblockTask) -> Sequence[TaskEvent]:
    if command.dependency not in task.waiting_for or task.stage is not Stage.BLOCKED:
        return []
    met = DependencyMet(task_id=command.task_id, dependency=command.dependency)
    return [met] if len(task.waiting_for) > 1 else [met, TaskUnblocked(task_id=command.task_id)]
