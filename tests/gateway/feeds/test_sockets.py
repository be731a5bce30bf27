"""Agents' websockets over real sockets: calls, bids, awards, leases, reconnects, and clients that misbehave."""

import json
import math
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from aggregates.task import PlaceBid, WithdrawBid
from aggregates.values.roles import Role
from gateway.feeds import commands, sockets, translator
from gateway.feeds.commands import COMMANDS_AT_ONCE_MAX, FAULTS_MAX
from gateway.identity.auth import key_id_of
from runtime.delivery import Context, Delivery, Failed
from runtime.errors import Conflict, Failure, NotAnswered, Overloaded
from tests.gateway.clients import (
    BID,
    TASK,
    AgentClient,
    Client,
    Closed,
    Denied,
    Socket,
    open_client,
    open_socket,
    recorded,
    settings_of,
)


async def bid(socket: Socket, task_id: str, **changed: Any) -> None:
    answer = await socket.ask(type="bid", task_id=task_id, **(BID | changed))
    assert answer["type"] == "ack", answer


async def win(socket: Socket, task_id: str) -> int:
    """Bids as the only agent that was called, and returns the token of the award."""
    await socket.next("call")
    await bid(socket, task_id)
    token: int = (await socket.next("award"))["token"]
    return token


@pytest.mark.parametrize("protocol", ["gavel.v1.json", "gavel.v1.msgpack"])
async def test_an_agent_bids_wins_and_completes(admin: Client, protocol: str) -> None:
    agent = await admin.register("a1")
    async with agent.socket(protocol=protocol) as socket:
        welcome = await socket.next("welcome")
        assert welcome["agent_id"] == "a1"
        assert welcome["heartbeat_seconds"] == welcome["lease_seconds"] / 4
        assert welcome["leases"] == []
        task_id = await admin.submit(description="cut it")
        call = await socket.next("call")
        assert (call["task_id"], call["payload"], call["description"]) == (task_id, {"n": 1}, "cut it")
        assert 0 < call["closes_in"] <= 10
        await bid(socket, task_id)
        award = await socket.next("award")
        assert (award["task_id"], award["token"], award["payload"]) == (task_id, 1, {"n": 1})
        assert 0 < award["seconds_left"] <= award["lease_seconds"]
        assert await socket.ask(type="start", task_id=task_id, token=1) == {"type": "ack", "task_id": task_id}
        done = await socket.ask(type="complete", task_id=task_id, token=1, result={"value": 7})
        assert done["type"] == "ack"
    task = await admin.get(f"/v1/tasks/{task_id}")
    assert (task["stage"], task["agent_id"], task["result"]) == ("completed", "a1", {"value": 7})
    assert [row["agent_id"] for row in task["bids"]] == ["a1"]


async def test_a_client_that_names_no_protocol_speaks_json(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket(protocol="") as socket:
        await socket.next("welcome")
        assert (await socket.ask(type="heartbeat"))["lease_seconds"] == 120


async def test_the_loser_is_told_who_won_and_why(admin: Client) -> None:
    cheap, dear = await admin.register("cheap"), await admin.register("dear")
    async with cheap.socket() as winner, dear.socket() as loser:
        await winner.next("welcome")
        await loser.next("welcome")
        task_id = await admin.submit()
        await winner.next("call")
        await loser.next("call")
        await bid(loser, task_id, price=9.0)
        await bid(winner, task_id, price=1.0)
        await winner.next("award")
        lost = await loser.next("lost")
        assert (lost["task_id"], lost["winner"], lost["reason"]) == (task_id, "cheap", "outscored")


async def test_the_results_of_dependencies_come_with_the_award(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        first = await admin.submit()
        token = await win(socket, first)
        second = await admin.submit(dependencies=[first])
        await socket.ask(type="complete", task_id=first, token=token, result={"value": 3})
        await socket.next("call")
        await bid(socket, second)
        assert (await socket.next("award"))["inputs"] == {first: {"value": 3}}


async def test_results_that_are_too_long_for_a_frame_are_named(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator, "INPUT_BYTES_MAX", 20)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        first = await admin.submit()
        token = await win(socket, first)
        await socket.ask(type="complete", task_id=first, token=token, result={"value": "x" * 20})
        second = await admin.submit(dependencies=[first])
        await socket.next("call")
        await bid(socket, second)
        award = await socket.next("award")
        assert (award["inputs"], award["inputs_left_out"]) == ({}, [first])


async def test_a_reconnect_at_the_last_position_misses_nothing(admin: Client) -> None:
    agent = await admin.register("a1", slots=4)
    async with agent.socket() as socket:
        welcome = await socket.next("welcome")
        seen = welcome["position"]
    names = [await admin.submit() for _ in range(3)]
    async with agent.socket(after=seen) as socket:
        await socket.next("welcome")
        calls = [await socket.next("call") for _ in names]
        assert [call["task_id"] for call in calls] == names
        positions = [call["position"] for call in calls]
        assert positions == sorted(positions)
    async with agent.socket(after=positions[0]) as socket:
        await socket.next("welcome")
        assert [(await socket.next("call"))["task_id"] for _ in names[1:]] == names[1:]


async def test_a_client_killed_in_the_midst_finds_its_lease_and_its_award_after_the_welcome(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        token = await win(socket, task_id)
        await trio.aclose_forcefully(socket.stream)
    async with agent.socket() as socket:
        (lease,) = (await socket.next("welcome"))["leases"]
        assert (lease["task_id"], lease["token"]) == (task_id, token)
        award = await socket.next("award")
        assert (award["task_id"], award["token"], award["payload"]) == (task_id, token, {"n": 1})
        assert "position" not in award  # the log may hold more, before it, that the client has not heard
        assert (await socket.ask(type="complete", task_id=task_id, token=token, result={}))["type"] == "ack"


async def test_an_award_is_told_once_to_a_client_that_comes_back_where_it_was(admin: Client) -> None:
    agent = await admin.register("a1", slots=2)
    async with agent.socket() as socket:
        seen = (await socket.next("welcome"))["position"]
        task_id = await admin.submit()
        await win(socket, task_id)
    async with agent.socket(after=seen) as socket:
        await socket.next("welcome")
        assert (await socket.next("award"))["task_id"] == task_id
        assert (await socket.next("call"))["task_id"] == task_id
        other = await admin.submit()
        assert (await socket.next("call"))["task_id"] == other


async def test_a_lease_that_expires_is_awarded_again_and_the_old_token_is_stale(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, lease_seconds=1.0)) as admin:
        silent, lively = await admin.register("silent"), await admin.register("lively", capabilities=["waiting"])
        async with silent.socket() as first:
            await first.next("welcome")
            task_id = await admin.submit()
            token = await win(first, task_id)
        async with lively.socket() as second:
            await second.next("welcome")
            await lively.ask("PATCH", "/v1/agents/lively", {"capabilities": ["cutting"]})
            with trio.CancelScope() as beating:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_beat_for_ever, lively)
                    assert (await second.next("call"))["attempt"] == 2
                    await bid(second, task_id)
                    assert (await second.next("award"))["token"] == token + 1
                    beating.cancel()
            async with silent.socket() as first:
                await first.next("welcome")
                late = await first.ask(type="complete", task_id=task_id, token=token, result={})
                assert (late["type"], late["status"], late["code"]) == ("problem", 409, "token_stale")
        await _timeline_says_why(admin, task_id, token)


async def _timeline_says_why(admin: Client, task_id: str, token: int) -> None:
    """Suspected, lost with its lease, returned, and reported too late: each once, newest first, by position."""
    moments = (await admin.get("/v1/agents/silent/timeline"))["moments"]
    told = [moment["what"] for moment in reversed(moments)]
    assert told[:4] == ["registered", "suspected", "lost", "lease_lost"]
    assert {"returned", "reported_late"} <= set(told[4:])
    suspected, lost, taken = list(reversed(moments))[1:4]
    assert (suspected["reason"], suspected["lease_seconds"], lost["reason"]) == (
        "not heard from",
        1.0,
        "not heard from",
    )
    assert 0.75 <= suspected["silent_seconds"] < 1.0 <= lost["silent_seconds"]
    assert suspected["last_heard_at"] == lost["last_heard_at"]
    assert (taken["task_id"], taken["token"], taken["reason"]) == (task_id, token, "lease_expired")
    first = await admin.get("/v1/agents/silent/timeline?limit=2")
    rest = await admin.get(f"/v1/agents/silent/timeline?limit=100&after={first['next']}")
    assert first["moments"] + rest["moments"] == moments
    lost_alone = await admin.get("/v1/agents/silent/timeline?what=lost")
    assert [moment["position"] for moment in lost_alone["moments"]] == [lost["position"]]
    assert (await admin.ask("GET", "/v1/agents/nobody/timeline")).status_code == 404


async def _beat_for_ever(agent: AgentClient) -> None:
    while True:
        await agent.ask("POST", f"/v1/agents/{agent.agent_id}/heartbeat")
        await trio.sleep(0.2)


async def test_an_agent_that_does_not_even_answer_pings_loses_its_lease_and_is_told(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, lease_seconds=0.5)) as admin:
        agent = await admin.register("a1")
        async with agent.socket() as socket:
            await socket.next("welcome")
            task_id = await admin.submit()
            token = await win(socket, task_id)
            await recorded(admin, "task.LeaseExpired")  # nobody reads the socket meanwhile
            revoked = await socket.next("revoked")
            assert (revoked["task_id"], revoked["token"], revoked["reason"]) == (task_id, token, "lease_expired")


async def test_who_is_late_is_told_that_another_task_is_taken_back(tmp_path: Path) -> None:
    quick = {"rebalance_gain": 0.1, "rebalance_seconds": 1.0, "coordination_interval_seconds": 0.2}
    async with open_client(settings_of(tmp_path, **quick)) as admin:
        late = await admin.register("late", slots=2)
        async with late.socket() as first:
            await first.next("welcome")
            overdue = await admin.submit()
            await first.next("call")
            await bid(first, overdue, eta_seconds=0.01)
            begun = (await first.next("award"))["token"]
            await first.ask(type="start", task_id=overdue, token=begun)
            task_id = await admin.submit()
            token = await win(first, task_id)
            quick_one = await admin.register("quick")
            async with quick_one.socket() as second:
                await second.next("welcome")
                revoked = await first.next("revoked")
                assert (revoked["task_id"], revoked["token"], revoked["reason"]) == (task_id, token, "rebalanced")
                assert (await first.next("call"))["task_id"] == task_id
                stale = await first.ask(type="complete", task_id=task_id, token=token, result={})
                assert (stale["type"], stale["code"]) == ("problem", "token_stale")
                assert (await second.next("call"))["attempt"] == token + 1
                await bid(second, task_id)
                await first.ask(type="refuse", task_id=task_id)
                assert (await second.next("award"))["token"] == token + 1
                kept = await first.ask(type="complete", task_id=overdue, token=begun, result={})
                assert kept["type"] == "ack"
        told = await admin.get("/v1/agents/late/reputation")
        figures = {one["name"]: one["counts"] for one in told["figures"]}
        assert (figures["success_rate"]["failed"], figures["no_shows"]["no_shows"]) == (0, 0)


@pytest.mark.parametrize("beat", [Ping(), Pong()], ids=["ping", "pong"])
async def test_a_ping_and_the_answer_to_one_are_heartbeats(
    admin: Client, monkeypatch: pytest.MonkeyPatch, beat: Ping | Pong
) -> None:
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS_MIN", 0.0)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        heard = admin.node.sockets._socket_by_agent["default", "a1"]
        heard._beat, asked = None, trio.Event()
        monkeypatch.setattr(heard, "beat", _noting(heard.beat, asked))
        await socket.send_event(beat)
        await asked.wait()


def _noting(beat: Any, asked: trio.Event) -> Any:
    async def noted() -> Any:
        acknowledged = await beat()
        asked.set()
        return acknowledged

    return noted


async def test_an_agent_is_asked_for_a_sign_of_life_in_each_quarter_of_a_term(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, lease_seconds=0.2)) as admin:
        agent = await admin.register("a1")
        async with agent.socket() as socket:
            await socket.next("welcome")
            while not isinstance(await socket.event(), Ping):
                pass


@pytest.mark.parametrize(
    "output,exit_code,reason",
    [
        ('{"value": 7}', 0, None),
        ('{"value": 7}', -9, "the program ended with -9"),
        ("", 0, "the program's output  can't be read"),
        ("[7]", 0, "the program's output"),
        ('{"value": "%s"}' % ("x" * 70_000), 0, "result takes"),
    ],
    ids=["result", "killed", "silent", "list", "long"],
)
async def test_what_a_program_wrote_is_the_result_or_the_reason_of_a_failure(
    admin: Client, output: str, exit_code: int, reason: str | None
) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit(attempts_max=1)
        token = await win(socket, task_id)
        said = {"type": "finish", "task_id": task_id, "token": token, "output": output, "exit_code": exit_code}
        assert (await socket.ask(**said))["type"] == "ack"
        if reason is None:
            assert (await socket.ask(**said))["type"] == "ack"  # the same again
    task = await admin.get(f"/v1/tasks/{task_id}")
    if reason is None:
        assert (task["stage"], task["result"]) == ("completed", {"value": 7})
    else:
        assert task["stage"] == "dead_lettered"
        assert reason in task["reason"]


@pytest.mark.parametrize("failure", [Overloaded("full"), Conflict("lost the race"), NotAnswered("late", begun=True)])
async def test_what_the_node_cannot_take_at_the_moment_it_tries_again(
    admin: Client, monkeypatch: pytest.MonkeyPatch, failure: Failure
) -> None:
    monkeypatch.setattr(commands, "RETRY_SECONDS", 0.01)
    failures = [failure, failure]
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        _fail_with(monkeypatch, admin, failures)
        await win(socket, await admin.submit())
        assert failures == []


async def test_a_node_that_cannot_take_anything_for_long_ends_the_connection_instead_of_an_answer(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PATIENCE_SECONDS", 0.0)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        _fail_with(monkeypatch, admin, [Overloaded("full"), Overloaded("full")])
        await socket.send(type="withdraw", task_id="none", id=1)
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 1013


def _fail_with(monkeypatch: pytest.MonkeyPatch, admin: Client, failures: list[Failure]) -> None:
    """The next commands about bids meet these failures, when they are first asked or asked again."""
    system = admin.node.system
    ask, post = system.ask, system.post

    def failed(message: Any, context: Context) -> Delivery:
        if not (failures and isinstance(message, (PlaceBid, WithdrawBid))):
            return post(message, context)
        delivery = Delivery(message, None, 0, 0, 0, context, True)
        delivery.settle(Failed(failures.pop()))
        return delivery

    async def failing(message: Any, *others: Any) -> Any:
        if failures and isinstance(message, (PlaceBid, WithdrawBid)):
            raise failures.pop()
        return await ask(message, *others)

    monkeypatch.setattr(system, "ask", failing)
    monkeypatch.setattr(system, "post", failed)


PROFILE = "capabilities=cutting,sewing&price=0.5&slots=2"


async def test_an_enrolment_key_registers_the_agent_at_its_socket(admin: Client) -> None:
    enroller = await admin.with_role(Role.AGENT)
    async with open_socket(admin.node, f"/v1/agents/a1/ws?{PROFILE}&after=", enroller.key) as socket:
        own = (await socket.next("welcome"))["key"]
        await win(socket, await admin.submit(capabilities=["sewing"]))
    row = await admin.get("/v1/agents/a1")
    assert (row["name"], row["capabilities"], row["price"], row["slots"]) == ("a1", ["cutting", "sewing"], 0.5, 2)
    async with open_socket(admin.node, "/v1/agents/a1/ws", own) as socket:
        assert "key" not in await socket.next("welcome")
    async with open_socket(admin.node, f"/v1/agents/a1/ws?{PROFILE}", enroller.key) as socket:
        assert (await socket.next("welcome"))["key"] == own
    journal = admin.node.system.journal
    kinds = [record.kind for record in await journal.read(0, 500)]
    assert kinds.count("agent.AgentRegistered") == 1


async def test_an_agent_that_was_ended_may_register_again_and_gets_another_key(admin: Client) -> None:
    keys = []
    for _ in range(3):
        async with open_socket(admin.node, f"/v1/agents/a1/ws?{PROFILE}", admin.key) as socket:
            keys.append((await socket.next("welcome"))["key"])
        assert (await admin.ask("DELETE", "/v1/agents/a1")).status_code == 200
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    "query,status,code",
    [
        ("", 403, "forbidden"),
        ("capabilities=cutting&price=much", 422, "query_invalid"),
        ("capabilities=cutting&id=a2", 422, "query_invalid"),
        ("capabilities=", 422, "query_invalid"),
        ("capabilities=cutting&price=9", 409, "agent_exists"),
    ],
)
async def test_a_registration_that_makes_no_sense_is_denied(admin: Client, query: str, status: int, code: str) -> None:
    await admin.register("a1")
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/a1/ws?{query}", admin.key):
            pass
    assert denied.value.status == status
    assert denied.value.document["type"].endswith(code)


@pytest.mark.parametrize("agent_id", ["a%0d%0ab", "%00", "..", "a" * 101])
async def test_a_registration_under_a_name_that_is_no_id_is_denied(admin: Client, agent_id: str) -> None:
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/{agent_id}/ws?{PROFILE}", admin.key):
            pass
    assert denied.value.status == 404


async def test_a_registration_that_makes_no_sense_is_told_all_that_is_wrong_with_it(admin: Client) -> None:
    query = (
        "capabilities=cutting,&price=much&slots=0&agent_type=cook&name=7&after=x&town=rome"
        "&region=eu&region=us&working_hours={&prices=[]&key_id=mine"
    )
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/a1/ws?{query}", admin.key):
            pass
    assert (denied.value.status, denied.value.document["errors"]) == (
        422,
        [{"parameter": "after", "detail": "must be an integer from 0 to 9223372036854775807"}],
    )
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/a1/ws?{query.replace('&after=x', '')}", admin.key):
            pass
    told = {one["parameter"]: one["detail"] for one in denied.value.document["errors"]}
    assert denied.value.document["type"].endswith("query_invalid")
    assert told.keys() == {
        "capabilities",
        "price",
        "slots",
        "agent_type",
        "town",
        "region",
        "working_hours",
        "prices",
        "key_id",
    }
    assert told["capabilities"] == "/1 must match ^[A-Za-z0-9][A-Za-z0-9_.:-]*$"
    assert (told["price"], told["slots"]) == ("must be a number, not a text", "must be at least 1")
    assert (told["town"], told["region"]) == ("is not a known parameter", "stands twice")
    assert (told["prices"], told["key_id"]) == ("must be an object, not a list", "is set by the house")


async def test_an_agent_may_say_all_of_a_registration_in_the_query_of_its_socket(admin: Client) -> None:
    hours = {"time_zone": "Europe/Berlin", "shifts": [{"days": ["monday"], "start": "08:00", "end": "09:00"}]}
    said = {"capabilities": "cutting,sewing", "name": "7", "slots": "3", "heartbeat_timeout": "7.5", "region": "eu",
            "working_hours": json.dumps(hours), "prices": '{"sewing": 2}', "max_capacity": "9"}  # fmt: skip
    async with open_socket(admin.node, f"/v1/agents/a1/ws?{urlencode(said)}", admin.key) as socket:
        assert (await socket.next("welcome"))["lease_seconds"] == 7.5
    row = await admin.get("/v1/agents/a1")
    assert (row["name"], row["slots"], row["region"], row["max_capacity"]) == ("7", 3, "eu", 9.0)
    assert (row["working_hours"]["time_zone"], row["prices"]) == ("Europe/Berlin", {"sewing": 2.0})


async def test_whoever_else_copies_a_profile_does_not_get_the_key(admin: Client) -> None:
    async with open_socket(admin.node, f"/v1/agents/a1/ws?{PROFILE}", admin.key) as socket:
        await socket.next("welcome")
    other = await admin.with_role(Role.AGENT)
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/a1/ws?{PROFILE}", other.key):
            pass
    assert denied.value.status == 409


async def test_the_holder_is_told_when_the_deadline_passes(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit(deadline=admin.node.system.clock.now() + 1)
        await socket.next("call")
        assert (await socket.ask(type="bid", task_id=task_id, price=1, eta_seconds=0.1))["type"] == "ack"
        await socket.next("award")
        assert (await socket.next("revoked"))["reason"] == "task_expired"


async def test_an_agent_that_gives_up_is_called_again_but_not_told_that_it_gave_up(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        token = await win(socket, task_id)
        await socket.send(type="fail", id=1, task_id=task_id, token=token, reason="too hard")
        told = {(await socket.receive())["type"] for _ in range(2)}
        assert told == {"ack", "call"}


async def test_a_quiet_socket_is_told_how_far_the_log_is(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "POSITION_SECONDS", 0.01)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        position = (await socket.next("welcome"))["position"]
        await admin.submit(capabilities=[])
        while position < admin.node.system.journal.position:
            frame = await socket.receive()
            position = frame["position"]


async def test_the_holder_is_told_when_its_task_is_cancelled(admin: Client) -> None:
    agent, other = await admin.register("a1"), await admin.register("a2", capabilities=["x"])
    async with agent.socket() as socket, other.socket() as outsider:
        await socket.next("welcome")
        await outsider.next("welcome")
        task_id = await admin.submit()
        token = await win(socket, task_id)
        await admin.ask("DELETE", f"/v1/tasks/{task_id}?reason=enough")
        revoked = await socket.next("revoked")
        assert (revoked["task_id"], revoked["token"], revoked["reason"]) == (task_id, token, "task_cancelled")
        assert (await outsider.ask(type="heartbeat"))["type"] == "ack"


async def test_a_bidder_is_told_when_the_task_is_cancelled_before_the_award(admin: Client) -> None:
    agent = await admin.register("a1")
    await admin.register("a2")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        await socket.next("call")
        await bid(socket, task_id)
        await admin.ask("DELETE", f"/v1/tasks/{task_id}")
        lost = await socket.next("lost")
        assert (lost["winner"], lost["reason"]) == ("", "task_cancelled")


async def test_a_bid_for_a_closed_book_is_refused(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        await win(socket, task_id)
        answer = await socket.ask(type="bid", task_id=task_id, **BID)
        assert (answer["type"], answer["status"], answer["code"]) == ("problem", 409, "book_closed")


async def test_frames_about_one_task_are_taken_in_their_order(admin: Client) -> None:
    agent = await admin.register("a1")
    await admin.register("a2")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        await socket.next("call")
        for price in range(20):
            await socket.send(type="bid", id=price, task_id=task_id, price=price, eta_seconds=1)
        await socket.send(type="withdraw", id="last", task_id=task_id)
        answers = [await socket.next("ack") for _ in range(21)]
        assert [answer["id"] for answer in answers] == [*range(20), "last"]
    (row,) = (await admin.get(f"/v1/tasks/{task_id}/bids"))["bids"]
    assert (row["state"], row["price"]) == ("withdrawn", 19)


async def test_what_a_client_sent_before_it_left_is_done(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        token = await win(socket, task_id)
        await socket.send(type="complete", task_id=task_id, token=token, result={"value": 1})
        await socket.send_event(CloseConnection(code=1000))
    await recorded(admin, "task.TaskCompleted")
    assert (await admin.get(f"/v1/tasks/{task_id}"))["stage"] == "completed"


async def test_a_client_that_vanishes_while_it_is_told_much_hurts_nobody(admin: Client) -> None:
    agent, other = await admin.register("a1", slots=20), await admin.register("a2", slots=20)
    async with agent.socket() as socket, other.socket() as lively:
        await socket.next("welcome")
        await lively.next("welcome")
        await trio.aclose_forcefully(socket.stream)
        names = [await admin.submit() for _ in range(20)]
        assert [(await lively.next("call"))["task_id"] for _ in names] == names


async def test_more_commands_than_are_taken_at_once_are_all_answered(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        names = [f"none{number}" for number in range(3 * COMMANDS_AT_ONCE_MAX)]
        for name in names:
            await socket.send(type="withdraw", id=name, task_id=name)
        answers = [await socket.next("problem") for _ in names]
        assert {answer["id"] for answer in answers} == set(names)
        assert {answer["code"] for answer in answers} == {"task_unknown"}


async def test_calls_that_closed_before_a_reconnect_are_still_told(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        agent = await admin.register("a1")
        seen = admin.node.system.journal.position
        task_id = await admin.submit(bidding_seconds=0.05)
        await recorded(admin, "task.BookVoided")
        async with agent.socket(after=seen) as socket:
            await socket.next("welcome")
            call = await socket.next("call")
            assert (call["task_id"], call["closes_in"]) == (task_id, 0)


async def test_a_second_socket_replaces_the_first(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as first:
        await first.next("welcome")
        async with agent.socket() as second:
            await second.next("welcome")
            with pytest.raises(Closed) as closed:
                await first.receive()
            assert closed.value.code == 4409
            assert (await second.ask(type="heartbeat"))["type"] == "ack"
            assert len(admin.node.sockets) == 1


async def test_deregistering_closes_the_socket_and_its_key_opens_nothing(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        assert (await admin.ask("DELETE", "/v1/agents/a1")).status_code == 200
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 1008
    with pytest.raises(Denied) as denied:
        async with agent.socket():
            pass
    assert denied.value.status == 401


FAULTY: list[tuple[dict[str, Any], str]] = [
    ({"type": "bid", "task_id": "t", "price": -1, "eta_seconds": 1}, "/price"),
    ({"type": "bid", "task_id": "t", "price": 1}, "/eta_seconds"),
    ({"type": "bid", "task_id": "t", "price": 1, "eta_seconds": 1, "agent_id": "a2"}, "/agent_id"),
    ({"type": "complete", "task_id": "t", "token": 0}, "/token"),
    ({"type": "steal"}, "/type"),
    ({}, "/type"),
]


@pytest.mark.parametrize("frame,pointer", FAULTY)
async def test_a_faulty_frame_is_told_its_fault_and_the_socket_stays(
    admin: Client, frame: dict[str, Any], pointer: str
) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        answer = await socket.ask(**frame)
        assert (answer["type"], answer["status"]) == ("problem", 422)
        assert [fault["pointer"] for fault in answer["errors"]] == [pointer]
        assert (await socket.ask(type="heartbeat"))["type"] == "ack"


async def test_frames_that_are_no_json_or_of_the_wrong_kind_are_refused_until_the_patience_ends(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        await socket.send_event(BytesMessage(data=b"{}"))
        assert "text frames" in (await socket.next("problem"))["errors"][0]["detail"]
        for _ in range(FAULTS_MAX - 1):
            await socket.send_event(TextMessage(data="{{{"))
            assert (await socket.next("problem"))["status"] == 400
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 1008


async def test_a_socket_is_for_the_agent_of_the_key_alone(admin: Client) -> None:
    agent = await admin.register("a1")
    await admin.register("a2")
    for key, status in ((agent.key, 403), (admin.key, 403), ("gvl_x", 401)):
        with pytest.raises(Denied) as denied:
            async with open_socket(admin.node, "/v1/agents/a2/ws", key):
                pass
        assert denied.value.status == status
        assert denied.value.document["status"] == status


@pytest.mark.parametrize(
    "query,protocol,status",
    [("?after=99", "gavel.v1.json", 422), ("?after=-1", "gavel.v1.json", 422), ("", "soap", 400)],
)
async def test_a_handshake_that_makes_no_sense_is_denied(admin: Client, query: str, protocol: str, status: int) -> None:
    agent = await admin.register("a1")
    with pytest.raises(Denied) as denied:
        async with open_socket(admin.node, f"/v1/agents/a1/ws{query}", agent.key, protocol):
            pass
    assert denied.value.status == status


async def test_a_node_that_stops_says_good_bye(tmp_path: Path) -> None:
    async def hear_it(socket: Socket) -> None:
        with pytest.raises(Closed) as closed:
            await socket.receive()
        assert closed.value.code == 1001
        await socket.stream.aclose()  # which the node waits for

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery, open_client(settings_of(tmp_path)) as admin:
        agent = await admin.register("a1")
        socket = await stack.enter_async_context(agent.socket())
        await socket.next("welcome")
        nursery.start_soon(hear_it, socket)


async def test_a_trace_goes_from_the_submission_through_the_agent_and_back(admin: Client) -> None:
    trace, other, own = "4bf92f3577b34da6a3ce929d0e0e4736", "a" * 32, "b" * 32
    agent = await admin.register("a1")
    async with agent.socket(traceparent=f"00-{other}-{'1' * 16}-01") as socket:
        await socket.next("welcome")
        answer = await admin.ask("POST", "/v1/tasks", TASK, traceparent=f"00-{trace}-{'2' * 16}-01")
        task_id = answer.json()["task_id"]
        call = await socket.next("call")
        assert call["traceparent"] == f"00-{trace}-{call['position']:016x}-01"
        await bid(socket, task_id, traceparent=call["traceparent"])
        award = await socket.next("award")
        assert award["traceparent"].startswith(f"00-{trace}-")
        await socket.ask(type="start", task_id=task_id, token=1)
        mine = f"00-{own}-{'3' * 16}-00"
        await socket.ask(type="complete", task_id=task_id, token=1, result={}, traceparent=mine)
    correlations = {
        type(record.event).__name__: record.meta.correlation for record in await admin.node.system.journal.read(0)
    }
    expected = {"TaskSubmitted": trace, "BidPlaced": trace, "TaskStarted": other, "TaskCompleted": own}
    assert {name: correlations[name] for name in expected} == expected


async def test_what_is_no_trace_is_ignored_and_without_one_frames_say_nothing_of_it(admin: Client) -> None:
    agent = await admin.register("a1")
    async with agent.socket(traceparent="nonsense") as socket:
        await socket.next("welcome")
        task_id = await admin.submit()
        assert "traceparent" not in await socket.next("call")
        await bid(socket, task_id, traceparent="00-nonsense-01")
        assert "traceparent" not in await socket.next("award")


async def test_whose_key_is_revoked_is_not_heard_though_it_reads_nothing(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS_MIN", 0.0)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        monkeypatch.setattr(admin.node.sockets.translator, "frames", _waiting_for_ever)
        assert (await admin.ask("DELETE", f"/v1/keys/{key_id_of(agent.key)}")).status_code == 200
        with pytest.raises(Closed) as closed:
            await socket.ask(type="heartbeat")
    assert closed.value.code == 1008


async def test_a_bid_under_a_key_that_is_revoked_is_not_taken(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where the log's news of it has yet to come to the socket."""
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS_MIN", 0.0)
    monkeypatch.setattr(sockets, "KeyRevoked", _Never)
    agent = await admin.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        await socket.ask(type="heartbeat")
        task_id = await admin.submit()
        await socket.next("call")
        assert (await admin.ask("DELETE", f"/v1/keys/{key_id_of(agent.key)}")).status_code == 200
        with pytest.raises(Closed) as closed:
            await bid(socket, task_id)
    assert closed.value.code == 1008
    assert (await admin.get(f"/v1/tasks/{task_id}/bids"))["bids"] == []


@pytest.mark.parametrize("is_due", [False, True])
async def test_a_bid_is_a_heartbeat_too_and_the_coordinator_hears_it_first(
    admin: Client, monkeypatch: pytest.MonkeyPatch, is_due: bool
) -> None:
    """Where one is due: the coordinator hears an agent by its bid as well."""
    monkeypatch.setattr(sockets, "HEARTBEAT_SECONDS_MIN", 0.0)
    monkeypatch.setattr(sockets, "BEATS_IN_TERM", math.inf if is_due else 1)
    agent = await admin.register("a1")
    posted: list[str] = []
    post = admin.node.system.post

    def noting(message: Any, context: Context) -> Delivery:
        posted.append(type(message).__name__)
        return post(message, context)

    async with agent.socket() as socket:
        await socket.next("welcome")
        await socket.ask(type="heartbeat")  # a socket's first frame is not taken at once
        task_id = await admin.submit()
        await socket.next("call")
        monkeypatch.setattr(admin.node.system, "post", noting)
        await bid(socket, task_id)
        await socket.next("award")
    assert posted == ["Authenticate", *(["Heartbeat"] if is_due else []), "PlaceBid"]


class _Never:
    """Of which there is none."""


async def _waiting_for_ever(*_: Any) -> Any:
    await trio.sleep_forever()
