"""Connections that come at once are taken at once, and a listener that has closed has closed wholly."""

import socket
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from gateway.door.listening import AT_ONCE_MAX, BusyListener

COMERS = 40


async def test_who_waits_is_let_in_within_a_few_passes_and_nobody_is_lost() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=COMERS)
    address = listener.socket.getsockname()
    heard = list[bytes]()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive_some(1))

    with ExitStack() as stack:
        for number in range(COMERS):
            comer = stack.enter_context(socket.create_connection(address))
            comer.sendall(bytes([number]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [BusyListener(listener)])
            for _ in range(COMERS // 2):
                await trio.lowlevel.checkpoint()
            assert sorted(heard) == [bytes([number]) for number in range(COMERS)]
            late = stack.enter_context(socket.create_connection(address))
            late.sendall(b"!")
            with trio.fail_after(60):
                while b"!" not in heard:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_each_pass_takes_no_more_than_its_share() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=COMERS)
    taken = list[trio.SocketStream]()
    with ExitStack() as stack:
        for _ in range(COMERS):
            stack.enter_context(socket.create_connection(listener.socket.getsockname()))
        async with BusyListener(listener) as busy, trio.open_nursery() as nursery:

            async def take() -> None:
                while True:
                    taken.append(await busy.accept())

            nursery.start_soon(take)
            while not taken:
                await trio.lowlevel.checkpoint()
            at_once = len(taken)
            nursery.cancel_scope.cancel()
    for stream in taken:
        await stream.aclose()
    assert 1 < at_once <= 2 * AT_ONCE_MAX  # a pass may be over before it is looked at
