"""The types of bodies, answers and frames as JSON schemas for readers: plain names, plain patterns, enums that say their type."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
NAMES = {
    "aggregates.agent.Stage": "AgentStage",
    "aggregates.key.Stage": "KeyStage",
    "aggregates.solve_job.Stage": "SolveStage",
    "aggregates.task.terms.Stage": "TaskStage",
    "aggregates.user.Stage": "UserStage",
    "gateway.routes.session.Link": "SignInLink",
    "runtime.why.Link": "Cause",
}
"""What types are called here of which there are several by one name; others are called by all of their module."""

_LINE_END = re.compile(r"\$\(\?!\\n\)$|\\Z$")


def plain_pattern(pattern: str) -> str:
    """A pattern as a JSON schema has it, where `$` is the end of the text."""
    return _LINE_END.sub("$", pattern)


def schemas_of(kinds: Iterable[Any]) -> tuple[dict[Any, Schema], dict[str, Schema]]:
    """The schema of each type, and the schemas that they refer to, by name."""
    wanted = list(dict.fromkeys(kinds))
    found, components = msgspec.json.schema_components(wanted, ref_template=REFERENCE)
    return (
        {kind: _plain(schema) for kind, schema in zip(wanted, found, strict=True)},
        {_name(name): _plain(schema) | {"title": _name(name)} for name, schema in components.items()},
    )


def _name(full: str) -> str:
    """Of what no name is given to, the module's words and its own: `runtime.why.Link` → `RuntimeWhyLink`."""
    if "." not in full:
        return full
    return NAMES.get(full) or "".join(part[:1].upper() + part[1:] for part in re.split(r"[._]", full))


def _plain(schema: Any) -> Any:
    """Without what only our own checks need: in a JSON schema, `$` is the end of the text."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(value) for name, value in schema.items()}
    match plain:
        case {"$ref": str(reference)}:
            plain["$ref"] = REFERENCE.format(name=_name(reference.removeprefix(REFERENCE.format(name=""))))
        case {"pattern": str(pattern)}:
            plain["pattern"] = plain_pattern(pattern)
        case {"enum": [*choices]} if choices and all(isinstance(choice, str) for choice in choices):
            plain["type"] = "string"
    if "mapping" in plain and "propertyName" in plain:
        plain["mapping"] = {tag: _mapped(reference) for tag, reference in plain["mapping"].items()}
    return plain


def _mapped(reference: str) -> str:
    return REFERENCE.format(name=_name(reference.removeprefix(REFERENCE.format(name=""))))


def is_nothing(kind: Any) -> bool:
    """Whether there is no schema of it: bytes, or no body at all."""
    return kind is None or kind is bytes
