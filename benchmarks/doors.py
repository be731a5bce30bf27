"""The servers that the gateway bench measures, in processes of their own.

`python -m benchmarks.doors KIND …` says its port, and ends with its input.

Ours is the door of `gavel serve`, before a bare Starlette route or before a whole node; theirs is stock hypercorn on Trio with the
settings that its manual names as defaults.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_stock
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from aggregates.key import IssueKey
from aggregates.values.roles import Role
from benchmarks.plain_rounds import plain_rounds
from gateway.door.bounds import Bounds
from gateway.door.server import serve
from gateway.identity.auth import digest_of
from gateway.node import Node, open_node
from gateway.settings import GavelSettings
from runtime.delivery import Context
from runtime.garbage import collect_seldom
from runtime.telemetry import configure

CONNECTIONS_MAX = 12_000
RATE = 1e6
"""Rates are kept, and met by nobody: one client asks for all, and has all connections that there may be."""

STOP_SECONDS_MAX = 15.0
SECONDS_MAX = 3600.0
"""Leases and calls for bids outlast a measurement."""


class Door:
    """A server that runs in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.pid = process.pid
        told = json.loads(process.stdout.readline() or '{"port": 0}')
        if not told["port"]:
            raise RuntimeError("the server did not start")
        self.port: int = told["port"]
        self.keys: list[str] = told.get("keys", [])


@contextmanager
def open_door(kind: str, *arguments: str) -> Iterator[Door]:
    """Starts a server and ends it after the block."""
    command = [sys.executable, "-m", "benchmarks.doors", kind, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Door(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


# What they serve


async def hello(request: Request) -> Response:
    return JSONResponse({"hello": "world"})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_bytes(await websocket.receive_bytes())
    except WebSocketDisconnect:
        pass


def _pydantic_route() -> Route:
    """The same bounds as the task that ours takes."""
    from pydantic import BaseModel, ConfigDict, Field, ValidationError

    class Task(BaseModel):
        model_config = ConfigDict(extra="forbid")
        task_type: Literal["optimization", "analysis", "simulation", "general"]
        description: Annotated[str, Field(max_length=2000)] = ""
        capabilities: Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=64)] = []
        priority: Annotated[int, Field(ge=0, le=1000)] = 0
        payload: dict[str, Any] = {}
        bidding_seconds: Annotated[float, Field(gt=0)] = 5.0

    async def take(request: Request) -> Response:
        try:
            task = Task.model_validate_json(await request.body())
        except ValidationError as error:
            return PlainTextResponse(error.json(), 422, media_type="application/json")
        return JSONResponse({"task_id": "0", "stage": task.task_type}, 202)

    return Route("/tasks", take, methods=["POST"])


def _stream_routes() -> list[Route]:
    """Every reader gets every event, as one would write it with Starlette alone."""
    readers: set[trio.MemorySendChannel[bytes]] = set()

    async def events(request: Request) -> Response:
        send, receive = trio.open_memory_channel[bytes](10_000)
        readers.add(send)

        async def told() -> AsyncIterator[bytes]:
            async for event in receive:
                yield event

        return StreamingResponse(told(), media_type="text/event-stream")

    async def post(request: Request) -> Response:
        event = b"id: 1\nevent: task.TaskSubmitted\ndata: " + await request.body() + b"\n\n"
        for reader in readers:
            reader.send_nowait(event)
        return JSONResponse({"readers": len(readers)}, 202)

    return [Route("/events", events), Route("/post", post, methods=["POST"])]


def bare() -> Starlette:
    return Starlette(routes=[Route("/", hello), WebSocketRoute("/ws", echo)])


# How they are served

Serve = Callable[..., Any]


async def _stock(app: Starlette, *arguments: str, started: Callable[..., None], stop: trio.Event) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        served = partial(serve_stock, app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
        binds = await nursery.start(served)
        started(port=int(binds[0].rpartition(":")[2]))


async def _ours(app: Starlette, *arguments: str, started: Callable[..., None], stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        bounds = Bounds(connections_max=CONNECTIONS_MAX)
        door = partial(serve, app, bind="127.0.0.1:0", shutdown=stop, bounds=bounds)
        _, port = await nursery.start(door)
        collect_seldom()
        started(port=port)


async def _node(folder: str, tenants: str, *, started: Callable[..., None], stop: trio.Event) -> None:
    """A whole node over a data folder, with an admin's key for each of so many tenants."""
    settings = GavelSettings(
        data=Path(folder),
        bind=("127.0.0.1:0",),
        connections_max=CONNECTIONS_MAX,
        requests_per_principal_max=CONNECTIONS_MAX,
        requests_per_tenant_max=CONNECTIONS_MAX,
        house_solver=False,
        reads_per_second=RATE,
        writes_per_second=RATE,
        tenant_requests_per_second=RATE,
        bidding_seconds_max=SECONDS_MAX,
        lease_seconds=SECONDS_MAX,
    )
    async with open_node(settings) as node:
        keys = [await _key(node, tenant) for tenant in tenants.split(",")]
        collect_seldom()
        started(port=int(node.url.rpartition(":")[2]), keys=keys)
        await stop.wait()


async def _key(node: Node, tenant: str) -> str:
    key_id = node.system.ids.new()
    token = node.tokens.token(key_id)
    issue = IssueKey(key_id=key_id, role=Role.ADMIN, digest=digest_of(token), label="bench")
    await node.system.ask(issue, Context(tenant=tenant, principal="bench"))
    return token


def _kind(name: str) -> Serve:
    if name == "node":
        return _node
    side, _, what = name.partition("_")
    apps: dict[str, Callable[[], Starlette]] = {
        "bare": bare,
        "pydantic": lambda: Starlette(routes=[_pydantic_route()]),
        "stream": lambda: Starlette(routes=_stream_routes()),
        "rounds": plain_rounds,
    }
    return partial({"ours": _ours, "stock": _stock}[side], apps[what]())


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


async def _main(kind: str, *arguments: str) -> None:
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(_kind(kind), *arguments, started=_say, stop=stop))
        await trio.to_thread.run_sync(sys.stdin.read)
        stop.set()


if __name__ == "__main__":
    configure("console", "error")
    trio.run(partial(_main, *sys.argv[1:]))
