"""Decides recorded commands anew: each upon the recorded events before it, by the rules of today.

A command stands in the journal once, with its first event. What `decide` makes of it now must be what was recorded then, as long as the
aggregate's `RULES` are of the same number; under newer rules it may differ.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from runtime.codec import Codec
from runtime.errors import Failure
from runtime.records import Aggregate, CommandRecord, Event, Recorded, evolved


class Step(NamedTuple):
    """A recorded command, the events that it led to, and the position of the first (0 where they are of no journal).

    `withheld`: personal data of it can't be read.
    """

    stream: str
    command: CommandRecord
    events: Sequence[Event]
    position: int = 0
    withheld: bool = False


class Again(NamedTuple):
    """A step decided anew: the number of today's rules, what they decide, and why nothing where they refuse."""

    step: Step
    rules: int
    now: Sequence[Event]
    refusal: Failure | None

    @property
    def is_same(self) -> bool:
        """Whether today's rules decide what was recorded."""
        return list(self.now) == list(self.step.events)

    @property
    def is_due(self) -> bool:
        """Whether they have to: the rules have the number that they had then."""
        return self.rules == self.step.command.rules


def steps(records: Iterable[Recorded]) -> Iterator[Step]:
    """The commands of a journal's records, in order, each with its events: those of one command follow on each other."""
    step: Step | None = None
    events: list[Event] = []
    for record in records:
        if record.meta.command is not None:
            if step is not None:
                yield step
            events = []
            step = Step(record.stream, record.meta.command, events, record.position, record.withheld)
        events.append(record.event)
    if step is not None:
        yield step


def again(codec: Codec, steps: Iterable[Step]) -> Iterator[Again]:
    """Decides every step anew, each upon the recorded events of its stream before it; but those that rest on what was withheld."""
    states: dict[str, Any] = {}
    blank: set[str] = set()
    for step in steps:
        aggregate = codec.aggregate_of(step.stream)
        state = states.get(step.stream, aggregate.initial)
        if step.withheld:
            blank.add(step.stream)
        else:
            found = _decided(codec, aggregate, state, step)
            if found.is_same or step.stream not in blank:
                yield found
        for event in step.events:
            state = evolved(aggregate.evolve, state, event)
        states[step.stream] = state


def _decided(codec: Codec, aggregate: Aggregate, state: Any, step: Step) -> Again:
    try:
        return Again(step, aggregate.RULES, list(aggregate.decide(state, codec.command(step.command))), None)
    except Failure as failure:
        return Again(step, aggregate.RULES, (), failure)
