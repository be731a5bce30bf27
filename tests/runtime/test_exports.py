"""An export has the signed root or proves each record, and whatever was done to it is found with the byte where it stands."""

import io
import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from runtime import export_reading
from runtime.export_reading import BadExport, Checked, ExportReader
from runtime.exports import FORMAT, Choice, Unproven, write_chosen, write_whole
from runtime.imports import write_journal
from runtime.transparency import Signer, leaf_hash
from runtime.verification import verify
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, alter, record, write

REPLY = ("t1", "POST /tasks a\x00b", b"digest", b"reply", 4, 2.0)
REACTED = ("clerk", "t1", SIZE - 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "journal.db")
    alter(
        tmp_path / "journal.db",
        ("INSERT INTO commands VALUES (?,?,?,?,?,?)", REPLY),
        ("INSERT INTO reactions VALUES (?,?,?)", REACTED),
    )
    return tmp_path / "journal.db"


def exported(path: Path, choice: Choice | None = None) -> bytes:
    file = io.BytesIO()
    with closing(sqlite3.connect(path)) as connection:
        if choice is None:
            write_whole(connection, file)
        else:
            write_chosen(connection, file, choice)
    return file.getvalue()


def check(said: bytes, key: str | None = None) -> Checked:
    return ExportReader(io.BytesIO(said), key=key).check()


def values(said: bytes) -> list[Any]:
    return list(msgpack.Unpacker(io.BytesIO(said), use_list=False))


def packed(*said: Any) -> bytes:
    return b"".join(map(msgpack.packb, said))


def table(path: Path, name: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT rowid, * FROM {name} ORDER BY 1, 2").fetchall()


def keyed(path: Path, name: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()


# ---- whole


def test_a_whole_export_is_a_header_the_records_what_belongs_to_them_and_an_end(path: Path) -> None:
    said = exported(path)
    header, *rest = values(said)
    assert (header["format"], header["origin"], header["public_key"]) == (FORMAT, ORIGIN, SIGNER.public_key)
    assert (header["whole"], header["filters"], header["size"]) == (True, {}, SIZE)
    assert rest[:SIZE] == [record(position) for position in range(1, SIZE + 1)]
    announced = [(one["section"], one["proven"]) for one in rest if isinstance(one, dict) and "section" in one]
    assert announced == [
        (name, name == "checkpoints") for name in ("checkpoints", "replies", "tombstones", "reactions")
    ]
    assert REPLY in rest
    assert REACTED in rest
    assert (rest[-1]["end"], rest[-1]["records"]) == (True, SIZE)
    checked = check(said, SIGNER.vkey(ORIGIN))
    assert (checked.whole, checked.records, checked.rows) == (
        True,
        SIZE,
        {"checkpoints": 2, "replies": 1, "tombstones": 0, "reactions": 1},
    )
    assert checked.root == verify(path).root
    assert [doubt[:28] for doubt in checked.not_excluded] == [
        "somebody with the signing ke",
        "replies, how far actors have",
    ]


def test_the_same_journal_gives_the_same_bytes(path: Path) -> None:
    assert exported(path) == exported(path)


def test_what_is_imported_has_the_same_bytes_at_the_same_positions_and_the_same_root(
    path: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made.db"
    checked = write_journal(ExportReader(io.BytesIO(exported(path))), made)
    for name in ("stored_events", "nodes", "checkpoints"):
        assert table(made, name) == table(path, name)
    for name in ("commands", "reactions"):
        assert keyed(made, name) == keyed(path, name)
    assert keyed(made, "kinds") == [("task.BidPlaced", 1)]
    assert verify(made, key=SIGNER.public_key).whole
    assert verify(made).root == checked.root
    assert exported(made) == exported(path)


@given(
    some.integers(1, 2**62),
    some.text(some.characters(exclude_categories=["Cs"])),
    some.integers(1, 2**62),
    some.text(max_size=300),
    some.binary(max_size=70_000),
)
def test_the_bytes_of_a_record_are_those_that_its_leaf_is_made_of(
    position: int, stream: str, version: int, kind: str, body: bytes
) -> None:
    said = msgpack.packb((position, stream, version, kind, body))
    assert said == msgspec.msgpack.encode((position, stream, version, kind, body))
    assert sha256(b"\x00" + said).digest() == leaf_hash(position, stream, version, kind, body)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE stored_events SET state = state || x'00' WHERE rowid = 5",
        "UPDATE stored_events SET topic = 'task.TaskEnded' WHERE rowid = 5",
        f"DELETE FROM stored_events WHERE rowid = {SIZE}",
        "DELETE FROM stored_events WHERE rowid = 5",
        "UPDATE checkpoints SET note = replace(note, 'gavel', 'hovel')",
        "DELETE FROM checkpoints",
        "UPDATE facts SET value = 'gavel/main/other' WHERE name = 'origin'",
    ],
)
def test_an_altered_journal_is_not_exported(path: Path, harm: str) -> None:
    alter(path, harm)
    with pytest.raises(Unproven):
        exported(path)


# ---- chosen


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_each_chosen_record_proves_itself_in_a_log_of_any_size(tmp_path: Path, size: int) -> None:
    write(tmp_path / "journal.db", (size,))
    for position in range(1, size + 1):
        checked = check(exported(tmp_path / "journal.db", Choice(first=position, last=position)), SIGNER.public_key)
        assert (checked.whole, checked.records, checked.first, checked.size) == (False, 1, position, size)


def test_what_is_chosen_fits_all_that_was_asked_for(path: Path) -> None:
    tenant_of = {record(position)[4]: f"t{position % 2}" for position in range(1, SIZE + 1)}.__getitem__
    filters = {"streams": ["task-1"], "tenants": ["t0"], "first": 3}
    choice = Choice(first=3, streams=("task-1",), tenants=("t0",), tenant_of=tenant_of, filters=filters)
    header, *records, end = values(exported(path, choice))
    assert [one[0] for one in records] == [4, 10, 16]
    assert (header["filters"], header["whole"], end["records"]) == (
        filters | {"streams": ("task-1",), "tenants": ("t0",)},
        False,
        3,
    )
    assert [one[0] for one in values(exported(path, Choice(kinds=("task.BidPlaced",), last=2)))[1:-1]] == [1, 2]
    assert values(exported(path, Choice(kinds=("task.TaskEnded",))))[-1]["records"] == 0
    doubts = check(exported(path, choice)).not_excluded
    assert any("left out" in doubt for doubt in doubts)


def test_a_chosen_record_that_was_altered_is_not_exported(path: Path) -> None:
    alter(path, "UPDATE stored_events SET state = x'00' WHERE rowid = 5")
    assert check(exported(path, Choice(first=6))).records == SIZE - 5
    with pytest.raises(Unproven, match="position 5"):
        exported(path, Choice(last=5))
    alter(path, "UPDATE nodes SET hash = x'00' WHERE id = 0")
    with pytest.raises(Unproven):
        exported(path, Choice(first=2, last=2))


# ---- what is done to a file


def spoiled(said: bytes, change: Callable[[list[Any]], object]) -> bytes:
    listed = [list(value) if isinstance(value, tuple) else value for value in values(said)]
    change(listed)
    return packed(*listed)


def other(index: int, column: int, value: Any) -> Callable[[list[Any]], object]:
    return lambda listed: listed[index].__setitem__(column, value)


SPOILED: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "a byte of a body": (other(5, 4, b"else"), "have not the root"),
    "a kind": (other(5, 3, "task.Other"), "have not the root"),
    "a record is gone": (lambda listed: listed.pop(5), "position 6 follows position 4"),
    "a record twice": (lambda listed: listed.insert(5, listed[5]), "position 5 follows position 5"),
    "two change places": (lambda listed: listed.insert(5, listed.pop(6)), "position 6 follows position 4"),
    "the tail is gone": (lambda listed: listed.pop(SIZE), "19 records before have not the root"),
    "a record too many": (lambda listed: listed.insert(SIZE + 1, record(SIZE + 1)), "can't be"),
    "a version of none": (other(5, 2, 0), "version 0 can't be"),
    "a column too many": (lambda listed: listed[5].append(1), "has not the columns"),
    "another type": (other(5, 1, 7), "has not the columns"),
    "a number that is true": (other(5, 2, True), "has not the columns"),
    "an answer": (lambda listed: listed[SIZE + 5].__setitem__(3, b"else"), "does not tell what stands before"),
    "an answer of the future": (
        lambda listed: listed[SIZE + 5].__setitem__(4, SIZE + 1),
        "no row of the section replies",
    ),
    "a section is gone": (lambda listed: listed.pop(SIZE + 6), "the section tombstones should begin"),
    "a section is called proven": (
        lambda listed: listed[SIZE + 4].__setitem__("proven", True),
        "section replies should begin",
    ),
    "the count": (lambda listed: listed[-1].__setitem__("records", 3), "does not tell what stands before"),
    "the end is gone": (lambda listed: listed.pop(), "ends among its reactions"),
    "the size": (lambda listed: listed[0].__setitem__("size", 3), "not those of its checkpoint"),
    "the origin": (lambda listed: listed[0].__setitem__("origin", "x"), "not those of its checkpoint"),
    "the note": (lambda listed: listed[0].__setitem__("checkpoint", "x"), "does not hold"),
    "the key": (lambda listed: listed[0].__setitem__("public_key", Signer.make().public_key), "does not hold"),
    "a rotation that is none": (
        lambda listed: listed[0].__setitem__("rotations", [(3, "journal_key.KeyRotated", b"")]),
        "is forged",
    ),
    "a rotation beyond it": (
        lambda listed: listed[0].__setitem__("rotations", [(SIZE + 1, "x", b"")]),
        "beyond its size",
    ),
    "a rotation that stands nowhere": (
        lambda listed: listed[0].__setitem__("rotations", [(3, "x", b"")]),
        "not those of the records",
    ),
    "no key": (lambda listed: listed[0].__setitem__("public_key", "x"), "public key"),
    "an odd header": (lambda listed: listed[0].__setitem__("more", 1), "header is not as it should be"),
    "another format": (lambda listed: listed[0].__setitem__("format", "gavel-log/3"), "format 'gavel-log/3'"),
    "no header": (lambda listed: listed.pop(0), "does not begin with a header"),
    "something behind it": (lambda listed: listed.append(1), "behind the end"),
    "called chosen": (lambda listed: listed[0].__setitem__("whole", False), "has not the columns"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_whatever_was_altered_is_refused_with_its_byte_and_its_reason(path: Path, tmp_path: Path, what: str) -> None:
    change, reason = SPOILED[what]
    said = spoiled(exported(path), change)
    with pytest.raises(BadExport, match=rf"^byte \d+: .*{reason}"):
        check(said)
    with pytest.raises(BadExport, match=reason):
        write_journal(ExportReader(io.BytesIO(said)), tmp_path / "made.db")


def test_the_byte_that_is_told_is_where_the_value_begins(path: Path) -> None:
    said = exported(path)
    listed = values(said)
    before, gone = len(packed(*listed[:5])), len(packed(*listed[:6]))
    with pytest.raises(BadExport, match=f"^byte {before}: position 6 follows position 4"):
        check(said[:before] + said[gone:])


def test_a_proof_that_does_not_lead_to_the_root_is_refused(path: Path) -> None:
    said = exported(path, Choice(first=5, last=9))
    proof = values(said)[1][5]
    for other_proof, reason in [
        (proof[32:], "is not proven"),
        (proof + proof[:32], "is not proven"),
        (proof[:31], "no inclusion path"),
        (proof * 20, "no inclusion path"),
        (bytes(len(proof)), "is not proven"),
        ("x", "no inclusion path"),
    ]:
        with pytest.raises(BadExport, match=reason):
            check(spoiled(said, other(1, 5, other_proof)))
    with pytest.raises(BadExport, match="position 5 follows position 5"):
        check(spoiled(said, lambda listed: listed.insert(1, listed[1])))
    with pytest.raises(BadExport, match="can't be"):
        check(spoiled(said, lambda listed: listed[-2].__setitem__(0, SIZE + 1)))
    with pytest.raises(BadExport, match="another key than the one given"):
        check(said, Signer.make().public_key)


def test_wherever_it_is_cut_off_it_is_refused(path: Path) -> None:
    said = exported(path)
    for end in range(len(said)):
        with pytest.raises(BadExport, match=r"^byte \d+: "):
            check(said[:end])
    chosen = exported(path, Choice(first=4, last=5))
    for end in range(len(chosen)):
        with pytest.raises(BadExport, match=r"^byte \d+: "):
            check(chosen[:end])


@given(some.data())
def test_whatever_byte_is_changed_nothing_else_is_taken_for_the_log(data: some.DataObject) -> None:
    said = _one_export()
    at = data.draw(some.integers(0, len(said) - 1))
    byte = data.draw(some.integers(0, 255).filter(lambda byte: byte != said[at]))
    changed = said[:at] + bytes([byte]) + said[at + 1 :]
    with pytest.raises(BadExport):
        check(changed, SIGNER.public_key)


_EXPORTS: list[bytes] = []


def _one_export() -> bytes:
    if not _EXPORTS:
        _EXPORTS.append(_made())
    return _EXPORTS[0]


def _made() -> bytes:
    with TemporaryDirectory() as folder:
        write(Path(folder) / "journal.db", (3, 2))
        return exported(Path(folder) / "journal.db")


@given(some.binary(max_size=200))
def test_noise_is_no_export(noise: bytes) -> None:
    with pytest.raises(BadExport, match=r"^byte \d+: "):
        check(noise)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\x91" * 100_000,  # arrays in arrays
        b"\x81\x80\x80",  # a map as a key
        b"\xa2\xff\xfe",  # text that is none
        b"\xc1",  # nothing
    ],
)
def test_what_would_take_too_much_room_or_is_no_value_is_refused_at_once(path: Path, bomb: bytes) -> None:
    said = exported(path)
    header = len(packed(values(said)[0]))
    with pytest.raises(BadExport, match=f"^byte {header}: this can't be read"):
        check(said[:header] + bomb + said[header:])


@pytest.mark.parametrize("announced", [b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"])
def test_what_is_announced_takes_no_room_before_it_comes(path: Path, announced: bytes) -> None:
    said = exported(path)
    header = len(packed(values(said)[0]))
    tracemalloc.start()
    try:
        with pytest.raises(BadExport, match=f"^byte {header}: "):
            check(said[:header] + announced + said[header:])
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_record_has_a_largest_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_reading, "VALUE_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(export_reading, "READ_BYTES", 1 << 16)
    said = exported(path)
    at = len(packed(*values(said)[:3]))
    with pytest.raises(BadExport, match=f"^byte {at}: this can't be read"):
        check(said[:at] + packed((3, "task-0", 1, "task.BidPlaced", bytes(2 << 20))) + said[at:])


def test_an_answer_that_stands_twice_is_refused(path: Path, tmp_path: Path) -> None:
    listed = values(exported(path))
    at = listed.index(REPLY)
    listed.insert(at, REPLY)
    listed[-1]["sha256"] = sha256(packed(*listed[SIZE + 1 : -1])).digest()
    with pytest.raises(BadExport, match="something twice"):
        write_journal(ExportReader(io.BytesIO(packed(*listed))), tmp_path / "made.db")
