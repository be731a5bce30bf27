"""A node's data folder: where everything lies, and the secrets that are made at the first start for their owner alone."""

import os
import secrets
from pathlib import Path

SECRET_BYTES = 32
FOLDER_MODE = 0o700
FILE_MODE = 0o600


class FolderUnusable(Exception):
    """Something in the data folder is not what the node left there; the text says what, and what helps."""


class DataFolder:
    """The files of one node under `path`, or of one of its named journals."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / "journal.db"
        self.read_models = path / "read.db"
        self.read_copies = path / "read-copies"
        self.moments = path / "read-moments"
        self.blobs = path / "blobs"
        self.archives = path / "archives"
        self.journal_key = path / "journal-key"
        self.journal_key_next = path / "journal-key.next"
        self.checkpoints = path / "checkpoints"
        self.checkpoints_of_postgres = path / "checkpoints-postgres"
        self.witness = path / "witness"
        self.witness_key = path / "witness-key"
        self.admin_key = path / "admin-key"
        self.node_secret = path / "node-secret"
        self.node = path / "node.json"
        self.journals = path / "journals"
        self.keyring = path / "keyring.db"
        self.master_key = path / "master-key"
        self.erasures = path / "erasures.jsonl"
        self.keys_left = path / "keys-left-behind"

    def named(self, name: str) -> "DataFolder":
        """The folder of a named journal: all files of its own, none of which it shares."""
        return DataFolder(self.journals / name)

    def retired_key(self, name: str) -> Path:
        """Where a signing key stays that another one has followed on: a backup from before is restored with it."""
        return self.path / f"journal-key.{name}"

    def make(self) -> None:
        """Makes the folder where there is none, closed to all but its owner."""
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise FolderUnusable(f"{self.path} can't be the data folder: {error.strerror}") from error

    def secret(self) -> bytes:
        """What the tokens of all keys are derived from."""
        text = self._keep(self.node_secret, secrets.token_hex(SECRET_BYTES))
        try:
            secret = bytes.fromhex(text)
        except ValueError:
            secret = b""
        if len(secret) != SECRET_BYTES:
            raise FolderUnusable(f"{self.node_secret} does not hold {SECRET_BYTES} bytes as hexadecimal digits")
        return secret

    def admin_token(self, token: str) -> str:
        """The admin's token: the one in the file, else `token`, which is then in the file."""
        return self._keep(self.admin_key, token)

    def _keep(self, path: Path, text: str) -> str:
        if not path.exists():
            write_private(path, text)
        return read_private(path).strip()


def read_private(path: Path) -> str:
    """A file that is readable by its owner alone, empty where there is none. Raises FolderUnusable where others can reach it."""
    if not path.exists():
        return ""
    if path.stat().st_mode & 0o077:
        raise FolderUnusable(f"{path} can be reached by others than its owner: chmod 600 it")
    return path.read_text()


def write_private(path: Path, text: str) -> None:
    """Writes a file whole, readable by its owner alone; after a crash there is the whole file or none."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
