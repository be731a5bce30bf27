"""Laws over everything in the catalog."""

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import task
from aggregates.catalog import AGGREGATES
from aggregates.task import AwardTask, FailTask, OpenBook, PlaceBid, Stage, StartTask, SubmitTask, TaskAwarded
from runtime.codec import Codec
from runtime.errors import Refused
from runtime.records import Command, Event, reply_type
from tests.examples import AT, COMMANDS, EVENTS, command_by_type, event_by_type

CODEC = Codec(AGGREGATES)
ALL_EVENTS = [event for aggregate in AGGREGATES for event in aggregate.EVENTS]
ALL_COMMANDS = [command for aggregate in AGGREGATES for command in aggregate.COMMANDS]

LIKELY_BY_STAGE: dict[Stage, tuple[type[Command[Any]], ...]] = {
    Stage.UNKNOWN: (SubmitTask, SubmitTask),
    Stage.SUBMITTED: (OpenBook, OpenBook),
    Stage.BIDDING: (PlaceBid, AwardTask),
    Stage.AWARDED: (StartTask, FailTask),
}


def by_name(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)


def name(aggregate: ModuleType) -> str:
    return aggregate.__name__


def decided(draw: Callable[[Any], Any], aggregate: ModuleType) -> Iterator[tuple[Any, Any, Sequence[Any], Any]]:
    """A random life: of each command that was not refused the state before it, the command, its events and the state after.

    Times go forward. Rounds and tokens are now and then a step ahead or behind; agents are any of three.
    """
    state, at = aggregate.initial, AT
    for kind in draw(st.lists(st.sampled_from(aggregate.COMMANDS), max_size=60)):
        at += draw(st.sampled_from([0.0, 0.0, 0.5, 3.0, 40.0]))
        changes: dict[str, Any] = {"at": at}
        if aggregate is task:
            # Without this most lives would end before their first award.
            kind = draw(st.sampled_from([kind, *LIKELY_BY_STAGE.get(state.stage, ())]))
            fields = kind.__struct_fields__
            changes |= {"agent_id": draw(st.sampled_from(["ann", "bob", "eve"]))} if "agent_id" in fields else {}
            changes |= {"round": state.round + draw(st.integers(0, 1))} if "round" in fields else {}
            changes |= {"token": max(1, state.attempt - draw(st.integers(-1, 1)))} if "token" in fields else {}
        command = replace(command_by_type[kind], **changes)
        try:
            events = aggregate.decide(state, command)
        except Refused as refused:
            assert refused.status in (403, 404, 409, 422, 429)
            continue
        before = state
        for event in events:
            state = aggregate.evolve(state, event)
        yield before, command, events, state


@pytest.mark.parametrize("event", ALL_EVENTS, ids=by_name)
def test_every_event_has_an_example(event: type[Event]) -> None:
    assert event in event_by_type


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=by_name)
def test_every_command_has_an_example_and_a_reply(command: type[Command[Any]]) -> None:
    assert command in command_by_type
    reply_type(command)


@pytest.mark.parametrize("event", EVENTS, ids=by_name)
def test_every_event_survives_the_disk(event: Event) -> None:
    data = CODEC.pack(event)
    again = CODEC.event(CODEC.kind(event), data)
    assert again == event
    assert CODEC.pack(again) == data


@pytest.mark.parametrize("command", COMMANDS, ids=by_name)
def test_every_command_survives_the_disk(command: Command[Any]) -> None:
    assert CODEC.command(CODEC.command_record(command)) == command


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=by_name)
def test_every_command_has_a_schema(command: type[Command[Any]]) -> None:
    assert msgspec.json.schema(command)


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=name)
@given(data=st.data())
def test_evolve_takes_every_event_in_every_state_that_can_be_reached(aggregate: ModuleType, data: Any) -> None:
    for state, _, _, _ in decided(data.draw, aggregate):
        for event in aggregate.EVENTS:
            assert isinstance(aggregate.evolve(state, event_by_type[event]), type(aggregate.initial))


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=name)
@given(data=st.data())
def test_a_decision_repeated_from_the_disk_is_the_same(aggregate: ModuleType, data: Any) -> None:
    for state, command, events, _ in decided(data.draw, aggregate):
        again = CODEC.command(CODEC.command_record(command))
        assert list(aggregate.decide(state, again)) == list(events)
        for event in events:
            assert CODEC.event(CODEC.kind(event), CODEC.pack(event)) == event


@given(st.data())
def test_tokens_only_grow_and_no_two_leases_share_one(data: Any) -> None:
    tokens = []
    for _, _, events, after in decided(data.draw, task):
        tokens += [event.token for event in events if isinstance(event, TaskAwarded)]
        if after.stage in task.HELD:
            assert after.assignee
            assert after.attempt == tokens[-1]
    assert tokens == list(range(1, len(tokens) + 1))


@given(st.data())
def test_what_has_ended_stays_ended(data: Any) -> None:
    for before, _, events, _ in decided(data.draw, task):
        assert not (before.stage in task.ENDED and events)


@given(st.data())
def test_bids_and_names_in_a_task_are_kept_sorted(data: Any) -> None:
    for _, _, _, after in decided(data.draw, task):
        names = [bid.agent_id for bid in after.bids]
        assert names == sorted(set(names))
        assert list(after.refused) == sorted(set(after.refused))
        assert not set(names) & set(after.refused)
