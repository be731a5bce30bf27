"""What an auditor would find in the journal of a run: every command decided anew, and every fact in them derived anew."""

from gateway.audit.evidence import Evidence
from gateway.audit.facts import Facts
from runtime.replay import Replay
from runtime.simulation import World
from runtime.store.store import Store


def check_replay(world: World, store: Store) -> None:
    """Each recorded command decides what it decided, and the facts that it carries were so."""
    evidence = Evidence(store)
    facts = Facts(evidence)
    for finding in Replay(evidence, store.codec, last=store.position, witness=facts).run():
        world.fail("decide_again", f"{finding}")
    for fact in facts.false:
        world.fail("facts_true", f"{fact}")
