"""The live feed, as server-sent events and over a websocket: in order, without a gap, and only for whom it is."""

from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
import trio
from wsproto.events import BytesMessage, TextMessage

from aggregates.key import IssueKey
from aggregates.values.roles import Role
from gateway.feeds import live
from gateway.feeds.fanout import Fanout
from gateway.identity.auth import digest_of
from gateway.routes import feed as feeds
from runtime.delivery import Context
from tests.gateway.attacks.peers import answers
from tests.gateway.clients import Client, Closed, Denied, Socket, open_socket
from tests.gateway.feed_clients import open_feed
from tests.gateway.raw import read_all, request

SOON = 0.05
TASKS = 40


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep-alives come at once."""
    monkeypatch.setattr(live, "KEEP_ALIVE_SECONDS", SOON)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Is set when a feed has ended inside the node."""
    ended = trio.Event()

    tell = Fanout.tell

    async def observed(*arguments: Any) -> None:
        try:
            await tell(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(Fanout, "tell", observed)
    return ended


async def short_lived(admin: Client, seconds: float) -> Client:
    key_id = admin.node.system.ids.new()
    token = admin.node.tokens.token(key_id)
    expires_at = admin.node.system.clock.now() + seconds
    issue = IssueKey(key_id=key_id, role=Role.AUDITOR, digest=digest_of(token), expires_at=expires_at)
    await admin.node.system.ask(issue, Context(tenant="default", principal="test"))
    return Client(admin.node, admin.http, token)


async def revoke(admin: Client, client: Client) -> None:
    key_id = next(key["key_id"] for key in (await admin.get("/v1/keys"))["keys"] if key["role"] == "auditor")
    assert (await admin.ask("DELETE", f"/v1/keys/{key_id}?reason=gone")).status_code == 200
    assert (await client.ask("GET", "/v1/log")).status_code == 401


# ---- server-sent events


async def test_a_feed_says_where_it_begins_and_then_what_happens(admin: Client) -> None:
    async with open_feed(admin) as feed:
        position = admin.node.system.journal.position
        assert await feed.next() == (position, "position", position)
        task_id = await admin.submit()
        told = await feed.record()
        assert (told.id, told.name) == (position + 1, "task.TaskSubmitted")
        (record,) = (await admin.get(f"/v1/log?stream=task-{task_id}&limit=1"))["records"]
        assert told.data == record


@pytest.mark.parametrize(
    "query,headers", [("?after=1", {}), ("", {"Last_Event_ID": "1"}), ("?after=3", {"Last_Event_ID": "1"})]
)
async def test_a_feed_goes_on_from_any_position(admin: Client, query: str, headers: dict[str, str]) -> None:
    for _ in range(3):
        await admin.submit()
    newest = admin.node.system.journal.position
    async with open_feed(admin, query, **headers) as feed:
        records = await feed.records_to(newest)
    assert [told.id for told in records] == list(range(2, newest + 1))


@pytest.mark.parametrize("query", ["?after=-1", "?after=x"])
async def test_a_position_that_is_none_is_refused(admin: Client, query: str) -> None:
    answer = await admin.ask("GET", f"/v1/feed{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:query_invalid")


async def test_a_last_event_that_is_no_position_is_refused_by_its_header(admin: Client) -> None:
    answer = await admin.ask("GET", "/v1/feed?after=1", Last_Event_ID="x")
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:gavel:problem:header_invalid")
    assert [fault["header"] for fault in answer.json()["errors"]] == ["Last-Event-ID"]


async def test_a_position_that_the_log_has_not_reached_is_of_another_log(admin: Client) -> None:
    newest = admin.node.system.journal.position
    answer = await admin.ask("GET", "/v1/feed", Last_Event_ID=str(newest + 1))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:position_ahead")
    with pytest.raises(Denied, match="position_ahead"):
        async with open_socket(admin.node, f"/v1/feed?after={newest + 1}", admin.key, protocol=""):
            pass


async def test_who_only_looks_at_a_feed_is_answered_and_goes_on(admin: Client) -> None:
    bearer = f"Authorization: Bearer {admin.key}"
    says = request("HEAD", "/v1/feed?after=0", bearer) + request("GET", "/v1/me", bearer, "Connection: close")
    async with await trio.open_tcp_stream("127.0.0.1", int(admin.node.url.rpartition(":")[2])) as stream:
        await stream.send_all(says)
        looked, asked = answers(await read_all(stream), "HEAD", "GET")
    assert looked.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (looked.status, looked.body, asked.status) == (200, b"", 200)


async def test_nothing_is_missed_while_much_is_written(admin: Client) -> None:
    async with open_feed(admin, "?after=0") as feed, trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(admin.submit)
        first = [await feed.record() for _ in range(TASKS // 2)]
    async with open_feed(admin, f"?after={first[-1].id}") as feed:
        rest = await feed.records_to(admin.node.system.journal.position)
    stored = admin.node.store.read(0, 10_000)
    assert [told.id for told in (*first, *rest)] == [record.position for record in stored]
    assert sum(told.name == "task.TaskSubmitted" for told in (*first, *rest)) == TASKS


async def test_silence_is_filled_with_positions(admin: Client, quick: None) -> None:
    async with open_feed(admin) as feed:
        for _ in range(3):
            assert await feed.next() == (
                admin.node.system.journal.position,
                "position",
                admin.node.system.journal.position,
            )


async def test_a_feed_tells_nothing_of_others_but_moves_on_past_it(admin: Client, quick: None) -> None:
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    async with open_feed(stranger) as feed:
        await admin.submit()
        reached = admin.node.system.journal.position
        assert await feed.records_to(reached) == []
        theirs = await stranger.submit(capabilities=[])
        assert (await feed.record()).data["data"]["task_id"] == theirs


async def test_a_client_that_leaves_leaves_nothing_behind(admin: Client, closed: trio.Event) -> None:
    async with open_feed(admin) as feed:
        await feed.next()
    await closed.wait()


async def test_nobody_follows_without_a_key(admin: Client) -> None:
    assert (await admin.http.get(f"{admin.node.url}/v1/feed")).status_code == 401
    unknown = Client(admin.node, admin.http, admin.node.tokens.token(admin.node.system.ids.new()))
    assert (await unknown.ask("GET", "/v1/feed")).status_code == 401


async def test_a_feed_ends_as_soon_as_its_key_is_revoked(admin: Client, closed: trio.Event) -> None:
    auditor = await admin.with_role(Role.AUDITOR)
    async with open_feed(auditor) as feed:
        await feed.next()
        await revoke(admin, auditor)
        await feed.ended()
    await closed.wait()


async def test_another_key_that_is_revoked_ends_nothing(admin: Client) -> None:
    auditor = await admin.with_role(Role.AUDITOR)
    async with open_feed(admin) as feed:
        await revoke(admin, auditor)
        names = [(await feed.record()).name for _ in range(3)]
        assert names == ["action.ActionBegun", "key.KeyRevoked", "action.ActionEnded"]


async def test_a_feed_ends_when_its_key_expires(admin: Client, quick: None) -> None:
    auditor = await short_lived(admin, 0.3)
    async with open_feed(auditor) as feed:
        await feed.ended()


async def test_a_feed_ends_when_its_browser_signs_out(admin: Client, quick: None) -> None:
    answer = await admin.http.get(admin.node.sign_in_link())
    cookie = answer.headers["set-cookie"].partition(";")[0]
    admin.http.cookies.clear()
    async with open_feed(admin, Cookie=cookie) as feed:
        await feed.next()
        signed_out = {"Cookie": cookie, "Origin": admin.node.url}
        assert (await admin.http.delete(f"{admin.node.url}/session", headers=signed_out)).status_code == 204
        await feed.ended()


# ---- the same over a websocket


async def frames_without_end(socket: Socket) -> None:
    while True:
        await socket.receive()


async def test_a_websocket_is_told_the_same(admin: Client) -> None:
    await admin.submit()
    newest = admin.node.system.journal.position
    pages = (await admin.get("/v1/log?after=1"))["records"]
    async with open_socket(admin.node, "/v1/feed?after=1", admin.key, protocol="") as socket:
        frames = [await socket.receive() for _ in range(newest - 1)]
    assert frames == [{"type": "record", "record": record} for record in pages]


async def test_a_websocket_is_told_positions_and_hears_nothing(admin: Client, quick: None) -> None:
    async with open_socket(admin.node, "/v1/feed", admin.key, protocol="") as socket:
        await socket.send_event(BytesMessage(data=b"\xff"))
        await socket.send_event(TextMessage(data="{{{"))
        for _ in range(2):
            assert await socket.receive() == {"type": "position", "position": admin.node.system.journal.position}


async def test_a_websocket_sees_its_own_tenant_alone(admin: Client, quick: None) -> None:
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    async with open_socket(admin.node, "/v1/feed", stranger.key, protocol="") as socket:
        await admin.submit()
        theirs = await stranger.submit(capabilities=[])
        assert (await socket.next("record"))["record"]["data"]["task_id"] == theirs


async def test_a_websocket_ends_with_its_key(admin: Client) -> None:
    auditor = await admin.with_role(Role.AUDITOR)
    async with open_socket(admin.node, "/v1/feed", auditor.key, protocol="") as socket:
        await revoke(admin, auditor)
        with pytest.raises(Closed) as ended:
            await frames_without_end(socket)
    assert ended.value.code == 1008


async def test_a_websocket_that_is_left_leaves_nothing_behind(admin: Client, closed: trio.Event) -> None:
    async with open_socket(admin.node, "/v1/feed", admin.key, protocol=""):
        pass
    await closed.wait()


@pytest.mark.parametrize("query,key,status", [("", "gvl_x", 401), ("?after=x", "", 422)])
async def test_a_handshake_that_makes_no_sense_is_denied(admin: Client, query: str, key: str, status: int) -> None:
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/feed{query}", key or admin.key, protocol=""):
            pass
    assert (denied.value.status, denied.value.document["status"]) == (status, status)


async def test_a_handshake_is_told_all_that_is_wrong_with_its_query(admin: Client) -> None:
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, "/v1/feed?after=1&after=2&stages=3&every=x", admin.key, protocol=""):
            pass
    told = {one["parameter"]: one["detail"] for one in denied.value.document["errors"]}
    assert (denied.value.status, denied.value.document["type"]) == (422, "urn:gavel:problem:query_invalid")
    assert (told["after"], told["stages"]) == ("stands twice", "is not a known parameter")
    assert told.keys() == {"after", "stages", "every"}


@pytest.mark.parametrize("path", ["/nowhere", "/v1/tasks"])
async def test_where_there_is_no_websocket_a_handshake_is_told_so(admin: Client, path: str) -> None:
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, path, admin.key, protocol=""):
            pass
    assert (denied.value.status, denied.value.document["detail"]) == (404, "there is no websocket at this path")


async def test_a_page_from_elsewhere_opens_no_websocket_with_our_cookie(admin: Client) -> None:
    signed_in = await admin.http.get(admin.node.sign_in_link())
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    handshake |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": "http://elsewhere.example"}
    handshake |= {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    async with httpx2.AsyncClient() as elsewhere:
        answer = await elsewhere.get(f"{admin.node.url}/v1/feed", headers=handshake)
    assert answer.status_code == 403


# ---- told together


async def test_a_websocket_is_told_all_that_has_come_in_one_frame_where_it_asks_for_that(admin: Client) -> None:
    async with open_socket(admin.node, "/v1/feed?after=0&every=0.2", admin.key, protocol="") as socket:
        first = await socket.receive()
        assert (first["type"], first["position"]) == ("records", admin.node.system.journal.position)
        pages = (await admin.get("/v1/log?after=0"))["records"]
        assert first["records"] == pages[: len(first["records"])]
        for _ in range(3):
            await admin.submit()
        newest = admin.node.system.journal.position
        heard = list(first["records"])
        while heard[-1]["position"] < newest:
            frame = await socket.receive()
            assert frame["type"] == "records"
            heard += frame["records"]
        assert heard == (await admin.get("/v1/log?after=0&limit=500"))["records"][: len(heard)]


async def test_of_a_stream_the_newest_record_alone_is_told_where_that_is_asked_for(admin: Client) -> None:
    task_id = await admin.submit()
    assert (await admin.ask("DELETE", f"/v1/tasks/{task_id}?reason=over")).status_code == 200
    newest = admin.node.system.journal.position
    async with open_feed(admin, "?after=0&newest=true&kind=task&every=0.1") as feed:
        told = await feed.records_to(newest)
    assert [(one.name, one.data["data"]["task_id"]) for one in told] == [("task.TaskCancelled", task_id)]


async def test_a_feed_that_ends_is_told_together_too(admin: Client) -> None:
    await admin.submit()
    newest = admin.node.system.journal.position
    path = f"/v1/feed?after=0&until={newest}&every=0.01"
    async with open_socket(admin.node, path, admin.key, protocol="") as socket:
        frame = await socket.receive()
        assert [record["position"] for record in frame["records"]] == list(range(1, newest + 1))
        with pytest.raises(Closed) as ended:
            await frames_without_end(socket)
    assert ended.value.code == 1000


@pytest.mark.parametrize("query", ["every=-1", "every=61", "every=soon", "every=nan", "newest=yes"])
async def test_how_often_is_a_number_within_bounds(admin: Client, query: str) -> None:
    answer = await admin.ask("GET", f"/v1/feed?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:gavel:problem:query_invalid")


async def test_many_readers_hear_the_same_and_cost_one_encoding(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    plain = feeds._event

    def counted(node: Any, record: Any) -> bytes:
        encoded.append(record.position)
        return plain(node, record)

    monkeypatch.setattr(feeds, "_event", counted)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(open_feed(admin)) for _ in range(8)]
        other = await stack.enter_async_context(open_feed(stranger))
        for reader in (*readers, other):
            await reader.next()
        await admin.submit()
        heard = [await reader.record() for reader in readers]
        assert heard == [heard[0]] * 8
        theirs = await stranger.submit(capabilities=[])
        assert (await other.record()).data["data"]["task_id"] == theirs
    assert len(encoded) == len(set(encoded))
