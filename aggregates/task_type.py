"""A task type of a tenant: which schemas what goes into its tasks and what comes out of them must fit.

Each change is a version of its own. A task keeps to the version that was in force when it was submitted.
"""

from collections.abc import Iterator, Sequence
from typing import get_args

from msgspec import Struct
from msgspec.structs import replace

from aggregates.values.document import Document, encoded
from aggregates.values.json_schema import schema_flaws
from aggregates.values.task_types import TaskType as TaskType
from aggregates.values.text import Note
from runtime.errors import FieldFault, Refused
from runtime.records import Command, Event, House, State

RULES = 2


class Schemas(State, frozen=True, kw_only=True):
    """What decisions about a task type need to know: the last version, and what it asks for while it is in force."""

    version: int = 0
    in_force: bool = False
    payload: Document | None = None
    result: Document | None = None


initial = Schemas()


class SchemasStand(Struct, frozen=True, kw_only=True):
    """The version that is in force now; 0 where none is."""

    task_type: TaskType
    version: int


class SetSchemas(Command[SchemasStand], frozen=True, kw_only=True):
    """From now on, the payloads and the results of tasks of this type have to fit these JSON schemas (draft 2020-12); without one, anything
    does. Tasks that were submitted before are left as they are. Sent by an operator, developer or admin."""

    task_type: House[TaskType]
    payload: Document | None = None
    result: Document | None = None


class DropSchemas(Command[SchemasStand], frozen=True, kw_only=True):
    """Whatever is submitted of this type from now on is taken as it is. Sent by an operator, developer or admin."""

    task_type: House[TaskType]
    reason: House[Note] = ""


class SchemasSet(Event, frozen=True, kw_only=True):
    task_type: TaskType
    version: int
    payload: Document | None
    result: Document | None


class SchemasDropped(Event, frozen=True, kw_only=True):
    """`version` was the one in force."""

    task_type: TaskType
    version: int
    reason: str


TaskTypeCommand = SetSchemas | DropSchemas
TaskTypeEvent = SchemasSet | SchemasDropped
COMMANDS = get_args(TaskTypeCommand)
EVENTS = get_args(TaskTypeEvent)


def stream(tenant: str, task_type: str) -> str:
    """The stream of a tenant's task type."""
    return f"task_type-{tenant}:{task_type}"


def decide(state: Schemas, command: TaskTypeCommand) -> Sequence[TaskTypeEvent]:
    match command:
        case SetSchemas():
            if found := list(_faults(command)):
                raise Refused.of(found)
            if state.in_force and encoded((state.payload, state.result)) == encoded((command.payload, command.result)):
                return []
            return [
                SchemasSet(
                    task_type=command.task_type,
                    version=state.version + 1,
                    payload=command.payload,
                    result=command.result,
                )
            ]
        case DropSchemas():
            dropped = SchemasDropped(task_type=command.task_type, version=state.version, reason=command.reason)
            return [dropped] if state.in_force else []


def _faults(command: SetSchemas) -> Iterator[FieldFault]:
    if command.payload is None and command.result is None:
        yield FieldFault("", "schemas_missing", "give one of payload and result, or both")
    for name, schema in (("payload", command.payload), ("result", command.result)):
        for flaw in schema_flaws(schema, f"/{name}") if schema is not None else ():
            yield FieldFault(flaw.pointer, "schema_unfit", flaw.words)


def evolve(state: Schemas, event: TaskTypeEvent) -> Schemas:
    match event:
        case SchemasSet():
            return Schemas(version=event.version, in_force=True, payload=event.payload, result=event.result)
        case SchemasDropped():
            return replace(state, in_force=False, payload=None, result=None)
