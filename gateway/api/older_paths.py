"""The older paths at the door: who meets which, at whose address, and without a key where loopback stands open."""

from collections.abc import Mapping, Sequence
from functools import partial

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.aliases import ALIAS_BY_ROUTE, Alias, Family
from gateway.api.calls import Endpoint, answer, answer_as
from gateway.api.loopback import OPERATOR, Loopback
from gateway.api.routing import Answer
from gateway.parts import Node
from gateway.routes.older import service_at


def offered(lines: Sequence[Endpoint], *, phase2: bool) -> tuple[Endpoint, ...]:
    """Those of the lines that a node has; without `phase2` none of its paths is there."""
    return tuple(line for line in lines if phase2 or ALIAS_BY_ROUTE[line.route].family is Family.SERVICES)


class OlderPaths:
    """The older paths of one node."""

    def __init__(self, node: Node, lines: Sequence[Endpoint]) -> None:
        self._node = node
        self._loopback = Loopback(node.settings)
        self._lines = offered(lines, phase2=node.settings.phase2_enabled)

    def routes(self) -> dict[str, dict[str, Answer]]:
        """As the application takes them."""
        by_path: dict[str, dict[str, Endpoint]] = {}
        for line in self._lines:
            by_path.setdefault(line.path, {})[line.method] = line
        return {path: self._answers(by_method) for path, by_method in by_path.items()}

    def _answers(self, by_method: Mapping[str, Endpoint]) -> dict[str, Answer]:
        alias = next(ALIAS_BY_ROUTE[line.route] for line in by_method.values())
        return dict.fromkeys(by_method, partial(self._answer, alias, by_method))

    async def _answer(self, alias: Alias, by_method: Mapping[str, Endpoint], request: Request) -> Response:
        """The paths of one service are not there at the address of another."""
        if alias.service is not None and service_at(request) not in (None, alias.service):
            raise HTTPException(404)
        if alias.family is Family.SERVICES and self._loopback.admits(request, self._node):
            return await answer_as(OPERATOR, by_method, request)
        return await answer(by_method, request)
