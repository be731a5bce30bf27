"""A projection's skips: every command decides, was already so, or is refused."""

import pytest

from aggregates import projection
from aggregates.projection import SKIPS_MAX, Projection, SkipEvent
from runtime.errors import Refused
from tests.examples import command_by_type

SKIP: SkipEvent = command_by_type[SkipEvent]


def test_an_event_is_skipped_once_on_record_with_who_it_stopped_and_why() -> None:
    (event,) = projection.decide(projection.initial, SKIP)
    assert (event.projection, event.position, event.reason, event.failure) == (
        "tasks/1",
        4711,
        "written by a faulty release",
        "no digest",
    )
    state = projection.evolve(projection.initial, event)
    assert state.skipped == (4711,)
    assert projection.decide(state, SKIP) == []


def test_a_projection_passes_over_so_many_events_and_no_more() -> None:
    full = Projection(skipped=tuple(range(1, SKIPS_MAX + 1)))
    with pytest.raises(Refused, match="skips_too_many"):
        projection.decide(full, SKIP.__class__(projection="tasks/1", position=SKIPS_MAX + 1, reason="more"))
