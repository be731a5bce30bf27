"""Frames of agents: which answer goes to which, and what it costs everybody else to find out what is wrong with one."""

from typing import Any

import msgpack
import msgspec
import pytest

from gateway.api import bodies, faults
from gateway.api.problems import BadRequest
from gateway.feeds.frames import FRAME_BY_TYPE, PROTOCOLS, Protocol
from tests.gateway.clients import Client

JSON, MSGPACK = PROTOCOLS
BID: dict[str, Any] = {"type": "bid", "id": 7, "task_id": "t", "price": 1.0, "eta_seconds": 5.0}


def said(protocol: Protocol, frame: Any) -> bytes:
    return msgspec.json.encode(frame) if protocol.is_text else msgpack.packb(frame)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_frame_that_is_valid_is_read_at_once(protocol: Protocol) -> None:
    frame: Any = protocol.read_valid(said(protocol, BID))
    assert (type(frame), frame.id, frame.price) == (FRAME_BY_TYPE["bid"], 7, 1.0)
    assert protocol.read(said(protocol, BID)) == (7, frame)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("changed", [{"price": -1}, {"type": "steal"}, {"more": 1}], ids=["value", "type", "field"])
def test_one_that_is_not_is_left_to_a_second_look(protocol: Protocol, changed: dict[str, Any]) -> None:
    raw = said(protocol, BID | changed)
    frame_id, fault = protocol.read(raw)
    assert protocol.read_valid(raw) is None
    assert (frame_id, type(fault)) == (7, BadRequest)


def test_one_that_is_mended_tells_its_own_id() -> None:
    raw = said(JSON, {"type": "start", "id": 7.0, "task_id": "t", "token": 1.0})
    frame_id, frame = JSON.read(raw)
    assert (JSON.read_valid(raw), frame_id, frame.token) == (None, 7, 1)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"bid","id":7,"task_id":"t","price":1e999,"eta_seconds":5}',
        b'{"type":"bid","id":7,"task_id":"t","price":1,"price":2,"eta_seconds":5}',
        b'{"type":"complete","id":7,"task_id":"t","token":1,"result":{"a":18446744073709551616}}',
    ],
    ids=["not finite", "twice", "too large"],
)
def test_whose_answer_it_is_is_told_of_what_no_type_refuses_too(raw: bytes) -> None:
    frame_id, fault = JSON.read(raw)
    assert (frame_id, type(fault)) == (7, BadRequest)


@pytest.mark.parametrize("frame_id", [True, 1.5, [1], 2**64, -(2**63) - 1], ids=str)
def test_an_id_that_is_none_is_not_said_again(frame_id: Any) -> None:
    raw = msgspec.json.encode(BID | {"id": frame_id})
    assert JSON.read(raw)[0] is None


@pytest.fixture
def schemas(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Against what frames were held to find all that is wrong with them."""
    held: list[Any] = []
    find = faults.schema_faults

    def noting(document: Any, schema: Any, elsewhere: Any) -> Any:
        held.append(schema)
        return find(document, schema, elsewhere)

    monkeypatch.setattr(bodies, "schema_faults", noting)
    return held


async def test_a_faulty_frame_is_held_against_its_own_type_and_once(
    admin: Client, schemas: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the step that reads what all sockets say, and not against what another type would have been."""
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        for _ in range(3):  # the first waits to be read, those after it are taken where they are heard
            schemas.clear()
            answer = await socket.ask(type="bid", task_id="t", price=1, eta_seconds=1, more=1)
            assert [fault["pointer"] for fault in answer["errors"]] == ["/more"]
            assert schemas == [bodies._schema(FRAME_BY_TYPE["bid"])]
