"""Backups of a data folder, and data folders of backups: every journal with its blobs, each judged before it is called good.

FILE is the shared journal, FILE.blobs its blobs, and FILE.journals/NAME.db with NAME.db.blobs each named journal that FILE lists. Blobs
come after their journal, so that all that it refers to is there, and named journals after the one that lists them.
No signing key is ever in a backup.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from aggregates.catalog import AGGREGATES
from aggregates.journal import SHARED, JournalFacts, JournalOpened, stream
from aggregates.values.ids import TENANT_NAME
from gateway.folder import FOLDER_MODE, DataFolder
from gateway.journals import copy_file, copy_journal
from gateway.settings import GavelSettings
from gateway.verdicts import Wrong
from runtime.blob_copies import copy_blobs
from runtime.codec import Codec
from runtime.evidence import Unreadable
from runtime.keyring import Keyring
from runtime.store.copies import sync
from runtime.transparency import PublicKey, Signer
from runtime.verification import verify

LISTED = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE originator_id >= ? AND originator_id < ? ORDER BY rowid"
)


KeyringOf = Callable[[DataFolder], Keyring | None]
"""The keys with which the blobs of a data folder are checked; None where they are not at hand."""


def no_keyring(folder: DataFolder) -> None:
    """No keys are at hand: what is sealed is copied, and its content not checked."""


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A journal that was copied: its head (`positions`, `root`), what its blobs take up, and whether all of it is whole.

    `blobs_unchecked` are sealed, and their keys gone or not at hand: that their content is right nobody can tell.
    """

    journal: str
    file: str
    bytes: int = 0
    positions: int = 0
    root: str | None = None
    blobs: int = 0
    blob_bytes: int = 0
    blobs_altered: list[str] = []
    blobs_unchecked: list[str] = []
    faults: list[str] = []
    whole: bool = False


def beside(file: Path) -> tuple[Path, Path]:
    """Where the blobs and the named journals of a backup are."""
    return file.with_name(f"{file.name}.blobs"), file.with_name(f"{file.name}.journals")


def listed(file: Path) -> list[JournalFacts]:
    """The named journals that a shared journal lists. Raises Wrong where it can't be read."""
    codec, first = Codec(AGGREGATES), stream("")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(LISTED, (first, first[:-1] + chr(ord(first[-1]) + 1))).fetchall()
        events = [codec.recorded(*row).event for row in rows]
    except (sqlite3.Error, msgspec.DecodeError) as error:
        raise Wrong(f"{file} can't be read: {error}") from error
    opened = [event for event in events if isinstance(event, JournalOpened)]
    if odd := [event.name for event in opened if not re.fullmatch(TENANT_NAME, event.name)]:
        raise Wrong(f"{file} lists journals with names that none can have: {odd}")
    return [JournalFacts(name=event.name, origin=event.origin, public_key=event.public_key) for event in opened]


# ---- out


def back_up(settings: GavelSettings, file: Path, keyring_of: KeyringOf = no_keyring) -> list[Copied]:
    """Copies all journals and blobs of a data folder, the shared journal first; the node may be running. Raises Wrong."""
    for path in beside(file):
        if path.exists():
            raise Wrong(f"{path} exists")
    folder, (_, named) = DataFolder(settings.data), beside(file)
    copy_journal(settings, file)
    copied = [_finish(SHARED, folder, file, keyring_of)]
    for facts in listed(file):
        named.mkdir(mode=FOLDER_MODE, exist_ok=True)
        copied.append(_copy_named(folder.named(facts.name), facts, named / f"{facts.name}.db", keyring_of))
    return copied


def _copy_named(folder: DataFolder, facts: JournalFacts, file: Path, keyring_of: KeyringOf) -> Copied:
    """One that is missing or can't be read does not keep the others from being copied."""
    try:
        copy_file(folder.journal, file)
        return _finish(facts.name, folder, file, keyring_of, facts)
    except Wrong as error:
        return Copied(journal=facts.name, file=str(file), faults=[str(error)])


def _finish(
    name: str, folder: DataFolder, file: Path, keyring_of: KeyringOf, facts: JournalFacts | None = None
) -> Copied:
    """Copies the blobs of a journal that was copied, and judges both."""
    copied = Copied(journal=name, file=str(file), bytes=file.stat().st_size)
    if any(folder.blobs.glob("owners/*/*")):
        target, _ = beside(file)
        try:
            copied = _with_blobs(copied, folder.blobs, target, keyring_of(folder))
        except OSError as error:
            raise Wrong(f"{folder.blobs} can't be copied to {target}: {error}") from error
    return judged(copied, file, facts)


def _with_blobs(copied: Copied, source: Path, target: Path, keyring: Keyring | None) -> Copied:
    count, size, altered, unchecked = copy_blobs(source, target, keyring)
    return replace(copied, blobs=count, blob_bytes=size, blobs_altered=altered, blobs_unchecked=unchecked)


def judged(copied: Copied, file: Path, facts: JournalFacts | None = None) -> Copied:
    """The copy with the verdict on it: whole, and the journal that is listed where one is. Raises Wrong where it is no journal."""
    try:
        report = verify(file, key=facts.public_key if facts else None)
    except Unreadable as error:
        raise Wrong(f"{file}: {error}") from error
    faults = [*copied.faults, *report.faults]
    if facts is not None and report.key != PublicKey(facts.public_key).vkey(facts.origin):
        faults.append(f"it is signed by {report.key}, and listed is {facts.origin}")
    whole = report.whole and not faults and not copied.blobs_altered
    return replace(copied, positions=report.positions, root=report.root, faults=faults, whole=whole)


# ---- in


def restore(file: Path, into: Path, key_files: Sequence[Path], keyring_of: KeyringOf = no_keyring) -> list[Copied]:
    """Makes a data folder of a backup, all or nothing: the journals, their blobs and signing keys. Raises Wrong.

    Where something is not whole, nothing is made, and the answer says what.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Wrong(f"{into} is not empty: a backup is restored into an empty folder")
    if not file.is_file():
        raise Wrong(f"there is no backup {file}")
    signer_by_name = _signers(file, key_files)
    partial = into.with_name(f"{into.name}.{uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(mode=FOLDER_MODE, parents=True)
        copied = _restore_all(file, DataFolder(partial), signer_by_name, keyring_of)
        if all(one.whole for one in copied):
            partial.replace(into)
            sync(into.parent)
    except OSError as error:
        raise Wrong(f"{into} can't be made: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [replace(one, file=one.file.replace(str(partial), str(into), 1)) for one in copied]


def _signers(file: Path, key_files: Sequence[Path]) -> Mapping[str, Signer]:
    """The signing key of each journal, by its name. Raises Wrong where one is missing, naming all that are."""
    signer_by_key = {}
    for path in key_files:
        try:
            signer = Signer.load(path)
        except (OSError, ValueError) as error:
            raise Wrong(f"{path} can't be used: {error}") from error
        signer_by_key[signer.public_key] = signer
    needed = {SHARED: _public_key(file)} | {facts.name: facts.public_key for facts in listed(file)}
    if missing := [f"{name} ({key})" for name, key in needed.items() if key not in signer_by_key]:
        raise Wrong(f"no --key-file holds the signing key of: {', '.join(missing)}")
    return {name: signer_by_key[key] for name, key in needed.items()}


def _public_key(file: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT value FROM facts WHERE name='public_key'").fetchone()[0])
    except (sqlite3.Error, TypeError) as error:
        raise Wrong(f"{file} is no journal: {error}") from error


def _restore_all(
    file: Path, folder: DataFolder, signer_by_name: Mapping[str, Signer], keyring_of: KeyringOf
) -> list[Copied]:
    _, named = beside(file)
    own = JournalFacts(name=SHARED, origin="", public_key=signer_by_name[SHARED].public_key)
    copied = [_restore(file, own, folder, signer_by_name, keyring_of)]
    if not copied[0].whole:
        return copied
    for facts in listed(file):
        folder.journals.mkdir(mode=FOLDER_MODE, exist_ok=True)
        place = folder.named(facts.name)
        place.path.mkdir(mode=FOLDER_MODE)
        copied.append(_restore(named / f"{facts.name}.db", facts, place, signer_by_name, keyring_of))
    return copied


def _restore(
    file: Path,
    facts: JournalFacts,
    folder: DataFolder,
    signer_by_name: Mapping[str, Signer],
    keyring_of: KeyringOf,
) -> Copied:
    """What is judged is what was restored."""
    copied = Copied(journal=facts.name, file=str(folder.journal))
    try:
        copy_file(file, folder.journal)
    except Wrong as error:
        return replace(copied, faults=[str(error)])
    blobs, _ = beside(file)
    if blobs.is_dir():
        copied = _with_blobs(copied, blobs, folder.blobs, keyring_of(folder))
    signer_by_name[facts.name].save(folder.journal_key)
    copied = replace(copied, bytes=folder.journal.stat().st_size)
    return judged(copied, folder.journal, facts if facts.origin else None)
