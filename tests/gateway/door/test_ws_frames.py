"""Websocket frames read in one step: never what wsproto refuses, and what is taken as wsproto takes it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from gateway.door.ws_frames import BINARY, TEXT, frame, read_messages
from tests.gateway import raw

BYTES_MAX = 70_000
payloads = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(str.encode),
    st.sampled_from([bytes(126), bytes(65_535), bytes(65_536)]),
)
whole = st.tuples(st.sampled_from([1, 2]), payloads).map(lambda one: raw.frame(*one))
parts = st.one_of(
    whole,
    st.sampled_from([raw.frame(9, b"ping"), raw.frame(8, b"\x03\xe8"), raw.frame(1, b"\xff")]),
    st.sampled_from([raw.frame(2, b"a", fin=False), raw.frame(0, b"z")]),
    st.binary(max_size=12),
)


def heard_by_wsproto(data: bytes) -> list[Any]:
    """Whole messages up to the first fault."""
    theirs = Connection(ConnectionType.SERVER)
    theirs.receive_data(data)
    heard: list[Any] = []
    begun: list[Any] = []
    for event in theirs.events():
        if isinstance(event, CloseConnection):
            break
        if isinstance(event, (BytesMessage, TextMessage)):
            begun.append(event.data)
            if event.message_finished:
                heard.append(begun[0][:0].join(begun))
                begun = []
    return heard


@given(st.lists(parts, max_size=6).map(b"".join), st.integers(0, 20))
def test_what_is_read_in_one_step_wsproto_reads_alike(data: bytes, cut: int):
    data = data[: max(0, len(data) - cut)]
    messages, rest = read_messages(data, BYTES_MAX)
    ours = [message["bytes"] if message["bytes"] is not None else message["text"] for message in messages]
    assert [*ours, *heard_by_wsproto(rest)] == heard_by_wsproto(data)
    assert heard_by_wsproto(data[: len(data) - len(rest)]) == ours


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_are_written_as_wsproto_writes_them(size: int):
    theirs = Connection(ConnectionType.SERVER)
    assert frame(BINARY, bytes(size)) == theirs.send(BytesMessage(data=bytes(size)))
    assert frame(TEXT, b"x" * size) == theirs.send(TextMessage(data="x" * size))


def test_a_message_past_the_bound_is_left_to_wsproto():
    assert read_messages(raw.frame(2, bytes(200)), 199)[0] == []
