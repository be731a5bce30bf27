"""Which role may do what, by the table of routes. `python -m gateway.identity.roles_page > docs/roles.md` renews the page."""

import sys

from aggregates.values.roles import NODE_WIDE, PERMISSIONS_BY_ROLE, Permission, Role
from gateway.app import ENDPOINTS, OLDER, SOCKETS

HEAD = """\
# Roles and permissions

Written by `python -m gateway.identity.roles_page`; a test asks every route as every role, of its own and of another tenant, and compares.

A key or user has one role; a key may have scopes, which are permissions, and is then good for those of its role's alone. Nobody can give
others more than they may do themselves. What a caller may do is answered by `GET /v1/me`. Permissions that concern a whole journal
(¹) are good only for those whose tenant looks after it: `default` in the node's own, the tenant itself in a journal of its own. An agent's
own key (`agent_own`) is good for that agent alone where a path names one. With `actors:manage` a caller sets the level of the tenant's own
actors; that of a kind, and of actors that serve all tenants, takes `node:manage`¹ beside it. Of other tenants nobody sees anything: their
ids answer 404.
"""


def page() -> str:
    """The page as it must be."""
    return "\n".join((HEAD, *_permissions(), "", "## Routes", "", *_routes(), ""))


def _permissions() -> list[str]:
    names = [role.value for role in Role]
    lines = ["## Permissions", "", f"| | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
    for permission in Permission:
        marks = ("✓" if permission in PERMISSIONS_BY_ROLE[role] else "" for role in Role)
        lines.append(f"| `{permission}`{'¹' if permission in NODE_WIDE else ''} | {' | '.join(marks)} |")
    return lines


def _routes() -> list[str]:
    needs_by_route: dict[str, Permission | None] = {line.route: line.needs for line in (*ENDPOINTS, *OLDER)}
    needs_by_route |= {line.route: line.needs for line in SOCKETS}
    rows = [f"| `{route}` | {f'`{needs}`' if needs else 'nothing'} |" for route, needs in needs_by_route.items()]
    return ["| route | needs |", "| --- | --- |", *rows]


if __name__ == "__main__":
    sys.stdout.write(page())
