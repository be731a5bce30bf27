"""What the payloads and results of a task type have to fit: which version is in force, and what does not fit it.

A task is held against the version in force when it came, and its result against the same, however often there was a new one since. So a
version is kept while open tasks go by it: where as many are kept as may be, and the oldest of them is needed, there is no new one.
"""

from collections.abc import Sequence

from agents.coordinating.entries import VERSIONS_KEPT_MAX, SchemaVersion, TypeSchemas
from agents.coordinating.open_tasks import OpenTasks
from aggregates import task_type as task_types
from aggregates.task import HELD, CompleteTask, SchemaFact, SubmitTask
from aggregates.task_type import DropSchemas, SchemasDropped, SchemasSet, SchemasStand, SetSchemas, TaskType
from aggregates.values.document import Document, faults
from aggregates.values.json_schema import schema_of
from runtime.actor import Effect, Reply, reply
from runtime.errors import FieldFault, Refused
from runtime.records import Recorded


def change(memory: OpenTasks, tenant: str, command: SetSchemas | DropSchemas) -> Effect:
    """Another version, or none from now on. Raises Refused where open tasks go by too many."""
    stood = memory.schemas.get(command.task_type, TypeSchemas())
    if isinstance(command, SetSchemas):
        _check_versions(memory, command.task_type, stood)

    def answer(recorded: Sequence[Recorded]) -> Reply:
        version = stood.in_force
        for record in recorded:
            if isinstance(record.event, SchemasSet | SchemasDropped):
                version = record.event.version if isinstance(record.event, SchemasSet) else 0
        return reply(command, SchemasStand(task_type=command.task_type, version=version))

    return Effect([(task_types.stream(tenant, command.task_type), command)], answer)


def _check_versions(memory: OpenTasks, task_type: TaskType, stood: TypeSchemas) -> None:
    if len(stood.kept) < VERSIONS_KEPT_MAX:
        return
    oldest = stood.kept[0].version
    needing = sum(task.task_type is task_type and task.schema_version == oldest for task in memory.tasks.values())
    if needing:
        text = f"open tasks go by version {oldest}: {needing}; {VERSIONS_KEPT_MAX} versions are the most"
        raise Refused("schema_versions_too_many", text)


def schema_in_force(memory: OpenTasks, task_type: TaskType) -> SchemaFact | None:
    """The version that a task goes by that comes now."""
    found = _version(memory, task_type, memory.schemas[task_type].in_force if task_type in memory.schemas else 0)
    return SchemaFact(version=found.version, position=found.position) if found is not None else None


def schemas_from(memory: OpenTasks) -> dict[str, int]:
    """The oldest version at hand, by task type."""
    return {name: schemas.kept[0].version for name, schemas in sorted(memory.schemas.items()) if schemas.kept}


def payload_faults(memory: OpenTasks, command: SubmitTask) -> list[FieldFault]:
    """All in which the payload of a task that is new does not fit the schema that its facts name."""
    if command.schema is None or command.task_id in memory.tasks or command.task_id in memory.ended:
        return []
    found = _version(memory, command.task_type, command.schema.version)
    return _unfit("payload", command.payload, found.payload if found is not None else None)


def check_result(memory: OpenTasks, command: CompleteTask) -> None:
    """Raises Refused where the holder's result does not fit; what else may be wrong with the report is not asked here."""
    task = memory.tasks.get(command.task_id)
    if task is None or not task.schema_version or task.stage not in HELD:
        return
    if (task.assignee, task.token) != (command.agent_id, command.token):
        return
    found = _version(memory, task.task_type, task.schema_version)
    assert found is not None, "a version that open tasks go by is kept"
    if unfit := _unfit("result", command.result, found.result):
        raise Refused.of(unfit)


def _version(memory: OpenTasks, task_type: TaskType, version: int) -> SchemaVersion | None:
    kept = memory.schemas[task_type].kept if version and task_type in memory.schemas else []
    return next((one for one in kept if one.version == version), None)


def _unfit(field: str, document: Document, schema: Document | None) -> list[FieldFault]:
    if schema is None or faults(field, document):  # what can't be recorded is told as that
        return []
    return [
        FieldFault(flaw.pointer, f"{field}_unfit", flaw.words)
        for flaw in schema_of(schema).check(document, f"/{field}")
    ]
