"""Programs of ours, each in a process of its own, forked from one that has loaded what they are made of: to load it takes a second.

The process that is forked from has one thread, reads nothing of the environment, and ends with the tests. A program gets the
arguments, environment and folder that it would be started with, and ends with its exit code, or by its signal.
"""

import atexit
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, TextIO

ROOT = Path(__file__).parents[1]
GAVEL = "import sys; from gateway.cli import main; sys.exit(main())"
SECONDS_MAX = 120.0
_length = struct.Struct("<I")
_number = struct.Struct("<i")


class Program:
    """A program that was started, until it was waited for."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._status: int | None = None
        (self.pid,) = _number.unpack(_exactly(server, _number.size))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._status is None and not select.select([self._server], [], [], 0)[0]

    def wait(self) -> int:
        """Its exit code, or its signal as a negative number, once it has ended."""
        if self._status is None:
            (self._status,) = _number.unpack(_exactly(self._server, _number.size))
            self._server.close()
        return os.waitstatus_to_exitcode(self._status)

    def send_signal(self, number: int) -> None:
        """Signals it, if it has not ended."""
        if self.is_running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        self.send_signal(signal.SIGKILL)
        self.wait()


def start(
    code: str, *arguments: str, folder: Path, environment: Mapping[str, str], output: BinaryIO, errors: BinaryIO
) -> Program:
    """Begins what `python -P -c CODE ARGUMENTS` does, in a folder and with this environment; it writes to these files."""
    request = json.dumps([code, arguments, str(folder), dict(environment)]).encode()
    server = socket.socket(socket.AF_UNIX)
    server.settimeout(SECONDS_MAX)
    server.connect(_address())
    socket.send_fds(server, [_length.pack(len(request))], [output.fileno(), errors.fileno()])
    server.sendall(request)
    return Program(server)


def run(code: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Does what `python -P -c CODE ARGUMENTS` does, in a folder and with this environment."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        program = start(code, *arguments, folder=folder, environment=environment, output=output, errors=errors)
        status = program.wait()
        told = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0) for file in (output, errors)]
    return subprocess.CompletedProcess([code, *arguments], status, *told)


def gavel(*arguments: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs `gavel` likewise; what it has told is text."""
    done = run(GAVEL, *arguments, folder=folder, environment=environment)
    told = (done.stdout.decode(), done.stderr.decode())
    return subprocess.CompletedProcess(["gavel", *arguments], done.returncode, *told)


@contextmanager
def heard(code: str, *arguments: str, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[Program, TextIO]]:
    """Begins it likewise: what it tells, errors too, is read as it comes; killed at the end, if it has not ended before."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as told:
        with open(writing, "wb") as out:
            program = start(code, *arguments, folder=folder, environment=environment, output=out, errors=out)
        try:
            yield program, told
        finally:
            program.kill()


@cache
def _address() -> str:
    """Where the process listens that is forked from; started when it is first needed."""
    folder = tempfile.mkdtemp(prefix="gavel-forks-")
    address = f"{folder}/socket"
    command = [sys.executable, "-m", "tests.forks", address]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(_end, server, Path(folder))
    return address


def _end(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    server.communicate()
    for path in (folder / "socket", folder):
        path.unlink() if path.is_socket() else path.rmdir()


def _exactly(source: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = source.recv(size - len(content))
        if not part:
            raise EOFError("the process that is forked from has ended")
        content += part
    return content


# ---- the process that is forked from


def _serve(address: str) -> None:
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([door, sys.stdin], [], [])[0]:  # which ends with the tests
            caller, _ = door.accept()
            if os.fork() == 0:
                _answer(caller)
            caller.close()


def _load() -> None:
    """What most programs need; what solves problems takes long to load and is needed by few."""
    import gateway.commands

    for name in ("gateway.node", "jsonschema"):
        import_module(name)
    for found in pkgutil.iter_modules(gateway.commands.__path__):
        if found.name not in ("bench", "solve"):
            import_module(f"gateway.commands.{found.name}")


def _answer(caller: socket.socket) -> None:
    """Forks the program and tells its number; waits for its end and tells how it was."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, files, *_ = socket.recv_fds(caller, _length.size, 2)
    code, arguments, folder, environment = json.loads(_exactly(caller, *_length.unpack(head)))
    program = os.fork()
    if program == 0:
        caller.close()
        for file, place in zip((os.open(os.devnull, os.O_RDONLY), *files), (0, 1, 2), strict=True):
            os.dup2(file, place)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        sys.argv = ["-c", *arguments]
        _run(code)
    caller.sendall(_number.pack(program))
    _, status = os.waitpid(program, 0)
    caller.sendall(_number.pack(status))
    os._exit(0)


def _run(code: str) -> None:
    """As the interpreter does, up to the end of the process."""
    status = 1
    try:
        exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 — whatever it is, the interpreter would tell it and end
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
