"""What an auditor would find in the journal of a run: every fact in its commands derived anew."""

from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from runtime.simulation import World
from runtime.store.store import Store


def auditor_of(store: Store) -> Facts:
    """Who derives the facts, while `runtime/simulation/invariants.py` decides all commands again: one reading serves both."""
    return Facts(LookUps(store))


def check_facts(world: World, facts: Facts) -> None:
    """The facts that recorded commands carry were so."""
    for fact in facts.false:
        world.fail("facts_true", f"{fact}")
