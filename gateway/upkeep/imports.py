"""Makes a journal of a whole export, all or nothing: of an empty data folder, a listed named journal, or an empty PostgreSQL database."""

import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from uuid import uuid4

from aggregates.catalog import AGGREGATES
from aggregates.journal import SHARED, JournalFacts
from gateway.settings import GavelSettings
from gateway.storage.folder import FOLDER_MODE, DataFolder
from gateway.storage.journals import fill_postgres
from gateway.storage.keyrings import keys_of
from gateway.upkeep.backups import listed
from gateway.verdicts import Wrong
from runtime.codec import Codec
from runtime.evidence import Unreadable
from runtime.export_reading import BadExport, Checked, ExportReader
from runtime.imports import write_journal
from runtime.store.copies import sync
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer
from runtime.verification import verify

ORIGIN = re.compile(r"gavel/([^/]+)/[0-9a-f]+")


def import_log(settings: GavelSettings, file: BinaryIO, key_file: Path, name: str = SHARED) -> Checked:
    """Makes the journal of that name. Raises BadExport where the export does not hold, Wrong where it can't be made here."""
    signer = _signer(key_file)
    reader = ExportReader(file)
    _check_header(reader, signer, name)
    folder = DataFolder(settings.data)
    if name != SHARED:
        return _into_folder(_listed(settings, folder, reader, name), reader, signer)
    if settings.journal:
        return _into_postgres(settings.journal, folder, reader, signer)
    return _into_folder(folder, reader, signer)


def _signer(key_file: Path) -> Signer:
    try:
        return Signer.load(key_file)
    except (OSError, ValueError) as error:
        raise Wrong(f"{key_file} can't be used: {error}") from error


def _check_header(reader: ExportReader, signer: Signer, name: str) -> None:
    header = reader.header
    if not header.whole:
        raise Wrong(
            f"this export holds what was chosen by {header.filters}, and not the whole log: it can be checked, and a journal"
            " can't be made of it"
        )
    current = reader.keys.current.nameless()
    if current != signer.public_key:
        raise Wrong(f"this journal goes on only with its own signing key, {current}: --key-file holds another")
    found = ORIGIN.fullmatch(header.origin)
    if found is not None and found[1] != name:
        raise Wrong(f"this is an export of the journal {found[1]}, and not of {name}: --journal says which one is made")


def _listed(settings: GavelSettings, folder: DataFolder, reader: ExportReader, name: str) -> DataFolder:
    """Where a named journal belongs: the shared journal has to list it, which may be encrypted at rest."""
    facts = JournalFacts(name=name, origin=reader.header.origin, public_key=reader.header.public_key)
    with keys_of(settings) as keyring:
        is_listed = folder.journal.is_file() and facts in listed(folder.journal, keyring)
    if not is_listed:
        raise Wrong(
            f"the shared journal in {folder.path} lists no journal {name} of this origin and key: import that first"
        )
    folder.journals.mkdir(mode=FOLDER_MODE, exist_ok=True)
    return folder.named(name)


def _into_folder(folder: DataFolder, reader: ExportReader, signer: Signer) -> Checked:
    into = folder.path
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Wrong(f"{into} is not empty: a journal is imported into an empty folder")
    partial = into.with_name(f"{into.name}.{uuid4().hex[:8]}.partial")
    with _made(partial):
        made = DataFolder(partial)
        checked = _write(made.journal, reader, signer)
        signer.save(made.journal_key)
        made.keys_left.touch()
        made.journal.with_suffix(".lock").unlink(missing_ok=True)
        partial.replace(into)
        sync(into.parent)
    return checked


@contextmanager
def _made(partial: Path) -> Iterator[None]:
    """A folder on its way: it has taken its place at the end, or is gone."""
    try:
        partial.mkdir(mode=FOLDER_MODE, parents=True)
        yield
    except OSError as error:
        raise Wrong(f"{partial} can't be made: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _into_postgres(address: str, folder: DataFolder, reader: ExportReader, signer: Signer) -> Checked:
    """The key lies in the data folder first: beside an empty database it does no harm."""
    with TemporaryDirectory() as name:
        file = Path(name) / "journal.db"
        checked = _write(file, reader, signer)
        folder.make()
        signer.save(folder.journal_key)
        if Signer.load(folder.journal_key).public_key != signer.public_key:
            raise Wrong(f"{folder.journal_key} is the key of another journal")
        fill_postgres(address, file)
        folder.keys_left.touch()
    return checked


def _write(path: Path, reader: ExportReader, signer: Signer) -> Checked:
    """What is judged, and opened with the journal's key, is what was written."""
    checked = write_journal(reader, path)
    try:
        report = verify(path, key=signer.public_key)
        if not report.whole or report.root != checked.root:
            raise BadExport(f"what was made of it does not hold: {'; '.join(report.faults)}")
        with closing(SqliteStore(path, Codec(AGGREGATES), signer)):
            pass
    except Unreadable as error:
        raise BadExport(f"what was made of it does not open: {error}") from error
    return checked
