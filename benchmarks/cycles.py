"""What a cycle of coordination takes: from tasks that wait and agents that are free to awards that are in the journal.

A cycle is all of it: who is called for what, the calls, the bids of all who were called, the scores, the awards; each an event of the
journal, synced. `cycle_500` is by the clock, beside what an earlier document asks for; the cost of an award at two sizes is CPU time of
the process, the agents' part included. `docs/benchmarks.md` says what each row measures.
"""

import sys
from pathlib import Path

from benchmarks.crowds import Taken, taken
from benchmarks.measure import Measured, Row

AGENTS, TASKS = 500, 1_000
CYCLE_SECONDS_MAX = 2.0
"""Of document 004, for 100 agents."""
SMALL, LARGE = (100, 1_000), (10_000, 100_000)
AWARDS_MAX = 3_000
FLAT = 1.5
ROUNDS = 3


def cycle(rounds: int = ROUNDS, agents: int = AGENTS, tasks: int = TASKS, place: Path | None = None) -> Measured:
    """Seconds by the clock until every task is awarded."""
    cycles = [_told(agents, tasks, tasks, place) for _ in range(rounds)]
    return Measured(ours=[one.seconds for one in cycles], theirs=[CYCLE_SECONDS_MAX] * rounds)


def growth(
    rounds: int = ROUNDS,
    small: tuple[int, int] = SMALL,
    large: tuple[int, int] = LARGE,
    place: Path | None = None,
) -> Measured:
    """CPU microseconds an award: of the first AWARDS_MAX, or of two for each agent, who have 3.5 slots on average."""

    def cost(agents: int, tasks: int) -> float:
        one = _told(agents, tasks, min(2 * agents, AWARDS_MAX), place)
        return one.cpu / one.awards * 1e6

    pairs = [(cost(*large), cost(*small)) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def _told(agents: int, tasks: int, awards: int, place: Path | None) -> Taken:
    one = taken(agents, tasks, awards, place)
    text = f"{agents:,} agents, {tasks:,} tasks: {one.awards:,} awards, {one.bids:,} bids in {one.seconds:.2f} s, {one.cpu:.2f} s of CPU"
    print(text, file=sys.stderr)
    return one


ROWS = (
    Row(
        name="cycle_500",
        measure=cycle,
        peer="document 004: a cycle of coordination for 100 agents",
        unit="s by the clock",
        better="less",
    ),
    Row(
        name="growth",
        measure=growth,
        peer="100 agents, 1,000 waiting tasks",
        unit="us CPU per award, 10,000 agents, 100,000 waiting tasks",
        better="less",
        goal=FLAT,
        at_most=True,
    ),
)
