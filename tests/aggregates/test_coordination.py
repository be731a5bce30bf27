"""Work is given out, or it is not: what is so already is decided once."""

from aggregates import coordination
from aggregates.coordination import CoordinationStarted, CoordinationStopped, StartCoordination, StopCoordination
from tests.aggregates.outcomes import state
from tests.examples import command_by_type

STOP: StopCoordination = command_by_type[StopCoordination]
START: StartCoordination = command_by_type[StartCoordination]


def test_it_is_stopped_and_started_once() -> None:
    stopped = state(coordination, STOP)
    assert list(coordination.decide(coordination.initial, STOP)) == [CoordinationStopped(reason="maintenance")]
    assert coordination.decide(stopped, STOP) == []
    assert list(coordination.decide(stopped, START)) == [CoordinationStarted()]
    assert coordination.decide(state(coordination, STOP, START), START) == []


def test_it_goes_on_from_the_beginning() -> None:
    assert coordination.decide(coordination.initial, START) == []
    assert not coordination.initial.is_stopped
