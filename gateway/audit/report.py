"""What a replay of a journal finds, counted and listed: every command decided anew, every fact in them derived anew."""

import time
from collections.abc import Sequence

import msgspec

from gateway.audit.expected import Expected, entry_of
from gateway.audit.facts import Facts
from gateway.audit.judging.findings import FactCounts, FalseFact
from gateway.audit.look_ups import LookUps
from runtime.replay import Difference, Replay, Stray, Undecided
from runtime.store.log import Log

DIFFS_MAX = 1_000
"""Differences that are listed; those beyond are counted. A file of expected differences is held against all there are, up to
EXPECTED_MAX."""

EXPECTED_MAX = 100_000
UNDECIDED_MAX = 1_000


class Replayed(msgspec.Struct, kw_only=True):
    """`commands` = `equal` + `different` + `not_decidable` + `newer_rules`. `diffs` lists both kinds of differences.

    `strays` are events that follow from no command; `facts` counts the facts that commands carry, `false_facts` lists those
    that were not so.
    """

    commands: int = 0
    equal: int = 0
    different: int = 0
    not_decidable: int = 0
    newer_rules: int = 0
    diffs: list[Difference] = []
    undecided: list[Undecided] = []
    strays: list[Stray] = []
    strays_count: int = 0
    facts: FactCounts = msgspec.field(default_factory=FactCounts)
    false_facts: list[FalseFact] = []
    records: int = 0
    first: int = 1
    last: int = 0
    seconds: float = 0.0

    @property
    def is_due_kept(self) -> bool:
        """Whether all was decided, and was so, as it has to be; newer rules aside."""
        return not (self.different or self.strays_count or self.facts.false)


def replay_journal(log: Log, first: int, last: int, stream: str = "") -> tuple[Replayed, Sequence[Expected]]:
    """What was found of the commands between two positions, and all differences under newer rules. Blocks."""
    began = time.perf_counter()
    look_ups = LookUps(log)
    facts = Facts(look_ups)
    replay = Replay(look_ups, log.codec, first=first, last=last, stream=stream, witness=facts)
    found = Replayed(first=first, last=last)
    newer: list[Expected] = []
    for finding in replay.run():
        match finding:
            case Difference():
                _count_difference(found, finding, newer)
            case Undecided():
                found.not_decidable += 1
                if len(found.undecided) < UNDECIDED_MAX:
                    found.undecided.append(finding)
            case Stray():
                found.strays_count += 1
                if len(found.strays) < DIFFS_MAX:
                    found.strays.append(finding)
    found.commands, found.equal, found.records = replay.commands, replay.equal, replay.records
    found.facts, found.false_facts = facts.counts, facts.false
    found.seconds = round(time.perf_counter() - began, 3)
    return found, newer


def _count_difference(found: Replayed, difference: Difference, newer: list[Expected]) -> None:
    if difference.is_due:
        found.different += 1
    else:
        found.newer_rules += 1
        if len(newer) < EXPECTED_MAX:
            newer.append(entry_of(difference))
    if len(found.diffs) < DIFFS_MAX:
        found.diffs.append(difference)
