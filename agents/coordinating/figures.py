"""What an agent's past adds up to, for its bids' scores and for whoever asks why: sums that fade, counts that stay, and what moved them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from aggregates.values.ranking import in_force
from aggregates.values.reputation import HALF_LIFE_SECONDS, Aside, Figure, Recent, Reputation, faded, gained, tick_of
from aggregates.values.weights import Weights

POSITIONS_MAX = 5
"""How many of the events that moved a sum are remembered of it: the last ones."""


class Figures(Struct, kw_only=True):
    """`recent` is the fact that rankings rest on; `counts` and `counts_aside` are the same sums without fading."""

    recent: Recent = field(default_factory=Recent)
    counts: Recent = field(default_factory=Recent)
    aside: Aside = field(default_factory=Aside)
    counts_aside: Aside = field(default_factory=Aside)
    moved: dict[str, list[int]] = field(default_factory=dict)

    def gain(self, at: float, position: int, **gains: float) -> None:
        """Something happened that rankings rest on."""
        self.recent, self.counts = gained(self.recent, at, **gains), gained(self.counts, 0.0, **gains)
        self._note(position, gains)

    def answer(self, at: float, position: int, seconds: float) -> None:
        """It has answered a call, so long after it: as `gain` of both, for what comes most. What moves the answers moves their seconds, so
        that its position is noted once."""
        tick, recent, counts = tick_of(at), self.recent, self.counts
        if tick > recent.tick:
            recent = faded(recent, tick)
        self.recent = replace(recent, answers=recent.answers + 1.0, answer_seconds=recent.answer_seconds + seconds)
        self.counts = replace(counts, answers=counts.answers + 1.0, answer_seconds=counts.answer_seconds + seconds)
        positions = self.moved.get("answers")
        if positions is None:
            positions = self.moved["answers"] = []
        elif len(positions) >= POSITIONS_MAX:
            del positions[0]
        positions.append(position)

    def gain_aside(self, at: float, position: int, **gains: float) -> None:
        """Something happened that is told and decides nothing."""
        self.aside, self.counts_aside = gained(self.aside, at, **gains), gained(self.counts_aside, 0.0, **gains)
        self._note(position, gains)

    def judge(self, at: float, position: int, stated: float, **gains: float) -> None:
        """An attempt for which a confidence was stated has ended."""
        self.gain(at, position, stated=stated, **gains)
        self.gain_aside(at, position, judged=1, squares=(stated - gains.get("succeeded", 0)) ** 2)

    def _note(self, position: int, gains: dict[str, float]) -> None:
        for name, gain in gains.items():
            if gain:
                positions = self.moved.setdefault(name, [])
                positions.append(position)
                del positions[:-POSITIONS_MAX]


class Line(NamedTuple):
    """A figure: its name, the property or sum that is its value, its share in a score, and the sums that it is made of."""

    name: str
    value: str
    weight: Callable[[Weights], float]
    sums: tuple[str, ...]


def _nothing(_: Weights) -> float:
    return 0.0


LINES = (
    Line("success_rate", "success_rate", lambda of: of.agent_share * of.success, ("succeeded", "failed", "no_shows")),
    Line("kept_rate", "kept_rate", lambda of: of.agent_share * of.performance, ("kept", "succeeded")),
    Line("response", "response", lambda of: of.agent_share * of.response, ("answers", "answer_seconds")),
    Line("trust", "trust", lambda of: (1 - of.agent_share) * of.confidence, ("succeeded", "stated")),
    Line("no_shows", "no_shows", _nothing, ("no_shows", "awards")),
    Line("brier_score", "brier_score", _nothing, ("squares", "judged")),
    Line("refusals", "refusals", _nothing, ("refusals", "answers")),
    Line("price_accuracy", "price_accuracy", _nothing, ("held", "charges")),
    Line("declines", "declines", _nothing, ("declines", "awards")),
    Line("late_reports", "late_reports", _nothing, ("late_reports",)),
)


def told(agent_id: str, figures: Figures, at: float, weights: Weights | None = None) -> Reputation:
    """An agent's reputation at a time, number by number."""
    tick, weighed = tick_of(at), in_force(weights)
    recent, aside = faded(figures.recent, tick), faded(figures.aside, tick)
    lines = tuple(
        Figure(
            name=line.name,
            value=_rounded(_sum(line.value, recent, aside)),
            weight=_rounded(line.weight(weighed)),
            recent={name: _rounded(_sum(name, recent, aside)) for name in line.sums},
            counts={name: _rounded(_sum(name, figures.counts, figures.counts_aside)) for name in line.sums},
            positions=_positions(figures, line),
        )
        for line in LINES
    )
    return Reputation(agent_id=agent_id, at=at, half_life_seconds=HALF_LIFE_SECONDS, figures=lines)


def _sum(name: str, recent: Recent, aside: Aside) -> Any:
    return getattr(recent, name, None) if hasattr(recent, name) else getattr(aside, name)


def _rounded(value: Any) -> Any:
    return value if value is None else round(value, 6)


def _positions(figures: Figures, line: Line) -> tuple[int, ...]:
    """The last events that moved any of its sums."""
    found = {position for name in line.sums for position in figures.moved.get(name, ())}
    return tuple(sorted(found)[-POSITIONS_MAX:])
