"""Bids: agents answer a task's call for proposals over HTTP, and anybody of the tenant reads the answers."""

from enum import StrEnum
from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.task import BidAccepted, CommitBid, PlaceBid, RefuseBid, RevealBid, WithdrawBid, stream
from aggregates.values.roles import Permission
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import some_page
from gateway.api.queries import choice, words
from gateway.api.sorting import listing
from projections import bids, tasks

IN_PATH = ("task_id",)
CommitBidBody = body_type(CommitBid, path=IN_PATH)
RevealBidBody = body_type(RevealBid, path=IN_PATH)
RefuseBidBody = body_type(RefuseBid, path=IN_PATH)


class BidPage(msgspec.Struct, frozen=True):
    """Answers, the last one first; `next` is the `after` of the next page."""

    bids: list[rows.Bid]
    next: int | str | None


async def page(call: Call) -> Response:
    """What agents have answered to the task's calls, and what became of it."""
    task_id = call.path["task_id"]
    found(await call.look(tasks.find, call.tenant, task_id), "task", task_id)
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    answers = await call.read(bids.page, call.tenant, task_id=task_id, **narrowed, **call.wish())
    return call.page("bids", answers)


async def place(call: Call) -> Response:
    """The caller offers to do the task; its later bid replaces the earlier one."""
    body: Any = await call.body(body_type(PlaceBid, path=IN_PATH))
    bid = to_command(PlaceBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(bid), 201)


async def commit(call: Call) -> Response:
    """The caller commits to a sealed bid; its later commitment replaces the earlier one."""
    body: Any = await call.body(CommitBidBody)
    sealed = to_command(CommitBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(sealed), 201)


async def reveal(call: Call) -> Response:
    """The caller opens the bid that it has committed to, once all commitments are in."""
    body: Any = await call.body(RevealBidBody)
    opened = to_command(RevealBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(opened), 201)


async def withdraw(call: Call) -> Response:
    """The caller takes its bid back while the book is open."""
    return call.reply(await call.ask(WithdrawBid(task_id=call.path["task_id"], agent_id=call.path["agent_id"])))


async def refuse(call: Call) -> Response:
    """The caller will not bid, so that nobody waits for it."""
    body: Any = await call.body_or(RefuseBidBody)
    refusal = to_command(RefuseBid, body, task_id=call.path["task_id"], agent_id=call.principal.agent_id)
    return call.reply(await call.ask(refusal), 201)


class State(StrEnum):
    """What became of an answer."""

    PLACED = "placed"
    SEALED = "sealed"
    OPENED = "opened"
    WITHDRAWN = "withdrawn"
    REFUSED = "refused"
    WON = "won"
    LOST = "lost"


FILTERS = (
    choice("state", "Only answers of which this became.", State),
    words("agent_id", "Only answers of this agent.", None),
)
PAGE = listing(bids.SORTS, rows.Bid)
SOME_PAGE = some_page(BidPage, "bids", rows.Bid)
BIDS = "/v1/tasks/{task_id}/bids"
routes = (
    Endpoint(
        "GET",
        BIDS,
        page,
        Permission.TASKS_READ,
        reply=BidPage,
        query=(*PAGE, *FILTERS),
        rests_on=(stream("{task_id}"), "subject-"),
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "POST", BIDS, place, Permission.AGENTS_ACT, body_type(PlaceBid, path=IN_PATH), BidAccepted, 201, asks_once=True
    ),
    Endpoint(
        "POST",
        "/v1/tasks/{task_id}/commitments",
        commit,
        Permission.AGENTS_ACT,
        CommitBidBody,
        BidAccepted,
        201,
        asks_once=True,
    ),
    Endpoint(
        "POST",
        "/v1/tasks/{task_id}/reveals",
        reveal,
        Permission.AGENTS_ACT,
        RevealBidBody,
        BidAccepted,
        201,
        asks_once=True,
    ),
    Endpoint("DELETE", f"{BIDS}/{{agent_id}}", withdraw, Permission.AGENTS_ACT, reply=BidAccepted, asks_once=True),
    Endpoint(
        "POST",
        "/v1/tasks/{task_id}/refusals",
        refuse,
        Permission.AGENTS_ACT,
        RefuseBidBody | None,
        BidAccepted,
        201,
        asks_once=True,
    ),
)
