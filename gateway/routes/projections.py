"""Read models: where each stands, made anew beside the one that is served, and taken past an event that stopped it."""

from contextlib import suppress
from typing import Annotated, Any

import msgspec
import trio
from starlette.responses import Response

from aggregates.projection import SkipAccepted, SkipEvent, stream
from aggregates.values.roles import Permission
from aggregates.values.text import Name
from gateway.api.bodies import NO_NUL, body_type, to_command
from gateway.api.calls import CATCH_UP_SECONDS_MAX, Call, Endpoint, found
from gateway.parts import Compartment
from runtime.errors import Refused
from runtime.projector import ProjectionStopped
from runtime.read_models import Standing
from runtime.rebuilding import Rebuild


class ReadModel(msgspec.Struct, frozen=True, kw_only=True):
    """A projection: all up to `position` is in its tables. With a `reason` it has stopped, at the event `stopped_at`; it passes over
    the events that are `skipped`. `rebuild` tells how far it is made anew, or how that ended."""

    name: str
    position: int
    stopped_at: int
    reason: str
    skipped: list[int]
    rebuild: Rebuild | None


class ReadModels(msgspec.Struct, frozen=True):
    """All projections, and the position of the log."""

    projections: list[ReadModel]
    position: int


class RebuildProjections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which are to be made anew; all, where none is named. A name is good with or without the number of its shape."""

    projections: list[Annotated[Name, NO_NUL]] = []


async def listing(call: Call) -> Response:
    """All projections."""
    return call.reply(_shown(call.node))


def _shown(node: Compartment) -> ReadModels:
    rebuilds = {one.name: one for one in node.projector.rebuilds}
    shown = [
        ReadModel(
            **msgspec.structs.asdict(standing),
            skipped=sorted(node.projector.skips(standing.name)),
            rebuild=rebuilds.get(standing.name),
        )
        for standing in node.projector.status()
    ]
    return ReadModels(shown, node.system.journal.position)


async def rebuild(call: Call) -> Response:
    """Begins to make tables anew from the log, beside those that are served and go on; the list tells how far that is."""
    body = await call.body_or(RebuildProjections)
    names = list({_standing(call.node, name).name: None for name in body.projections})
    await call.begin(" ".join(map(stream, names)) or "projections")
    call.node.projector.rebuild(*names)
    return call.reply(_shown(call.node), 202, {"Location": PROJECTIONS})


async def retry(call: Call) -> Response:
    """Lets a projection that has stopped try again where it did, and tells how that went."""
    standing, projector = _stopped(call), call.node.projector
    tried = next(projection for projection in projector.projections if standing.name == projection.NAME)
    await call.begin(stream(standing.name))
    await projector.resume(standing.name)
    with suppress(ProjectionStopped), trio.move_on_after(CATCH_UP_SECONDS_MAX):
        await projector.wait_for(standing.stopped_at, tried)
    return call.reply(_shown(call.node))


async def skip(call: Call) -> Response:
    """Lets a projection go on without the event that stopped it. Who does so, and why, is recorded."""
    body: Any = await call.body(body_type(SkipEvent))
    standing = _standing(call.node, call.path["name"])
    again = body.position in call.node.projector.skips(standing.name)
    if not again and (not standing.reason or standing.stopped_at != body.position):
        raise Refused("projection_not_stopped_there", _where(standing))
    skipping = to_command(SkipEvent, body, projection=standing.name, failure=standing.reason)
    await call.begin(stream(standing.name))
    accepted = await call.ask(skipping)
    await call.node.projector.resume(standing.name)
    return call.reply(accepted)


def _standing(node: Compartment, name: str) -> Standing:
    """By its full name, or by that without the number of its shape."""
    standings = node.projector.status()
    one = next((one for one in standings if name in (one.name, one.name.partition("/")[0])), None)
    return found(one, "projection", name)


def _stopped(call: Call) -> Standing:
    standing = _standing(call.node, call.path["name"])
    if not standing.reason:
        raise Refused("projection_not_stopped_there", _where(standing))
    return standing


def _where(standing: Standing) -> str:
    where = f"has stopped at position {standing.stopped_at}" if standing.reason else "has not stopped"
    return f"{standing.name} {where}"


PROJECTIONS = "/v1/projections"
routes = (
    Endpoint("GET", PROJECTIONS, listing, Permission.NODE_READ, reply=ReadModels),
    Endpoint(
        "POST",
        f"{PROJECTIONS}/rebuild",
        rebuild,
        Permission.NODE_MANAGE,
        body=RebuildProjections | None,
        reply=ReadModels,
        status=202,
        acts=True,
        is_heavy=True,
        is_kept=True,
    ),
    Endpoint(
        "POST",
        f"{PROJECTIONS}/{{name}}/retry",
        retry,
        Permission.NODE_MANAGE,
        reply=ReadModels,
        acts=True,
        is_kept=True,
    ),
    Endpoint(
        "POST",
        f"{PROJECTIONS}/{{name}}/skips",
        skip,
        Permission.NODE_MANAGE,
        body_type(SkipEvent),
        SkipAccepted,
        acts=True,
    ),
)
