"""Numbers for Prometheus: exact, escaped, cumulative, and true of what actors did."""

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.roles import Role
from gateway.metrics import BUCKETS, histogram, metric, of_kinds, of_messages
from runtime.actor import Actor, Reply, reply
from runtime.actors import Here, Props, open_actors
from runtime.errors import Crashed, Overloaded
from runtime.records import Command
from tests.gateway.clients import Socket, open_client, settings_of
from tests.gateway.prometheus import parsed
from tests.gateway.raw import read_all


class Do(Command[Any], frozen=True, kw_only=True):
    what: Any


class Plain(Actor[Do, None]):
    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.here: Here = here

    def handle(self, message: Do) -> Reply:
        return reply(message, message.what(self))


def test_large_counters_are_exact() -> None:
    text = "".join(metric("gavel_journal_position", "counter", "Committed records.", [({}, 123_456_789)]))
    assert parsed(text) == {"gavel_journal_position": 123_456_789}


@given(st.text(st.sampled_from('ab"\\\n'), max_size=8))
def test_a_label_says_what_it_was_given(text: str) -> None:
    [line] = "".join(metric("gavel_x", "counter", "X.", [({"reason": text}, 1)])).split("\n")[2:-1]
    told = line.removeprefix('gavel_x{reason="').removesuffix('"} 1')
    assert '"' not in told.replace("\\\\", "").replace('\\"', "")
    unescaped = told.replace("\\\\", "\0").replace('\\"', '"').replace("\\n", "\n").replace("\0", "\\")
    assert unescaped == text


@given(st.lists(st.integers(1, 10**12), max_size=40))
def test_each_bucket_counts_what_took_no_longer(measured: list[int]) -> None:
    counts = [0] * 65
    for nanoseconds in measured:
        counts[nanoseconds.bit_length()] += 1
    values = parsed("".join(histogram("gavel_x", "X.", {"a": counts})))
    for place in BUCKETS:
        assert values[f"gavel_x_bucket a {(1 << place) / 1e9!r}"] == sum(ns < 1 << place for ns in measured)
    assert values["gavel_x_count a"] == len(measured)
    true = sum(measured) / 1e9
    assert 0.75 * true <= values["gavel_x_sum a"] <= 1.5 * true


async def test_what_became_of_messages_is_counted() -> None:
    async with open_actors() as actors:
        full = actors.spawn(Plain, "full", Props(mailbox_max=1, caller_runs=False))
        full.tell(Do(what=lambda _: None))
        with pytest.raises(Overloaded):
            full.tell(Do(what=lambda _: None))
        with pytest.raises(Crashed):
            await actors.spawn(Plain).ask(Do(what=lambda _: 1 // 0))
        await full.stop()  # with one message in its mailbox
        for _ in range(3):
            full.tell(Do(what=lambda _: None))
        values = parsed("".join([*of_kinds(actors), *of_messages(actors)]))
        assert values["gavel_actors_overloaded_total"] == 1
        assert values["gavel_actors_crashed_total"] == 1
        assert values["gavel_actor_restarts_total plain"] == 1
        assert values["gavel_actor_crashes plain"] == 1
        assert values["gavel_actor_count plain"] == 1
        assert values["gavel_actor_handled_total plain"] == 1
        assert values["gavel_actor_handler_seconds_count plain"] == 1
        assert values["gavel_dead_letters_total stopped"] == 4
        assert values["gavel_messages_total"] == actors.messages


async def test_reasons_of_dead_letters_are_few() -> None:
    async with open_actors() as actors:
        for number in range(200):
            ref = actors.spawn(Plain)
            ref.stop_soon(f"reason {number} (error {number})")
            ref.tell(Do(what=None))
            again = actors.spawn(Plain, "again")
            again.tell(Do(what=None))
            again.stop_soon(f"always the same (error {number})")
        counted = actors.dead_letters.count_by_reason
        assert counted["always the same"] == 200
        assert len(counted) <= 51
        assert sum(counted.values()) == len(actors.dead_letters)


async def test_what_clients_do_at_the_door_is_counted(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, sign_ins_per_minute=1.0)) as admin:
        agent = await admin.register("solver")
        for path in ("/v1/tasks", "/v1/nowhere", "/v1/audit/verify"):
            await admin.ask("GET", path)
        for _ in range(3):
            await admin.ask("POST", "/session/password", {"name": "ann", "password": "wrong"})
        port = int(admin.node.url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"no request\r\n\r\n")
            await read_all(stream)
        async with agent.socket() as socket:
            await socket.receive()
            values = parsed((await admin.ask("GET", "/metrics")).text)
        assert values["gavel_agent_sockets"] == 1
        assert values["gavel_connections"] >= 2
        assert values["gavel_connections_taken_total"] >= values["gavel_connections"]
        assert values["gavel_requests_total read 404"] == values["gavel_requests_total heavy 200"] == 1
        assert values["gavel_requests_total write 201"] == values["gavel_requests_total socket 101"] == 1
        assert values["gavel_requests_total unread 400"] == 1
        assert values["gavel_requests_total write 429"] == values["gavel_rate_refusals_total sign-in"] == 2
        for name in ("refused", "crowded", "evicted", "stalled", "unsecured", "failed"):
            assert values[f"gavel_connections_{name}_total"] == 0
        assert values["gavel_request_faults_total"] == 0
        other = await admin.with_role(Role.AUDITOR, tenant="other")
        answer = await other.ask("GET", "/metrics")
        assert "gavel_connections" not in answer.text


async def won(socket: Socket) -> dict[str, Any]:
    """The award of the task that is called for next."""
    call = await socket.next("call")
    await socket.ask(type="bid", task_id=call["task_id"], eta_seconds=1)
    return await socket.next("award")


async def test_why_no_more_is_begun_is_told(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path, tasks_running_max=3, tasks_running_per_tenant_max=2)) as admin:
        agent = await admin.register("ann", slots=3)
        async with agent.socket() as socket:
            await socket.next("welcome")
            for _ in range(2):
                await admin.submit(concurrency={"key": "press", "limit": 2})
                await won(socket)
            await admin.submit(concurrency={"key": "press", "limit": 2})
            await admin.ask("POST", "/v1/queues/night/pause", {"reason": "the night"})
            values = parsed((await admin.ask("GET", "/metrics")).text)
        assert (values["gavel_places_taken default"], values["gavel_places_own_max default"]) == (2, 2)
        assert (values["gavel_node_places_taken"], values["gavel_node_places_max"]) == (2, 3)
        assert (values["gavel_concurrency_keys_full default"], values["gavel_queues_paused default"]) == (1, 1)


async def test_a_tenants_work_is_told_to_those_who_look_after_it(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        agent = await admin.register("ann", slots=1)
        async with agent.socket() as socket:
            await socket.next("welcome")
            done = await admin.submit()
            award = await won(socket)
            await socket.ask(type="complete", task_id=done, token=award["token"])
            held = await admin.submit()
            await won(socket)
        blocked = await admin.submit(dependencies=[held])
        unwanted = await admin.submit(dependencies=[held])
        await admin.submit()
        await admin.ask("DELETE", f"/v1/tasks/{unwanted}")
        figures = (await admin.ask("GET", "/v1/coordination/figures")).json()
        assert figures["agents"] == {"active": 1}
        assert figures["tasks"] == {"blocked": 1, "waiting": 1, "bidding": 0, "held": 1}
        assert figures["ended"] == {"cancelled": 1, "completed": 1}
        assert figures["completion_rate"] == 0.5
        scores = figures["scores"]
        assert scores["agents"] == 1
        assert scores["least"] == scores["most"] > 0
        other = await admin.with_role(Role.AUDITOR, tenant="other")
        await (await admin.with_role(Role.OPERATOR, tenant="other")).submit()
        values = parsed((await admin.ask("GET", "/metrics")).text)
        assert values["gavel_tasks_open default held"] == values["gavel_tasks_ended default completed"] == 1
        theirs = parsed((await other.ask("GET", "/metrics")).text)
        assert {name for name in theirs if "default" in name} == set()
        assert {name for name in values if "other" in name} >= {name for name in theirs if "other" in name} != set()
        assert (values["gavel_places_taken default"], values["gavel_places_own_max default"]) == (1, 0)
        assert (values["gavel_node_places_taken"], values["gavel_node_places_max"]) == (1, 0)
        assert {name for name in theirs if name.startswith("gavel_node_places")} == set()
        assert values["gavel_queues_paused default"] == values["gavel_batches_refused_total default"] == 0
        assert blocked in {row["task_id"] for row in (await admin.get("/v1/tasks?stage=blocked"))["tasks"]}
