"""The switchboard: what comes in on many descriptors is handed on by one task, in order, and what is left reaches the task that waits."""

import random
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.door.handlers import Line
from gateway.door.switchboard import Switchboard
from tests.gateway.raw import Witness, frame, make_app, open_socket, read_all, served

blocked = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """What we read of, and its peer."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
async def board(nursery: trio.Nursery) -> Switchboard:
    board = Switchboard()
    nursery.start_soon(board.run)
    return board


async def test_all_is_handed_on_until_something_is_left(
    board: Switchboard, pair: tuple[socket.socket, socket.socket], nursery: trio.Nursery
) -> None:
    ours, theirs = pair
    heard: list[bytes] = []
    left: list[bytes] = []

    def hear(data: bytes) -> bytes:
        heard.append(data)
        return data.partition(b"!")[2]

    async def listen() -> None:
        left.append(await board.listen(ours.fileno(), hear))

    nursery.start_soon(listen)
    for said in (b"one", b"two", b"three!rest"):
        await blocked()
        theirs.send(said)
    await blocked()
    assert (heard, left, len(board)) == ([b"one", b"two", b"three!rest"], [b"rest"], 0)
    theirs.close()
    assert await board.listen(ours.fileno(), hear) == b""


async def test_what_fails_there_fails_in_the_task_that_listens(
    board: Switchboard, pair: tuple[socket.socket, socket.socket]
) -> None:
    def hear(data: bytes) -> bytes:
        raise ValueError(data)

    pair[1].send(b"x")
    with pytest.raises(ValueError, match="x"):
        await board.listen(pair[0].fileno(), hear)
    assert len(board) == 0


async def test_a_listener_that_is_cancelled_hears_nothing_more(
    board: Switchboard, pair: tuple[socket.socket, socket.socket]
) -> None:
    heard: list[bytes] = []

    def hear(data: bytes) -> bytes:
        heard.append(data)
        return b""

    with trio.move_on_after(0):
        await board.listen(pair[0].fileno(), hear)
    pair[1].send(b"late")
    await blocked()
    assert (heard, len(board)) == ([], 0)
    assert pair[0].recv(10) == b"late"


async def test_one_that_is_hung_up_on_in_the_same_step_is_passed_over(board: Switchboard) -> None:
    """Both have something to say; who is heard first has the other leave."""
    pairs = [socket.socketpair() for _ in range(2)]
    scopes = [trio.CancelScope(), trio.CancelScope()]
    heard: list[int] = []

    async def listen(number: int) -> None:
        def hear(data: bytes) -> bytes:
            heard.append(number)
            scopes[1 - number].cancel()
            return data

        with scopes[number]:
            await board.listen(pairs[number][0].fileno(), hear)

    for ours, theirs in pairs:
        ours.setblocking(False)
        theirs.send(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, 0)
        nursery.start_soon(listen, 1)
    assert len(heard) == 1
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("seed", range(8))
async def test_messages_come_in_order_whichever_way_each_is_taken(seed: int) -> None:
    """Some are taken at once, some received; pings and fragments go the long way in between, and pieces end anywhere."""
    chance = random.Random(seed)
    heard: list[str] = []

    async def take(websocket: WebSocket) -> None:
        line: Line = websocket.scope["state"]["line"]

        def take_now(said: bytes | str) -> bool:
            can = chance.random() < 0.7
            heard.extend([str(said)] if can else [])
            return can

        await websocket.accept()
        line.take_now = take_now
        try:
            while True:
                heard.append(await websocket.receive_text())
                for _ in range(chance.randrange(3)):
                    await trio.lowlevel.checkpoint()
        except WebSocketDisconnect:
            return

    texts = [f"message {number}" for number in range(300)]
    said = b""
    for text in texts:
        if chance.random() < 0.1:
            said += frame(9, b"ping")
        if chance.random() < 0.1:
            said += frame(1, text[:4].encode(), fin=False) + frame(0, text[4:].encode())
        else:
            said += frame(1, text.encode())
    said += frame(8, b"\x03\xe8")
    app = make_app(Witness())
    app.router.routes.append(WebSocketRoute("/taken", take))
    async with served(app) as server, await open_socket(server, "/taken") as stream:
        while said:
            size = chance.choice((1, 5, 40, 400))
            await stream.send_all(said[:size])
            said = said[size:]
            if chance.random() < 0.5:
                await blocked()
        await read_all(stream)
        await blocked()
    assert heard == texts
