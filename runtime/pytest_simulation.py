"""The fixture `simulate` for any test: runs a workload for many seeds, and a failure says how to have it again.

```python
def test_no_money_is_lost(simulate):
    simulate(workload, seeds=range(50))
```

Pytest loads this in every project that has the package installed, so nothing else of it is imported before a test asks for the fixture.
"""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from runtime.simulation import Fault, Kind, Outcome, Workload

LINES_SHOWN = 40
"""So much of the end of a trace is told."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--simulate-seed", type=int, metavar="SEED", help="run simulations of this seed only")
    group.addoption(
        "--simulate-seeds", type=int, metavar="N", help="run simulations of so many seeds, from the first on"
    )
    group.addoption(
        "--simulate-faults", metavar="FAULTS", help="with these faults in place of drawn ones: crash@1.5,late@3"
    )


class Simulate(Protocol):
    """What the fixture gives: `faults` are the kinds that may strike (by default all of the runtime's), over so many seconds."""

    def __call__(
        self,
        workload: "Workload",
        seeds: Iterable[int] = range(20),
        *,
        faults: "Sequence[Kind] | None" = None,
        seconds: float = 60.0,
    ) -> "list[Outcome]":
        """The outcomes, without their traces. Fails the test at the first invariant that does not hold."""


@pytest.fixture
def simulate(request: pytest.FixtureRequest) -> Simulate:
    """Runs a workload for each of some seeds; fails with the invariant, the seed, as few faults as break it, and how to replay it."""
    from msgspec.structs import replace

    from runtime import simulation

    given = _given_faults(request.config)

    def run(
        workload: "Workload",
        seeds: Iterable[int] = range(20),
        *,
        faults: "Sequence[Kind] | None" = None,
        seconds: float = 60.0,
    ) -> "list[Outcome]":
        kinds = simulation.KINDS if faults is None else faults
        outcomes = []
        for seed in _chosen(request.config, seeds):
            outcome = simulation.simulate(workload, seed, kinds=kinds, faults=given, seconds=seconds)
            if not outcome.ok:
                least = outcome if given is not None else simulation.shrink(workload, outcome, kinds=kinds)
                pytest.fail(_report(request.node.nodeid, least, len(outcome.faults)), pytrace=False)
            outcomes.append(replace(outcome, trace=[]))
        return outcomes

    return run


def _given_faults(config: pytest.Config) -> "list[Fault] | None":
    from runtime.simulation import Fault

    told: str | None = config.getoption("--simulate-faults")
    if told is None:
        return None
    try:
        return [Fault.read(one) for one in told.split(",") if one]
    except ValueError as error:
        raise pytest.UsageError(f"--simulate-faults: {error}") from error


def _chosen(config: pytest.Config, seeds: Iterable[int]) -> Iterable[int]:
    one: int | None = config.getoption("--simulate-seed")
    if one is not None:
        return [one]
    count: int | None = config.getoption("--simulate-seeds")
    if count is None:
        return seeds
    first = min(seeds, default=0)
    return range(first, first + count)


def _report(nodeid: str, outcome: "Outcome", drawn: int) -> str:
    faults = ",".join(str(fault) for fault in outcome.faults)
    replay = f"pytest {shlex.quote(nodeid)} --simulate-seed {outcome.seed} --simulate-faults {shlex.quote(faults)}"
    return "\n".join(
        [
            f"{outcome.invariant} does not hold with seed {outcome.seed}: {outcome.detail}",
            "",
            f"the last of its {outcome.steps} steps:",
            *outcome.trace[-LINES_SHOWN:],
            "",
            f"faults, of {drawn} as few as break it: {faults or 'none'}",
            f"again: {replay}",
        ]
    )
