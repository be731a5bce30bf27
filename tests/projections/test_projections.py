"""The laws that every projection keeps, over journals made by random commands."""

import functools
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from aggregates import task
from aggregates.catalog import AGGREGATES
from aggregates.task import BidCommitted, BidPlaced, LeaseExpired, TaskAwarded, TaskCompleted, TaskFailed
from projections import (
    agent_timeline,
    agents,
    audit,
    bids,
    keys,
    learning_experiences,
    personal,
    problems,
    sessions,
    solves,
    task_types,
    tasks,
    users,
    webhooks,
)
from projections.catalog import PROJECTIONS
from runtime.read_models import ReadModels, compare, digests
from runtime.records import Meta, Recorded
from tests import examples
from tests.projections.stories import AGENTS, TENANTS, codec, from_disk, told

STEPS = 400
STORIES_MAX = 200
"""So many are told at most until every kind of event was in one; about twenty are enough."""
seeds = st.integers(0, 2**32 - 1)


@functools.cache
def story(seed: int, steps: int = STEPS):
    return told(seed, steps)


def filled(records, sizes=()):
    """Read models of the records, applied in batches of these sizes, the rest at once."""
    engine = create_engine("sqlite://")
    models = ReadModels(engine, PROJECTIONS)
    models.open(len(records))
    for size in sizes:
        models.write(records[models.position() :][:size])
    models.write(records[models.position() :])
    assert [standing.reason for standing in models.standings.values()] == [""] * len(PROJECTIONS)
    return engine


def asked(engine, question, *arguments, **named):
    with engine.begin() as connection:
        return question(connection, *arguments, **named)


@pytest.fixture(scope="module")
def read():
    engine = filled(story(1, 2 * STEPS).records)
    yield functools.partial(asked, engine)
    engine.dispose()


def test_every_event_of_every_aggregate_is_applied_by_every_projection():
    awaited = {
        f"{module.__name__.rpartition('.')[2]}.{event.__name__}" for module in AGGREGATES for event in module.EVENTS
    }
    for seed in range(STORIES_MAX):
        records = story(seed).records
        if seed < 12 or awaited.intersection(record.kind for record in records):
            filled(records).dispose()
        awaited.difference_update(record.kind for record in records)
        if seed >= 12 and not awaited:
            break
    assert not awaited


def test_the_example_of_every_event_is_applied_by_every_projection_in_any_place():
    meta = Meta(id="c1", cause="", correlation="c1", tenant=examples.TENANT, principal="admin:k1", at=examples.AT)
    both_ways = (*examples.EVENTS, *reversed(examples.EVENTS))
    filled(
        [
            Recorded(position=n, stream="s", version=n, kind=codec.kind(event), event=event, meta=meta)
            for n, event in enumerate(both_ways, 1)
        ]
    ).dispose()


def test_nothing_comes_of_events_that_a_projection_does_not_hear():
    meta = Meta(id="c1", cause="", correlation="c1", tenant=examples.TENANT, principal="admin:k1", at=examples.AT)
    records = [
        Recorded(position=1, stream="s", version=1, kind=codec.kind(event), event=event, meta=meta)
        for event in examples.EVENTS
    ]
    for seed in range(6):  # what is told of one may come to nothing where another does not
        records += story(seed).records
    classes = {event for module in AGGREGATES for event in module.EVENTS}
    for projection in PROJECTIONS:
        hears = getattr(projection, "HEARS", classes)
        assert hears <= classes
        unheard = [record for record in records if type(record.event) not in hears]
        assert [record.kind for record in unheard if projection.apply(record)] == [], projection.NAME


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_what_an_agent_did_is_counted(seed):
    records = told(seed, 250).records
    engine = filled(records)
    for tenant in TENANTS:
        for agent_id in AGENTS:
            row = asked(engine, agents.find, tenant, agent_id)
            if row is None:
                continue
            since = [record for record in records if record.position > row["first_position"]]
            happened = Counter(
                type(record.event)
                for record in since
                if record.meta.tenant == tenant and getattr(record.event, "agent_id", "") == agent_id
            )
            happened[BidPlaced] += happened[BidCommitted]
            counted = [happened[kind] for kind in (BidPlaced, TaskAwarded, TaskCompleted, TaskFailed, LeaseExpired)]
            assert [row[name] for name in ("bids", "won", "completed", "failed", "leases_lost")] == counted
    engine.dispose()


def states_of_answers(records):
    """The slow twin: what became of each answer to a call, told from all events of its task."""
    states = {}
    for record in records:
        event, tenant = record.event, record.meta.tenant
        match event:
            case task.BidPlaced() | task.BidWithdrawn() | task.BidRefused():
                name = type(event).__name__.removeprefix("Bid").lower()
                states[tenant, event.task_id, event.round, event.agent_id] = name
            case task.BidCommitted() | task.BidRevealed():
                name = "sealed" if isinstance(event, task.BidCommitted) else "opened"
                states[tenant, event.task_id, event.round, event.agent_id] = name
            case task.BookVoided() | task.TaskAwarded() | task.DryRunEnded():
                for ranked in event.ranking:
                    won = isinstance(event, task.TaskAwarded) and ranked.agent_id == event.agent_id
                    states[tenant, event.task_id, event.round, ranked.agent_id] = "won" if won else "lost"
            case task.TaskCancelled() | task.TaskExpired() | task.TaskDeadLettered():
                lost = [answer for answer in states if answer[:2] == (tenant, event.task_id)]
                states |= {answer: "lost" for answer in lost if states[answer] in ("placed", "sealed", "opened")}
    return states


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_every_answer_to_a_call_shows_what_became_of_it(seed):
    records = told(seed, 250).records
    engine = filled(records)
    names = ("tenant_id", "task_id", "round", "agent_id")
    rows = [row for tenant in TENANTS for row in asked(engine, bids.newest, tenant, limit=500)]
    assert {tuple(row[name] for name in names): row["state"] for row in rows} == states_of_answers(records)
    engine.dispose()


@settings(max_examples=25, deadline=None)
@given(seeds, st.lists(st.integers(1, 40), max_size=20))
def test_what_is_rebuilt_from_the_disk_equals_what_was_made_live(seed, sizes):
    records = told(seed, 150).records
    live, fresh = filled(records, sizes), filled([from_disk(record) for record in records])
    assert all(compare(digests(live, PROJECTIONS), digests(fresh, PROJECTIONS)).values())
    live.dispose()
    fresh.dispose()


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_rows_say_what_the_aggregates_states_say(seed):
    told_story = told(seed, 250)
    engine = filled(told_story.records)
    with engine.begin() as connection:
        for (tenant, stream), state in told_story.states.items():
            noun, _, name = stream.partition("-")
            match noun:
                case "agent":
                    row = agents.find(connection, tenant, name.partition(":")[2])
                    assert row is not None
                    offer = (row["status"], row["generation"], row["slots"], row["price"], row["key_id"])
                    assert offer == (state.stage.value, state.generation, state.slots, state.price, state.key_id)
                    assert row["capabilities"] == list(state.capabilities)
                case "task":
                    row = tasks.find(connection, tenant, name)
                    assert row is not None
                    shown = (row["stage"], row["attempt"], row["round"], row["agent_id"] or "")
                    assert shown == (state.stage.value, state.attempt, state.round, state.assignee)
                    assert row["waiting"] == len(state.waiting_for) or state.stage is not task.Stage.BLOCKED
                    assert row["closes_at"] == (state.closes_at or None)
                    placed = bids.newest(connection, tenant, task_id=name)
                    open_bids = sorted(row["agent_id"] for row in placed if row["state"] in (bids.PLACED, bids.OPENED))
                    assert open_bids == [bid.agent_id for bid in state.bids]
                    shut = sorted(row["agent_id"] for row in placed if row["state"] == bids.SEALED)
                    assert shut == [sealed.agent_id for sealed in state.sealed if not sealed.is_opened]
                case "key":
                    row = keys.find(connection, tenant, name)
                    assert row is not None
                    assert (row["status"], row["role"]) == (state.stage.value, state.role.value)
                case "webhook":
                    row = webhooks.find(connection, tenant, name.partition(":")[2])
                    assert row is not None
                    assert (row["status"], row["position"]) == (state.stage.value, state.position)
                    assert (row["failing_since"] is not None) == state.is_failing
                case "solve_job":
                    row = solves.find(connection, tenant, name)
                    assert row is not None
                    assert row["stage"] == state.stage.value
        for tenant in TENANTS:
            for agent_id in AGENTS:
                row = agents.find(connection, tenant, agent_id)
                held = [
                    state
                    for (owner, stream), state in told_story.states.items()
                    if owner == tenant and stream.startswith("task-") and state.stage in task.HELD
                ]
                assert row is None or row["running"] == sum(state.assignee == agent_id for state in held)
    engine.dispose()


FINDS = {
    agent_timeline: (agent_timeline.find, ("agent_id", "position")),
    agents: (agents.find, ("agent_id",)),
    audit: (audit.find, ("position",)),
    bids: (bids.find, ("task_id", "round", "agent_id")),
    keys: (keys.find, ("key_id",)),
    learning_experiences: (learning_experiences.find, ("task_id", "token")),
    personal: (personal.find, ("position",)),
    problems: (problems.find, ("problem_id",)),
    sessions: (sessions.find, ("session_id",)),
    solves: (solves.find, ("job_id",)),
    task_types: (task_types.find, ("task_type", "version")),
    tasks: (tasks.find, ("task_id",)),
    users: (users.find, ("user_id",)),
    webhooks: (webhooks.find, ("webhook_id",)),
}
everywhere = pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda module: module.__name__.rpartition(".")[2])


@everywhere
def test_what_is_found_is_what_the_page_shows(read, projection):
    find, names = FINDS[projection]
    page = read(projection.newest, "ours", limit=500)
    assert page
    for row in page:
        found = read(find, "ours", *(row[name] for name in names))
        assert row.items() <= found.items()


@everywhere
def test_an_unknown_id_finds_none(read, projection):
    find, names = FINDS[projection]
    numbers = ("round", "position", "token", "version")
    assert read(find, "ours", *(10**6 if name in numbers else "nobody" for name in names)) is None


@everywhere
def test_rows_of_another_tenant_are_as_if_they_were_not_there(read, projection):
    find, names = FINDS[projection]
    ours, theirs = (read(projection.newest, tenant, limit=500) for tenant in TENANTS)
    assert {row["tenant_id"] for row in ours} == {"ours"}
    assert read(projection.count, "ours") == len(ours)
    assert read(projection.newest, "nobody") == []
    assert read(projection.count, "nobody") == 0
    keys_of_ours = {tuple(row[name] for name in names) for row in ours}
    for row in theirs:
        wanted = tuple(row[name] for name in names)
        found = read(find, "ours", *wanted)
        assert (found is not None) == (wanted in keys_of_ours)
        assert found is None or found["tenant_id"] == "ours"


@everywhere
def test_pages_show_each_row_once_from_the_newest_to_the_oldest(read, projection):
    cursor = "position" if projection in (audit, personal) else "first_position"
    everything = read(projection.newest, "ours", limit=500)
    paged, before = [], None
    while page := read(projection.newest, "ours", before=before, limit=3):
        assert len(page) <= 3
        paged += page
        before = page[-1][cursor]
    assert paged == everything == sorted(everything, key=lambda row: -row[cursor])


@everywhere
def test_a_page_holds_no_more_than_its_bound_and_nothing_when_asked_for_nothing(read, projection):
    assert read(projection.newest, "ours", limit=0) == []
    assert read(projection.newest, "ours", limit=-1) == []


def test_a_page_of_more_than_the_bound_is_cut():
    engine = filled(story(3, 3000).records)
    assert len(asked(engine, audit.newest, "ours", limit=10**6)) == 500 < asked(engine, audit.count, "ours")
    engine.dispose()


NARROWED = [
    (agents, "status"),
    (audit, "stream"),
    (audit, "correlation"),
    (audit, "kind"),
    (audit, "principal"),
    (bids, "task_id"),
    (bids, "agent_id"),
    (keys, "role"),
    (personal, "data_subject"),
    (problems, "name"),
    (solves, "stage"),
    (solves, "problem_id"),
    (solves, "task_id"),
    (tasks, "stage"),
    (tasks, "agent_id"),
]


@pytest.mark.parametrize(
    "projection, column", NARROWED, ids=[f"{module.__name__.rpartition('.')[2]}-{name}" for module, name in NARROWED]
)
def test_pages_can_be_narrowed(read, projection, column):
    everything = read(projection.newest, "ours", limit=500)
    for value in {row[column] for row in everything if row[column] is not None}:
        assert read(projection.newest, "ours", limit=500, **{column: value}) == [
            row for row in everything if row[column] == value
        ]


def test_counts_by_stage_status_and_kind_add_up(read):
    for projection, counts in (
        (agents, agents.count_by_status),
        (tasks, tasks.count_by_stage),
        (audit, audit.count_by_kind),
    ):
        assert sum(read(counts, "ours").values()) == read(projection.count, "ours")
    for stage, number in read(tasks.count_by_stage, "ours").items():
        assert read(tasks.count, "ours", stage=stage) == number


def test_rows_can_be_said_in_json(read):
    for projection in PROJECTIONS:
        page = read(projection.newest, "ours", limit=500)
        assert msgspec.json.decode(msgspec.json.encode(page)) == page


QUERIES = {
    "SELECT id, agent_type, status, last_heartbeat FROM agents": (
        "SELECT agent_id, agent_type, status, last_heard_at FROM agents"
    ),
    "SELECT id, task_type, status, assigned_agent FROM tasks": "SELECT task_id, task_type, stage, agent_id FROM tasks",
}
"""What an operator may ask in SQL, by the names that the first design gave the columns, and what they are called."""


@pytest.mark.parametrize("query", QUERIES)
def test_the_first_designs_queries_of_rows_run_unchanged(query):
    engine = filled(story(1).records)
    with engine.begin() as connection:
        named = connection.exec_driver_sql(query).all()
        assert named
        assert sorted(named) == sorted(connection.exec_driver_sql(QUERIES[query]).all())
        assert all(row[3] for row in named) or "tasks" in query
    engine.dispose()


def test_the_first_designs_query_of_experiences_runs_unchanged():
    records = story(1, 4 * STEPS).records
    events = [record.event for record in records]
    engine = filled(records)
    with engine.begin() as connection:
        named = connection.exec_driver_sql("SELECT COUNT(*), success FROM learning_experiences GROUP BY success").all()
    engine.dispose()
    succeeded = sum(isinstance(event, TaskCompleted) for event in events)
    ended = [event for event in events if isinstance(event, TaskFailed) and not event.final]
    failed = len(ended) + sum(isinstance(event, LeaseExpired) for event in events)
    assert succeeded
    assert failed
    assert sorted(named) == sorted([(failed, 0), (succeeded, 1)])
