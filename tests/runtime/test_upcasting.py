"""Earlier shapes are read as today's; what nobody knows is named with its position, and no byte on disk changes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from runtime.clock import FixedClock
from runtime.codec import Codec, UnknownKind
from runtime.delivery import Context
from runtime.evidence import Unreadable
from runtime.folding import Folder
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.records import Command, CommandRecord, Event, Retired, Upcast
from runtime.replay import Difference, Replay
from runtime.store.sqlite import Batch, SqliteStore
from runtime.transparency import Signer
from runtime.upcasting import NotUpcast
from runtime.verification import verify
from tests.runtime import bank

LARGE = 1000


class Paid(Event, frozen=True, kw_only=True):
    """What a deposit is called later, with an amount in place of cents, and a currency that is new."""

    account: str
    amount: int
    currency: str = "EUR"


class SmallPaid(Event, frozen=True, kw_only=True):
    account: str
    amount: int


class LargePaid(Event, frozen=True, kw_only=True):
    account: str
    amount: int


class Deposited(Event, frozen=True, kw_only=True):
    """The second shape of a deposit: its field has another name."""

    account: str
    amount: int


class Deposit(Command[bank.Balance], frozen=True, kw_only=True):
    """The second shape of the command."""

    account: str
    amount: int


def later(**changed: Any) -> Any:
    """The bank of a later program."""
    kept = {name: getattr(bank, name) for name in ("initial", "EVENTS", "COMMANDS", "RULES", "decide", "evolve")}
    return SimpleNamespace(**{"__name__": "bank", **kept, **changed})


def to_amount(said: dict[str, Any]) -> dict[str, Any]:
    said["amount"] = said.pop("cents")
    return said


def by_size(said: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return ("LargePaid" if said["cents"] >= LARGE else "SmallPaid"), to_amount(said)


def paid(account: bank.Account, event: Any) -> bank.Account:
    match event:
        case Deposited() | Paid() | SmallPaid() | LargePaid():
            return bank.Account(open=True, cents=account.cents + event.amount)
        case bank.Withdrawn():
            return bank.evolve(account, event)
    raise AssertionError(event)


def pay(account: bank.Account, command: Any) -> Sequence[Event]:
    return [Deposited(account=command.account, amount=command.amount)]


RENAMED_FIELD = later(
    EVENTS=(Deposited, bank.Withdrawn, bank.Greeted),
    COMMANDS=(Deposit, bank.Withdraw, bank.Greet),
    UPCASTS=(Upcast("Deposited", 1, to_amount), Upcast("Deposit", 1, to_amount)),
    decide=pay,
    evolve=paid,
)
RENAMED = later(
    EVENTS=(Paid, bank.Withdrawn, bank.Greeted),
    UPCASTS=(Upcast("Deposited", 1, to_amount), Upcast("Deposited", 2, dict, into=("Paid",))),
    evolve=paid,
)
SPLIT = later(
    EVENTS=(SmallPaid, LargePaid, bank.Withdrawn, bank.Greeted),
    UPCASTS=(Upcast("Deposited", 1, by_size, into=("SmallPaid", "LargePaid")),),
    evolve=paid,
)
REMOVED = later(EVENTS=(bank.Deposited, bank.Withdrawn))
RETIRED = later(EVENTS=(bank.Deposited, bank.Withdrawn), RETIRED=("Greeted",), evolve=bank.evolve)

TOLD: list[Any] = [
    bank.Deposit(account="a", cents=5),
    bank.Greet(account="a"),
    bank.Deposit(account="a", cents=LARGE),
    bank.Withdraw(account="a", cents=2),
]


def opened(folder: Path, aggregate: Any = bank) -> SqliteStore:
    return SqliteStore(folder / "journal.db", Codec([aggregate]), Signer.load_or_make(folder / "journal-key"))


def tell(store: SqliteStore, commands: Sequence[Any]) -> None:
    """Decides and commits as a journal does."""
    clock = FixedClock()
    journal = Journal(store, store.codec, clock, Ids(clock, entropy=bytes))
    journal._states["bank-a"] = journal.folder.fold("bank-a").held
    context = Context(tenant="t1", principal="ann")
    proposal = journal.decide([("bank-a", command) for command in commands], context, clock.now())
    store.append(Batch(list(proposal.drafts), [], [], clock.now()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal that the bank of today has written."""
    store = opened(tmp_path)
    tell(store, TOLD)
    store.close()
    return tmp_path


def on_disk(store: SqliteStore) -> list[Any]:
    return store.query(
        "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
    )


@pytest.mark.parametrize(
    "program,first,third",
    [
        (RENAMED_FIELD, Deposited(account="a", amount=5), Deposited(account="a", amount=LARGE)),
        (RENAMED, Paid(account="a", amount=5), Paid(account="a", amount=LARGE)),
        (SPLIT, SmallPaid(account="a", amount=5), LargePaid(account="a", amount=LARGE)),
    ],
    ids=["renamed field", "renamed kind", "split kind"],
)
def test_an_earlier_shape_is_read_as_todays_and_no_byte_changes(
    folder: Path, program: Any, first: Event, third: Event
) -> None:
    old = opened(folder)
    before = on_disk(old)
    old.close()
    program = later(**{**vars(program), "EVENTS": program.EVENTS, "evolve": with_greetings})
    store = opened(folder, program)
    records = store.read(0, 10)
    assert [records[0].event, records[2].event] == [first, third]
    assert [record.kind for record in records] == [f"bank.{type(record.event).__name__}" for record in records]
    assert Folder(store, FixedClock().now).fold("bank-a").held.state.cents == LARGE + 3
    assert on_disk(store) == before
    store.close()
    assert verify(folder / "journal.db").whole


def with_greetings(account: bank.Account, event: Any) -> bank.Account:
    return account if isinstance(event, bank.Greeted) else paid(account, event)


def test_old_and_new_shapes_stand_in_one_stream_and_the_new_ones_say_their_number(folder: Path) -> None:
    program = later(**{**vars(RENAMED_FIELD), "evolve": with_greetings})
    store = opened(folder, program)
    tell(store, [Deposit(account="a", amount=7)])
    assert [kind for _, _, _, kind, _ in on_disk(store)][-1] == "bank.Deposited/2"
    records = store.read(0, 10)
    assert (records[-1].kind, records[-1].event) == ("bank.Deposited", Deposited(account="a", amount=7))
    replay = Replay(store, store.codec, last=records[-1].position)
    found = [finding.command for finding in replay.run() if isinstance(finding, Difference)]
    assert found == ["bank.Greet", "bank.Withdraw"]  # which its rules do not know
    assert replay.equal == 3
    store.close()
    assert verify(folder / "journal.db").whole
    with pytest.raises(Unreadable, match=r"bank\.Deposited/2: this program writes bank\.Deposited, .* position 5"):
        opened(folder)


def test_a_removed_kind_is_refused_at_the_start_with_its_position(folder: Path) -> None:
    with pytest.raises(Unreadable, match=r"bank\.Greeted: no aggregate lists it, .* \(first at position 2\)"):
        opened(folder, REMOVED)


def test_a_retired_kind_changes_no_state_and_still_says_what_it_said(folder: Path) -> None:
    store = opened(folder, RETIRED)
    records = store.read(0, 10)
    assert (records[1].kind, records[1].event) == ("bank.Greeted", Retired(said={"account": "a"}))
    assert Folder(store, FixedClock().now).fold("bank-a").held.state.cents == LARGE + 3
    store.close()


def test_every_unknown_kind_is_named_at_once(folder: Path) -> None:
    with pytest.raises(Unreadable) as refused:
        opened(folder, later(EVENTS=(bank.Withdrawn,)))
    assert "bank.Deposited" in str(refused.value)
    assert "bank.Greeted" in str(refused.value)
    opened(folder).close()  # the lock is given back, and the journal is as it was


def test_a_field_that_was_added_has_its_default() -> None:
    data = msgspec.msgpack.encode({"account": "a", "amount": 5})
    assert Codec([RENAMED]).event("bank.Paid", data) == Paid(account="a", amount=5, currency="EUR")


def test_an_upcast_that_fails_is_told_with_its_kind() -> None:
    codec = Codec([RENAMED_FIELD])
    with pytest.raises(NotUpcast, match=r"the upcast of bank\.Deposited fails: KeyError: 'cents'"):
        codec.event("bank.Deposited", msgspec.msgpack.encode({"account": "a"}))
    unkept = later(
        EVENTS=SPLIT.EVENTS, UPCASTS=(Upcast("Deposited", 1, lambda said: ("Lost", said), SPLIT.UPCASTS[0].into),)
    )
    with pytest.raises(NotUpcast, match=r"makes bank\.Lost, and promises bank\.SmallPaid or bank\.LargePaid"):
        Codec([unkept]).event("bank.Deposited", msgspec.msgpack.encode({"account": "a", "cents": 1}))


def test_a_command_that_nobody_lists_is_unknown() -> None:
    with pytest.raises(UnknownKind, match=r"bank\.Deposit/3"):
        Codec([RENAMED_FIELD]).command(CommandRecord(name="bank.Deposit/3", rules=1, data=msgspec.Raw(b"\x80")))


@pytest.mark.parametrize(
    "table,fault",
    [
        ({"UPCASTS": (Upcast("Deposited", 2, dict),)}, "no upcast reads Deposited"),
        ({"UPCASTS": (Upcast("Old", 1, dict),)}, "Old becomes Old/2, which is no shape of anything"),
        ({"UPCASTS": (Upcast("Old", 1, dict, ("New",)),)}, "Old becomes New, which is no shape"),
        (
            {"UPCASTS": (Upcast("Old", 1, dict, ("Deposited",)), Upcast("Old", 1, dict, ("Greeted",)))},
            "two upcasts of Old",
        ),
        ({"UPCASTS": (Upcast("A", 1, dict, ("B",)), Upcast("B", 1, dict, ("A",)))}, "A comes back to itself"),
        ({"RETIRED": ("Greeted",)}, "Greeted is in use and in RETIRED"),
    ],
)
def test_a_faulty_table_is_told_when_the_program_starts(table: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match="the upcasts of bank") as refused:
        Codec([later(**table)])
    assert fault in str(refused.value)


def test_a_kind_may_become_a_retired_one_or_a_later_shape_of_another() -> None:
    codec = Codec(
        [
            later(
                EVENTS=(Deposited, bank.Withdrawn),
                UPCASTS=(
                    Upcast("Deposited", 1, to_amount),
                    Upcast("Moved", 1, dict, ("Deposited/2",)),
                    Upcast("Said", 1, dict, ("Greeted",)),
                ),
                RETIRED=("Greeted",),
            )
        ]
    )
    assert codec.event("bank.Moved", msgspec.msgpack.encode({"account": "a", "amount": 3})) == Deposited(
        account="a", amount=3
    )
    assert codec.event("bank.Said", msgspec.msgpack.encode({"account": "a"})) == Retired(said={"account": "a"})
