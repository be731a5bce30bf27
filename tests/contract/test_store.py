"""What a journal relies on in its store, on every database that can hold one."""

from pathlib import Path
from typing import Any

import pytest
import trio

from runtime.clock import SystemClock
from runtime.delivery import Context
from runtime.errors import Fenced, Refused
from runtime.evidence import Unreadable
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.past import state_at
from runtime.store.contract import MILESTONE_POSITIONS, Batch, Locked, Memory, SavedState
from runtime.store.layouts import FORMAT
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.system import Role, open_system
from runtime.transparency import Signer, Tree, leaf_hash
from runtime.verification import verify
from tests.contract.places import CODEC, META, Place, batch, positions
from tests.runtime.bank import Ask, Balance, Deposit, Deposited, Greeted, Teller, Transfer, Withdraw

ANN = Context(tenant="t1", principal="ann")


def test_an_empty_journal_is_at_position_zero(store: Store) -> None:
    assert (store.position, store.newest_at(), store.checkpoint()) == (0, 0.0, None)
    assert not store.read(0, 10)
    assert not store.read_stream("bank-a")
    assert not store.memories()
    assert not store.reactions()
    assert store.judge().whole


def test_what_was_appended_is_read_in_order_by_position_and_by_stream(store: Store) -> None:
    store.append(batch(1, 3))
    store.append(batch(4, 2, stream="bank-b", version=1))
    store.append(batch(6, 2, version=4))
    assert positions(store) == [1, 2, 3, 4, 5, 6, 7]
    assert [r.position for r in store.read(2, 3)] == [3, 4, 5]
    assert [(r.position, r.version) for r in store.read_stream("bank-a")] == [(1, 1), (2, 2), (3, 3), (6, 4), (7, 5)]
    assert [r.position for r in store.read_stream("bank-a", after=2, limit=2)] == [3, 6]
    assert [r.position for r in store.read_stream("bank-b")] == [4, 5]
    assert not store.read_stream("bank-b", without=CODEC.kinds((Deposited,)))
    assert [r.position for r in store.read_stream("bank-b", limit=1, without=CODEC.kinds((Greeted,)))] == [4]
    (record,) = store.read(6, 9)
    assert (record.stream, record.kind, record.event) == ("bank-a", "bank.Deposited", Deposited(account="a", cents=1))
    assert (record.meta.principal, record.meta.recorded_at, store.newest_at()) == ("ann", 2.0, 2.0)


def test_replies_and_reactions_stand_with_their_batch(place: Place, store: Store) -> None:
    replies = [("t1", "k1", b"d1", b"r1", 1, 5.0), ("t1", "k\\2\0", b"", b"\0r2", 1, 9.0)]
    store.append(batch(1, replies=replies, reactions=[("teller", "t1", 1)]))
    store.append(Batch([], [("t2", "k1", b"d3", b"r3", 1, 9.5)], [("teller", "t1", 4), ("clerk", "", 2)], 3.0))
    store.close()
    again = place.open()
    assert again.find_reply("t1", "k1") == (b"d1", b"r1")
    assert again.find_reply("t1", "k\\2\0") == (b"", b"\0r2")
    assert again.find_reply("t2", "k1") == (b"d3", b"r3")
    assert again.find_reply("t2", "k2") is None
    assert again.reactions() == {("teller", "t1"): 4, ("clerk", ""): 2}
    again.forget_replies(9.0)
    assert again.find_reply("t1", "k1") is None
    assert again.find_reply("t1", "k\\2\0") is not None
    again.close()


def test_all_keys_that_are_kept_are_told_page_by_page_as_they_are_looked_for(store: Store) -> None:
    used = [(tenant, key) for tenant in ("t1", "t2", "") for key in ("k", "K\u00e9", "k\\2\0", "\U0001f600", "k1")]
    store.append(Batch([], [(*one, b"d", b"r", 0, 5.0) for one in used], [], 3.0))
    told: list[tuple[str, str]] = []
    while page := store.keys(told[-1] if told else ("", ""), 4):
        assert len(page) <= 4
        told += page
    assert sorted(told) == sorted((tenant, store.key_as_kept(key)) for tenant, key in used)


def test_memories_are_saved_together_and_believed_only_under_their_seal(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    store.save(
        [Memory("teller", "t1", "s", 2, b"\0one"), Memory("teller", "t2", "s", 3, b"two")], [("teller", "t1", 2)]
    )
    assert store.memories() == [Memory("teller", "t1", "s", 2, b"\0one"), Memory("teller", "t2", "s", 3, b"two")]
    store.save([], [("teller", "t1", 3)])
    assert (len(store.memories()), store.reactions()) == (2, {("teller", "t1"): 3})
    place.meddle("UPDATE snapshots SET memory = ? WHERE key = 't1'", b"forged")
    assert [memory.key for memory in store.memories()] == ["t2"]
    store.save([Memory("clerk", "", "s", 3, b"three")], [])
    assert store.memories() == [Memory("clerk", "", "s", 3, b"three")]


def test_copies_of_states_are_found_by_shape_and_position_and_believed_only_under_their_seal(
    place: Place, store: Store
) -> None:
    store.append(batch(1, 30))
    first, second, third, other = (
        SavedState("bank-a", version, version, shape, "t1", b"\0%d" % version)
        for version, shape in ((3, "s"), (6, "s"), (9, "s"), (12, "older"))
    )
    store.save_states([first, second, third, other], [])
    newest = [store.saved_state("bank-a", "s", upto) for upto in (2, 3, 5, 6, 2**62)]
    assert newest == [None, first, first, second, third]
    assert (store.saved_state("bank-b", "s", 2**62), store.saved_state("bank-a", "older", 2**62)) == (None, other)
    assert store.saved_versions("bank-a") == [(3, "s", 2), (6, "s", 2), (9, "s", 2), (12, "older", 3)]
    assert (store.saved_bytes(), store.oldest_states(2)) == (9, [("bank-a", 3, 2), ("bank-a", 6, 2)])
    place.meddle("UPDATE states SET state = ? WHERE version = 9", b"forged")
    assert store.saved_state("bank-a", "s", 2**62) == second
    store.save_states([third._replace(state=b"again")], [("bank-a", 6)])
    assert (store.saved_state("bank-a", "s", 8), store.saved_state("bank-a", "s", 9)) == (
        first,
        third._replace(state=b"again"),
    )
    assert store.judge().whole


def test_a_stream_is_folded_as_of_any_position_and_time(store: Store) -> None:
    for version in range(1, 8):
        one = batch(2 * version - 1, version=version)
        one.recorded_at = float(version)
        store.append(one)
        two = batch(2 * version, stream="bank-b", version=version)
        two.recorded_at = version + 0.5
        store.append(two)
    events = store.read_events("bank-a", after=2, upto=10, limit=2)
    assert [(position, version, kind) for position, version, kind, _ in events] == [
        (5, 3, "bank.Deposited"),
        (7, 4, "bank.Deposited"),
    ]
    folder = Folder(store, SystemClock().now)
    packed = folder.pack("bank-a", folder.fold("bank-a", 7).held)
    assert packed is not None
    store.save_states([packed[0]], [])
    for upto in range(15):
        held, copied = folder.fold("bank-a", upto)
        assert (held.version, held.state.cents, copied) == ((upto + 1) // 2, (upto + 1) // 2, 4 if upto >= 7 else 0)
    for at, position in ((0.9, 0), (1.0, 1), (1.4, 1), (1.5, 2), (7.5, 14), (99.0, 14)):
        assert store.position_at(at) == position
    past = state_at(store, folder, "bank-a", store.position_at(5.9))
    assert past is not None
    assert (past.state.cents, past.version, past.position, past.recorded_at, past.tenant) == (5, 5, 9, 5.0, "t1")
    assert state_at(store, folder, "bank-c", 14) is None


def test_a_journal_of_the_layout_before_is_brought_over(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    store.close()
    for table in ("states", "tombstones"):
        place.meddle(f"DROP TABLE {table}")
    place.meddle("UPDATE facts SET value = '2' WHERE name = 'format'")
    again = place.open()
    again.append(batch(4))
    again.save_states([SavedState("bank-a", 4, 4, "s", "t1", b"state")], [])
    assert again.query("SELECT value FROM facts WHERE name = 'format'") == [(str(FORMAT),)]
    assert again.judge().whole
    again.close()


def test_every_batch_is_sealed_and_verifies(place: Place, store: Store) -> None:
    for first, count in ((1, 1), (2, 6), (8, MILESTONE_POSITIONS), (8 + MILESTONE_POSITIONS, 3)):
        store.append(batch(first, count))
        report = store.judge()
        assert (report.whole, report.positions) == (True, first + count - 1)
    sizes = [size for (size,) in store.query("SELECT size FROM checkpoints ORDER BY size")]
    assert sizes == [7, MILESTONE_POSITIONS + 10]
    store.close()
    again = place.open()
    again.append(batch(MILESTONE_POSITIONS + 11))
    assert again.judge().positions == MILESTONE_POSITIONS + 11
    again.close()


def test_a_second_store_is_refused_while_the_first_is_open(place: Place, store: Store) -> None:
    with pytest.raises(Locked, match="in use by another process"):
        place.open()
    store.append(batch(1))
    store.close()
    again = place.open()
    assert again.position == 1
    again.close()


def test_who_finds_his_position_taken_is_fenced_and_leaves_nothing(place: Place, store: Store) -> None:
    store.append(batch(1))
    columns = "(notification_id, originator_id, originator_version, topic, state)"
    place.meddle(f"INSERT INTO stored_events {columns} VALUES (3, 'bank-z', 1, 'bank.Deposited', ?)", b"\x80")
    with pytest.raises(Fenced):
        store.append(batch(2, 2, replies=[("t1", "k", b"", b"", 3, 1.0)], reactions=[("teller", "t1", 3)]))
    assert (store.position, store.find_reply("t1", "k"), store.reactions()) == (1, None, {})
    assert place.meddle("SELECT notification_id FROM stored_events ORDER BY 1") == [(1,), (3,)]
    assert place.meddle("SELECT size FROM checkpoints") == [(1,)]


def test_who_finds_a_version_taken_is_fenced_and_leaves_nothing(place: Place, store: Store) -> None:
    store.append(batch(1))
    with pytest.raises(Fenced):
        store.append(batch(2, 3, version=1))
    assert (store.position, positions(store)) == (1, [1])
    assert store.judge().whole


def test_a_record_that_was_taken_away_is_seen(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    store.close()
    place.meddle("DELETE FROM stored_events WHERE notification_id = 3")
    with pytest.raises(Unreadable, match="2 records"):
        place.open()


def test_an_altered_record_is_found_at_its_position(place: Place, store: Store) -> None:
    store.append(batch(1, 5))
    place.meddle("UPDATE stored_events SET topic = 'bank.Withdrawn' WHERE notification_id = 4")
    report = store.judge()
    assert (report.whole, report.first_bad) == (False, 4)


def test_a_tree_that_was_made_over_forged_records_is_not_built_upon(place: Place, store: Store) -> None:
    store.append(batch(1, 3))
    store.append(batch(4, 3))
    store.close()
    forged = CODEC.body(META, CODEC.pack(Deposited(account="a", cents=1_000_000)))
    place.meddle("UPDATE stored_events SET state = ? WHERE notification_id = 2", forged)
    columns = "notification_id, originator_id, originator_version, topic, state"
    rows = place.meddle(f"SELECT {columns} FROM stored_events ORDER BY notification_id")
    for node, digest in Tree().extend(leaf_hash(*row) for row in rows):
        place.meddle("UPDATE nodes SET hash = ? WHERE id = ?", digest, node)
    with pytest.raises(Unreadable, match="not the one that was signed"):
        place.open()


def test_a_store_of_another_format_or_key_is_refused(place: Place, store: Store) -> None:
    store.close()
    with pytest.raises(Unreadable, match="another key"):
        place.open(Signer.make())
    place.meddle("UPDATE facts SET value = '9' WHERE name = 'format'")
    with pytest.raises(Unreadable, match="format 9"):
        place.open()


def test_an_unknown_kind_is_named_with_its_position(place: Place, store: Store) -> None:
    store.append(batch(1, 2))
    place.meddle("UPDATE stored_events SET topic = 'bank.Gone' WHERE notification_id = 2")
    with pytest.raises(Unreadable, match=r"record 2 \(bank.Gone\)"):
        store.read(0, 10)


def test_a_copy_is_a_file_that_verifies_opens_and_goes_on(place: Place, store: Store, tmp_path: Path) -> None:
    store.append(batch(1, 5, replies=[("t1", "k\0", b"d", b"r", 5, 1.0)], reactions=[("teller", "t1", 5)]))
    store.save([Memory("teller", "t1", "s", 5, b"memory")], [])
    state = SavedState("bank-a", 5, 5, "s", "t1", b"state")
    store.save_states([state], [])
    store.backup(tmp_path / "copy.db")
    with pytest.raises(FileExistsError):
        store.backup(tmp_path / "copy.db")
    store.append(batch(6, 5))
    report = verify(tmp_path / "copy.db", key=place.signer.public_key)
    assert (report.whole, report.positions) == (True, 5)
    copy = SqliteStore(tmp_path / "copy.db", CODEC, place.signer)
    assert (copy.origin, copy.find_reply("t1", "k\0")) == (store.origin, (b"d", b"r"))
    assert (copy.memories(), copy.reactions()) == (store.memories(), {("teller", "t1"): 5})
    assert copy.saved_state("bank-a", "s", 5) == state
    copy.append(batch(6))
    assert copy.judge().whole
    copy.close()


async def test_actors_work_stop_and_go_on_over_it(place: Place, store: Store) -> None:
    clock = SystemClock()
    async with open_system(store, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:

        async def deposit(number: int) -> None:
            context = Context(tenant="t1", principal="ann", key=f"k{number}", digest=b"d")
            await system.ask(Deposit(account=f"a{number % 7}", cents=1), context)

        async with trio.open_nursery() as nursery:
            for number in range(70):
                nursery.start_soon(deposit, number)
        await system.ask(Transfer(source="a0", target="a1", cents=10), ANN)
        with pytest.raises(Refused, match="funds_missing"):
            await system.ask(Withdraw(account="a0", cents=1), ANN)
        await deposit(3)
        await system.ask(Deposit(account="rich", cents=2_000_000), ANN)
        await system.journal.wait_past(73)
    store.close()
    again = place.open()
    async with open_system(again, [Role(Teller)], clock=clock, ids=Ids(clock)) as system:
        assert await system.ask(Ask(account="a1"), ANN) == Balance(20)
        assert await system.ask(Ask(account="a3"), ANN) == Balance(10)
        kinds = [record.kind for record in await system.journal.read(0, 1000)]
        assert kinds.count(CODEC.kind(Greeted(account="rich"))) == 1
        assert again.position == len(kinds) == 74
    assert again.judge().whole
    again.close()


def test_any_text_and_any_bytes_come_back_as_they_went(store: Store) -> None:
    texts = ["", "x", "ä\n€🙂", "{a,b}", 'quote " and \\ back', "NULL", "%s ? %b"]
    replies: list[Any] = [
        ("t", f"{n}{text}", text.encode(), bytes(range(256)), 2**40 + n, 1e15 / 3) for n, text in enumerate(texts)
    ]
    store.append(batch(1, replies=replies, reactions=[(text, text, 2**40) for text in texts]))
    assert [store.find_reply("t", reply[1]) for reply in replies] == [reply[2:4] for reply in replies]
    assert store.reactions() == {(text, text): 2**40 for text in texts}
    assert [float(at) for (at,) in store.query("SELECT at FROM commands ORDER BY position")] == [1e15 / 3] * len(texts)


def test_the_position_of_a_time_is_that_of_the_newest_record_written_by_then(store: Store) -> None:
    written: list[float] = []
    for number, count in enumerate((1, 3, 700, 2, 900, 1, 5)):
        one = batch(len(written) + 1, count)
        one.recorded_at = 10.0 * (number + 1)
        store.append(one)
        written += [one.recorded_at] * count
    for time in (0.0, 9.9, 10.0, 15.0, 30.0, 35.0, 49.9, 50.0, 69.0, 70.0, 1e12):
        assert store.position_at(time) == sum(at <= time for at in written), time
