"""The command line as a stranger and a script meet it: exit codes, one JSON object, a node that starts and stops."""

import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from select import select
from typing import Any, TextIO
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import msgpack
import pytest

from gateway import cli
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from solvers.solutions import read_solution
from solvers.verify import recompute
from tests import forks

TRIANGLE = "3 3\n1 2 1\n2 3 1\n1 3 1\n"  # any cut of a triangle severs two edges at most
ENDLESS = write_rudy(toroidal_grid(12, 12, 1))  # no reduction makes it smaller, and no proof ends a run
SECONDS_MAX = 120


def gavel(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `gavel` in a folder, on the data folder `data` in it."""
    return forks.gavel(*arguments, folder=folder, environment=surroundings(folder) | environment)


def surroundings(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAVEL_")}
    return kept | {"GAVEL_DATA": str(folder / "data")}


def answer(folder: Path, *arguments: str, code: int = 0, **environment: str) -> Any:
    """What a command prints with --json: one object, and nothing else."""
    done = gavel(folder, *arguments, "--json", **environment)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[forks.Program, TextIO, str]]:
    """A node in a process of its own, what it tells after its address, and that; ended at the end, if it has not ended before."""
    command = ("serve", "--bind", "127.0.0.1:0", *arguments)
    with forks.heard(forks.GAVEL, *command, folder=folder, environment=surroundings(folder)) as (node, told):
        yield node, told, address_in(told)


def address_in(told: TextIO) -> str:
    """Reads on until a node tells its address."""
    lines = []
    for line in told:
        lines.append(line)
        if link := re.search(r"(http://\S+)/session\?ticket=", line):
            return link[1]
    raise AssertionError("".join(lines))


Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], logs_as_they_were: None
) -> Inside:
    """Runs `gavel` in this process, which is quicker: its exit code, its output, its errors."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GAVEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_help_is_told_without_the_heavy_parts():
    code = "import sys; from gateway.cli import build_parser; build_parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numba", "scipy", "numpy", "starlette", "trio", "sqlalchemy", "msgspec", "rich"} & set(loaded)


def test_whoever_closes_the_standard_streams_gets_no_file_of_ours_in_their_place(tmp_path: Path):
    code = """
import os
from gateway import cli
code = cli.main(["settings"])
with open("found", "w") as found:
    print(code, found.fileno() > 2, *(os.readlink(f"/proc/self/fd/{number}") for number in range(3)), file=found)
"""
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, env=surroundings(tmp_path), check=True)
    assert (tmp_path / "found").read_text().split() == ["0", "True", *["/dev/null"] * 3]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_tells_its_options(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert f"gavel {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["solve"],
        ["solve", "nowhere.txt"],
        ["solve", "nowhere.txt", "--seconds", "-1"],
        ["solve", "nowhere.txt", "--threads", "0"],
        ["solve", "nowhere.txt", "--seed", "-1"],
        ["solve", "nowhere.txt", "--target", "nan"],
        ["solve", "nowhere.txt", "--plot", "course.doc"],
        ["solve", "nowhere.txt", "--out", "nowhere/found.json"],
        ["bench", "speed"],
        ["bench", "runtime", "--rows", "swim"],
        ["audit", "replay"],
        ["simulate", "--faults", "flood"],
        ["demo", "--agents", "3"],
        ["demo", "--seconds", "60"],
        ["demo", "--problems", "nowhere"],
        ["serve", "--bind", "nonsense"],
        ["serve", "--bind", "0.0.0.0:0"],
        ["actors"],
        ["log", "tail", "--follow", "--json"],
        ["log", "export"],
        ["keys", "create", "--role", "king"],
        ["backup", "copy.db"],
        ["restore", "copy.db"],
        ["restore", "copy.db", "--key-file", "nowhere"],
        ["log", "tail", "--journal", "acme"],
        ["keys", "list", "--journal", "../up"],
        ["work"],
    ],
    ids=" ".join,
)
def test_a_wrong_question_exits_2_and_says_why(arguments: list[str], inside: Inside):
    code, output, errors = inside(*arguments)
    assert (code, output) == (2, "")
    assert errors.strip()
    assert "Traceback" not in errors


def test_settings_are_listed_with_values_and_sources(tmp_path: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GAVEL_LEASE_SECONDS", "7")
    code, output, _ = inside("settings", "--json")
    assert code == 0
    listed = {row["name"]: row for row in json.loads(output)["settings"]}
    assert listed["lease_seconds"]["value"] == "7.0"
    assert listed["data"]["value"] == str(tmp_path / "data")
    assert "MAX_TENANTS" in listed["tenants_max"]["environment"]
    monkeypatch.setenv("GAVEL_LEASE_SECONDS", "soon")
    code, _, errors = inside("settings")
    assert code == 2
    assert "GAVEL_LEASE_SECONDS" in errors


# ---- solve


def test_a_solve_is_checked_against_the_file(tmp_path: Path, inside: Inside):
    (tmp_path / "triangle.txt").write_text(TRIANGLE)
    code, output, _ = inside("solve", "triangle.txt", "--work", "100000", "--json")
    assert code == 0
    told = json.loads(output)
    assert set(told) == {"name", "variables", "value", "sense", "seconds", "algorithm", "seed", "verified"}
    assert (told["name"], told["variables"], told["value"], told["sense"]) == ("triangle", 3, 2, "max")
    assert told["verified"] is True


def test_a_strategy_is_taken_by_its_name(tmp_path: Path, inside: Inside):
    (tmp_path / "triangle.txt").write_text(TRIANGLE)
    for name in ("qaoa", "hybrid_vqe", "tabu"):
        code, output, _ = inside("solve", "triangle.txt", "--strategy", name, "--work", "1000", "--seed", "1", "--json")
        told = json.loads(output)
        assert (code, told["algorithm"], told["value"], told["verified"]) == (0, name, 2, True)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--strategy", "magic"], "no strategy called 'magic'; there are exact, dense, .*qaoa"),
        (["--backend", "abacus"], "no backend is called 'abacus'; there are local, dynex"),
        (["--backend", "dynex"], "dynex is not_configured: set QUANTUM_BACKEND=dynex"),
        (["--strategy", "qaoa"], "qaoa takes at most 20 variables"),
    ],
    ids=" ".join,
)
def test_what_can_not_solve_a_problem_is_refused_by_name(tmp_path: Path, inside: Inside, asked: list[str], says: str):
    (tmp_path / "grid.txt").write_bytes(ENDLESS)
    code, output, errors = inside("solve", "grid.txt", "--seconds", "1", *asked)
    assert (code, output) == (2, "")
    assert re.search(says, " ".join(errors.split()))
    assert "Traceback" not in errors


def test_a_seed_gives_the_same_bytes_whatever_the_hash_seed(tmp_path: Path):
    edges = [(i, j) for i in range(1, 60) for j in range(i + 1, 61) if (i * j) % 3 == 1]
    lines = [f"60 {len(edges)}", *(f"{i} {j} {1 - 2 * ((i + j) % 2)}" for i, j in edges)]
    (tmp_path / "graph.txt").write_text("\n".join(lines))
    seeded = ["solve", "graph.txt", "--seed", "5", "--threads", "2", "--json"]
    bounds = [["--seconds", "0.02"], ["--work", "400000"]]
    code = f"from gateway.cli import main; print([main({seeded} + bound) for bound in {bounds}])"
    first, second = (_from_nothing(tmp_path, code, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.splitlines()[-1] == "[0, 0]"
    assert first == second


def test_a_run_ends_at_its_target_and_leaves_a_solution_and_a_picture(tmp_path: Path, inside: Inside):
    (tmp_path / "triangle.txt").write_text(TRIANGLE)
    asked = ["--seconds", "600", "--target", "2", "--out", "found.json", "--plot"]
    code, output, errors = inside("solve", "triangle.txt", *asked)
    assert code == 0
    assert output.startswith("triangle: 2 (max, 3 variables), checked against the file")
    assert "seconds" in errors  # under the picture's axis
    kept = json.loads((tmp_path / "found.json").read_text())
    assert (kept["value"], kept["variables"]) == (2, 3)
    found = read_solution((tmp_path / "found.json").read_bytes(), 3)
    assert recompute(TRIANGLE.encode(), found, name="triangle.txt") == 2
    code, output, _ = inside("solve", "triangle.txt", "--work", "1", "--start", "found.json", "--json")
    assert (code, json.loads(output)["value"]) == (0, 2)
    (tmp_path / "pair.txt").write_text("2 1\n1 2 1\n")
    code, _, errors = inside("solve", "pair.txt", "--start", "found.json")
    assert code == 2
    assert "found.json: /assignment: should be 2 characters" in errors


@pytest.mark.parametrize(
    ("name", "begins"), [("course.png", b"\x89PNG\r\n"), ("course.svg", b"<?xml"), ("course.PDF", b"%PDF")]
)
def test_a_picture_is_written_as_its_name_says(tmp_path: Path, inside: Inside, name: str, begins: bytes):
    (tmp_path / "triangle.txt").write_text(TRIANGLE)
    code, _, _ = inside("solve", "triangle.txt", "--work", "1000", "--plot", name)
    assert code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_line_tells_the_best_value_and_an_interrupt_brings_the_answer(tmp_path: Path):
    (tmp_path / "grid.txt").write_bytes(ENDLESS)
    terminal, end = os.openpty()
    command = [sys.executable, "-m", "gateway.cli", "solve", "grid.txt", "--seconds", "600", "--json"]
    around = surroundings(tmp_path) | {"TERM": "xterm", "COLUMNS": "80"}
    with (
        subprocess.Popen(command, cwd=tmp_path, env=around, stdout=subprocess.PIPE, stderr=end, text=True) as solving,
        open(terminal, "rb", buffering=0) as line,
    ):
        os.close(end)
        seen = b""
        while re.search(rb"grid: \d+ \(max", seen) is None:
            assert select([line], [], [], SECONDS_MAX)[0], f"nothing was told after {seen!r}"
            seen += line.read(4096)
        solving.send_signal(signal.SIGINT)
        output, _ = solving.communicate(timeout=SECONDS_MAX)
    assert solving.returncode == 130
    assert json.loads(output)["value"] > 0


def _from_nothing(folder: Path, code: str, **environment: str) -> str:
    """What a program tells that no other has loaded anything for."""
    command = [sys.executable, "-P", "-c", code]
    around = surroundings(folder) | environment
    return subprocess.run(
        command, cwd=folder, env=around, stdout=subprocess.PIPE, text=True, timeout=SECONDS_MAX
    ).stdout


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"3 3\n1 2 1\n2 9 1\n1 3 1\n", "line 3"),
        (b"3 4\n1 2 1\n2 3 1\n1 3 1\n", "line"),
        (b"3 1\n1 2 nan\n", "line 2"),
        (b"\0" * 4096, "no reader recognizes"),
        (b"", "no reader recognizes"),
    ],
    ids=["index out of range", "too few lines", "nan", "zeros", "empty"],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, inside: Inside, content: bytes, fault: str):
    (tmp_path / "broken.txt").write_bytes(content)
    code, _, errors = inside("solve", "broken.txt", "--seconds", "1")
    assert code == 2
    assert fault in errors


# ---- a node


def test_a_node_tells_its_address_and_ends_at_sigterm(tmp_path: Path):
    with serving(tmp_path) as (node, _, url):
        with urlopen(f"{url}/livez") as live:
            assert live.status == 200
        key = (tmp_path / "data" / "admin-key").read_text().strip()
        with urlopen(Request(f"{url}/v1/keys", headers={"Authorization": f"Bearer {key}"})) as listed:
            assert [row["role"] for row in json.load(listed)["keys"]] == ["admin"]
        node.send_signal(signal.SIGTERM)
        assert node.wait() == 0
        assert not (tmp_path / "data" / "node.json").exists()


def test_a_taken_port_and_a_locked_folder_are_named(tmp_path: Path):
    with serving(tmp_path):
        locked = gavel(tmp_path, "serve", "--bind", "127.0.0.1:0")
        assert locked.returncode == 2
        assert "in use" in locked.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = gavel(tmp_path, "serve", "--bind", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert port in done.stderr


def test_read_models_that_cannot_be_opened_end_a_start_and_are_named(tmp_path: Path):
    gavel(tmp_path, "keys", "list")
    read_models = tmp_path / "data" / "read.db"
    read_models.unlink()
    read_models.mkdir()
    done = gavel(tmp_path, "serve", "--bind", "127.0.0.1:0")
    assert done.returncode == 2
    assert "the read models can't be opened" in done.stderr


def test_a_node_that_crashes_says_why_last(tmp_path: Path):
    with serving(tmp_path) as (node, told, _):
        with closing(sqlite3.connect(tmp_path / "data" / "journal.db")) as somebody_else:
            somebody_else.execute(
                "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ('key-x', 1, 'key.KeyIssued', x'00')"
            )
            somebody_else.commit()
        gavel(tmp_path, "keys", "create", "--role", "agent")
        last = told.read().strip().splitlines()[-1]
        assert node.wait() not in (0, 1, 2)
        assert "node_stopped" in last


def test_keys_are_made_listed_and_revoked_with_and_without_a_node(tmp_path: Path):
    made = answer(tmp_path, "keys", "create", "--role", "auditor", "--label", "the bank")
    assert re.fullmatch(r"gvl_\w{32}_[\w-]{32}", made["key"])
    with serving(tmp_path) as (_, _, url):
        rows = {row["key_id"]: row for row in answer(tmp_path, "keys", "list")["keys"]}
        assert (rows[made["key_id"]]["role"], rows[made["key_id"]]["label"]) == ("auditor", "the bank")
        plain = gavel(tmp_path, "keys", "create", "--role", "agent").stdout.strip()
        with urlopen(Request(f"{url}/v1/agents", headers={"Authorization": f"Bearer {plain}"})) as agents:
            assert agents.status == 200
        assert {row["path"] for row in answer(tmp_path, "actors")["actors"]} >= {"security/node"}
    assert answer(tmp_path, "keys", "revoke", made["key_id"])["revoked"] is True
    rows = {row["key_id"]: row for row in answer(tmp_path, "keys", "list")["keys"]}
    assert rows[made["key_id"]]["status"] == "revoked"


def test_a_link_signs_in_once_and_needs_a_node_that_runs(tmp_path: Path):
    with serving(tmp_path) as (_, _, url):
        link = gavel(tmp_path, "keys", "link").stdout.strip()
        assert link.startswith(f"{url}/session?ticket=")
        told = answer(tmp_path, "keys", "link")
        assert told["link"] != link
        assert told["seconds"] > 0
        signed_in = build_opener(HTTPCookieProcessor())
        with signed_in.open(link) as page, signed_in.open(f"{url}/v1/agents") as agents:
            assert (page.url, agents.status) == (f"{url}/", 200)
        with pytest.raises(HTTPError) as refused:
            signed_in.open(link)
        assert refused.value.code == 401
        refused.value.close()
    done = gavel(tmp_path, "keys", "link")
    assert done.returncode == 2
    assert "no node runs on" in done.stderr


# ---- the log


def test_the_log_is_shown_exported_replayed_and_backed_up(tmp_path: Path):
    for role in ("agent", "operator"):
        gavel(tmp_path, "keys", "create", "--role", role)
    told = answer(tmp_path, "log", "tail", "--after", "1")
    each = ["action.ActionBegun", "key.KeyIssued", "action.ActionEnded"]
    assert [record["kind"] for record in told["records"]] == each * 2
    assert "key.KeyIssued" in gavel(tmp_path, "log", "tail").stdout
    stream = told["records"][1]["stream"]
    state = answer(tmp_path, "log", "state", stream, "--at", "3")
    assert (state["stream"], state["version"], state["position"], state["state"]["role"]) == (stream, 1, 3, "agent")
    assert '"role": "agent"' in gavel(tmp_path, "log", "state", stream).stdout
    assert gavel(tmp_path, "log", "state", stream, "--at", "1").returncode == 2
    exported = answer(tmp_path, "log", "export", "log.msgpack", "--from", "2")
    assert exported["records"] == 6
    with (tmp_path / "log.msgpack").open("rb") as file:
        header, *records, _ = msgpack.Unpacker(file)
    assert (header["format"], header["whole"], header["filters"]) == ("gavel-log/2", False, {"first": 2})
    assert [record[0] for record in records] == [2, 3, 4, 5, 6, 7]
    assert all(isinstance(record[4], bytes) for record in records)
    replayed = answer(tmp_path, "log", "replay")
    assert (replayed["equal"], replayed["records"]) == (True, 7)
    copied = answer(tmp_path, "backup", "copy.db")
    assert (copied["positions"], copied["whole"]) == (7, True)
    assert answer(tmp_path, "audit", "verify", "copy.db")["root"] == copied["root"]
    assert gavel(tmp_path, "backup", "copy.db").returncode == 2


def test_a_read_model_that_differs_from_the_log_is_found(tmp_path: Path):

    gavel(tmp_path, "keys", "create", "--role", "agent")
    with sqlite3.connect(tmp_path / "data" / "read.db") as connection:
        connection.execute("UPDATE keys SET role = 'admin'")
    connection.close()
    replayed = answer(tmp_path, "log", "replay", code=1)
    assert replayed["equal"] is False
    assert [name for name, table in replayed["tables"].items() if not table["equal"]] == ["keys"]


def test_blobs_are_backed_up_with_the_journal_and_collected_when_nothing_names_them(tmp_path: Path):
    with serving(tmp_path) as (_, _, url):
        digest = hashlib.sha256(b"loose").hexdigest()
        admin = (tmp_path / "data" / "admin-key").read_text()
        put = Request(f"{url}/v1/blobs/{digest}", b"loose", {"Authorization": f"Bearer {admin}"}, method="PUT")
        urlopen(put).close()
        copied = answer(tmp_path, "backup", "copy.db")
        assert (copied["blobs"], copied["blob_bytes"], copied["whole"]) == (1, 5, True)
        assert answer(tmp_path, "blobs", "usage")["bytes"] == 5
        assert answer(tmp_path, "blobs", "collect")["kept"] == 1
    assert (tmp_path / "copy.db.blobs" / digest[:2] / digest).read_bytes() == b"loose"
    soon = {"GAVEL_BLOB_GRACE_SECONDS": "0"}
    assert gavel(tmp_path, "blobs", "collect", "--dry-run", **soon).stdout.splitlines()[0] == digest
    assert answer(tmp_path, "blobs", "collect", GAVEL_BLOB_GRACE_SECONDS="0")["blobs"] == [digest]
    assert answer(tmp_path, "blobs", "usage")["blobs"] == 0
    (tmp_path / "other.db.blobs").mkdir()
    assert "exists" in gavel(tmp_path, "backup", "other.db").stderr


def test_a_log_is_checked_and_what_this_program_cannot_read_is_named(tmp_path: Path):
    gavel(tmp_path, "keys", "create", "--role", "agent")
    checked = answer(tmp_path, "log", "check")
    assert (checked["folds"], checked["records"], checked["streams"], checked["faults"]) == (True, 4, 3, [])
    with sqlite3.connect(tmp_path / "data" / "journal.db") as connection:
        connection.execute("UPDATE stored_events SET topic = 'key.KeyIssued/2' WHERE rowid = 3")
        connection.execute("INSERT INTO kinds VALUES ('key.KeyIssued/2', 3)")
    connection.close()
    checked = answer(tmp_path, "log", "check", code=1)
    (fault,) = checked["faults"]
    assert (fault["position"], fault["kind"], fault["at"]) == (3, "key.KeyIssued/2", "record")
    said = gavel(tmp_path, "log", "check").stdout
    assert "position 3: key.KeyIssued/2 of key-" in said
    assert "1 FAULTS" in said
    started = gavel(tmp_path, "serve", "--bind", "127.0.0.1:0")
    assert started.returncode == 2
    assert (
        "key.KeyIssued/2: this program writes key.KeyIssued, so a newer one has written that (first at"
        in started.stderr
    )


def test_a_running_node_is_backed_up_and_replayed(tmp_path: Path):
    with serving(tmp_path):
        gavel(tmp_path, "keys", "create", "--role", "agent")
        assert answer(tmp_path, "backup", "copy.db")["whole"]
        assert answer(tmp_path, "log", "replay")["equal"] is True
        assert answer(tmp_path, "log", "check")["folds"] is True
