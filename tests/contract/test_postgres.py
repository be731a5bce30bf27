"""What can happen between a journal and a PostgreSQL server: lost connections, restarts, stale copies, others who write."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
import trio
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from psycopg.sql import SQL, Identifier

from benchmarks.postgres_server import Server
from runtime.clock import SystemClock
from runtime.delivery import Context
from runtime.errors import Fenced, NotAnswered, NotCommitted
from runtime.evidence import Unreadable
from runtime.ids import Ids
from runtime.store.contract import Batch, NotDurable, Unresolved
from runtime.store.follower import Follower
from runtime.store.postgres import PostgresStore, schema_of
from runtime.store.postgres_recorder import PostgresJournalDatastore, PostgresJournalRecorder
from runtime.system import Role, open_system
from runtime.transparency import Signer
from tests.contract.places import CODEC, PostgresPlace, batch, positions
from tests.contract.proxy import Fault, Proxy
from tests.runtime.bank import Balance, Deposit, Teller

REPLY = [("t1", "k", b"d", b"r", 1, 1.0)]
FOREVER = 3600.0
ANN = Context(tenant="t1", principal="ann")
SILENCE_SECONDS_MAX = 20.0
"""After that a reader gives up on writers who have failed."""


@pytest.fixture
def place(server: Server, fresh_name: str) -> PostgresPlace:
    return PostgresPlace(server.address, fresh_name)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.socket)
    yield made
    made.close()


@pytest.fixture
def store(place: PostgresPlace, proxy: Proxy) -> Iterator[PostgresStore]:
    """A store that reaches the server through the proxy."""
    opened = place.open(address=proxy.address)
    opened.append(batch(1))
    yield opened
    opened.close()


def test_a_batch_is_one_round_trip(store: PostgresStore, proxy: Proxy) -> None:
    for part in ({}, {"replies": REPLY}, {"reactions": [("teller", "t1", 1)]}):  # the first of a kind is prepared
        store.append(batch(store.position + 1, **part))
    before = proxy.turns
    store.append(batch(5, 500))
    store.append(Batch([], [("t1", "k2", b"", b"", 504, 1.0)], [], 1.0))
    store.append(batch(505, 3, reactions=[("teller", "t1", 2)]))
    assert proxy.turns == before + 3


# ---- lost connections


@pytest.mark.parametrize("fault", ["answer", "batch"])
def test_a_batch_stands_once_whether_it_or_its_answer_was_lost(
    place: PostgresPlace, store: PostgresStore, proxy: Proxy, fault: Fault
) -> None:
    seen = []
    proxy.lose(fault, after=lambda: seen.extend(place.meddle("SELECT max(notification_id) FROM stored_events")))
    store.append(batch(2, 3, replies=REPLY, reactions=[("teller", "t1", 2)]))
    assert seen == [(4,) if fault == "answer" else (1,)]
    assert (store.position, positions(store)) == (4, [1, 2, 3, 4])
    assert (store.find_reply("t1", "k"), store.reactions()) == ((b"d", b"r"), {("teller", "t1"): 2})
    store.append(batch(5))
    assert store.judge().positions == 5


@pytest.mark.parametrize("fault", ["answer", "batch"])
def test_a_reply_without_records_stands_once_too(store: PostgresStore, proxy: Proxy, fault: Fault) -> None:
    proxy.lose(fault)
    store.append(Batch([], REPLY, [("teller", "t1", 1)], 1.0))
    assert (store.find_reply("t1", "k"), store.reactions()) == ((b"d", b"r"), {("teller", "t1"): 1})
    store.append(batch(2))


def test_a_batch_that_is_late_does_nothing(store: PostgresStore, place: PostgresPlace, proxy: Proxy) -> None:
    late = store._seat.token
    proxy.lose("batch")
    store.append(batch(2))
    with closing(PostgresJournalDatastore(place.address, store.schema)) as datastore:
        recorder = PostgresJournalRecorder(datastore)
        with pytest.raises(IntegrityError, match="taken the journal over"):
            recorder.insert_events([StoredEvent("bank-x", 1, "bank.Deposited", b"")], first=3, token=late)
    assert place.meddle("SELECT max(notification_id) FROM stored_events") == [(2,)]
    store.append(batch(3))


def test_while_the_server_is_away_a_lost_batch_stays_in_doubt_and_is_found_when_it_is_back(
    store: PostgresStore, server: Server, proxy: Proxy
) -> None:
    proxy.lose("answer", after=lambda: server.stop("immediate"))
    again = threading.Thread(target=server.start)
    attempts = 0
    take = store._seat.take

    def try_to_take() -> psycopg.Connection[tuple[object, ...]]:
        nonlocal attempts
        attempts += 1
        if attempts == 3:
            again.start()
        return take()

    store._seat.take = try_to_take  # type: ignore[method-assign]
    store.append(batch(2, 2))
    again.join()
    assert attempts >= 3
    assert positions(store) == [1, 2, 3]
    assert store.judge().whole


def test_who_can_ask_nobody_stops_and_the_next_start_finds_the_truth(place: PostgresPlace, proxy: Proxy) -> None:
    def go_away() -> None:
        proxy.target = None

    store = place.open(address=proxy.address, doubt_seconds_max=0.2)
    store.append(batch(1))
    proxy.lose("answer", after=go_away)
    with pytest.raises(Unresolved, match="nobody could be asked whether it stands"):
        store.append(batch(2))
    store.close()
    again = place.open()
    assert (again.position, positions(again)) == (2, [1, 2])
    again.close()


def test_a_statement_that_the_server_ends_leaves_nothing_and_fails_at_once(
    store: PostgresStore, place: PostgresPlace
) -> None:
    with psycopg.connect(place.address) as other:
        other.execute(SQL("LOCK TABLE {}.nodes IN ACCESS EXCLUSIVE MODE").format(Identifier(store.schema)))
        store._seat.take().execute("SET lock_timeout = '10ms'")
        with pytest.raises(OperationalError, match="lock timeout"):
            store.append(batch(2))
    assert (store.position, positions(store)) == (1, [1])
    store.append(batch(2))
    assert store.judge().positions == 2


# ---- restarts


def test_without_a_server_writing_fails_at_once_and_goes_on_when_it_is_back(
    store: PostgresStore, server: Server
) -> None:
    server.stop()
    for _ in range(2):
        with pytest.raises(OperationalError):
            store.append(batch(2))
    assert store.position == 1
    server.start()
    store.append(batch(2))
    assert positions(store) == [1, 2]


def test_restarts_while_writing_lose_nothing_and_write_nothing_twice(
    place: PostgresPlace, store: PostgresStore, server: Server
) -> None:
    done, written = threading.Event(), threading.Event()
    ended: list[bool] = []

    def write() -> None:
        try:
            while not done.is_set():
                with suppress(OperationalError):
                    store.append(batch(store.position + 1, 3))
                    written.set()
        finally:
            ended.append(not done.is_set())
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    for mode in ("immediate", "fast", "immediate"):
        written.clear()
        written.wait()
        server.stop(mode)
        server.start()
    written.clear()
    written.wait()
    done.set()
    writer.join()
    assert ended == [False]
    acknowledged = store.position
    assert positions(store) == list(range(1, acknowledged + 1))
    assert store.judge().whole


async def test_actors_are_told_while_the_server_is_away_and_go_on_when_it_is_back(
    place: PostgresPlace, server: Server
) -> None:
    clock = SystemClock()
    with closing(place.open()) as store:
        async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
            assert await system.ask(Deposit(account="a", cents=5), ANN) == Balance(5)
            await trio.to_thread.run_sync(server.stop)
            with pytest.raises(NotCommitted):
                await system.ask(Deposit(account="a", cents=1), ANN)
            await trio.to_thread.run_sync(server.start)
            assert await system.ask(Deposit(account="a", cents=2), ANN) == Balance(7)
        assert positions(store) == [1, 2]
        assert store.judge().whole


async def test_a_node_outlives_a_server_that_is_away_for_longer_than_readers_wait(
    place: PostgresPlace, proxy: Proxy
) -> None:
    clock = SystemClock()
    with closing(place.open(address=proxy.address)) as store:
        store._datastore.pool.timeout = 0.01
        async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
            assert await system.ask(Deposit(account="a", cents=5), ANN) == Balance(5)
            target, proxy.target = proxy.target, None
            proxy.cut()
            for account in ("a", "b", "c"):
                with pytest.raises((NotCommitted, NotAnswered)):
                    await system.ask(Deposit(account=account, cents=1), ANN, seconds=1.0)
            proxy.target = target
            assert await system.ask(Deposit(account="a", cents=2), ANN) == Balance(7)
            assert await system.ask(Deposit(account="b", cents=2), ANN) == Balance(2)
        assert positions(store) == [1, 2, 3]


# ---- stale copies


def test_a_server_that_holds_less_is_refused_by_its_position(
    place: PostgresPlace, proxy: Proxy, server: Server
) -> None:
    store = place.open(address=proxy.address)
    store.append(batch(1, 2))
    server.stop()
    replica = server.copy()
    server.start()
    store.append(batch(3))
    replica.start()
    try:
        proxy.target = replica.socket
        proxy.cut()
        with pytest.raises(Fenced, match="holds 2 records where 3 were written"):
            store.append(batch(4))
        with psycopg.connect(replica.address) as connection:
            connection.execute(f"SET search_path = {store.schema}")
            assert connection.execute("SELECT max(notification_id) FROM stored_events").fetchall() == [(2,)]
            with pytest.raises(OperationalError, match="an older copy"):
                store._admit(connection)
    finally:
        store.close()
        replica.close()


def test_a_server_that_holds_something_else_is_refused(
    store: PostgresStore, place: PostgresPlace, proxy: Proxy
) -> None:
    place.meddle("UPDATE checkpoints SET note = 'another'")
    proxy.cut()
    with pytest.raises(Fenced, match="not the one that this process has written"):
        store.append(batch(2))


# ---- others who write


def test_who_was_replaced_can_write_nothing_any_more(place: PostgresPlace) -> None:
    first = place.open()
    first.append(batch(1))
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ?"
    place.meddle(end, f"gavel writer {first._seat._owner}")
    second = place.open()
    for write in (
        lambda: first.append(batch(2)),
        lambda: first.save([], [("a", "", 1)]),
        lambda: first.forget_replies(9.0),
    ):
        with pytest.raises(Fenced, match="taken over"):
            write()
    second.append(batch(2))
    assert (positions(second), second.reactions()) == ([1, 2], {})
    first.close()
    second.close()


@pytest.mark.parametrize("prepared", [False, True])
def test_a_batch_that_waited_for_the_new_writer_does_nothing(place: PostgresPlace, prepared: bool) -> None:
    """It was sent in time, and looks for its token only after its locks are granted."""
    store = place.open()
    if prepared:
        store.append(batch(1))
    first, outcome = store.position + 1, []

    def write() -> None:
        try:
            store.append(batch(first))
        except Fenced as error:
            outcome.append(str(error))

    writer = threading.Thread(target=write)
    with psycopg.connect(place.address) as other:
        other.execute(f"SET search_path = {store.schema}")
        other.execute("LOCK TABLE stored_events IN EXCLUSIVE MODE")
        writer.start()
        while not place.meddle("SELECT 1 FROM pg_locks WHERE relation = 'stored_events'::regclass AND NOT granted"):
            pass
        other.execute("UPDATE seat SET token = 'another/1'")
    writer.join()
    assert "taken the journal over" in outcome[0]
    assert (store.position, positions(store)) == (first - 1, list(range(1, first)))
    store.close()


def test_racing_writers_leave_no_gap_and_racing_readers_skip_nothing(server: Server, fresh_name: str) -> None:
    count, writers, readers = 300, 3, 2
    schema = schema_of(fresh_name)
    with psycopg.connect(server.address) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    made = [PostgresJournalDatastore(server.address, schema) for _ in range(writers)]
    recorders = [PostgresJournalRecorder(datastore) for datastore in made]
    for recorder in recorders:
        recorder.create_table()
    fenced = [0] * writers
    found: list[list[int]] = [[] for _ in range(readers)]
    writing = threading.Barrier(writers)

    def write(number: int) -> None:
        """Numbers batches itself, as a journal does; every fourth the library's way, under its lock."""
        recorder = recorders[number]
        writing.wait()
        for version in range(1, count + 1, 2):
            events = [StoredEvent(f"bank-{number}", v, "bank.Deposited", b"") for v in (version, version + 1)]
            if version % 8 == 1:
                recorder.insert_events(events)
                continue
            while True:
                newest = recorder.max_notification_id() or 0
                try:
                    recorder.insert_events(events, first=newest + 1)
                    break
                except IntegrityError:
                    fenced[number] += 1

    def read(number: int) -> None:
        with closing(Follower(server.address, CODEC, name=fresh_name)) as follower:
            last = 0
            while last < count * writers and follower.wait_past(last, SILENCE_SECONDS_MAX) > last:
                rows = follower.query(
                    "SELECT notification_id FROM stored_events WHERE notification_id > ? ORDER BY 1 LIMIT 7", (last,)
                )
                found[number] += [position for (position,) in rows]
                last = found[number][-1]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    threads += [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for datastore in made:
        datastore.close()
    assert found == [list(range(1, count * writers + 1))] * readers
    assert sum(fenced) > 0


# ---- followers


@pytest.fixture
def follower(place: PostgresPlace, store: PostgresStore) -> Iterator[Follower]:
    with closing(Follower(place.address, CODEC, name=place.name, fallback_seconds=FOREVER)) as made:
        yield made


def test_a_follower_is_woken_by_each_batch(store: PostgresStore, follower: Follower) -> None:
    def write() -> None:
        for first in range(2, 12):
            store.append(batch(first))

    assert follower.wait_past(0, FOREVER) == 1
    writer = threading.Thread(target=write)
    writer.start()
    last, seen = 0, []
    while last < 11:
        follower.wait_past(last, FOREVER)
        seen += [record.position for record in follower.read(last, 100)]
        last = seen[-1]
    writer.join()
    assert seen == list(range(1, 12))
    assert follower.wait_past(11, 0.0) == 11


def test_a_follower_to_whom_nothing_was_told_looks_for_himself(place: PostgresPlace, follower: Follower) -> None:
    follower.fallback_seconds = 0.01
    columns = "(notification_id, originator_id, originator_version, topic, state)"
    silent = f"INSERT INTO stored_events {columns} VALUES (2, 'bank-z', 1, 'bank.Deposited', ?)"
    told = threading.Thread(target=place.meddle, args=(silent, b"\x80"))
    told.start()
    assert follower.wait_past(1, FOREVER) == 2
    told.join()


def test_a_follower_outlives_a_restart(store: PostgresStore, follower: Follower, server: Server) -> None:
    assert follower.wait_past(0, FOREVER) == 1
    follower.fallback_seconds = 0.01
    server.stop()
    with pytest.raises(OperationalError):
        follower.wait_past(1, 0.0)
    server.start()
    store.append(batch(2))
    assert follower.wait_past(1, FOREVER) == 2
    assert [record.position for record in follower.read_stream("bank-a", after=1)] == [2]


# ---- what is refused at the start


def test_a_server_that_does_not_sync_is_refused(place: PostgresPlace) -> None:
    try:
        place.meddle("ALTER SYSTEM SET fsync = off")
        place.meddle("SELECT pg_reload_conf()")
        _until_all_see(place, "fsync", "off")
        with pytest.raises(NotDurable, match="fsync=off"):
            place.open()
    finally:
        place.meddle("ALTER SYSTEM RESET fsync")
        place.meddle("SELECT pg_reload_conf()")
        _until_all_see(place, "fsync", "on")


def _until_all_see(place: PostgresPlace, name: str, value: str) -> None:
    """A reload is a signal: a session that begins after it may still be asked too early."""
    while place.meddle(f"SHOW {name}") != [(value,)]:
        pass


def test_a_session_syncs_and_sees_what_was_committed_whatever_the_roles_defaults_are(place: PostgresPlace) -> None:
    place.meddle("ALTER ROLE postgres SET synchronous_commit = off")
    place.meddle("ALTER ROLE postgres SET default_transaction_isolation = 'serializable'")
    try:
        store = place.open()
        connection = store._seat.take()
        assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]
        assert connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
        store.close()
    finally:
        place.meddle("ALTER ROLE postgres RESET ALL")


@pytest.mark.parametrize(
    "statement, name",
    [
        ("CREATE RULE swallow AS ON INSERT TO stored_events DO INSTEAD NOTHING", "rule swallow"),
        ("CREATE TRIGGER t BEFORE INSERT ON nodes EXECUTE FUNCTION suppress_redundant_updates_trigger()", "trigger t"),
        ("CREATE POLICY hide ON stored_events USING (notification_id < 5)", "policy hide"),
        ("CREATE TABLE more () INHERITS (stored_events)", "heir more"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function f"),
        ("CREATE VIEW v AS SELECT 1", "relation v, rule _RETURN"),
        ("ALTER TABLE nodes SET UNLOGGED", "unlogged nodes, unlogged nodes_pkey"),
    ],
)
def test_what_acts_by_itself_or_hides_or_loses_rows_is_refused_and_named(
    place: PostgresPlace, statement: str, name: str
) -> None:
    store = place.open()
    store.append(batch(1))
    place.meddle(statement)
    with pytest.raises(Unreadable, match=f"holds what no journal has: {name}$"):
        store.judge()
    store.close()
    with pytest.raises(Unreadable, match=f"holds what no journal has: {name}$"):
        place.open()


@pytest.mark.parametrize(
    "address", ["postgresql://ann:secret@127.0.0.1:1/gavel", "postgresql://ann:secret@[/gavel", "secret"]
)
def test_an_address_that_leads_nowhere_is_told_without_its_password(address: str) -> None:
    with pytest.raises((OperationalError, ValueError)) as caught:
        PostgresStore(address, CODEC, Signer.make())
    assert "secret" not in str(caught.value)


def test_every_promise_of_the_page_has_its_test() -> None:
    page = (Path(__file__).parents[2] / "docs" / "postgres.md").read_text()
    promised = set(re.findall(r"`(test_\w+)`", page))
    assert len(promised) > 10
    assert promised <= globals().keys()
