"""Where a node's journal and read models stand: in files of its data folder, or in the PostgreSQL databases that settings name."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

from eventsourcing.persistence import PersistenceError

from aggregates.catalog import AGGREGATES
from aggregates.journal import JournalFacts
from gateway.settings import GavelSettings
from gateway.storage.folder import FOLDER_MODE, DataFolder
from gateway.storage.key_files import finished, next_key
from gateway.storage.keyrings import open_keyring
from gateway.storage.keys_at_hand import check_keys
from gateway.verdicts import Wrong
from runtime.archives import FOLDER
from runtime.codec import Codec
from runtime.errors import Refused
from runtime.evidence import Unreadable
from runtime.keyring import KeyringUnusable
from runtime.store.contract import Locked, NotDurable
from runtime.store.copies import copy_database
from runtime.store.sqlite import SqliteStore
from runtime.store.store import Store
from runtime.transparency import Signer

POSTGRES_URL = ("postgresql://", "postgres://")


class NotInstalled(Exception):
    """A setting asks for what an extra brings, and that is not installed."""


def open_store(settings: GavelSettings, folder: DataFolder, entropy: Callable[[int], bytes]) -> Store:
    """The node's journal. Raises Locked, Unreadable or NotInstalled."""
    keyring = open_keyring(settings, folder, entropy)
    try:
        codec, signer, successor = Codec(AGGREGATES, keyring), Signer.load_or_make(folder.journal_key), next_key(folder)
        if not settings.journal:
            return _checked(SqliteStore(folder.journal, codec, signer, entropy=entropy, successor=successor), folder)
        postgres = _postgres().PostgresStore
        store: Store = postgres(
            settings.journal, codec, signer, entropy=entropy, successor=successor, archives=folder.archives
        )
        return _checked(store, folder)
    except (PersistenceError, NotDurable, ValueError) as error:
        keyring.close()
        raise Unreadable(f"the journal can't be opened: {error}") from error
    except BaseException:
        keyring.close()
        raise


def open_named(settings: GavelSettings, folder: DataFolder, facts: JournalFacts) -> Store:
    """The named journal that is listed so. Raises Locked, or Unreadable where there is none or another one."""
    for needed in (folder.journal, folder.journal_key):
        if not needed.is_file():
            raise Unreadable(f"there is no file {needed}, and the shared journal lists the journal {facts.name}")
    keyring = open_keyring(settings, folder)
    try:
        codec, signer = Codec(AGGREGATES, keyring), Signer.load(folder.journal_key)
        store = SqliteStore(folder.journal, codec, signer, name=facts.name, successor=next_key(folder))
    except BaseException:
        keyring.close()
        raise
    if (store.origin, store.signing_keys.chain[0].key.nameless()) != (facts.origin, facts.public_key):
        store.close()
        keyring.close()
        raise Unreadable(f"{folder.journal} is {store.origin}, and the shared journal lists {facts.origin}")
    try:
        return _checked(store, folder)
    except BaseException:
        keyring.close()
        raise


def _checked(store: Store, folder: DataFolder) -> Store:
    """A store that was opened, with its keys and what it stands under. Raises Unreadable, and closes it then."""
    try:
        check_keys(store, folder)
        return finished(store, folder)
    except KeyringUnusable as error:
        store.close()
        raise Unreadable(f"the keys of personal data can't be used: {error}") from error
    except BaseException:
        store.close()
        raise


def make_named(parent: DataFolder, name: str, *, entropy: Callable[[int], bytes]) -> JournalFacts:
    """The files of a new named journal, with a signing key of its own. Raises Refused where there is one that holds records."""
    folder = parent.named(name)
    parent.journals.mkdir(mode=FOLDER_MODE, exist_ok=True)
    folder.make()
    signer = Signer.load_or_make(folder.journal_key)
    with closing(SqliteStore(folder.journal, Codec(AGGREGATES), signer, name=name, entropy=entropy)) as store:
        if store.position:
            raise Refused("journal_not_empty", f"there is a journal {name} that holds records, and none is listed")
        return JournalFacts(name=name, origin=store.origin, public_key=signer.public_key)


def copy_journal(settings: GavelSettings, target: Path) -> None:
    """A whole copy of the journal as one file, of a running node or a stopped one. Raises Wrong."""
    if settings.journal:
        copy_from_postgres(settings.journal, target)
    else:
        copy_file(DataFolder(settings.data).journal, target)


def copy_file(source: Path, target: Path) -> None:
    """Copies an SQLite database. Raises Wrong where it is not there, or the target is."""
    if not source.is_file():
        raise Wrong(f"there is no journal at {source}")
    try:
        copy_database(source, target)
    except FileExistsError as error:
        raise Wrong(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise Wrong(f"{source} can't be copied to {target}: {error}") from error


def copy_from_postgres(address: str, target: Path) -> None:
    """Copies a PostgreSQL journal into a file. Raises Wrong."""
    try:
        _postgres().copy_journal(address, target)
    except FileExistsError as error:
        raise Wrong(str(error)) from error
    except (PersistenceError, NotInstalled, Unreadable, ValueError, OSError, sqlite3.Error) as error:
        raise Wrong(f"the journal can't be copied to {target}: {error}") from error


def fill_postgres(address: str, source: Path) -> None:
    """Copies a journal's file into an empty PostgreSQL journal, all or nothing. Raises Wrong."""
    try:
        _postgres().fill_journal(address, source)
    except (PersistenceError, NotInstalled, NotDurable, Locked, Unreadable, ValueError) as error:
        raise Wrong(f"the journal can't be filled: {error}") from error


def read_models_place(settings: GavelSettings, folder: DataFolder) -> Path | str:
    """Where a journal's read models stand: a file of its folder, or a database's address. Raises NotInstalled."""
    if not settings.read_models:
        return folder.read_models
    _postgres()
    return settings.read_models


@contextmanager
def journal_file(settings: GavelSettings) -> Iterator[Path]:
    """The journal as a file to read: its own, or a copy for as long as this lasts."""
    if not settings.journal:
        yield DataFolder(settings.data).journal
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "journal.db"
        copy_from_postgres(settings.journal, copy)
        attach_archives(settings, copy)
        yield copy


def attach_archives(settings: GavelSettings, copy: Path) -> None:
    """Has a copy of the journal, alone in a folder, find the archives of the data folder."""
    copy.with_name(FOLDER).symlink_to(DataFolder(settings.data).archives.absolute())


def _postgres() -> ModuleType:
    """Only a node that needs it loads the driver, which is an extra."""
    try:
        from runtime.store import postgres
    except ImportError as error:
        raise NotInstalled(
            f"PostgreSQL is asked for, and its driver is not there: install gavel-runtime[postgres] ({error})"
        ) from error
    return postgres
