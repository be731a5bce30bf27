"""What is promised of tasks notices what breaks it: each promise is broken by a bug in the rules, which it catches within few seeds."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from aggregates.task import TaskAwarded
from gateway.simulation import workload
from gateway.simulation.promises import check_promises
from gateway.simulation.told import Told
from gateway.simulation.workload import NodeWorkload
from runtime.records import Recorded
from runtime.simulation import World, simulate
from tests.simulation.mutations_of_rules import OF_THE_RULES, Planted

SEEDS = 30


def name_of(planted: Planted) -> str:
    return "_and_".join(mutation.make.__name__ for mutation in planted[0])


@pytest.mark.rotate(keep=4)
@pytest.mark.parametrize("planted", OF_THE_RULES, ids=name_of)
def test_a_bug_in_the_rules_breaks_the_promise_that_it_is_about(planted: Planted) -> None:
    mutations, kinds = planted
    caught = []
    for seed in range(SEEDS):
        with ExitStack() as bugs:
            for mutation in mutations:
                bugs.enter_context(mutation.applied())
            caught.append(simulate(NodeWorkload(), seed, kinds=kinds).invariant)
        if caught[-1]:
            break
    assert caught[-1] in mutations[0].caught_by, f"seed {len(caught) - 1}: {caught[-1]}"
    assert simulate(NodeWorkload(), len(caught) - 1, kinds=kinds).ok  # without the bug


def test_an_award_to_somebody_who_has_not_bid_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two walls stand before this one, in `decide` and in the coordinator: no single bug lets anybody win who may not."""

    def check(world: World, records: Sequence[Recorded], told: Told) -> None:
        check_promises(world, [replace(record, event=_given_to_another(record.event)) for record in records], told)

    monkeypatch.setattr(workload, "check_promises", check)
    assert simulate(NodeWorkload(20.0), 1, kinds=()).invariant == "awards_to_the_eligible"


def _given_to_another(event: Any) -> Any:
    if not isinstance(event, TaskAwarded):
        return event
    return replace(event, agent_id=next(name for name in workload.AGENTS if name != event.agent_id))
