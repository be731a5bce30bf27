"""Compares what clients were told with what a node has kept: the journal's file, its log over HTTP, and its read models."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio

from aggregates import agent as agents
from aggregates import task as tasks
from gateway.api.calls import POSITION_HEADER
from gateway.demo.work import analyze
from gateway.routes.tasks import BIDS_SHOWN_MAX
from gateway.storage.journal_file import JournalFile, open_journal
from gateway.upkeep.log_replay import digests_of, replay_copies
from runtime.records import Recorded
from tests.stories.traffic import Door, Told, Traffic

PAGE = 500
READERS = 8
POSITION_MAX = 2**62

SUBJECT_BY_NOUN = {
    "task": "task_id",
    "agent": "agent_id",
    "key": "key_id",
    "qubo_problem": "problem_id",
    "solve_job": "job_id",
}
PATH_BY_NOUN = {"task": "tasks", "agent": "agents", "key": "keys", "qubo_problem": "problems", "solve_job": "solves"}


class Evidence(NamedTuple):
    """What a running node shows of what it has kept."""

    seen: "dict[Subject, Seen]"
    lines: list[dict[str, Any]]


class Seen(NamedTuple):
    """A row of the read models, and the position that it was read at."""

    row: dict[str, Any]
    position: int


Subject = tuple[str, str]
"""The noun and the id of what a command is about."""


def subject(told: Told) -> Subject:
    noun = told.asked.kind.partition(".")[0]
    return noun, (told.asked.says | told.reply)[SUBJECT_BY_NOUN[noun]]


async def gather(door: Door) -> Evidence:
    """Reads everything that the door has to show of what its clients were told, and lets the node verify its own journal."""
    traffic = door.traffic
    seen = await read_rows(door, traffic.told)
    await check_blobs(door)
    lines = await read_log(door)
    assert (await door.send("GET", "/v1/audit/verify", traffic.admin)).json()["whole"]
    return Evidence(seen, lines)


def compare(traffic: Traffic, evidence: Evidence, journal: Path) -> None:
    """Holds every acknowledgement, one by one, against the journal's file and what the node has shown."""
    records = read_file(journal)
    check_log(evidence.lines, records)
    check_records(traffic.told, records)
    check_keys(traffic.told, set(traffic.refused), records)
    check_rows(traffic.told, evidence.seen, records)
    assert analyze(iter(evidence.lines), 1)["different"] == []


async def check_replay(folder: Path) -> None:
    """The read models of a stopped node are those that its journal makes anew."""
    data, rebuilt = folder / "data", folder / "rebuilt.db"
    live = digests_of(data / "read.db")
    again = await trio.to_thread.run_sync(replay_copies, data / "journal.db", live, rebuilt)
    assert again.equal, again
    rebuilt.unlink()


# ---- what the node has


def read_file(journal: Path) -> list[Recorded]:
    """All records of a journal's file."""
    with open_journal(journal) as connection:
        return JournalFile(connection, journal).read(0, POSITION_MAX)


async def read_log(door: Door) -> list[dict[str, Any]]:
    """The log as the door tells it, with commands, page by page."""
    lines: list[dict[str, Any]] = []
    after, newest = 0, 1
    while after < newest:
        path = f"/v1/log?after={after}&limit={PAGE}&commands=true"
        page = (await door.send("GET", path, door.traffic.admin)).json()
        lines += page["records"]
        after, newest = page["next"], page["position"]
    return lines


async def read_rows(door: Door, told: Sequence[Told]) -> dict[Subject, Seen]:
    """What the read models show of everything that somebody was told about."""
    seen: dict[Subject, Seen] = {}
    waiting = sorted({subject(one) for one in told})

    async def read() -> None:
        while waiting:
            noun, name = waiting.pop()
            answer = await door.send("GET", f"/v1/{PATH_BY_NOUN[noun]}/{name}", door.traffic.admin)
            assert answer.status_code == 200, answer.text
            row = answer.json()
            if noun == "task" and len(row["bids"]) == BIDS_SHOWN_MAX:
                path = f"/v1/tasks/{name}/bids?limit={PAGE}"
                row["bids"] = (await door.send("GET", path, door.traffic.admin)).json()["bids"]
            seen[noun, name] = Seen(row, int(answer.headers[POSITION_HEADER]))

    async with trio.open_nursery() as nursery:
        for _ in range(READERS):
            nursery.start_soon(read)
    return seen


async def check_blobs(door: Door) -> None:
    """What was uploaded is there, byte for byte."""
    for digest, content in door.traffic.blobs.items():
        answer = await door.send("GET", f"/v1/blobs/{digest}", door.traffic.admin)
        assert answer.content == content, digest


# ---- what it was told to have


def asked_for(records: Sequence[Recorded]) -> list[Recorded]:
    """What clients have asked for: not what the node takes down by itself of what they do."""
    return [record for record in records if record.kind.partition(".")[0] in SUBJECT_BY_NOUN]


def check_records(told: Sequence[Told], records: Sequence[Recorded]) -> None:
    """Each acknowledged command is recorded once, with what was asked and answered, no later than the client was told."""
    records_by_subject: dict[tuple[str, str], list[Recorded]] = defaultdict(list)
    for record in asked_for(records):
        noun = record.kind.partition(".")[0]
        records_by_subject[record.kind, getattr(record.event, SUBJECT_BY_NOUN[noun])].append(record)
    for one in told:
        about = records_by_subject[one.asked.kind, subject(one)[1]]
        found = [record for record in about if _carries(msgspec.to_builtins(record.event), one)]
        assert len(found) == 1, (one, found)
        assert one.position == 0 or found[0].position <= one.position, (one, found)


def _carries(event: dict[str, Any], told: Told) -> bool:
    asked, answered = told.asked.says, told.reply
    as_asked = all(name in event and _plain(event[name]) == value for name, value in asked.items())
    return as_asked and all(_plain(event[name]) == value for name, value in answered.items() if name in event)


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def check_keys(told: Sequence[Told], refused: set[str], records: Sequence[Recorded]) -> None:
    """Each idempotency key is recorded once; a refused one nowhere, and none that nobody was told about."""
    positions_by_key: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in asked_for(records):
        if record.meta.command is not None and record.meta.command.key:
            positions_by_key[record.kind, record.meta.command.key.rpartition(" ")[2]].append(record.position)
    keyed = {(one.asked.kind, one.asked.key) for one in told if one.asked.key}
    for name in keyed:
        assert len(positions_by_key[name]) == 1, (name, positions_by_key[name])
    recorded = {key for _, key in positions_by_key}
    assert recorded == {key for _, key in keyed}
    assert not recorded & refused


def check_log(lines: Sequence[dict[str, Any]], records: Sequence[Recorded]) -> None:
    """The door tells the records of the file, one by one."""
    assert [line["position"] for line in lines] == list(range(1, len(lines) + 1))
    for line, record in zip(lines, records[: len(lines)], strict=True):
        kept = (record.position, record.stream, record.version, record.kind, _plain(record.event))
        assert (line["position"], line["stream"], line["version"], line["kind"], line["data"]) == kept


def check_rows(told: Sequence[Told], seen: dict[Subject, Seen], records: Sequence[Recorded]) -> None:
    """The read models show what clients were told, and what the log makes of it."""
    records_by_stream: dict[str, list[Recorded]] = defaultdict(list)
    for record in records:
        records_by_stream[record.stream].append(record)
    for (noun, name), shown in seen.items():
        row = shown.row
        # What is shown may be newer than what was waited for, never older.
        fold = partial(_fold, max(shown.position, row["last_position"]))
        if noun == "task":
            state = fold(tasks, records_by_stream[tasks.stream(name)])
            assert (row["stage"], row["attempt"], row["round"]) == (state.stage, state.attempt, state.round), row
        elif noun == "agent":
            agent = fold(agents, records_by_stream[agents.stream("default", name)])
            assert (row["status"], row["description"]) == (agent.stage, agent.description), row
    for one in told:
        _check_row(one, seen[subject(one)].row)


def _fold(position: int, aggregate: Any, records: Sequence[Recorded]) -> Any:
    state = aggregate.initial
    for record in records:
        if record.position <= position:
            state = aggregate.evolve(state, record.event)
    return state


def _check_row(told: Told, row: dict[str, Any]) -> None:
    says, kind = told.asked.says, told.asked.kind
    match kind:
        case "task.BidPlaced" | "task.BidRefused":
            (bid,) = [
                one for one in row["bids"] if (one["agent_id"], one["round"]) == (says["agent_id"], says["round"])
            ]
            assert all(bid[name] == value for name, value in says.items() if name in bid and name != "reason"), bid
        case "task.TaskStarted" | "task.TaskFailed":
            assert row["attempt"] >= says["token"], row  # a later attempt may have begun
        case "agent.AgentUpdated":
            assert row["agent_id"] == says["agent_id"]  # its newest description was compared already
        case "task.TaskCompleted":
            shown = (row["stage"], row["result"], row["agent_id"], row["token"])
            assert shown == ("completed", says["result"], says["agent_id"], says["token"]), row
        case "task.TaskCancelled":
            assert (row["stage"], row["reason"]) == ("cancelled", says["reason"]), row
        case _:
            assert all(row[name] == value for name, value in says.items() if name in row), (told, row)
