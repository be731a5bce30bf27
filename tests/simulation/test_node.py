"""A whole node from a seed: two hundred runs with every kind of fault, each of which keeps every invariant; a few of them in each run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.coordinating.coordinator import Coordinator, CoordinatorCommand
from aggregates.agent import Heartbeat
from gateway.simulation.workload import EVENTS_MIN, KINDS, STEPS_MIN, NodeWorkload
from runtime.actor import Effect, Reply
from runtime.simulation import Fault, Kind, simulate
from runtime.simulation.faults import CLOCK_JUMPS, CUT_OFF, PAUSE, SLOW_COMMIT
from tests.simulation.mutations import Mutation

SEEDS = 200
SEEDS_AT_ONCE = 20
SOAK_SEEDS = 5000
GAVEL = Path(sys.executable).with_name("gavel")


def seeds(first: int, count: int) -> dict[str, Any]:
    """What the command tells of so many seeds. Coverage is not measured there: it would take as long again."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [str(GAVEL), "simulate", "--seed", str(first), "--seeds", str(count), "--json"]
    told: dict[str, Any] = json.loads(
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False).stdout
    )
    return told


@pytest.mark.rotate(keep=2)
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_AT_ONCE))
def test_two_hundred_seeds_keep_every_invariant(first):
    told = seeds(first, SEEDS_AT_ONCE)
    assert told["failed"] == []
    assert told["steps"] >= SEEDS_AT_ONCE * STEPS_MIN
    assert told["events"] >= SEEDS_AT_ONCE * EVENTS_MIN


@pytest.mark.soak
def test_thousands_of_seeds_keep_every_invariant():
    assert seeds(SEEDS, SOAK_SEEDS)["failed"] == []


def test_two_processes_that_hash_otherwise_tell_the_same_of_a_seed_and_something_else_of_another():
    told = [start("1", 11), start("2", 11), start("1", 12)]
    first, again, other = (json.loads(process.communicate()[0]) for process in told)
    assert first["ok"]
    assert first == again
    assert first["trace_sha256"] != other["trace_sha256"]


def start(hash_seed: str, seed: int) -> subprocess.Popen[str]:
    command = [str(GAVEL), "simulate", "--seed", str(seed), "--json"]
    return subprocess.Popen(command, env=os.environ | {"PYTHONHASHSEED": hash_seed}, stdout=subprocess.PIPE, text=True)


def deaf_to_pauses(paused: object) -> object:
    def wrong(coordinator: Coordinator, at: float, seconds: float) -> None:
        """Takes whoever could not be heard for silent."""

    return wrong


def test_a_heartbeat_that_is_dropped_during_a_pause_is_noticed():
    mutation = Mutation(Coordinator, "paused", deaf_to_pauses, ("no_false_death", "no_false_suspicion"))
    assert first_caught(mutation, (PAUSE._replace(often=3.0), CUT_OFF)) in mutation.caught_by


def half_deaf(handle: Callable[[Coordinator, CoordinatorCommand], Effect | Reply]) -> object:
    def wrong(coordinator: Coordinator, message: CoordinatorCommand) -> Effect | Reply:
        """Answers a heartbeat, and knows only of what is said beside it."""
        if not isinstance(message, Heartbeat):
            return handle(coordinator, message)
        before = coordinator.hearing.by_agent.get(message.agent_id, 0.0)
        answer = handle(coordinator, message)
        coordinator.hearing.by_agent[message.agent_id] = before
        return answer

    return wrong


def test_an_agent_that_is_suspected_although_it_was_heard_is_noticed():
    mutation = Mutation(Coordinator, "handle", half_deaf, ("no_false_suspicion",))
    assert first_caught(mutation, (SLOW_COMMIT, PAUSE, CLOCK_JUMPS)) in mutation.caught_by


def first_caught(mutation: Mutation, kinds: tuple[Kind, ...]) -> str:
    """The invariant that notices first, in one of fifty seeds that are well without the bug."""
    for seed in range(50):
        assert simulate(NodeWorkload(20.0), seed, kinds=kinds).ok
        with mutation.applied():
            caught = simulate(NodeWorkload(20.0), seed, kinds=kinds).invariant
        if caught:
            return caught
    return ""


def test_a_fault_can_be_named_alone_and_then_strikes_alone():
    crash = Fault("crash_after_commit", 20.0)
    outcome = simulate(NodeWorkload(), 3, kinds=KINDS, faults=[crash])
    assert outcome.ok
    assert outcome.struck == [crash]
    assert sum("loses its power" in line for line in outcome.trace) == 1
    assert sum("node is up" in line for line in outcome.trace) == 2
