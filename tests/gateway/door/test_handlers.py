"""Handlers: they hear of the loss of their client, and none goes on for one that has left."""

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from gateway.door.handlers import Inbox
from tests.gateway.raw import Witness, make_app, open_socket, read_all, request, reset, served


async def test_handler_that_sends_to_a_gone_socket_ends() -> None:
    async with served() as server:
        stream = await open_socket(server, "/ws/push")
        await stream.aclose()
        await server.witness.disconnected.wait()


async def test_handler_that_ignores_the_loss_of_its_client_stops_nobody_else() -> None:
    tries = 0

    async def deaf(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        nonlocal tries
        if scope["type"] != "websocket":  # type: ignore[index]
            await make_app(Witness())(scope, receive, send)  # type: ignore[arg-type]
            return
        await send({"type": "websocket.accept"})
        while tries < 100_000:
            try:
                await send({"type": "websocket.send", "text": "x"})
            except OSError:
                tries += 1

    async with served(deaf) as server:
        stream = await open_socket(server)
        await stream.aclose()
        await server.answers()


async def test_endless_stream_to_a_gone_client_ends() -> None:
    ended = trio.Event()

    async def deaf(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        if scope["path"] != "/deaf":  # type: ignore[index]
            await make_app(Witness())(scope, receive, send)  # type: ignore[arg-type]
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            ended.set()

    async with served(deaf) as server:
        stream = await server.connect()
        await stream.send_all(request("GET", "/deaf"))
        await stream.receive_some(10)
        reset(stream)
        await ended.wait()


async def test_lost_client_reaches_a_waiting_handler() -> None:
    async with served() as server:
        stream = await server.connect()
        await stream.send_all(request("GET", "/until_gone"))
        await server.witness.begun.wait()
        reset(stream)
        await server.witness.disconnected.wait()


async def test_body_that_nobody_reads_does_not_hold_its_connection() -> None:
    async with served() as server, await server.connect() as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, request("POST", "/early", body=bytes(5_000_000)))
            assert (await read_all(stream)).startswith(b"HTTP/1.1 401")
            nursery.cancel_scope.cancel()


# The inbox


async def test_inbox_gives_all_that_came_and_then_says_for_ever_that_the_client_left() -> None:
    inbox = Inbox(4)
    for number in range(3):
        await inbox.put({"type": "http.request", "body": bytes([number])})
    await inbox.put({"type": "websocket.disconnect", "code": 1006})
    assert [(await inbox.get())["body"] for _ in range(3)] == [b"\0", b"\1", b"\2"]
    assert [(await inbox.get())["code"] for _ in range(3)] == [1006] * 3


async def test_full_inbox_makes_the_client_wait_but_never_the_news_that_it_left() -> None:
    inbox = Inbox(1)
    await inbox.put({"type": "http.request"})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.put, {"type": "http.request"})
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        await inbox.put({"type": "http.disconnect"})
    assert (await inbox.get())["type"] == "http.request"
    assert (await inbox.get())["type"] == "http.disconnect"


async def test_inbox_of_a_handler_that_has_ended_takes_everything() -> None:
    inbox = Inbox(1)
    inbox.close()
    for _ in range(10):
        await inbox.put({"type": "http.request"})
    await inbox.put({"type": "http.disconnect"})


async def test_what_is_taken_at_once_is_what_would_have_been_received_and_lets_others_go_on_now_and_then() -> None:
    inbox, taken = Inbox(2), list[int]()
    async with trio.open_nursery() as nursery:

        async def fill() -> None:
            for number in range(200):
                await inbox.put({"type": "websocket.receive", "bytes": bytes([number])})
            await inbox.put({"type": "websocket.disconnect", "code": 1000})

        nursery.start_soon(fill)
        at_once = 0
        while True:
            message = inbox.get_now()
            at_once += message is not None
            message = message or await inbox.get()
            if message["type"] == "websocket.disconnect":
                break
            taken.append(message["bytes"][0])
    assert taken == list(range(200))
    assert 50 < at_once < 200
    assert inbox.get_now() is None
