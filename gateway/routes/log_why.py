"""Why something happened: for auditors, the chain of causes up to the request that began it, and what it led to."""

from functools import partial

from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import flag, words
from projections import audit
from runtime.why import RELATED_MAX, Link, Reasons, Why

OF_CHARACTERS_MAX = 300

OF = words(
    "of",
    "A position of the log; or the name of a stream, a task, an agent or anything else that has one, for its newest event; "
    "or the id of a command or a correlation.",
    "",
    characters_max=OF_CHARACTERS_MAX,
)
TREE = flag("tree", "Tell also what it led to.")


async def why(call: Call) -> Response:
    """The chain of causes of an event of the tenant; another tenant's looks like none."""
    of, journal, tenant = call.asked(OF), call.node.system.journal, call.tenant
    reasons = Reasons(journal.store, lambda *_: (), tenant)
    position = await journal.read_with(reasons.find, of)
    if position is None:
        begun = await call.read(audit.related, tenant, of, 1)
        position = found(begun[0] if begun else None, "event, stream, command or correlation that is called", of)
    link: Link = found(await journal.read_with(reasons.link, position), "event at the position", of)
    related = await call.read(audit.related, tenant, link.correlation, RELATED_MAX) if call.asked(TREE) else []
    reasons = Reasons(journal.store, lambda *_: related, tenant)
    answer: Why = await journal.read_with(partial(reasons.why, position, tree=call.asked(TREE)))
    return call.reply(answer)


routes = (Endpoint("GET", "/v1/log/why", why, Permission.AUDIT_READ, reply=Why, query=(OF, TREE)),)
