"""Bids: agents answer a task's call for proposals over HTTP, and anybody of the tenant reads the answers."""

from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.task import BidAccepted, PlaceBid, RefuseBid, WithdrawBid
from aggregates.values.roles import Permission
from gateway import rows
from gateway.bodies import body_type, to_command
from gateway.calls import Call, Endpoint, found
from gateway.queries import PAGE
from projections import bids, tasks

IN_PATH = ("task_id",)
RefuseBidBody = body_type(RefuseBid, path=IN_PATH)


class BidPage(msgspec.Struct, frozen=True):
    """Answers, the last one first; `next` is the `after` of the next page."""

    bids: list[rows.Bid]
    next: int | None


async def page(call: Call) -> Response:
    """What agents have answered to the task's calls, and what became of it."""
    task_id = call.path["task_id"]
    found(await call.look(tasks.find, call.tenant, task_id), "task", task_id)
    answers = await call.read(bids.newest, call.tenant, task_id=task_id, before=call.cursor, limit=call.limit)
    return call.page("bids", answers)


async def place(call: Call) -> Response:
    """The caller offers to do the task; its later bid replaces the earlier one."""
    body: Any = await call.body(body_type(PlaceBid, path=IN_PATH))
    bid = to_command(PlaceBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(bid), 201)


async def withdraw(call: Call) -> Response:
    """The caller takes its bid back while the book is open."""
    return call.reply(await call.ask(WithdrawBid(task_id=call.path["task_id"], agent_id=call.path["agent_id"])))


async def refuse(call: Call) -> Response:
    """The caller will not bid, so that nobody waits for it."""
    body: Any = await call.body_or(RefuseBidBody)
    refusal = to_command(RefuseBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(refusal), 201)


BIDS = "/v1/tasks/{task_id}/bids"
routes = (
    Endpoint("GET", BIDS, page, Permission.TASKS_READ, reply=BidPage, query=PAGE),
    Endpoint("POST", BIDS, place, Permission.AGENTS_ACT, body_type(PlaceBid, path=IN_PATH), BidAccepted, 201),
    Endpoint("DELETE", f"{BIDS}/{{agent_id}}", withdraw, Permission.AGENTS_ACT, reply=BidAccepted),
    Endpoint(
        "POST", "/v1/tasks/{task_id}/refusals", refuse, Permission.AGENTS_ACT, RefuseBidBody | None, BidAccepted, 201
    ),
)
