"""What a projection makes of many events at once is what it makes of each, however they were cut into batches."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import create_engine

from aggregates import agent, subject, task
from aggregates.values.ranking import Ranked
from aggregates.values.sealed_bids import OpenedBid
from gateway.storage.journal_file import JournalFile, open_journal
from projections.catalog import PROJECTIONS
from runtime.hearing import Projection
from runtime.read_models import Digests, ReadModels, compare, digests
from runtime.records import Change, Event, Meta, Recorded
from tests import examples
from tests.projections.stories import codec, told
from tests.stories.histories import kept, unpack

EXAMPLE_BY_CLASS = {type(event): event for event in examples.EVENTS}
BY_BATCHES = [projection for projection in PROJECTIONS if hasattr(projection, "apply_all")]
PERSONS = st.sampled_from(["", "p1"])


class Singly:
    """The slow twin of a projection: asked about each event by itself, whatever it hears."""

    def __init__(self, projection: Projection) -> None:
        self.NAME, self.TABLES, self._projection = projection.NAME, projection.TABLES, projection

    def apply(self, recorded: Recorded) -> Sequence[Change]:
        return self._projection.apply(recorded)


def tables_after(records: Sequence[Recorded], sizes: Sequence[int], projections: Sequence[Projection]) -> Digests:
    """What the tables hold after records that were applied in batches of these sizes, the rest at once."""
    engine = create_engine("sqlite://")
    models = ReadModels(engine, projections)
    models.open(len(records))
    left = iter(records)
    for size in (*sizes, len(records)):
        models.write(list(islice(left, size)))
    assert {(standing.position, standing.reason) for standing in models.standings.values()} == {(len(records), "")}
    found = digests(engine, projections)
    engine.dispose()
    return found


def assert_equal_in_any_batches(
    records: Sequence[Recorded], sizes: Sequence[int], projections: Sequence[Projection] = PROJECTIONS
) -> None:
    slow = tables_after(records, [], list(map(Singly, projections)))
    alike = compare(tables_after(records, sizes, projections), slow)
    assert [name for name, is_alike in alike.items() if not is_alike] == []


def recorded(position: int, event: Event, tenant: str) -> Recorded:
    meta = Meta(
        id=f"c{position}", cause="", correlation=f"c{position}", tenant=tenant, principal="p", at=examples.AT + position
    )
    return Recorded(position=position, stream="s", version=position, kind=codec.kind(event), event=event, meta=meta)


def like(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    """The example of an event with other values in some of its fields."""
    return st.fixed_dictionaries(fields).map(lambda said: replace(EXAMPLE_BY_CLASS[kind], **said))


tasks, agents, rounds = st.sampled_from(["t1", "t2"]), st.sampled_from(["ann", "bob", "cy"]), st.integers(1, 2)
which: dict[str, st.SearchStrategy[Any]] = {"task_id": tasks, "round": rounds, "agent_id": agents}
rankings = st.lists(agents, unique=True).map(
    lambda names: tuple(
        Ranked(agent_id=name, score=1 / n, lost="slots_full" if n > 2 else "") for n, name in enumerate(names, 1)
    )
)
ONE_OPENED = OpenedBid(
    agent_id="ann", commitment="", salt="", price=2.0, eta_seconds=3.0, confidence=0.5, capacity_offer=1.0
)
opened = st.lists(agents.map(lambda name: replace(ONE_OPENED, agent_id=name)), max_size=1).map(tuple)
closed: dict[str, st.SearchStrategy[Any]] = {"task_id": tasks, "round": rounds, "ranking": rankings, "opened": opened}
placed = like(task.BidPlaced, **which, price=st.integers(1, 9).map(float))
bidding = st.one_of(
    *[placed] * 6,
    like(task.BidWithdrawn, **which),
    like(task.BidRefused, **which, data_subject=PERSONS),
    like(task.BidCommitted, **which),
    like(task.BidRevealed, **which),
    like(task.TaskAwarded, **closed, agent_id=agents),
    like(task.BookVoided, **closed),
    like(task.DryRunEnded, **closed, winner=agents),
    like(task.TaskFailed, task_id=tasks, agent_id=agents, final=st.booleans()),
    like(task.TaskCancelled, task_id=tasks),
    like(agent.AgentRegistered, agent_id=agents, generation=st.integers(1, 2), data_subject=PERSONS),
    like(agent.AgentUpdated, agent_id=agents),
    like(subject.SubjectErased, data_subject=st.just("p1")),
    st.sampled_from(examples.EVENTS),
)
cuts = st.lists(st.integers(1, 12), max_size=8)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(bidding, st.sampled_from(["ours", "theirs"])), max_size=40), cuts)
def test_a_mixture_of_bidding_leaves_the_rows_that_its_events_leave_one_by_one(said, sizes):
    records = [recorded(position, event, tenant) for position, (event, tenant) in enumerate(said, 1)]
    assert_equal_in_any_batches(records, sizes, BY_BATCHES)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), cuts)
def test_a_story_leaves_the_rows_that_its_events_leave_one_by_one(seed, sizes):
    assert_equal_in_any_batches(told(seed, 150).records, sizes)


@pytest.mark.parametrize("sizes", [[], [100], [299, 40], [17] * 30])
def test_books_of_hundreds_of_bids_leave_the_rows_that_their_events_leave_one_by_one(sizes):
    bid, award = EXAMPLE_BY_CLASS[task.BidPlaced], EXAMPLE_BY_CLASS[task.TaskAwarded]
    names = [f"agent-{number}" for number in range(300)]
    registered = [replace(EXAMPLE_BY_CLASS[agent.AgentRegistered], agent_id=name) for name in names[::2]]
    bids = [replace(bid, agent_id=name, task_id=f"t{number % 3 // 2}") for number, name in enumerate(names)]
    withdrawn = [task.BidWithdrawn(task_id="t0", round=1, agent_id=name) for name in names[:60:7]]
    again = [replace(bid, agent_id=name, task_id="t0", price=7.0) for name in names[:30]]
    ranking = tuple(Ranked(agent_id=name, score=0.5) for name in reversed(names))
    awards = [replace(award, task_id=task_id, ranking=ranking, agent_id=names[-1]) for task_id in ("t0", "t1")]
    said = [*registered, *bids, *withdrawn, *again, *awards]
    records = [recorded(position, event, "ours") for position, event in enumerate(said, 1)]
    assert_equal_in_any_batches(records, sizes, BY_BATCHES)


@pytest.mark.parametrize("history", kept(), ids=lambda path: path.name.partition(".")[0])
def test_a_recorded_life_leaves_the_rows_that_its_events_leave_one_by_one(history: Path, tmp_path: Path) -> None:
    journal = unpack(history, tmp_path)
    with open_journal(journal) as connection:
        records = JournalFile(connection, journal).read(0, 100_000)
    assert_equal_in_any_batches(records, [len(records) // 3, 16, 1])
