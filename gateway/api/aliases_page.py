"""Writes docs/aliases.md: the older paths and where they lead. `python -m gateway.api.aliases_page > docs/aliases.md` renews it."""

import sys

from gateway.api.aliases import ALIASES, SUNSET, Alias, Family, Service

HEAD = f"""\
# Older paths

Written by `python -m gateway.api.aliases_page`; a test compares, and asks a node every path.

Programs that know older paths need not be changed at once. Most of these lead to the same handlers as today's, with the same keys, roles
and limits; others have no handler yet and answer 501 (`not_served`), to callers with a key alone, and name what comes nearest to them.
`/phase2`, `/phase2.1` and `/v1` are served side by side. Where there is a successor, each answer says so: `Deprecation` (RFC 9745),
`Sunset: {SUNSET:%Y-%m-%d}` (RFC 8594) and `Link: <…>; rel="successor-version"`. No path ends before its sunset. `GET /openapi-older.json`
describes them; they are no part of a batch.

- **`X-Tenant-ID`** is taken with every request that brings a key, here and below `/v1`: it must be the key's own tenant, else 403
  (`tenant_differs`), for admins of the node too. Without the header the key's tenant holds; without a key the answer is 401.
- **`PHASE2_ENABLED=false`** takes the paths below `/phase2` and `/phase2.1` away: 404, for everybody.

## An address for each service

```sh
GAVEL_BIND=127.0.0.1:8000 \\
GAVEL_EXTRA_BINDS=phase2=127.0.0.1:8001,coordinator=127.0.0.1:8070,learning=127.0.0.1:8071,optimizer=127.0.0.1:8072 gavel serve
curl http://localhost:8071/health
```

At an address with the name of a service the older paths of other services are not there (404), and `/health` tells whose it is. At all
other addresses all older paths are served, and `/health` says `gavel`. Everything else is the same everywhere. `/health` needs no key,
answers 503 while the node is not ready, and lists what is not served, so that nobody takes a healthy node for a learner.

## Loopback without a key

`GAVEL_OPEN_LOOPBACK=true` lets programs of the node's machine use the paths of the group “Services” without a key: as the principal
`operator:loopback`, an operator of the tenant `default`. Off by default. While it is on, a warning stands in the log of the start, the
trail has the setting on record, `GET /v1/status` tells `open_loopback`, and the console shows it.

- Nothing else is open: neither `/v1` nor `/phase2`, no websocket, no other address. An agent that is registered so
  has a key of its own, as all have.
- A request must come by an address that is bound to loopback, from loopback, with a Host that is `localhost` or a loopback address and
  has the node's port. One with a header of a proxy (`Forwarded`, `X-Forwarded-*`, `Via`, `X-Real-IP` and the like), or from a
  page of another origin (`Origin`, `Referer`, `Sec-Fetch-Site`), needs a key as ever. So does a unix socket.
- A node with `GAVEL_PROXIES` does not start so. A proxy on this machine that adds no header at all can't be told from a program: don't
  open loopback beside one, nor where others can forward ports to it, nor on a machine whose users you don't trust.
"""


def page() -> str:
    """The page as it must be."""
    parts = [HEAD]
    for family in Family:
        rows = [_row(alias) for alias in ALIASES if alias.family is family]
        parts += [f"## {family}", "", "| path | address | answered by | |", "| --- | --- | --- | --- |", *rows, ""]
    return "\n".join(parts)


def _row(alias: Alias) -> str:
    whose = alias.service or ", ".join(Service)
    if alias.leads_to:
        return f"| `{alias.route}` | {whose} | `{alias.leads_to}` | {alias.how} |"
    if alias.like:
        return f"| `{alias.route}` | {whose} | a handler of its own, like `{alias.like}` | {alias.how} |"
    nearest = f"nearest: `{alias.instead}`" if alias.instead else ""
    return f"| `{alias.route}` | {whose} | 501 | {nearest} |"


if __name__ == "__main__":
    sys.stdout.write(page())
