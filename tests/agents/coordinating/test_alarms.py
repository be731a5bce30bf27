"""Alarms go off in the order of their times, and not before."""

from agents.coordinating.alarms import Alarm, Alarms, Due


def test_alarms_go_off_soonest_first_and_not_before_their_time() -> None:
    alarms = Alarms()
    assert alarms.soonest() is None
    alarms.set(3.0, Due.BOOK, "t1")
    alarms.set(1.0, Due.SILENCE, "ann")
    assert alarms.soonest() == 1.0
    assert alarms.take(0.9) is None
    assert alarms.take(3.0) == Alarm(1.0, Due.SILENCE, "ann")
    assert alarms.take(3.0) == Alarm(3.0, Due.BOOK, "t1")
    assert alarms.take(3.0) is None


def test_cleared_alarms_are_gone() -> None:
    alarms = Alarms()
    alarms.set(1.0, Due.CYCLE, "")
    alarms.clear()
    assert len(alarms) == 0
