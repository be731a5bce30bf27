"""Each invariant notices what it is there for: a system at rest is tampered with, and the right one speaks."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runtime.simulation import simulate
from runtime.simulation.invariants import rest
from tests.runtime import bank
from tests.runtime.bank import Balance, Deposited
from tests.simulation.banking import CODEC, Bank, Branch

Tamper = Callable[[Branch], None]


class Tampered(Bank):
    """Something is done to it before it is judged."""

    def __init__(self, tamper: Tamper) -> None:
        super().__init__(seconds=20.0, asks=4)
        self.tamper = tamper

    async def judge(self, world, machine, ledger):
        branch = await machine.up()
        await rest(world, branch.system)
        await branch.projector.wait_for(branch.system.journal.position)
        self.tamper(branch)
        await super().judge(world, machine, ledger)


def written(file: str, statement: str, *parameters: object) -> Tamper:
    def write(branch: Branch) -> None:
        place = Path(branch.system.journal.store.place).with_name(file)
        with closing(sqlite3.connect(place, isolation_level=None)) as connection:
            assert connection.execute(statement, parameters).rowcount > 0

    return write


def remembers_too_much(branch: Branch) -> None:
    actor = branch.system.cells["cashier", "north"].actor
    assert actor is not None
    actor.memory.cents_by_account["north0"] = -1


def owes_an_answer(branch: Branch) -> None:
    branch.system.cells["cashier", "north"].reactions.append(branch.system.journal.store.read(0, 1)[0])


OTHER_REPLY = CODEC.pack(Balance(cents=-7))
TAMPERED = [
    ("log_verifies", written("journal.db", "UPDATE nodes SET hash = zeroblob(32) WHERE id = 1")),
    ("nothing_acknowledged_lost", written("journal.db", "DELETE FROM commands")),
    ("replies_match_commits", written("journal.db", "UPDATE commands SET reply = ? WHERE reply <> X'C0'", OTHER_REPLY)),
    ("every_reaction_made", written("journal.db", "UPDATE reactions SET position = 0")),
    ("memory_equals_fold", remembers_too_much),
    ("comes_to_rest", owes_an_answer),
    ("read_models_equal_rebuild", written("read.db", "UPDATE balances SET cents = cents + 1")),
]


@pytest.mark.parametrize("invariant, tamper", TAMPERED, ids=[name for name, _ in TAMPERED])
def test_what_was_tampered_with_breaks_its_invariant(invariant, tamper):
    outcome = simulate(Tampered(tamper), 4, faults=[])
    assert outcome.invariant == invariant, outcome.detail


def test_rules_that_decide_otherwise_under_the_same_number_break_decide_again(monkeypatch):
    decide = bank.decide

    def change_rules(branch: Branch) -> None:
        monkeypatch.setattr(bank, "decide", lambda state, command: [Deposited(account="other", cents=1)])

    outcome = simulate(Tampered(change_rules), 4, faults=[])
    assert outcome.invariant == "decide_again"
    assert "events_now=[{'event': 'Deposited', 'account': 'other', 'cents': 1}]" in outcome.detail
    assert decide is not bank.decide


def test_an_untouched_one_breaks_none():
    assert simulate(Tampered(lambda branch: None), 4, faults=[]).ok
