"""What an audit has found of facts: how many were judged, and which were not so."""

from collections.abc import Sequence
from typing import Any

import msgspec

from aggregates import task as tasks
from aggregates.task import LateReported, Task
from gateway.audit.look_ups import LookUps
from runtime.differences import unpacked
from runtime.replay import Told

FALSE_FACTS_MAX = 1000
"""False facts that are named; those beyond are counted."""

RULES_WITH_UNITS = 3
"""The rules of tasks from which on commands tell the capacity of agents."""
RULES_WITH_OFFERS = 5
"""From which on they tell what a bidder offers, where that was changed after the call."""

NOBODY = "nobody by that name"


class FalseFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that a command carries: what it says, and what the log said."""

    position: int
    stream: str
    command: str
    fact: str
    said: Any
    was: Any


class FactCounts(msgspec.Struct, kw_only=True):
    """`checked` facts were derived anew; `bounded` ones can't be and were held against what bounds them; of `unknown` ones the
    log shows too little; `false` counts those of the first two that were not so."""

    checked: int = 0
    bounded: int = 0
    unknown: int = 0
    false: int = 0


class Findings:
    """The findings so far, and the command whose facts are being judged."""

    told: Told

    def __init__(self, look_ups: LookUps) -> None:
        self.counts = FactCounts()
        self.false: list[FalseFact] = []
        self.look_ups = look_ups
        self.missed: set[str] = set()
        """Of whom a record could not be read (empty: of anybody): what does not fit after that is nobody's lie."""

    @property
    def counts_units(self) -> bool:
        """Whether the command was decided by rules that know of capacity."""
        record = self.told.meta.command
        return record is not None and record.rules >= RULES_WITH_UNITS

    def stood(self, task_id: str) -> tuple[int, Task] | None:
        """Where a task of the tenant was changed last before the command, and how it stood then."""
        found = self.look_ups.stood_at(tasks.stream(task_id), self.told.position, aside=(LateReported,))
        if found is None or found[2] != self.told.meta.tenant:
            return None
        return found[0], found[1]

    def say(self, fact: str, said: Any, was: Any) -> None:
        """A fact that does not fit what the log shows, as far as that can be read."""
        if self.missed and ("" in self.missed or self.told.meta.tenant in self.missed):
            self.counts.checked -= 1
            self.counts.unknown += 1
        else:
            self.lies(fact, said, was)

    def lies(self, fact: str, said: Any, was: Any) -> None:
        """A fact that is false, whatever could be read."""
        self.counts.false += 1
        if len(self.false) < FALSE_FACTS_MAX:
            told = self.told
            self.false.append(
                FalseFact(
                    position=told.position,
                    stream=told.stream,
                    command=type(told.command).__name__,
                    fact=fact,
                    said=unpacked(said),
                    was=unpacked(was),
                )
            )

    def check(self, fact: str, said: Any, was: Any) -> None:
        """A fact that was derived anew."""
        self.counts.checked += 1
        if said != was:
            self.say(fact, said, was)

    def check_one_of(self, fact: str, said: Any, were: Sequence[Any]) -> None:
        """A fact that a step may have read before or after what another one of the same cause changed."""
        self.counts.checked += 1
        if said not in were:
            self.say(fact, said, were[0])

    def bound(self, fact: str, said: float, least: float, most: float) -> None:
        """A fact that no log shows, and its bounds."""
        self.counts.bounded += 1
        if not least <= said <= most:
            self.lies(fact, said, f"between {least!r} and {most!r}")
