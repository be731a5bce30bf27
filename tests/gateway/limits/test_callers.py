"""Callers: what one principal has under way at once, over every kind of answer; and a node where one can't crowd others out."""

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from gateway.limits.callers import Callers, Most, TooManyAtOnce
from tests.gateway.clients import Denied, open_client, open_socket, settings_of


def scope(kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "state": {}}


def test_each_principal_has_its_own_places_for_each_kind():
    callers = Callers(Most(2, 9), Most(1, 9))
    mine = [scope(), scope(), scope("websocket")]
    for one in mine:
        callers.enter(one, "acme", "admin:1")
    for kind in ("http", "websocket"):
        with pytest.raises(TooManyAtOnce, match="429"):
            callers.enter(scope(kind), "acme", "admin:1")
    callers.enter(other := scope(), "other", "admin:1")
    callers.leave(mine[0])
    callers.leave(mine[0])
    callers.enter(again := scope(), "acme", "admin:1")
    for one in (*mine, other, again):
        callers.leave(one)
    callers.leave({"type": "http"})
    assert len(callers) == 0


def test_the_principals_of_a_tenant_share_its_places_and_no_others():
    callers = Callers(Most(2, 3), Most(1, 1))
    mine = [scope(), scope(), scope(), scope("websocket")]
    for one, name in zip(mine, ("admin:1", "admin:1", "admin:2", "admin:2"), strict=True):
        callers.enter(one, "acme", name)
    for kind in ("http", "websocket"):
        with pytest.raises(TooManyAtOnce, match="one tenant may have"):
            callers.enter(scope(kind), "acme", "admin:3")
    callers.enter(other := scope(), "other", "admin:3")
    callers.leave(mine[0])
    callers.enter(again := scope(), "acme", "admin:3")
    for one in (*mine, other, again):
        callers.leave(one)
    assert len(callers) == 0


async def test_event_streams_and_sockets_hold_their_places_until_they_end_and_health_is_never_refused(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, requests_per_principal_max=2, sockets_per_principal_max=1)
    async with open_client(settings) as admin:
        stream = "/v1/feed"
        headers = {"Authorization": f"Bearer {admin.key}"}
        async with open_socket(admin.node, "/v1/feed", admin.key, ""):
            with pytest.raises(Denied) as denied:
                async with open_socket(admin.node, "/v1/feed", admin.key, ""):
                    pass
            assert denied.value.status == 429
        async with (
            admin.http.stream("GET", admin.node.url + stream, headers=headers) as first,
            admin.http.stream("GET", admin.node.url + stream, headers=headers) as second,
        ):
            assert (first.status_code, second.status_code) == (200, 200)
            refused = await admin.ask("GET", "/v1/tasks")
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "one principal may have 2 requests at once" in refused.text
            assert (await admin.ask("GET", "/readyz")).status_code == 200
        while len(admin.node.callers):
            await trio.lowlevel.checkpoint()
        assert (await admin.ask("GET", "/v1/tasks")).status_code == 200
