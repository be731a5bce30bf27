"""What came of a demo: the answer that scripts read, and what had to hold."""

from collections.abc import Sequence

import msgspec

from aggregates.task import TaskType
from gateway.demo.problems import Problem
from gateway.demo.story import Story


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A problem: `gap` is the share by which the value misses the best known one (negative where it is better)."""

    name: str
    variables: int | None
    best_known: float | None
    value: float | None
    gap: float | None
    seconds: float
    winner: str | None
    verified_by: str | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. Names and order are relied on by scripts."""

    problems: list[Finding]
    tasks: int
    completed: int
    reawarded: int
    events: int
    root: str | None
    replay_equal: bool
    verified: bool
    seconds: float


def findings(problems: Sequence[Problem], story: Story) -> list[Finding]:
    """What was found of each problem, in their order."""
    solved = {chapter.problem: chapter for chapter in story.of(TaskType.OPTIMIZATION)}
    checked = {chapter.problem: chapter for chapter in story.of(TaskType.VERIFICATION)}
    found = []
    for problem in problems:
        solve, check = solved.get(problem.name), checked.get(problem.name)
        result = solve.result if solve is not None else {}
        good = check is not None and bool(check.result.get("equal"))
        value, best = result.get("value"), problem.best_known
        found.append(
            Finding(
                name=problem.name,
                variables=result.get("variables"),
                best_known=best,
                value=value,
                gap=None if value is None or not best else round(abs(best - value) / abs(best) * _sign(best, value), 6),
                seconds=round(solve.seconds, 3) if solve is not None else 0.0,
                winner=(solve.done_by or None) if solve is not None else None,
                verified_by=check.done_by if check is not None and good else None,
            )
        )
    return found


def _sign(best: float, value: float) -> int:
    """1 where the value is worse than the best known one; a best value above 0 is one of a maximization."""
    better = value > best if best > 0 else value < best
    return -1 if better else 1


def faults(outcome: Outcome, story: Story) -> list[str]:
    """What did not hold; empty where all did."""
    found = [f"{one.name} was not solved" for one in outcome.problems if one.winner is None]
    unchecked = [one for one in outcome.problems if one.winner and not one.verified_by]
    found += [f"{one.name}: nobody has found {one.value} in its file again" for one in unchecked]
    own = [one for one in outcome.problems if one.winner and one.winner == one.verified_by]
    found += [f"{one.name} was checked by its own solver" for one in own]
    if outcome.completed < outcome.tasks:
        found.append(f"{outcome.tasks - outcome.completed} of {outcome.tasks} tasks were not completed")
    if not outcome.reawarded:
        found.append("no task was awarded anew after an agent was killed")
    found += [
        f"the analyst found decisions that come out otherwise, at {chapter.result['different']}"
        for chapter in story.of(TaskType.ANALYSIS)
        if chapter.result.get("different")
    ]
    if not outcome.replay_equal:
        found.append("read models rebuilt from the log differ from the live ones")
    if not outcome.verified:
        found.append("the log does not verify against its signed root")
    return found
