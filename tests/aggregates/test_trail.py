"""The trail: refusals are noted as they are told, a suspicion once in a span, settings where they have changed."""

from typing import Any

import pytest
from msgspec.structs import replace

from aggregates import trail
from aggregates.trail import DAY_SECONDS, SPAN_SECONDS, NoteRefusals, NoteSettings, NoteStrangers, SuspectIntruder
from runtime.errors import Refused
from tests.aggregates.outcomes import state
from tests.examples import AT, COUNTED, REFUSAL, command_by_type

NOTE: NoteRefusals = command_by_type[NoteRefusals]
SUSPECT: SuspectIntruder = command_by_type[SuspectIntruder]
SETTINGS: NoteSettings = command_by_type[NoteSettings]


def test_each_refusal_is_an_event_and_what_was_counted_is_one() -> None:
    events: list[Any] = list(trail.decide(trail.initial, replace(NOTE, refusals=(REFUSAL, REFUSAL))))
    assert [type(event).__name__ for event in events] == ["RequestRefused", "RequestRefused", "RequestsRefused"]
    assert (events[0].refusal, events[2].counted) == (REFUSAL, COUNTED)
    with pytest.raises(Refused, match="refusals_missing"):
        trail.decide(trail.initial, replace(NOTE, refusals=(), counted=None))


def test_strangers_stand_under_their_address() -> None:
    event: Any
    (event,) = trail.decide(trail.initial, command_by_type[NoteStrangers])
    assert (event.address, event.keys) == ("192.0.2.7", ("k1",))


def test_somebody_is_suspected_once_in_a_span() -> None:
    suspected = state(trail, SUSPECT)
    assert trail.decide(suspected, replace(SUSPECT, at=AT + SPAN_SECONDS - 1)) == []
    assert len(trail.decide(suspected, replace(SUSPECT, at=AT + SPAN_SECONDS))) == 1


def test_settings_are_recorded_where_they_have_changed_and_say_which() -> None:
    first = state(trail, SETTINGS)
    assert trail.decide(first, SETTINGS) == []
    event: Any
    (event,) = trail.decide(first, replace(SETTINGS, settings={"bind": "[::1]:80", "insecure": "true"}))
    assert event.changed == ("bind", "insecure")


def test_a_principal_has_a_stream_for_each_day() -> None:
    assert trail.stream("acme", "agent:ann", AT) == trail.stream("acme", "agent:ann", AT + 60)
    assert trail.stream("acme", "agent:ann", AT) != trail.stream("acme", "agent:ann", AT + DAY_SECONDS)
    for who in ("agent:ann", "2001:db8::1"):
        assert trail.whose(trail.stream("acme", who, AT)) == who
