"""Fuzzers: heads and frames that were changed, cut and mixed at random, and what others make of what the door takes for a request."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import h11
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from websockets.exceptions import ConnectionClosed
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.door.bounds import Bounds, ClearFraming
from tests.gateway.attacks.peers import answers, hear
from tests.gateway.raw import Served, frame, open_socket, read_all, request, reset, served

HURRY_SECONDS = 0.2
"""How long a client that has said all waits for what the server may still wait for."""

MESSAGE_BYTES_MAX = 2000
CLIENTS_MAX = 6


class Taken(NamedTuple):
    """A request that was read to its end."""

    method: str
    target: bytes
    body: bytes


class Recorder:
    """An app that writes down, by the client's port, which requests it was given whole."""

    def __init__(self) -> None:
        self.taken: dict[int, list[Taken]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        body, message = b"", await receive()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
                self.taken[scope["client"][1]].append(Taken(scope["method"], target, body))
                break
            message = await receive()
        answer = b"hello" if scope["path"] == "/hello" else body[:10]
        length = str(len(answer)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": answer})


def strictly_read(says: bytes, bounds: Bounds) -> list[Taken]:
    """The requests that h11 finds, up to the first that is none or the last of its connection."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.header_bytes_max)
    reader.receive_data(says)
    reader.receive_data(b"")
    found: list[Taken] = []
    body, asked = b"", None
    with suppress(h11.RemoteProtocolError, h11.LocalProtocolError):
        while True:
            match event := reader.next_event():
                case h11.Request():
                    body, asked = b"", event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage():
                    assert asked is not None
                    found.append(Taken(asked.method.decode(), asked.target, body))
                    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    reader.send(h11.EndOfMessage())
                    reader.start_next_cycle()
                case _:
                    break
    return found


# ---- what is said

CHUNKED = "Transfer-Encoding: chunked"
REQUESTS = (
    request("GET", "/a?b=c", "X: y"),
    request("HEAD", "/hello"),
    request("POST", "/a", body=b"hello"),
    request("POST", "/a", "Expect: 100-continue", body=b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"),
    request("POST", "/a", CHUNKED) + b"5;x=y\r\nhello\r\n0\r\nTrailer: z\r\n\r\n",
    request("POST", "/a", CHUNKED) + b"a\r\n0123456789\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
    request("GET", "/last", "Connection: close"),
    b"GET /old HTTP/1.0\r\n\r\n",
    b"POST /old HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
)
PIECES = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\x0b", b";", b",", b"0\r\n\r\n", b"\r\n\r\n", b"HTTP/1.0", b"HEAD ",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Host: a\r\n", b"Expect: 100-continue\r\n", b" folded\r\n", b"\xff",
    b"Upgrade: websocket\r\n", b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
)  # fmt: skip
FRAMES = (
    frame(1, "hä".encode()),
    frame(2, bytes(300)),
    frame(1, b"a", fin=False) + frame(0, b"b", fin=False) + frame(9, b"p") + frame(0, b"c"),
    frame(9, b"ping"),
    frame(10, b""),
    frame(2, bytes(MESSAGE_BYTES_MAX)),
    frame(1, b"\xe2\x82", fin=False) + frame(0, b"\xac"),
    frame(8, b"\x03\xe8bye"),
)
FRAME_PIECES = (
    b"\x81\x80", b"\x01\x80", b"\x80\x80", b"\x88\x80", b"\x89\x80", b"\x82\xfe", b"\x82\xff", b"\xc1\x80", b"\x83\x80", b"\xff",
    bytes(4), bytes(8), b"\x81\x02hi", b"\xed\xa0\x80", b"\x03\xe7",
)  # fmt: skip


class Change(NamedTuple):
    """Something done to a message at a place, which is a share of its length."""

    how: str
    place: float
    length: int
    piece: bytes


class Speech(NamedTuple):
    """What a client says, in which parts, and whether it says that it has ended."""

    says: bytes
    cuts: list[float]
    ends: bool

    @property
    def parts(self) -> list[bytes]:
        places = [0, *sorted(int(cut * len(self.says)) for cut in self.cuts), len(self.says)]
        return [self.says[start:end] for start, end in pairwise(places)]


def changed(message: bytes, changes: Sequence[Change]) -> bytes:
    """The message after all of the changes."""
    data = bytearray(message)
    for how, share, length, piece in changes:
        place = int(share * len(data))
        match how:
            case "insert":
                data[place:place] = piece
            case "replace":
                data[place : place + len(piece)] = piece
            case "drop":
                del data[place : place + length]
            case "repeat":
                data[place:place] = data[place : place + length]
    return bytes(data)


def speeches(messages: Sequence[bytes], pieces: Sequence[bytes]) -> st.SearchStrategy[Speech]:
    """One to three messages in a row, changed here and there, and cut anywhere."""
    shares = st.floats(0, 1)
    piece = st.one_of(st.sampled_from(pieces), st.binary(min_size=1, max_size=4))
    change = st.builds(
        Change, st.sampled_from(["insert", "replace", "drop", "repeat"]), shares, st.integers(1, 12), piece
    )
    says = st.builds(
        lambda chosen, changes: changed(b"".join(chosen), changes),
        st.lists(st.sampled_from(messages), min_size=1, max_size=3),
        st.lists(change, max_size=4),
    )
    return st.builds(Speech, says, st.lists(shares, max_size=3), st.booleans())


heads = st.lists(speeches(REQUESTS, PIECES), min_size=1, max_size=CLIENTS_MAX)
frames = st.lists(speeches(FRAMES, FRAME_PIECES), min_size=1, max_size=CLIENTS_MAX)


# ---- what becomes of it


async def speak(stream: trio.SocketStream, speech: Speech) -> None:
    """Says it part by part."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for part in speech.parts:
            await stream.send_all(part)
            await trio.lowlevel.checkpoint()
        if speech.ends:
            await stream.send_eof()


async def request_at_random(server: Served, recorder: Recorder, speech: Speech) -> None:
    async with await server.connect() as stream:
        port, heard = stream.socket.getsockname()[1], b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, stream, speech)
            with trio.move_on_after(HURRY_SECONDS):
                heard = await read_all(stream)
            nursery.cancel_scope.cancel()
        reset(stream)
    strictly = strictly_read(speech.says, Bounds())
    taken = recorder.taken.pop(port, [])
    assert taken == strictly[: len(taken)], (speech, taken, strictly)
    assert heard.startswith(b"HTTP/1.1 ") or not heard, (speech, heard)
    if b"HEAD" not in speech.says:  # whose answers can't be told from others without knowing which they are
        answers(heard)


async def requests_at_random(spoken: list[Speech]) -> None:
    recorder = Recorder()
    async with served(ClearFraming(recorder), idle_seconds_max=HURRY_SECONDS / 2, linger_seconds_max=0.01) as server:
        async with trio.open_nursery() as nursery:
            for speech in spoken:
                nursery.start_soon(request_at_random, server, recorder, speech)
        assert (server.counts.faults, server.counts.handler_faults) == (0, 0)


def messages_in(says: bytes) -> list[bytes]:
    """The messages that the library `websockets` finds, up to the first fault."""
    reader = ServerProtocol(state=State.OPEN, max_size=MESSAGE_BYTES_MAX)
    with suppress(ConnectionClosed, EOFError):
        reader.receive_data(says)
    found: list[bytes] = []
    message, is_text = b"", False
    for event in reader.events_received():
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            continue
        is_text = event.opcode is Opcode.TEXT if event.opcode is not Opcode.CONT else is_text
        message = bytes(event.data) if event.opcode is not Opcode.CONT else message + bytes(event.data)
        if event.fin:
            try:
                message.decode() if is_text else None
            except UnicodeDecodeError:
                break
            found.append(message)
    return found


async def frame_at_random(server: Served, speech: Speech) -> None:
    async with await open_socket(server) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speak, stream, speech._replace(ends=True))
            heard = await hear(stream)
            nursery.cancel_scope.cancel()
        reset(stream)
    expected = messages_in(speech.says)
    assert heard.messages == expected[: len(heard.messages)], (speech, heard, expected)


async def frames_at_random(spoken: list[Speech]) -> None:
    async with served(message_bytes_max=MESSAGE_BYTES_MAX, linger_seconds_max=0.01) as server:
        async with trio.open_nursery() as nursery:
            for speech in spoken:
                nursery.start_soon(frame_at_random, server, speech)
        assert (server.counts.faults, server.counts.handler_faults) == (0, 0)


def run(test: Any, spoken: list[Speech]) -> None:
    trio.run(partial(test, spoken))


@given(heads)
@settings(max_examples=50)
def test_what_the_door_takes_for_a_request_is_one_to_a_strict_reader(spoken: list[Speech]) -> None:
    run(requests_at_random, spoken)


@given(frames)
@settings(max_examples=50)
def test_what_a_websocket_takes_for_a_message_is_one_to_another_library(spoken: list[Speech]) -> None:
    run(frames_at_random, spoken)


@pytest.mark.soak
@given(heads)
@settings(max_examples=5000)
def test_very_many_requests_at_random(spoken: list[Speech]) -> None:
    run(requests_at_random, spoken)


@pytest.mark.soak
@given(frames)
@settings(max_examples=5000)
def test_very_many_frames_at_random(spoken: list[Speech]) -> None:
    run(frames_at_random, spoken)
