"""Backups of a data folder, and data folders of backups: every journal with its blobs, each judged before it is called good.

FILE is the shared journal, FILE.blobs its blobs, FILE.archives its archives, and FILE.journals/NAME.db with NAME.db.blobs and
NAME.db.archives each named journal that FILE lists. Blobs come after their journal, so that all that it refers to is there, and named
journals after the one that lists them.
FILE.keys holds the keys of personal data, wrapped as they are in the data folder: without the master key they open nothing. No signing key
and no master key is ever in a backup.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from aggregates.catalog import AGGREGATES
from aggregates.journal import SHARED, JournalFacts, JournalOpened, stream
from aggregates.values.ids import TENANT_NAME
from gateway.settings import GavelSettings
from gateway.storage.folder import FOLDER_MODE, DataFolder, write_private
from gateway.storage.journal_file import open_journal
from gateway.storage.journals import copy_file, copy_journal
from gateway.storage.keyrings import keys_of
from gateway.upkeep.erasure_list import ErasureLine, destroyed_by, note_erasures, read_erasures
from gateway.verdicts import Wrong
from runtime.archives import attached
from runtime.blob_copies import copy_blobs
from runtime.codec import Codec, Shut
from runtime.evidence import Unreadable, read_evidence
from runtime.keyring import DISPOSABLE, Keyring, KeyringUnusable
from runtime.master import Master, NoMaster
from runtime.store.copies import sync
from runtime.transparency import PublicKey, Signer
from runtime.verification import archives_of, signing_keys, verify

LISTED = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events "
    "WHERE originator_id >= ? AND originator_id < ? ORDER BY rowid"
)


class Opening(NamedTuple):
    """With what a backup is opened: the files of its signing keys, its master key, the lists of erasures that came after it, and whether
    it is meant that the keys of personal data are left behind."""

    key_files: Sequence[Path]
    master: Master | None = None
    erasures: Sequence[Path] = ()
    without_keys: bool = False


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
    archives: int = 0
    archives_missing: list[str] = []
    faults: list[str] = []
    whole: bool = False


def beside(file: Path) -> tuple[Path, Path]:
    """Where the blobs and the named journals of a backup are."""
    return file.with_name(f"{file.name}.blobs"), file.with_name(f"{file.name}.journals")


def keys_beside(file: Path) -> Path:
    """Where the keys of personal data of a backed up journal are."""
    return file.with_name(f"{file.name}.keys")


def listed(file: Path, keyring: Keyring | None = None) -> list[JournalFacts]:
    """The named journals that a shared journal lists. Raises Wrong where it can't be read."""
    codec, first = Codec(AGGREGATES, keyring), stream("")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(LISTED, (first, first[:-1] + chr(ord(first[-1]) + 1))).fetchall()
        events = [codec.recorded(*row).event for row in rows]
    except (sqlite3.Error, msgspec.DecodeError, Shut) as error:
        raise Wrong(f"{file} can't be read: {error}") from error
    opened = [event for event in events if isinstance(event, JournalOpened)]
    if odd := [event.name for event in opened if not re.fullmatch(TENANT_NAME, event.name)]:
        raise Wrong(f"{file} lists journals with names that none can have: {odd}")
    return [JournalFacts(name=event.name, origin=event.origin, public_key=event.public_key) for event in opened]


# ---- out


def back_up(settings: GavelSettings, file: Path) -> list[Copied]:
    """Copies all journals and blobs of a data folder, the shared journal first; the node may be running. Raises Wrong."""
    for path in (*beside(file), keys_beside(file), file.with_name(f"{file.name}.archives")):
        if path.exists():
            raise Wrong(f"{path} exists")
    folder, (_, named) = DataFolder(settings.data), beside(file)
    copy_journal(settings, file)
    with keys_of(settings) as keyring:
        copied = [_finish(SHARED, folder, file, keyring)]
        others = listed(file, keyring)
    for facts in others:
        named.mkdir(mode=FOLDER_MODE, exist_ok=True)
        copied.append(_copy_named(settings, folder.named(facts.name), facts, named / f"{facts.name}.db"))
    return copied


def _copy_named(settings: GavelSettings, folder: DataFolder, facts: JournalFacts, file: Path) -> Copied:
    """One that is missing or can't be read does not keep the others from being copied."""
    try:
        copy_file(folder.journal, file)
        with keys_of(settings, folder.keyring) as keyring:
            return _finish(facts.name, folder, file, keyring, facts)
    except Wrong as error:
        return Copied(journal=facts.name, file=str(file), faults=[str(error)])


def _finish(
    name: str, folder: DataFolder, file: Path, keyring: Keyring | None, facts: JournalFacts | None = None
) -> Copied:
    """Copies the keys, archives and blobs of a journal that was copied, and judges it with these."""
    if keyring is not None and keyring.is_needed:
        keyring.copy(keys_beside(file))
    copied = Copied(journal=name, file=str(file), bytes=file.stat().st_size, faults=_damaged(keyring))
    copied = _copy_archives(copied, file, folder.archives, file.with_name(f"{file.name}.archives"))
    if any(folder.blobs.glob("owners/*/*")):
        target, _ = beside(file)
        try:
            copied = _with_blobs(copied, folder.blobs, target, keyring)
        except OSError as error:
            raise Wrong(f"{folder.blobs} can't be copied to {target}: {error}") from error
    return judged(copied, file, facts)


def _damaged(keyring: Keyring | None) -> list[str]:
    """What a restore would find too late."""
    damaged = [] if keyring is None else keyring.damaged()
    return [f"{len(damaged)} keys of personal data can't be unwrapped, the first is {damaged[0]}"] if damaged else []


def _with_blobs(copied: Copied, source: Path, target: Path, keyring: Keyring | None) -> Copied:
    count, size, altered, unchecked = copy_blobs(source, target, keyring)
    return replace(copied, blobs=count, blob_bytes=size, blobs_altered=altered, blobs_unchecked=unchecked)


def _copy_archives(copied: Copied, journal: Path, source: Path, target: Path) -> Copied:
    """Copies those archives that the journal lists and that are at hand; the others are named. Raises Wrong."""
    try:
        with open_journal(journal) as connection:
            listed = attached(source, connection.execute).archived
        at_hand = [one.name for one in listed if (source / one.name).is_file()]
        if at_hand:
            target.mkdir(mode=FOLDER_MODE)
        for name in at_hand:
            shutil.copyfile(source / name, target / name)
            sync(target / name)
    except (Unreadable, OSError) as error:
        raise Wrong(f"the archives of {journal} can't be copied to {target}: {error}") from error
    missing = [one.name for one in listed if one.name not in at_hand]
    return replace(copied, archives=len(at_hand), archives_missing=missing)


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


def restore(file: Path, into: Path, opening: Opening) -> list[Copied]:
    """Makes a data folder of a backup, all or nothing: the journals, their blobs, signing keys and keys of personal data. Raises Wrong.

    Where something is not whole, nothing is made, and the answer says what. Keys that were destroyed after the backup, as lists of
    erasures tell, are destroyed here; those of erasures that the journal itself tells of, at the first start.
    """
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Wrong(f"{into} is not empty: a backup is restored into an empty folder")
    if not file.is_file():
        raise Wrong(f"there is no backup {file}")
    _public_key(file)
    erased = [line for path in opening.erasures for line in read_erasures(path)]
    with _restored_keys(keys_beside(file), None, opening.master, ()) as keyring:
        others = listed(file, keyring)
    signer_by_name = _signers(file, others, opening.key_files)
    partial = into.with_name(f"{into.name}.{uuid4().hex[:8]}.partial")
    try:
        partial.mkdir(mode=FOLDER_MODE, parents=True)
        copied = _restore_all(file, DataFolder(partial), others, Restoring(signer_by_name, opening, erased))
        if all(one.whole for one in copied):
            partial.replace(into)
            sync(into.parent)
    except OSError as error:
        raise Wrong(f"{into} can't be made: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [replace(one, file=one.file.replace(str(partial), str(into), 1)) for one in copied]


class Restoring(NamedTuple):
    """What the journals of a backup are restored with."""

    signer_by_name: Mapping[str, Signer]
    opening: Opening
    erased: Sequence[ErasureLine]


@contextmanager
def _restored_keys(
    source: Path, target: Path | None, master: Master | None, destroyed: Sequence[bytes]
) -> Iterator[Keyring | None]:
    """The keys of a backup, copied to `target` without those that were destroyed since; without a target they are only read."""
    if master is None or not source.is_file():
        yield None
        return
    try:
        if target is None:
            keyring = Keyring(source, master, read_only=True)
        else:
            write_private(target, "")
            shutil.copyfile(source, target)
            keyring = Keyring(target, master)
            keyring.destroy(destroyed)
            if destroyed:
                keyring.dispose(DISPOSABLE)  # copies of states may tell what stood under the keys that were destroyed
    except (NoMaster, KeyringUnusable) as error:
        raise Wrong(f"{source} can't be used: {error}") from error
    try:
        yield keyring
    finally:
        keyring.close()


def _signers(file: Path, others: Sequence[JournalFacts], key_files: Sequence[Path]) -> Mapping[str, Signer]:
    """The signing key of each journal, by its name. Raises Wrong where one is missing, naming all that are."""
    signer_by_key = {}
    for path in key_files:
        try:
            signer = Signer.load(path)
        except (OSError, ValueError) as error:
            raise Wrong(f"{path} can't be used: {error}") from error
        signer_by_key[signer.public_key] = signer
    _, named = beside(file)
    needed = {SHARED: _public_key(file)}
    for facts in others:
        copy = named / f"{facts.name}.db"
        needed[facts.name] = _public_key(copy) if copy.is_file() else facts.public_key
    if missing := [f"{name} ({key})" for name, key in needed.items() if key not in signer_by_key]:
        raise Wrong(f"no --key-file holds the signing key of: {', '.join(missing)}")
    return {name: signer_by_key[key] for name, key in needed.items()}


def _public_key(file: Path) -> str:
    """The key that signs the journal now. Raises Wrong where it is none."""
    try:
        return read_evidence(file, signing_keys).current.nameless()
    except Unreadable as error:
        raise Wrong(f"{file} is no journal: {error}") from error


def _restore_all(file: Path, folder: DataFolder, others: Sequence[JournalFacts], restoring: Restoring) -> list[Copied]:
    _, named = beside(file)
    own = JournalFacts(name=SHARED, origin="", public_key=restoring.signer_by_name[SHARED].public_key)
    copied = [_restore(file, own, folder, restoring)]
    if not copied[0].whole:
        return copied
    for facts in others:
        folder.journals.mkdir(mode=FOLDER_MODE, exist_ok=True)
        place = folder.named(facts.name)
        place.path.mkdir(mode=FOLDER_MODE)
        copied.append(_restore(named / f"{facts.name}.db", facts, place, restoring))
    return copied


def _restore(file: Path, facts: JournalFacts, folder: DataFolder, restoring: Restoring) -> Copied:
    """What is judged is what was restored."""
    copied = Copied(journal=facts.name, file=str(folder.journal))
    try:
        copy_file(file, folder.journal)
    except Wrong as error:
        return replace(copied, faults=[str(error)])
    blobs, _ = beside(file)
    _, opening, erased = restoring
    with _restored_keys(keys_beside(file), folder.keyring, opening.master, destroyed_by(erased)) as keyring:
        if blobs.is_dir():
            copied = _with_blobs(copied, blobs, folder.blobs, keyring)
    _keep_erasures(folder, erased)
    if opening.without_keys:
        folder.keys_left.touch()
    restoring.signer_by_name[facts.name].save(folder.journal_key)
    copied = _copy_archives(copied, folder.journal, archives_of(file), folder.archives)
    copied = replace(copied, bytes=folder.journal.stat().st_size)
    return judged(copied, folder.journal, facts if facts.origin else None)


def _keep_erasures(folder: DataFolder, erased: Sequence[ErasureLine]) -> None:
    """The list goes on where it was: the next restore of an old backup needs these, too, and this journal does not tell of them."""
    try:
        origin = read_evidence(folder.journal, signing_keys).origin
    except Unreadable:
        return  # the verdict says so
    if own := [line for line in erased if line.origin == origin]:
        note_erasures(folder.erasures, own)
