"""How often an address may be turned away: whoever brings nothing that opens the door has a rate by address, and nobody else does.

It is looked at where a request is refused before its caller is known: so it costs nothing where one is let in, and a good key is never
told of it, from whatever address it comes. What costs much to look at, a token that has to be verified, is not looked at while its address
is over the rate (`Bearers.vouched`): one that was good lately is known, and one of somebody who was let in lately counts by itself.
"""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from gateway.api.problems import code_of
from gateway.door.proxies import UNIX
from gateway.identity.auth import authenticate
from gateway.limits.admission import TooOften
from gateway.limits.callers import PLACE
from gateway.origins import address_of, lock_address_of
from gateway.parts import Node
from runtime.errors import Failure


async def turned_away(connection: HTTPConnection, error: Exception) -> Exception:
    """What somebody is told in place of this failure: that they were turned away too often, or the failure itself."""
    node: Node | None = getattr(connection.app.state, "node", None)
    if node is None or not _is_of_stranger(connection, error):
        return error
    verdict = node.visitors.rates.ask_stranger(lock_address_of(connection))
    if verdict.is_let_in or await _is_known(connection, node):
        return error
    return TooOften(verdict)


def _is_of_stranger(connection: HTTPConnection, error: Exception) -> bool:
    """Whether nobody who was let in is refused, by the network."""
    known = code_of(error)
    if known is None or known[0] >= HTTPStatus.INTERNAL_SERVER_ERROR or known[0] == HTTPStatus.TOO_MANY_REQUESTS:
        return False
    return PLACE not in connection.scope.get("state", {}) and address_of(connection) != UNIX


async def _is_known(connection: HTTPConnection, node: Node) -> bool:
    """Whether it brings what opens the door: a path that is none is asked for by friends, too."""
    try:
        await authenticate(connection, node)
    except HTTPException:
        return False
    except Failure:  # nobody can say
        return True
    return True
