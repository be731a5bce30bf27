"""A layer below SQLite: sees every write, truncation, sync, deletion and opening of the files of one folder, and may have them fail.

SQLite reaches its files through a table of functions, its VFS. Here the table of the default one is copied, in the very library that
Python's `sqlite3` is linked with, with `xOpen` and `xDelete` replaced; and of each file that is opened, the table of its methods, with
what changes the file replaced. Everything else (reading, locks, shared memory) stays the library's own, at its own speed. The copy is the
default VFS as long as it is asked for, so the program under test opens its files as ever.
"""

import _sqlite3
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import pytest

OK, FULL, READONLY, IOERR, CANTOPEN = 0, 13, 8, 10, 14
IOERR_WRITE, IOERR_FSYNC, IOERR_TRUNCATE, IOERR_DELETE = (IOERR | n << 8 for n in (3, 4, 6, 10))
READONLY_FLAG, READWRITE_FLAG, CREATE_FLAG = 0x1, 0x2, 0x4
JOURNAL_FLAGS = 0x0800 | 0x4000 | 0x80000
"""Rollback journal, super-journal and write-ahead log: the first sync of such a file syncs the folder too."""


class Touch(NamedTuple):
    """Something that SQLite is about to do to a file."""

    kind: Literal["open", "write", "truncate", "sync", "delete"]
    path: Path
    offset: int = 0
    content: bytes = b""
    size: int = 0
    is_new: bool = False
    syncs_folder: bool = False


class Layer(Protocol):
    """What is told of each touch. The calls come from whichever thread is in SQLite; one at a time."""

    def before(self, touch: Touch) -> int:
        """OK to let it be done, else the code with which it fails; then nothing is done. READONLY opens a file for reading only,
        as the real VFS does by itself where it may not write."""

    def after(self, touch: Touch) -> None:
        """It was done."""


class _Vfs(Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", c_void_p),
        ("xDelete", c_void_p),
        ("others", c_void_p * 14),
    ]


class _Methods(Structure):
    _fields_ = [
        ("iVersion", c_int),
        ("xClose", c_void_p),
        ("xRead", c_void_p),
        ("xWrite", c_void_p),
        ("xTruncate", c_void_p),
        ("xSync", c_void_p),
        ("others", c_void_p * 13),
    ]


class _File(Structure):
    _fields_ = [("methods", POINTER(_Methods))]


_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(_File), c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)


def library() -> Any:
    """The SQLite library that `sqlite3` is linked with; skips the test where that can't be reached from outside."""
    found = ctypes.CDLL(_sqlite3.__file__)
    try:
        find, register, unregister = found.sqlite3_vfs_find, found.sqlite3_vfs_register, found.sqlite3_vfs_unregister
    except AttributeError:
        pytest.skip("this Python holds an SQLite of its own and does not show its functions: no layer fits below it")
    find.argtypes, find.restype = [c_char_p], POINTER(_Vfs)
    register.argtypes = [POINTER(_Vfs), c_int]
    unregister.argtypes = [POINTER(_Vfs)]
    return found


@contextmanager
def below_sqlite(folder: Path, layer: Layer) -> Iterator[None]:
    """Has every file of this folder that SQLite opens from now on touched through the layer. Raises what the layer raised."""
    found = library()
    through = _Through(folder, layer, found.sqlite3_vfs_find(None))
    _kept.append(through)
    found.sqlite3_vfs_register(through.vfs, 1)
    try:
        yield
    finally:
        found.sqlite3_vfs_unregister(through.vfs)
    if through.errors:
        raise through.errors[0]


_kept: list["_Through"] = []
"""Connections that stay open may call what they were opened with for as long as the process lives."""


class _Opened(NamedTuple):
    """A file in SQLite's hands, by its address: what it is called, its own methods, whether its next sync syncs the folder too."""

    path: Path
    original: _Methods
    syncs_folder: bool


class _Through:
    """One layer's tables of functions."""

    def __init__(self, folder: Path, layer: Layer, real: Any) -> None:
        self.folder = folder
        self.layer = layer
        self.real = real
        self.errors: list[BaseException] = []
        self.vfs = _Vfs.from_buffer_copy(real.contents)
        self.vfs.zName = f"gavel faults {len(_kept)}".encode()
        self._opened: dict[int, _Opened] = {}
        self._tables: dict[int, tuple[_Methods, _Methods]] = {}
        self._functions: list[Any] = []
        self._real_open = _OPEN(real.contents.xOpen)
        self._real_delete = _DELETE(real.contents.xDelete)
        self.vfs.xOpen = self._function(_OPEN, self._open)
        self.vfs.xDelete = self._function(_DELETE, self._delete)
        self._changing = {
            "xClose": self._function(_CLOSE, self._close),
            "xWrite": self._function(_WRITE, self._write),
            "xTruncate": self._function(_TRUNCATE, self._truncate),
            "xSync": self._function(_SYNC, self._sync),
        }

    def _function(self, kind: Any, method: Callable[..., int]) -> int:
        """The address of a C function that calls this method; an exception can't leave through C, so it is kept."""

        def guarded(*arguments: Any) -> int:
            try:
                return method(*arguments)
            except BaseException as error:  # raised again by below_sqlite
                self.errors.append(error)
                return IOERR

        function = kind(guarded)
        self._functions.append(function)
        address = ctypes.cast(function, c_void_p).value
        assert address is not None
        return address

    def _do(self, touch: Touch, real: Callable[[], int]) -> int:
        code = self.layer.before(touch) or real()
        if code == OK:
            self.layer.after(touch)
        return code

    def _open(self, _: int, name: int | None, file: Any, flags: int, told: Any) -> int:
        # The name is handed on as it came: SQLite keeps a URI's parameters behind its end.
        def real(flags: int) -> int:
            code: int = self._real_open(ctypes.cast(self.real, c_void_p), name, file, flags, told)
            return code

        path = Path(ctypes.string_at(name).decode()) if name else None
        if path is None or path.parent != self.folder:
            return real(flags)
        touch = Touch("open", path, is_new=not path.exists(), syncs_folder=bool(flags & JOURNAL_FLAGS))
        code = self._do(touch, lambda: real(flags))
        if code == READONLY:
            code = real(flags & ~(READWRITE_FLAG | CREATE_FLAG) | READONLY_FLAG)
        if code == OK:
            self._put_between(file, touch)
        return code

    def _put_between(self, file: Any, touch: Touch) -> None:
        real = ctypes.cast(file.contents.methods, c_void_p).value
        assert real is not None
        if real not in self._tables:
            table = _Methods.from_buffer_copy(file.contents.methods.contents)
            for name, address in self._changing.items():
                setattr(table, name, address)
            self._tables[real] = file.contents.methods.contents, table
        original, table = self._tables[real]
        file.contents.methods = ctypes.pointer(table)
        opened = _Opened(touch.path, original, touch.is_new and touch.syncs_folder)
        self._opened[ctypes.addressof(file.contents)] = opened

    def _close(self, file: int) -> int:
        code: int = _CLOSE(self._opened.pop(file).original.xClose)(file)
        return code

    def _write(self, file: int, content: int, amount: int, offset: int) -> int:
        path, original, _ = self._opened[file]
        touch = Touch("write", path, offset=offset, content=ctypes.string_at(content, amount))
        return self._do(touch, lambda: _WRITE(original.xWrite)(file, content, amount, offset))

    def _truncate(self, file: int, size: int) -> int:
        path, original, _ = self._opened[file]
        return self._do(Touch("truncate", path, size=size), lambda: _TRUNCATE(original.xTruncate)(file, size))

    def _sync(self, file: int, flags: int) -> int:
        path, original, syncs_folder = self._opened[file]
        touch = Touch("sync", path, syncs_folder=syncs_folder)
        code = self._do(touch, lambda: _SYNC(original.xSync)(file, flags))
        if code == OK:
            self._opened[file] = _Opened(path, original, False)
        return code

    def _delete(self, _: int, name: int, syncs_folder: int) -> int:
        path = Path(ctypes.string_at(name).decode())

        def real() -> int:
            code: int = self._real_delete(ctypes.cast(self.real, c_void_p), name, syncs_folder)
            return code

        if path.parent != self.folder:
            return real()
        return self._do(Touch("delete", path, syncs_folder=bool(syncs_folder)), real)
