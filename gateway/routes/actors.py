"""What an operator may see and change about the actors of a running node: log levels, and messages that nobody handled."""

from collections import Counter

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import integer
from gateway.parts import Compartment
from runtime.letters import LETTERS_MAX, DeadLetter
from runtime.log_levels import Level
from runtime.recovery import NODE


class LogLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least severe lines that are written; null: as for the others."""

    level: Level | None


async def set_log_level(call: Call) -> Response:
    """Sets from which level on lines about an actor, all below it, or all of a kind are written; a kind, and actors that serve all
    tenants, are for who looks after the node. It holds from the next line on, and ends with the process."""
    wanted, name = await call.body(LogLevel), call.path["path"]
    levels = call.node.system.log_levels
    known = _looked_after(call, name) if _looks_after_node(call) else _own(call, name)
    await call.begin(f"{known} {wanted.level or 'as the others'}")
    levels.set(known, wanted.level)
    return call.reply(wanted)


def _looked_after(call: Call, name: str) -> str:
    is_known = call.node.system.log_levels.has(name) or name in _names(call.node, call.tenant)
    return found(name if is_known else None, "actor or kind of actors", name)


def _own(call: Call, name: str) -> str:
    """The name of an actor that serves the caller's tenant alone, or that is below such a one. Raises `HTTPException` 403 for what serves
    others, too."""
    parts = name.split("/")
    led_by = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
    cells = {cell.path: getattr(cell, "key", "") for cell in call.node.system.walk()}
    if name in cells and any(cells.get(path) == call.tenant != NODE for path in led_by):
        return name
    if name in _names(call.node, call.tenant):
        raise HTTPException(403, f"{name} serves other tenants, too: its level is for those who look after the node")
    return found(None, "actor or kind of actors", name)


def _names(node: Compartment, tenant: str) -> set[str]:
    """What the actors that serve this tenant can be named by: their kinds, their paths, and what leads to them."""
    names = {kind.name for kind in node.system.kinds()}
    for cell in node.system.walk():
        if getattr(cell, "key", "") in (tenant, NODE, ""):
            parts = cell.path.split("/")
            names.update("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return names


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter: a message of this type, told to an actor that was gone, on whose behalf, and why it was not handled."""

    number: int
    message: str
    actor: str
    reason: str
    tenant: str
    principal: str


class Letters(msgspec.Struct, frozen=True, kw_only=True):
    """The newest first, of those that are kept; `counts` are of all there were since the start, by reason: of all tenants for who looks
    after the node, for others of those that are kept."""

    dead_letters: list[Letter]
    counts: dict[str, int]


async def dead_letters(call: Call) -> Response:
    """Messages that nobody handled, of the caller's tenant; who looks after the node sees those of no tenant, too. They are kept in
    memory and end with the process."""
    letters, limit = call.node.system.dead_letters, call.asked(LIMIT)
    seen = [_told(letter) for letter in letters.newest(LETTERS_MAX) if _may_see(letter, call)]
    counts = letters.count_by_reason if _looks_after_node(call) else Counter(letter.reason for letter in seen)
    return call.reply(Letters(dead_letters=seen[:limit], counts=dict(counts)))


async def send_again(call: Call) -> Response:
    """Tells a dead letter to its address once more and forgets it; where nobody is there again, it is a new one."""
    letters, number = call.node.system.dead_letters, call.path["number"]
    letter = letters.find(int(number)) if number.isascii() and number.isdigit() else None
    kept = found(letter if letter is not None and _may_see(letter, call) else None, "dead letter", number)
    await call.begin(kept.ref.path)
    if letters.find(kept.number) is None:
        found(None, "dead letter", number)  # somebody else has sent it meanwhile
    letters.send_again(kept)
    return call.reply(_told(kept))


def _may_see(letter: DeadLetter, call: Call) -> bool:
    """What is of no tenant may tell of any."""
    tenant = letter.context.tenant if letter.context is not None else ""
    return _looks_after_node(call) if tenant in (NODE, "") else tenant == call.tenant


def _looks_after_node(call: Call) -> bool:
    """Whether the caller may do what concerns all tenants of the journal."""
    return Permission.NODE_MANAGE in call.principal.permissions and call.node.is_looked_after_by(call.tenant)


def _told(letter: DeadLetter) -> Letter:
    context = letter.context
    return Letter(
        number=letter.number,
        message=type(letter.message).__name__,
        actor=letter.ref.path,
        reason=letter.reason,
        tenant=context.tenant if context is not None else "",
        principal=context.principal if context is not None else "",
    )


LIMIT = integer("limit", "How many are listed at most.", 100, most=LETTERS_MAX)
LETTER = "/v1/dead-letters"
routes = (
    Endpoint(
        "PUT",
        "/v1/actors/{path:path}/log-level",
        set_log_level,
        Permission.ACTORS_MANAGE,
        body=LogLevel,
        reply=LogLevel,
        acts=True,
    ),
    Endpoint("GET", LETTER, dead_letters, Permission.NODE_READ, reply=Letters, query=(LIMIT,)),
    Endpoint(
        "POST",
        f"{LETTER}/{{number}}/send-again",
        send_again,
        Permission.ACTORS_MANAGE,
        reply=Letter,
        acts=True,
        is_kept=True,
    ),
)
