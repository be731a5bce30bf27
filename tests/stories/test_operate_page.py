"""What the page for operators shows is what happens: its commands are run as they stand, one by one, in one shell, against real nodes."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import yaml

from gateway.app import ENDPOINTS
from gateway.cli import build_parser
from gateway.settings import rows
from gateway.verdicts import CRASHED, FINE, WRONG
from runtime.watchdog import STUCK
from tests import forks
from tests.stories.test_readme import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operate.md").read_text()
SECONDS_MAX = 120
MARK = "\x1e"
PORTS = ("8070", "8443", "8071")
GAVEL = """#!{python} -ISs
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as door:
    door.connect("{door}")
    socket.send_fds(door, [b"!"], [1, 2])
    door.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    door.shutdown(socket.SHUT_WR)
    told = door.makefile()
    program = int(told.readline())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(program, number))
    sys.exit(int(told.readline()))
"""
"""`gavel`, done by a process that is forked from a warm one, with this one's output: a second of each command is Python starting."""

EXPECTED = (
    ("gavel --version", r"gavel \d"),
    ("gavel selftest", r"(ok    .*\n){11}"),
    ("curl -sf $URL/livez", r'"live":true'),
    ('curl -sf -H "$ADMIN" $URL/v1/me', r'"role":"admin"'),
    ("gavel keys link", r"http://127\.0\.0\.1:\d+/session\?ticket="),
    ('curl -sf -H "Authorization: Bearer $(cat orders-key)" --json', r'"task_id"'),
    ("gavel keys list", r"role=read_only[^$]*label=prometheus"),
    ("curl -sf -c cookies", r'"principal":"user:'),
    ("curl -sf -b cookies", r'"role":"operator"'),
    ('curl -sf -H "Authorization: Bearer $(cat acme-key)"', r'"tenant":"acme","role":"tenant_admin"'),
    ("gavel journals list", r"beta"),
    ("! gavel serve --bind 0.0.0.0", r"can be reached from other machines.*give the node a certificate"),
    ("gavel audit trail --kind action.ActionBegun", r"session\.make_link[^$]*203\.0\.113\.7"),
    ("curl -sf --unix-socket door.sock -D -", r"(?i)ratelimit: \"read\";r=\d+"),
    ("grep '^gavel_ready'", r"gavel_ready.* 1"),
    ("gavel backup backups/monday.db", r"monday\.db: \d+ records[^$]*beta\.db: \d+ records.*whole"),
    ("gavel restore", r"drill/journal\.db: \d+ records.*whole"),
    ("gavel audit verify drill/journal.db", r"is whole"),
    ('curl -sf -H "Authorization: Bearer $(cat orders-key)" http://127', r'"tasks":\[\{'),
    ("gavel audit replay", r" 0 different"),
    ("gavel audit verify data/journal.db --against", r"is whole"),
    ("gavel selftest --running", r"(ok    .*\n){11}"),
    ("gavel blobs usage", r"0"),
    ("! gavel audit verify altered.db", r"altered\.db is NOT|first wrong|wrong"),
    ("gavel audit verify backups/before.db", r"is whole"),
    ("gavel audit trail --subject key-", r"keys\.revoke"),
    ("gavel projections list", r"tasks/\d"),
    ("gavel subject erase", r"is erased"),
    ("! GAVEL_DATA=drill gavel keys list", r"wrapped by a master key: put it back"),
    ("GAVEL_DATA=drill gavel keys list", r"label=orders"),
    ("gavel audit verify data/journal.db", r"is whole"),
)
"""How commands begin of which the answer matters, in the page's order, and what it is; all others have to succeed."""


def commands() -> Iterator[str]:
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE):
        yield from (line.strip() for line in block.splitlines() if line.strip())


@contextmanager
def gavel_at_hand(folder: Path) -> Iterator[None]:
    """Puts a `gavel` into the folder; at the end nothing that it began is left."""
    programs: list[forks.Program] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "door"))
        listening.listen()
        threading.Thread(target=_answer_all, args=(listening, programs), daemon=True).start()
        command = folder / "gavel"
        command.write_text(GAVEL.format(python=sys.executable, door=folder / "door"))
        command.chmod(0o755)
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for program in programs:
                if program.is_running:
                    os.kill(program.pid, signal.SIGKILL)


def _answer_all(listening: socket.socket, programs: list[forks.Program]) -> None:
    while True:
        try:
            caller, _ = listening.accept()
        except OSError:
            return
        _, (output, errors), *_ = socket.recv_fds(caller, 1, 2)
        with caller.makefile() as asked, open(output, "wb") as out, open(errors, "wb") as err:
            arguments, folder, environment = json.load(asked)
            program = forks.start(
                forks.GAVEL, *arguments, folder=Path(folder), environment=environment, output=out, errors=err
            )
        programs.append(program)
        caller.sendall(f"{program.pid}\n".encode())
        threading.Thread(target=_tell_end, args=(caller, program), daemon=True).start()


def _tell_end(caller: socket.socket, program: forks.Program) -> None:
    with caller:
        caller.sendall(f"{program.wait()}\n".encode())


def script(port_by_shown: dict[str, str]) -> str:
    """All commands, each behind a mark with its number; the first that fails ends it."""
    lines = []
    for number, command in enumerate(commands()):
        for shown, port in port_by_shown.items():
            command = re.sub(rf"\b{shown}\b", port, command)
        negated = command.startswith("! ")  # which `set -e` does not hear
        lines += [f"printf '{MARK}{number}\\n'", f"if {command[2:]}; then exit 97; fi" if negated else command]
    return "\n".join([*lines, ""])


def test_an_operator_can_go_the_way_of_the_page(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GAVEL_", "COV_"))}
    ports = {shown: str(free_port()) for shown in PORTS}
    tools, folder = tmp_path / "bin", tmp_path / "w"
    tools.mkdir()
    folder.mkdir()
    with gavel_at_hand(tools), (tmp_path / "said").open("w") as out:
        environment = kept | {"PATH": f"{tools}:{kept['PATH']}", "GAVEL_HOUSE_SOLVER": "false"}
        run_in = partial(
            subprocess.Popen, cwd=folder, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        with run_in(["bash", "-euo", "pipefail", "-c", script(ports)], stdout=out, stderr=out) as shell:
            try:
                shell.wait(timeout=SECONDS_MAX)
            finally:
                with suppress(ProcessLookupError):  # nodes that a shell which failed leaves behind
                    os.killpg(shell.pid, signal.SIGKILL)
    said = (tmp_path / "said").read_text()
    told = dict(zip(map(int, re.findall(rf"{MARK}(\d+)\n", said)), re.split(rf"{MARK}\d+\n", said)[1:], strict=True))
    run = list(commands())
    logs = "".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    assert shell.returncode == 0, "\n".join((run[max(told, default=0)], said[-600:], logs))
    _check_answers(run, told)


def _check_answers(run: list[str], told: dict[int, str]) -> None:
    expected = iter(EXPECTED)
    begins, answer = next(expected)
    for number, command in enumerate(run):
        if begins and command.startswith(begins):
            assert re.search(answer, told[number]), (command, told[number])
            begins, answer = next(expected, ("", ""))
    assert not begins, f"no command of the page begins with {begins}"


def test_commands_for_root_and_containers_name_what_is_there() -> None:
    shown = "".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
    targets = set(re.findall(r"^make (\w+)", shown, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert targets
    assert targets <= set(phony[1].split())
    for path in re.findall(r"\b(?:deploy/[\w.]+|Dockerfile|compose\.yaml|constraints\.txt)", TEXT):
        assert (ROOT / path).exists(), path
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(re.findall(r"docker compose exec (\w+)", shown)) <= set(services)
    unit = (ROOT / "deploy" / "gavel.service").read_text()
    assert "User=gavel" in unit
    assert "EnvironmentFile=-/etc/gavel/environment" in unit


def test_every_command_setting_alert_and_exit_code_that_the_page_names_is_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words in re.findall(r"`gavel ([^`]+)`", TEXT):
        given = shlex.split(words)
        with pytest.raises(SystemExit) as ended:  # its help is told where there is such a command
            build_parser(given[0]).parse_args([*given, "--help"])
        assert ended.value.code == 0, (words, capsys.readouterr().err)
    routes = {endpoint.route for endpoint in ENDPOINTS}
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`]*)`", TEXT)) <= routes
    known = {name for row in rows({}) for name in row.environment}
    assert set(re.findall(r"\bGAVEL_[A-Z_]+[A-Z]", TEXT)) <= known
    alerts = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in alerts} == set(re.findall(r"\bGavel[A-Z]\w+", TEXT))
    codes = re.findall(r"^\| (\d) \| ", TEXT.partition("## Stopping")[2], re.MULTILINE)
    assert list(map(int, codes)) == [FINE, WRONG, CRASHED, STUCK]


def test_each_refusal_of_the_handbook_is_said_by_the_program() -> None:
    source = "".join(path.read_text() for folder in ("gateway", "runtime") for path in (ROOT / folder).rglob("*.py"))
    table = TEXT.partition("| it says | what helps |")[2].partition("\n\n")[0]
    said = [part for row in table.splitlines()[2:] for part in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert len(said) > 10
    for part in said:
        assert part in source, part
