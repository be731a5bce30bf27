"""No control character gets into a name, whichever way it comes: not all that stores text can hold a NUL, and none needs one."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from aggregates.values.roles import PERMISSIONS_BY_ROLE, Role
from gateway.api.parameters import PATH_PARTS
from gateway.app import ENDPOINTS
from gateway.feeds.frames import FRAME_BY_TYPE
from tests.gateway import documented
from tests.gateway.clients import Client

NAMED = [line for line in ENDPOINTS if "{" in line.path and line.needs is not None]
CONTROL = ("a\0b", "\x01", "a\n", "a\r\nb", "\x7f", "\x1b[2J")
HERE = {"position": "1", "sha256": "0" * 64, "number": "1"}
"""Parts of a path that are no names."""


def paths(template: str, text: str) -> list[str]:
    """The path with this in the place of each of its names, the others being fit."""
    names = re.findall(r"\{(\w+)(?::\w+)?\}", template)

    def filled(wrong: str) -> str:
        fit = lambda found: quote(text, safe="") if found[1] == wrong else HERE.get(found[1], "fit")  # noqa: E731
        return re.sub(r"\{(\w+)(?::\w+)?\}", fit, template)

    return [filled(name) for name in names]


async def test_no_part_of_a_path_holds_a_control_character(admin: Client) -> None:
    may = PERMISSIONS_BY_ROLE[Role.ADMIN]
    for line in NAMED:
        assert set(re.findall(r"\{(\w+)", line.path)) <= set(PATH_PARTS), line.path
        for text in CONTROL:
            for path in paths(line.path, text):
                answer = await admin.ask(line.method, path, {} if line.body not in (None, bytes) else None)
                assert answer.status_code == (404 if line.needs in may else 403), (line.method, path, answer.text)
    records = await admin.node.system.journal.read(0)
    assert all(record.stream.isprintable() and record.kind != "action.ActionBegun" for record in records)


async def test_no_query_holds_one(admin: Client) -> None:
    for line in ENDPOINTS:
        texts = [one for one in line.query if one.schema.get("type") == "string" and "enum" not in one.schema]
        for parameter in texts if "{" not in line.path and line.needs is not None else ():
            answer = await admin.ask(line.method, f"{line.path}?{parameter.name}=a%00b", {} if line.body else None)
            assert answer.status_code == 422, (line.path, parameter.name, answer.text)


def texts_of(
    schema: dict[str, Any], pointer: str, seen: frozenset[str], schemas: Mapping[str, Any]
) -> list[tuple[str, dict[str, Any]]]:
    """The texts of a body's schema, by where they stand."""
    if (name := schema.get("$ref")) is not None:
        return [] if name in seen else texts_of(schemas[name.rpartition("/")[2]], pointer, seen | {name}, schemas)
    found = [(pointer, schema)] if schema.get("type") == "string" else []
    for part in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        found += texts_of(part, pointer, seen, schemas)
    for name, part in schema.get("properties", {}).items():
        found += texts_of(part, f"{pointer}/{name}", seen, schemas)
    if isinstance(schema.get("items"), dict):
        found += texts_of(schema["items"], f"{pointer}/0", seen, schemas)
    return found


def takes_nul(schema: dict[str, Any]) -> bool:
    """Whether a text of this schema may hold one, wherever that would have to stand."""
    likely = ("a\0b", "a\0b@example.org", "a@example\0.org")
    return not {"enum", "format"} & schema.keys() and any(re.search(schema.get("pattern", ""), one) for one in likely)


@pytest.mark.parametrize("path", sorted(documented.document()["paths"]))
def test_no_text_of_a_body_that_is_kept_holds_a_nul(path: str) -> None:
    for operation in documented.document()["paths"][path].values():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        schemas = documented.document()["components"]["schemas"]
        for pointer, schema in texts_of(content["schema"], "", frozenset(), schemas) if content else ():
            is_kept = path != "/session/password" and not schema.get("writeOnly")
            assert not (is_kept and takes_nul(schema)), (path, pointer, schema)


@pytest.mark.parametrize("name", sorted(FRAME_BY_TYPE))
def test_no_text_of_a_frame_that_is_kept_holds_a_nul(name: str) -> None:
    """But of a program's output, which is looked through, and of what goes back to the sender or is read as a trace."""
    schema = msgspec.json.schema(FRAME_BY_TYPE[name])
    for pointer, text in texts_of(schema, "", frozenset(), schema["$defs"]):
        assert pointer in {"/id", "/traceparent", "/output"} or not takes_nul(text), pointer


async def test_what_is_told_of_a_nul_in_a_body_is_where_it_is(admin: Client) -> None:
    for path, body, pointer in (
        ("/v1/keys", {"role": "auditor", "label": "a\0b"}, "/label"),
        ("/v1/tasks", {"task_type": "analysis", "description": "a\0b"}, "/description"),
        ("/v1/audit/actions", {"action": "folder.copied", "subject": "a\0b"}, "/subject"),
    ):
        answer = await admin.ask("POST", path, body)
        assert answer.status_code == 422, answer.text
        assert pointer in [fault["pointer"] for fault in answer.json()["errors"]], answer.text
