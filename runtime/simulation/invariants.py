"""What must hold of a journaled system when a run has come to rest, each under its name.

`check` looks at all of it. What can only be seen while things happen is looked at elsewhere: `order_per_actor` and `bounds_kept` at every
message (`watching`), answers that come late or before their commit at every answer (`ledger`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import trio

from runtime.cell import Cell
from runtime.decidable import WITHHELD
from runtime.delivery import SETTLED, Delivery
from runtime.durable import DurableCell
from runtime.errors import Unreachable
from runtime.evidence import Unreadable
from runtime.projector import Projector
from runtime.read_models import Digests, ReadModels, compare, digests, open_database
from runtime.records import Meta, Recorded
from runtime.recovery import NODE, Recovery
from runtime.replay import Difference, Finding, Replay, Undecided, Witness
from runtime.simulation.ledger import Ledger, stored_reply
from runtime.simulation.world import World
from runtime.store.sqlite import REPLY_SECONDS, Memory
from runtime.system import System

REST_SECONDS_MAX = 600.0
"""So long a system may take to come to rest when nobody asks any more: retries and restarts back off."""
LOOK_SECONDS = 0.05
LOOKS_AT_REST = 3
"""So many looks in a row have to find nothing to do: between two steps of a chain nobody seems busy for a moment."""

Records = Sequence[Recorded]


async def check(
    world: World,
    system: System,
    ledger: Ledger | None = None,
    projector: Projector | None = None,
    witness: Witness | None = None,
) -> None:
    """Waits until the system is at rest, and ends the run where an invariant does not hold. All clients must have ended.

    `witness` follows the log while its commands are decided again.
    """
    await rest(world, system)
    ours = await _digests_at_rest(world, system, projector) if projector is not None else None
    records = system.journal.store.read(0, system.journal.position)
    if ledger is not None:
        nothing_acknowledged_lost(world, system, ledger, records)
        replies_match_commits(world, system, ledger)
    nothing_applied_twice(world, system, records)
    positions_contiguous(world, system, records)
    every_reaction_made(world, system, records)
    memory_equals_fold(world, system, records)
    decide_again(world, system, witness)
    log_verifies(world, system)
    if projector is not None and ours is not None:
        read_models_equal_rebuild(world, projector, records, ours)
    world.note("invariants", "hold", records=len(records))


# ---- coming to rest


async def rest(world: World, system: System) -> None:
    """Waits until nobody waits for anything: `every_caller_answered`, `comes_to_rest`."""
    until = world.now + REST_SECONDS_MAX
    looks = 0
    while looks < LOOKS_AT_REST:
        await trio.sleep(LOOK_SECONDS)
        busy = _busy(system)
        looks = 0 if busy else looks + 1
        if busy and world.now - world.stalled > until:
            waits = any(one.asked for cell in system.walk() for one in _waiting(cell))
            world.fail("every_caller_answered" if waits else "comes_to_rest", busy)


def _busy(system: System) -> str:
    """Somebody who has something to do; empty where nobody has."""
    journal = system.journal
    if journal.backlog or journal.proposed != journal.position:
        return f"{journal.backlog} proposals wait for the disk"
    for cell in system.walk():
        if waiting := _waiting(cell):
            return f"{cell.path} is {cell!r}, and {type(waiting[0].message).__name__} {waiting[0].id} waits there"
        if isinstance(cell, DurableCell) and (cell.owes or cell.rebuilding or cell.actor is None):
            return f"{cell.path} is {cell!r}: it owes {len(cell.reactions)} reactions"
    return ""


def _waiting(cell: Cell) -> list[Delivery]:
    """The messages that are not done with."""
    waiting = list(cell._queue or ())
    if cell._extras is not None:
        waiting += [*cell._extras.parked, *cell._extras.stash]
    if cell.current is not None:
        waiting.append(cell.current)
    if isinstance(cell, DurableCell) and isinstance(cell._again, Delivery):
        waiting.append(cell._again)
    return [one for one in waiting if one.state < SETTLED]


# ---- commands and replies


def nothing_acknowledged_lost(world: World, system: System, ledger: Ledger, records: Records) -> None:
    """Each acknowledged command's reply is stored; of what was refused nothing stands in the log."""
    keys = {(meta.tenant, meta.command.key) for meta in _commands(records) if meta.command is not None}
    forgotten = system.clock.now() - REPLY_SECONDS
    for name, asked in ledger.asked.items():
        is_stored = system.journal.store.find_reply(*name) is not None
        if asked.is_acknowledged:
            world.holds("nothing_acknowledged_lost", is_stored or asked.first_at < forgotten, f"{asked} is nowhere")
        elif asked.refusal and asked.arrivals == 1:  # one that reached the node again may have been taken then
            is_gone = not is_stored and name not in keys
            world.holds("refused_leaves_nothing", is_gone, f"{asked} was refused: {asked.refusal}")
        is_whole = is_stored or name not in keys or asked.first_at < forgotten
        world.holds("nothing_acknowledged_lost", is_whole, f"{asked} stands in the log and has no reply")


def replies_match_commits(world: World, system: System, ledger: Ledger) -> None:
    """What clients were told is what stands on disk under their keys."""
    for name, asked in ledger.asked.items():
        found = system.journal.store.find_reply(*name)
        if found is None or not asked.is_acknowledged:
            continue
        stored = stored_reply(asked.command, found[1])
        is_known = found[0] in (asked.digest, b"")  # empty, where a person was erased of whom it told
        same = is_known and stored == asked.reply
        told = f"{asked} was answered {asked.reply}, stored is {stored}"
        world.holds("replies_match_commits", same, told)


def nothing_applied_twice(world: World, system: System, records: Records) -> None:
    """The commands of a key are of one step, and no key and no reaction has led to the same command twice."""
    codec = system.journal.codec
    seen: Counter[tuple[Any, ...]] = Counter()
    steps_by_key: dict[tuple[str, str], set[tuple[float, str]]] = {}
    for record in records:
        meta = record.meta
        if meta.command is None or not (cause := _once(meta)):
            continue
        said = msgspec.msgpack.decode(meta.command.data, type=dict[str, Any]) | {"at": 0.0}
        seen[*cause, record.stream, codec.pack(said), meta.command.name] += 1
        if meta.command.key:
            steps_by_key.setdefault((meta.tenant, meta.command.key), set()).add((meta.at, meta.correlation))
    for (what, by, tenant, stream, _, name), count in seen.items():
        detail = f"{name} on {stream} of {tenant} stands {count} times in the log, by {what} {by}"
        world.holds("nothing_applied_twice", count == 1, detail)
    for (tenant, key), at in steps_by_key.items():
        world.holds("nothing_applied_twice", len(at) == 1, f"key {key} of {tenant} was taken at {sorted(at)}")


def _once(meta: Meta) -> tuple[str, str, str] | None:
    """What may lead to a command once: a client's key, or an actor's reaction."""
    if meta.command is not None and meta.command.key:
        return "key", meta.command.key, meta.tenant
    if meta.principal.startswith("actor:") and meta.cause.startswith("@"):
        return meta.principal, meta.cause, meta.tenant
    return None


def _commands(records: Records) -> Iterator[Meta]:
    return (record.meta for record in records if record.meta.command is not None)


# ---- the log, and what is made of it


def positions_contiguous(world: World, system: System, records: Records) -> None:
    """Positions have no gap, nor have the versions of a stream; times never go back; the events of a command stand together."""
    versions: Counter[str] = Counter()
    at, recorded_at = 0.0, 0.0
    for position, record in enumerate(records, 1):
        versions[record.stream] += 1
        holds = (record.position, record.version) == (position, versions[record.stream])
        detail = f"{record.stream} {record.version} stands at {record.position}, {position} is due"
        world.holds("positions_contiguous", holds, detail)
        forward = record.meta.at >= at and record.meta.recorded_at >= recorded_at
        world.holds("times_never_go_back", forward, f"position {position} is of {record.meta.at}, after {at}")
        at, recorded_at = record.meta.at, record.meta.recorded_at
    world.holds("positions_contiguous", len(records) == system.journal.position, "the journal ends before its position")
    for command_id, group in groupby(records, key=lambda record: record.meta.id):
        firsts = [record.meta.command is not None for record in group]
        world.holds("positions_contiguous", firsts[0] and sum(firsts) == 1, f"events of {command_id} stand apart")


def every_reaction_made(world: World, system: System, records: Records) -> None:
    """Each actor has reacted to all that it hears, durably."""
    due = {name: record.position for record in records for name in _hearers(system, record)}
    durable = system.journal.store.reactions() | {name[:2]: name[2] for name in system.journal.reactions_due()}
    for name, cell in system.cells.items():
        last = due.get(name, 0)
        behind = f"{cell.path} has reacted up to {cell.reacted}, on disk {durable.get(name, 0)}; {last} is due"
        world.holds("every_reaction_made", min(cell.reacted, durable.get(name, 0)) >= last, behind)


def _hearers(system: System, record: Recorded) -> Iterator[tuple[str, str]]:
    for name, role in system.roles.items():
        if type(record.event) in role.actor.hears:
            yield name, record.meta.tenant if role.key == "tenant" else NODE


def memory_equals_fold(world: World, system: System, records: Records) -> None:
    """Each actor remembers what a fold of the whole log gives, and what one gives from the saved memories."""
    for saved in ((), system.journal.store.memories()):
        folds = _folded(system, records, saved)
        for name, cell in system.cells.items():
            fold = folds.get(name)
            memory = fold if fold is not None else system.roles[cell.role].actor.fresh()
            kept = cell.actor.memory if cell.actor is not None else None
            pack = system.journal.codec.pack
            way = "its saved memory and the log" if saved else "the log"
            detail = f"{cell.path} remembers {kept}, {way} give {memory}"
            world.holds("memory_equals_fold", pack(kept) == pack(memory), detail)


def _folded(system: System, records: Records, saved: Sequence[Memory]) -> dict[tuple[str, str], Any]:
    recovery = Recovery(system.roles, saved, {} if not saved else system.journal.store.reactions())
    for record in records:
        if record.position > recovery.start:
            recovery.take(record)
    return {name: fold.memory for name, fold in recovery.folds.items()}


def decide_again(world: World, system: System, witness: Witness | None = None) -> None:
    """Each recorded command, decided once more over the recorded events before it, gives the recorded events."""
    journal = system.journal
    for finding in Replay(journal.store, journal.codec, last=journal.position, witness=witness).run():
        world.holds("decide_again", is_excused(finding), f"{finding}")


def is_excused(finding: Finding) -> bool:
    """Whether rules of a newer number decide otherwise, or it rests on what is known of nobody any more who was erased."""
    if isinstance(finding, Undecided):
        return finding.reason.endswith(WITHHELD)
    return isinstance(finding, Difference) and not finding.is_due


def log_verifies(world: World, system: System) -> None:
    """The file proves what it holds, by its own key."""
    try:
        report = system.journal.store.judge()
    except Unreadable as error:
        world.fail("log_verifies", str(error))
    world.holds("log_verifies", report.whole, f"{report.faults}")
    agrees = report.positions == system.journal.position
    world.holds("log_verifies", agrees, f"{report.positions} records, the journal is at {system.journal.position}")


# ---- read models


async def _digests_at_rest(world: World, system: System, projector: Projector) -> Digests:
    with world.within(REST_SECONDS_MAX, "read_models_catch_up", "the projector is behind"):
        try:
            await projector.wait_for(system.journal.position)
        except Unreachable as error:
            world.fail("read_models_catch_up", str(error))
        for standing in projector.status():
            world.holds("read_models_catch_up", not standing.reason, f"{standing}")
        return await projector.digests()


def read_models_equal_rebuild(world: World, projector: Projector, records: Records, ours: Digests) -> None:
    """Every table holds what fresh ones hold that are made from the log."""
    place = world.folder / "rebuilt.db"
    place.unlink(missing_ok=True)
    upto = min((digest.position for digest in ours.values()), default=0)
    models = ReadModels(open_database(place, connections_max=1), projector.projections)
    try:
        models.open(0)
        models.write([record for record in records if record.position <= upto])
        theirs = digests(models.engine, models.projections)
    finally:
        models.engine.dispose()
    for table, same in compare(ours, theirs).items():
        detail = f"{table}: live {ours.get(table)}, rebuilt {theirs.get(table)}"
        world.holds("read_models_equal_rebuild", same, detail)
