"""What an auditor would find in the journal of a run: every command decided anew, and every fact in them derived anew."""

from gateway.audit.evidence import Evidence
from gateway.audit.facts import Facts
from runtime.decidable import WITHHELD
from runtime.replay import Replay, Undecided
from runtime.simulation import World
from runtime.store.store import Store


def check_replay(world: World, store: Store) -> None:
    """Each recorded command decides what it decided, and the facts that it carries were so."""
    evidence = Evidence(store)
    facts = Facts(evidence)
    for finding in Replay(evidence, store.codec, last=store.position, witness=facts).run():
        of_the_erased = isinstance(finding, Undecided) and finding.reason.endswith(WITHHELD)
        world.holds("decide_again", of_the_erased, f"{finding}")
    for fact in facts.false:
        world.fail("facts_true", f"{fact}")
