"""What the house sets, no body and no frame may carry: every such field of every command, tried on every body of the table of routes."""

from collections.abc import Iterator
from typing import Any, get_args

import msgpack
import msgspec
import pytest

from aggregates.catalog import AGGREGATES
from gateway.api.bodies import JSON, MSGPACK, parse
from gateway.api.openapi import body_kind
from gateway.api.problems import BadRequest
from gateway.app import ENDPOINTS, SOCKETS
from gateway.feeds.frames import FRAME_BY_TYPE
from runtime.records import HOUSE, Command, is_marked, marked
from tests.gateway import documented
from tests.gateway.clients import Client

OF_CONTEXT = {"at", "tenant"}
"""What every command is told by the node that records it."""


def house_fields() -> set[str]:
    """The names of all fields that the house sets, of any command."""
    return {name for command in commands() for name in marked(command, HOUSE)} | OF_CONTEXT


def commands() -> Iterator[type[Command[Any]]]:
    for aggregate in AGGREGATES:
        yield from aggregate.COMMANDS


def bodies() -> dict[str, type[msgspec.Struct]]:
    """The types of bodies that are no bytes, by the operation."""
    kinds = {line.route: body_kind(line.body) for line in ENDPOINTS}
    return {route: kind for route, kind in kinds.items() if kind not in (None, bytes)}


def structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    """A type and all records that it may hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structs(field.type)
    for inner in (*get_args(kind), *([kind.__origin__] if hasattr(kind, "__metadata__") else [])):
        yield from structs(inner)


def example_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    named: Any = documented.document()["paths"]
    for item in named.values():
        for operation in item.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if content.get("schema", {}).get("$ref", "").endswith(f"/{kind.__name__.rpartition('.')[2]}"):
                return dict(next(iter(content["examples"].values()))["value"])
    raise LookupError(kind)


def test_no_body_and_no_frame_has_a_field_of_the_house_at_any_depth() -> None:
    frames = (*FRAME_BY_TYPE.values(), *(line.hears for line in SOCKETS if line.hears is not None))
    for kind in (*bodies().values(), *frames):
        for struct in structs(kind):
            own = [field.name for field in msgspec.structs.fields(struct) if is_marked(field.type, HOUSE)]
            assert own == [], struct
            assert struct.__struct_config__.forbid_unknown_fields, f"{struct} takes in silence what it does not know"


@pytest.mark.parametrize("route", sorted(bodies()))
def test_every_field_of_the_house_is_refused_in_every_body(route: str) -> None:
    kind = bodies()[route]
    good = example_of(kind)
    assert parse(msgspec.json.encode(good), kind) is not None
    for name in house_fields() - set(kind.__struct_fields__):
        for raw, media_type in (
            (msgspec.json.encode(good | {name: "x"}), JSON),
            (msgpack.packb(good | {name: "x"}), MSGPACK),
        ):
            with pytest.raises(BadRequest) as refused:
                parse(raw, kind, media_type=media_type)
            assert [fault["pointer"] for fault in refused.value.faults] == [f"/{name}"]


@pytest.mark.parametrize("route", sorted(bodies()))
def test_a_body_of_a_command_says_which_of_its_fields_the_house_sets(route: str) -> None:
    kind = bodies()[route]
    elsewhere = getattr(kind, "elsewhere", {})
    for name in [name for name, who in elsewhere.items() if who == "the house"]:
        if name not in kind.__struct_fields__:
            with pytest.raises(BadRequest, match=f"/{name} is set by the house"):
                parse(msgspec.json.encode(example_of(kind) | {name: 1}), kind)


async def test_a_key_that_somebody_made_up_is_not_taken(admin: Client) -> None:
    body = example_of(bodies()["POST /v1/keys"]) | {"key_digest": "AAAA", "digest": "AAAA", "at": 1}
    answer = await admin.ask("POST", "/v1/keys", body)
    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/key_digest", "/digest", "/at"}
