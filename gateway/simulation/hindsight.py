"""What an auditor would find in the journal of a run: every fact in its commands derived anew."""

from collections import deque

from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from runtime.replay import Replay
from runtime.simulation import World
from runtime.store.store import Store


def check_facts(world: World, store: Store) -> None:
    """The facts that recorded commands carry were so. What is decided otherwise, `runtime/simulation/invariants.py` finds."""
    look_ups = LookUps(store)
    facts = Facts(look_ups)
    deque(Replay(look_ups, store.codec, last=store.position, witness=facts).run(), maxlen=0)
    for fact in facts.false:
        world.fail("facts_true", f"{fact}")
