"""An auditor's own books of task types: which schemas were in force, and whether payloads and results fitted theirs."""

from typing import NamedTuple

from aggregates.task import SchemaFact
from aggregates.task_type import SchemasDropped, SchemasSet
from aggregates.values.document import Document
from aggregates.values.json_schema import schema_of


class Version(NamedTuple):
    """A version of a task type's schemas, and where it was set."""

    position: int
    payload: Document | None
    result: Document | None


class SchemaBooks:
    """What the task types of one tenant have asked for."""

    def __init__(self) -> None:
        self._in_force: dict[str, SchemaFact] = {}
        self._versions: dict[tuple[str, int], Version] = {}

    def take(self, position: int, event: SchemasSet | SchemasDropped) -> None:
        """Enters a change."""
        if isinstance(event, SchemasDropped):
            self._in_force.pop(event.task_type, None)
            return
        self._in_force[event.task_type] = SchemaFact(version=event.version, position=position)
        self._versions[event.task_type, event.version] = Version(position, event.payload, event.result)

    def in_force(self, task_type: str) -> SchemaFact | None:
        """The version that a task goes by that comes now."""
        return self._in_force.get(task_type)

    def unfit(
        self, task_type: str, version: int, *, payload: Document | None = None, result: Document | None = None
    ) -> list[str]:
        """Where what was recorded under a version does not fit it."""
        known = self._versions.get((task_type, version))
        if known is None:
            return []
        pairs = (("/payload", known.payload, payload), ("/result", known.result, result))
        return [
            f"{flaw.pointer} {flaw.words}"
            for pointer, schema, document in pairs
            if schema is not None and document is not None
            for flaw in schema_of(schema).check(document, pointer)
        ]
