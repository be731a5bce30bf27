"""The bank's books: clients pay in under keys of their own, and an auditor compares what they were told with what is left on disk."""

import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from shutil import copyfile

import trio
from eventsourcing.persistence import PersistenceError

from runtime.codec import Codec
from runtime.delivery import Context
from runtime.errors import Fenced, NotCommitted, Unreachable
from runtime.evidence import Unreadable
from runtime.records import Meta
from runtime.store.sqlite import Batch, Draft, SqliteStore
from runtime.system import System
from runtime.transparency import Signer
from runtime.verification import verify
from tests.faults.power import is_database
from tests.runtime.bank import LARGE_CENTS, Deposit, Deposited, Greeted
from tests.runtime.test_system import bank

BANK = sys.modules["tests.runtime.bank"]
BROKEN = (Unreadable, Fenced, PersistenceError, sqlite3.Error)
"""What a store may raise that was opened on a broken file."""
READ_MAX = 100_000
NEW_CLIENT = 99


def open_store(folder: Path) -> SqliteStore:
    """The journal of the bank in this folder."""
    return SqliteStore(folder / "journal.db", Codec([BANK]), Signer.load_or_make(folder / "journal-key"))


def lay(content_by_name: Mapping[str, bytes], folder: Path, key: Path) -> Path:
    """Puts files and the journal's key into a new folder, as a machine finds them that is started again."""
    folder.mkdir()
    for name, content in content_by_name.items():
        (folder / name).write_bytes(content)
    copyfile(key, folder / "journal-key")
    (folder / "journal-key").chmod(0o600)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    """The database as a process leaves it that is killed now: the shared memory of its log goes with it."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if is_database(path.name)}


def context(key: str) -> Context:
    """Of a request under this key; a key stands for one request."""
    return Context(tenant="t1", principal="ann", key=key, digest=key.encode())


def payment(client: int, turn: int) -> Deposit:
    """What a client pays in at its turn. Some payments are large: for them the bank owes a greeting."""
    return Deposit(account=f"a{client}", cents=LARGE_CENTS if turn % 5 == 4 else turn + 1)


def key_of(client: int, turn: int) -> str:
    return f"{client}-{turn}"


class Answers:
    """What the clients were told: the balance after each payment, that it was not committed, or that the node ends in doubt about it."""

    def __init__(self, tell: Callable[[str], None] = lambda key: None) -> None:
        self.cents_by_key: dict[str, int] = {}
        self.declined: set[str] = set()
        self.doubts: dict[str, str] = {}
        self._tell = tell

    async def ask(self, system: System, client: int, turn: int) -> None:
        key = key_of(client, turn)
        try:
            balance = await system.ask(payment(client, turn), context(key))
        except NotCommitted:
            self.declined.add(key)
            return
        except Unreachable as end:
            self.doubts[key] = str(end)
            return
        self._tell(key)
        self.cents_by_key[key] = balance.cents
        self.declined.discard(key)

    async def ask_all(self, system: System, clients: int, turns: Iterable[int]) -> None:
        """Each client pays once it was answered, all of them at once."""

        async def one(client: int) -> None:
            for turn in turns:
                await self.ask(system, client, turn)

        async with trio.open_nursery() as nursery:
            for client in range(clients):
                nursery.start_soon(one, client)


def audit(folder: Path, told: Mapping[str, int], declined: Iterable[str] = ()) -> list[str]:
    """What is wrong with the journal that is left, given what was told: empty where nothing is. It takes a command, to see that it can."""
    try:
        store = open_store(folder)
    except BROKEN as error:
        return [f"it can't be opened: {error!r}"]
    try:
        faults = [*_compare(store, told, declined), *verify(store.path).faults]
        store.append(another(store))
        return [*faults, *verify(store.path).faults]
    except BROKEN as error:
        return [f"it can't be used: {error!r}"]
    finally:
        store.close()


def _compare(store: SqliteStore, told: Mapping[str, int], declined: Iterable[str]) -> list[str]:
    records = store.read(0, READ_MAX)
    times = Counter(record.meta.command.key for record in records if record.meta.command is not None)
    cents_by_account: Counter[str] = Counter()
    balances: dict[str, int] = {}
    for record in records:
        if isinstance(record.event, Deposited) and record.meta.command is not None:
            cents_by_account[record.event.account] += record.event.cents
            balances[record.meta.command.key] = cents_by_account[record.event.account]
    greeted = Counter(record.meta.cause for record in records if isinstance(record.event, Greeted))
    return [
        *(f"{key} is recorded {n} times" for key, n in times.items() if key and n > 1),
        *(f"{key} was acknowledged and is lost" for key in told if key not in times),
        *(f"{key} was said not to be recorded and is" for key in declined if key in times),
        *(
            f"{key} found {cents}, was told {told[key]}"
            for key, cents in balances.items()
            if told.get(key, cents) != cents
        ),
        *(f"{key} has lost its reply" for key in told if store.find_reply("t1", key) is None),
        *(f"the large payment at {cause} was greeted {n} times" for cause, n in greeted.items() if n > 1),
    ]


def lost(faults: Iterable[str]) -> list[str]:
    """The worst of these faults."""
    return [fault for fault in faults if fault.endswith("was acknowledged and is lost")]


def another(store: SqliteStore) -> Batch:
    """A batch of one payment into an account that nobody has."""
    version = len(store.read_stream("bank-auditor")) + 1
    meta = Meta(id=f"audit-{version}", cause="", correlation="", tenant="t1", principal="auditor", at=store.newest_at())
    data = store.codec.pack(Deposited(account="auditor", cents=1))
    draft = Draft(store.position + 1, "bank-auditor", version, "bank.Deposited", meta, data)
    return Batch([draft], [], [], store.newest_at())


async def go_on(folder: Path, answers: Answers) -> list[str]:
    """Runs the bank over what is left: repeats get their old answers and add nothing, and everybody is greeted who has to be."""
    again = Answers()
    async with bank(folder) as system:
        recorded = system.journal.position
        for key in answers.cents_by_key:
            client, turn = map(int, key.split("-"))
            await again.ask(system, client, turn)
        await Answers().ask(system, NEW_CLIENT, 0)
        owed, greeted = await _owed_and_greeted(system)
        while len(greeted) < len(owed):
            await system.journal.wait_past(system.journal.position)
            owed, greeted = await _owed_and_greeted(system)
        added = [r for r in await system.journal.read(recorded, READ_MAX) if isinstance(r.event, Deposited)]
    told = {key: again.cents_by_key.get(key) for key in answers.cents_by_key}
    return [
        *(
            f"{key} was told {cents}, then {told[key]}"
            for key, cents in answers.cents_by_key.items()
            if told[key] != cents
        ),
        *(f"{record.stream} was paid again" for record in added if record.stream != f"bank-a{NEW_CLIENT}"),
        *([f"greeted for {greeted}, owed for {owed}"] if greeted != owed else []),
    ]


async def _owed_and_greeted(system: System) -> tuple[list[str], list[str]]:
    records = await system.journal.read(0, READ_MAX)
    owed = [f"@{r.position}" for r in records if isinstance(r.event, Deposited) and r.event.cents >= LARGE_CENTS]
    return sorted(owed), sorted(r.meta.cause for r in records if isinstance(r.event, Greeted))
