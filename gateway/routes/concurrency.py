"""Concurrency keys: how each stands, and the limits that operators set."""

from typing import Any

from starlette.responses import Response

from aggregates.concurrency import (
    DropConcurrency,
    FindConcurrency,
    KeysStand,
    KeyStands,
    SetConcurrency,
    stream,
)
from aggregates.values.roles import Permission
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint

Body = body_type(SetConcurrency)


async def find(call: Call) -> Response:
    """The keys that have open tasks or a limit that was set: how many of their tasks have a place and wait, and who has the places."""
    return call.reply(await call.ask(FindConcurrency()))


async def put(call: Call) -> Response:
    """The key has this limit from now on, whatever its tasks say; who has a place keeps it. Where that is so, nothing changes."""
    body: Any = await call.body(Body)
    key = call.path["key"]
    await call.begin(stream(call.tenant, key))
    return call.reply(await call.ask(to_command(SetConcurrency, body, key=key, set_by=call.principal.name)))


async def drop(call: Call) -> Response:
    """What the key's tasks say holds again. Where no limit was set, nothing changes."""
    key = call.path["key"]
    await call.begin(stream(call.tenant, key))
    return call.reply(await call.ask(DropConcurrency(key=key)))


KEYS = "/v1/concurrency"
KEY = f"{KEYS}/{{key}}"
routes = (
    Endpoint("GET", KEYS, find, Permission.STATUS_READ, reply=KeysStand),
    Endpoint("PUT", KEY, put, Permission.TASKS_MANAGE, Body, KeyStands, acts=True, asks_once=True),
    Endpoint("DELETE", KEY, drop, Permission.TASKS_MANAGE, reply=KeyStands, acts=True, asks_once=True),
)
