"""The roster lists every actor once, and no two take the same message."""

from agents.roster import ROSTER
from aggregates.catalog import AGGREGATES


def test_no_two_actors_take_the_same_message() -> None:
    taken = [message for role in ROSTER for message in role.actor.takes]
    assert len(taken) == len(set(taken))


def test_every_actor_hears_only_events_that_an_aggregate_lists() -> None:
    listed = {event for aggregate in AGGREGATES for event in aggregate.EVENTS}
    assert all(set(role.actor.hears) <= listed for role in ROSTER)
