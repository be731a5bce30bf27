"""What an agent's past says of it, recent first: sums that fade by half in `HALF_LIFE_SECONDS` of the log's time.

Times are counted in ticks and fading is multiplication alone, so that every machine comes to the same numbers: they are facts in commands,
and auditors derive them anew.
"""

from typing import Any

from msgspec import Struct
from msgspec.structs import fields, replace

HALF_LIFE_SECONDS = 604_800.0
"""After a week, what happened counts half."""
TICK_SECONDS = 600.0
TICK_SHARE = 0.9993125903618753
"""What is left after a tick: the 1008th root of a half, as there are 1008 ticks in a half-life."""
TICKS_MAX = 60_480
"""After sixty half-lives nothing is left."""
TRUST = 2.0
"""As many attempts that went as stated are taken for granted of everybody: so few say little against anybody."""


class Recent(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An agent's attempts and answers, each counted as much as is left of it at a tick.

    `succeeded` and `failed` attempts; `no_shows`, those of the failed that were never begun; `kept` adds min(1, promised / needed seconds)
    over the succeeded; `stated` adds the confidence that was stated for each attempt; `answers` are first bids on a call, `answer_seconds`
    after it.
    """

    tick: int = 0
    succeeded: float = 0.0
    failed: float = 0.0
    no_shows: float = 0.0
    kept: float = 0.0
    stated: float = 0.0
    answers: float = 0.0
    answer_seconds: float = 0.0

    @property
    def success_rate(self) -> float:
        """A newcomer stands half way. An attempt that was never begun counts as two that failed: others waited for nothing."""
        return (self.succeeded + 1) / (self.succeeded + self.failed + self.no_shows + 2)

    @property
    def kept_rate(self) -> float:
        """How far promised times were kept; half way for a newcomer."""
        return (self.kept + 1) / (self.succeeded + 2)

    @property
    def response(self) -> float:
        """1 for who answers at once, a half for who takes a second on average, or has never answered."""
        return self.answers / (self.answers + self.answer_seconds) if self.answers else 0.5

    @property
    def trust(self) -> float:
        """By what a stated confidence is multiplied: how often attempts succeeded for how surely that was stated; never more than 1."""
        return min(1.0, (self.succeeded + TRUST) / (self.stated + TRUST))


class Aside(Struct, frozen=True, kw_only=True, gc=False):
    """What is told of an agent and decides nothing: `squares` adds (stated confidence - outcome)² over `judged` attempts; `held` adds how
    near the `charges` came to what was agreed (the smaller part of the larger); `declines` are awards that it gave back."""

    tick: int = 0
    awards: float = 0.0
    judged: float = 0.0
    squares: float = 0.0
    refusals: float = 0.0
    late_reports: float = 0.0
    charges: float = 0.0
    held: float = 0.0
    declines: float = 0.0

    @property
    def brier_score(self) -> float | None:
        """0 for who always knew, 0.25 for who always said a half, 1 for who was always sure and wrong; None before the first attempt."""
        return self.squares / self.judged if self.judged else None

    @property
    def price_accuracy(self) -> float | None:
        """1 for who always charged what was agreed; None before the first charge."""
        return self.held / self.charges if self.charges else None


def price_held(agreed: float, charged: float) -> float:
    """How near a charge came to what was agreed: the smaller part of the larger, 1 where both are the same."""
    return 1.0 if agreed == charged else min(agreed, charged) / max(agreed, charged)


def tick_of(at: float) -> int:
    """The tick in which a time falls."""
    return int(at // TICK_SECONDS)


def faded(sums: Any, tick: int) -> Any:
    """The sums as they stand at a later tick."""
    if tick <= sums.tick:
        return sums
    left = _left(min(TICKS_MAX, tick - sums.tick))
    return type(sums)(tick=tick, **{name: getattr(sums, name) * left for name in _NAMES[type(sums)]})


def gained(sums: Any, at: float, **gains: float) -> Any:
    """The sums after something happened. Totals are kept with `at` 0: they never fade."""
    now = faded(sums, tick_of(at)) if at else sums
    for name in gains:
        gains[name] += getattr(now, name)
    return replace(now, **gains)


def _left(ticks: int) -> float:
    """`TICK_SHARE` to the power of `ticks`, by multiplication alone."""
    left, power = 1.0, TICK_SHARE
    while ticks > 0:
        if ticks & 1:
            left *= power
        power *= power
        ticks >>= 1
    return left


_NAMES = {kind: tuple(one.name for one in fields(kind) if one.name != "tick") for kind in (Recent, Aside)}


class Figure(Struct, frozen=True, kw_only=True):
    """One number of an agent's reputation: what it is `value`d at now, its share in a bid's score (0 where it decides nothing), what it is
    made of, as much as is left of it (`recent`) and as it was counted (`counts`), and the positions of the last events that moved it."""

    name: str
    value: float | None
    weight: float
    recent: dict[str, float]
    counts: dict[str, float]
    positions: tuple[int, ...]


class Reputation(Struct, frozen=True, kw_only=True):
    """An agent's figures at a time."""

    agent_id: str
    at: float
    half_life_seconds: float
    figures: tuple[Figure, ...]
