"""Where the keys of data subjects are kept, and where the master key comes from that wraps them: a command, the settings, or a file."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import urandom
from pathlib import Path

from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable, read_private, write_private
from gateway.verdicts import Wrong
from runtime.keyring import Keyring, KeyringUnusable
from runtime.master import KEY_BYTES, Master, MasterCommand, MasterKey, NoMaster


def master_of(settings: GavelSettings, entropy: Callable[[int], bytes] = urandom) -> Master:
    """The master key that the settings name; without any it is a file of the data folder, made at the first start. Raises NoMaster."""
    if settings.master_key_command:
        return MasterCommand(settings.master_key_command)
    if settings.master_key:
        return MasterKey(settings.master_key, "GAVEL_MASTER_KEY", entropy)
    folder = DataFolder(settings.data)
    path = settings.master_key_file or folder.master_key
    try:
        if settings.master_key_file is None and not path.exists():
            if folder.keyring.exists():  # another one in its place would only hide that it is gone
                raise NoMaster(
                    f"there is no {path}, and the keys in {folder.keyring} were wrapped by a master key: put it back"
                )
            write_private(path, secrets.token_hex(KEY_BYTES))
        digits = read_private(path)
    except (FolderUnusable, OSError) as error:
        raise NoMaster(f"the master key in {path} can't be read: {error}") from error
    return MasterKey(digits, str(path), entropy)


def open_keyring(settings: GavelSettings, folder: DataFolder, entropy: Callable[[int], bytes] = urandom) -> Keyring:
    """The keys of a journal, made where there are none. Raises FolderUnusable."""
    try:
        return Keyring(folder.keyring, master_of(settings, entropy), entropy=entropy)
    except (NoMaster, KeyringUnusable) as error:
        raise FolderUnusable(f"the keys of personal data can't be used: {error}") from error


@contextmanager
def keys_of(settings: GavelSettings, path: Path | None = None) -> Iterator[Keyring | None]:
    """The keys in a data folder (or in the file at `path`), for reading only; None where there are none. Raises Wrong."""
    path = path or DataFolder(settings.data).keyring
    if not path.is_file():
        yield None
        return
    try:
        keyring = Keyring(path, master_of(settings), read_only=True)
    except (NoMaster, KeyringUnusable) as error:
        raise Wrong(f"the keys of personal data can't be read: {error}") from error
    try:
        yield keyring
    except KeyringUnusable as error:
        raise Wrong(f"the keys of personal data can't be used: {error}") from error
    finally:
        keyring.close()
