"""Where the door listens: addresses as they are written, and the sockets opened for them.

`HOST:PORT` speaks TLS where the node has a certificate; `https://HOST:PORT` and `http://HOST:PORT` say which. `unix:/PATH` is a file
that its mode protects. `systemd` stands for the sockets that a service manager has opened for us. `NAME=` before any of them is what
routes see of it, else the address as written.
"""

import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import trio

NAME = r"[a-z][a-z0-9-]*"
FORM = rf"^({NAME}=)?((https?://)?(\[[0-9a-fA-F:.]+\]|[^:/=\s]+):\d{{1,5}}|unix:/[^\s,]+|systemd)$"
BACKLOG = 512
PORT_MAX = 65_535
FIRST_INHERITED = 3
"""The number of the first open file that a service manager hands over."""


class NotBound(Exception):
    """An address can't be listened on; the text names it and says why."""


class PortTaken(NotBound):
    """Another process listens on the address already."""


class Bind(NamedTuple):
    """An address to listen on. `name` is what routes see of it; a `path` is that of a unix socket; neither host nor path: systemd's."""

    name: str
    host: str = ""
    port: int = 0
    path: str = ""
    is_secure: bool = False
    """Whether TLS is spoken there; of an inherited socket, whether it is if it has a port."""


def parse(text: str, *, has_certificate: bool = False) -> Bind:
    """The address that is written so. Raises `ValueError`."""
    if not re.fullmatch(FORM, text):
        raise ValueError(f"not an address of the form HOST:PORT, unix:/PATH or systemd: {text!r}")
    name, given, address = text.partition("=")
    if not (given and re.fullmatch(NAME, name)):  # a path may have one too
        name = address = text
    if address.startswith("unix:"):
        return Bind(name, path=address.removeprefix("unix:"))
    if address == "systemd":
        return Bind(name, is_secure=has_certificate)
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rpartition(":")
    if int(port) > PORT_MAX:
        raise ValueError(f"not an address of the form HOST:PORT: {text!r} (ports end at {PORT_MAX})")
    if scheme == "https" and not has_certificate:
        raise ValueError(f"{text!r} speaks TLS, and there is no certificate")
    is_secure = has_certificate and scheme != "http"
    return Bind(name, host.removeprefix("[").removesuffix("]"), int(port), is_secure=is_secure)


def parse_all(texts: Iterable[str], *, has_certificate: bool = False) -> list[Bind]:
    """The addresses in order, each once. Raises `ValueError`."""
    binds = [parse(text, has_certificate=has_certificate) for text in dict.fromkeys(texts)]
    if not binds:
        raise ValueError("no address to listen on")
    return binds


def exposed(binds: Iterable[Bind], environ: Mapping[str, str] = os.environ) -> list[str]:
    """The addresses that other machines reach, and where keys would travel in the clear."""
    plain = [bind for bind in binds if not (bind.is_secure or bind.path)]
    named = [bind.name for bind in plain if bind.host and not is_loopback(bind.host)]
    if any(not bind.host for bind in plain):
        for inherited in _inherited(environ):
            with inherited.socket as one:
                if one.family != socket.AF_UNIX and not is_loopback(one.getsockname()[0]):
                    named.append(inherited.name)
    return named


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(eq=False)
class Entrance:
    """An open socket that clients connect to, and what is known of whoever comes in by it."""

    bind: Bind
    listener: trio.SocketListener
    file: tuple[int, int] | None = None
    """Device and inode of the socket's file."""

    @property
    def name(self) -> str:
        """What routes see of it."""
        return self.bind.name

    @property
    def is_unix(self) -> bool:
        """Whether its peers are processes of this machine that may open its file."""
        return self.listener.socket.family == socket.AF_UNIX

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken."""
        return self.bind.is_secure and not self.is_unix

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, or the path and 0."""
        if self.is_unix:
            return self.bind.path or str(self.listener.socket.getsockname()), 0
        host, port = self.listener.socket.getsockname()[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Listens no longer; a file of ours is removed."""
        self.listener.socket.close()
        if self.file is not None and _file_of(self.bind.path) == self.file:
            os.unlink(self.bind.path)


async def open_entrances(
    binds: Iterable[Bind], *, mode: int = 0o600, environ: Mapping[str, str] = os.environ
) -> list[Entrance]:
    """Listens on all of them, or on none. Files of unix sockets get `mode`. Raises NotBound, PortTaken where somebody listens already."""
    opened: list[Entrance] = []
    try:
        for bind in binds:
            opened += await _open(bind, mode, environ)
    except BaseException:
        for entrance in opened:
            entrance.close()
        raise
    return opened


async def _open(bind: Bind, mode: int, environ: Mapping[str, str]) -> list[Entrance]:
    try:
        if bind.path:
            return [_open_unix(bind, mode)]
        if bind.host:
            return [Entrance(bind, listener) for listener in await _open_tcp(bind)]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {bind.port} on {bind.host} is taken by another process") from error
        raise NotBound(f"{bind.name} can't be listened on: {error.strerror or error}") from error
    inherited = _inherited(environ)
    if not inherited:
        raise NotBound("systemd has handed over no socket (LISTEN_FDS is not set for this process)")
    return [_entered(bind, one) for one in inherited]


async def _open_tcp(bind: Bind) -> list[trio.SocketListener]:
    """A name may have several addresses; with port 0 each would get a port of its own, so the first alone is taken."""
    listeners = await trio.open_tcp_listeners(bind.port, host=bind.host, backlog=BACKLOG)
    if bind.port == 0:
        for listener in listeners[1:]:
            listener.socket.close()
        return listeners[:1]
    return listeners


def _open_unix(bind: Bind, mode: int) -> Entrance:
    """Nobody can connect between `bind` and `listen`, so that the mode holds from the first client on."""
    _remove_stale(bind.path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(bind.path)
        os.chmod(bind.path, mode)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    return Entrance(bind, listener, _file_of(bind.path))


def _remove_stale(path: str) -> None:
    """A socket's file outlives a process that was killed; it goes only where nobody listens."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise NotBound(f"unix:{path} is there already, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.setblocking(False)
        try:
            knock.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # somebody listens, and is busy
            pass
    raise PortTaken(f"unix:{path} is taken by another process")


def _file_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Inherited(NamedTuple):
    name: str
    socket: socket.socket


def _inherited(environ: Mapping[str, str]) -> list[_Inherited]:
    """Copies of the listening sockets that systemd has opened for this process."""
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS", "").isdigit():
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for number in range(int(environ["LISTEN_FDS"])):
        os.set_inheritable(FIRST_INHERITED + number, False)
        one = socket.socket(fileno=os.dup(FIRST_INHERITED + number))
        name = names[number] if number < len(names) else ""
        found.append(_Inherited(name or f"systemd-{number}", one))
    return found


def _entered(bind: Bind, inherited: _Inherited) -> Entrance:
    if inherited.socket.type != socket.SOCK_STREAM:
        raise NotBound(f"{inherited.name}, handed over by systemd, takes no connections")
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(inherited.socket))
    return Entrance(bind._replace(name=inherited.name), listener)
