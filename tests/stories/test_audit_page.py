"""What the page on audits shows is what happens: its walk is run as it stands, command by command, from a folder of its own."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import accumulate
from pathlib import Path

import pytest
import trio

from gateway.app import ENDPOINTS
from gateway.cli import build_parser, main
from gateway.routes.trail import Beside
from runtime.kept_checkpoints import FILES_MAX
from tests.gateway.clients import BID, TASK, open_client, recorded, settings_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "audit.md").read_text()

WALK = (
    ("export GAVEL_DATA", ""),
    ("gavel backup", r"copy\.db: 9 records, root \w{64}, 0 blobs, whole"),
    ("gavel audit verify copy.db", r"copy\.db is whole: 9 records"),
    ("sed", ""),
    (
        "gavel audit verify copy.db --key",
        r"records 1 to 9 hash to a root that is signed[^$]*1 to 9 are those of the given",
    ),
    ("gavel audit witness", r"cosigned"),
    (
        "gavel audit replay copy.db",
        r"9 commands of 9 records .* 9 equal, 0 different.* 0 not decidable\n\d+ facts: .* 0 false",
    ),
    ("gavel log why", r"^8 task\.TaskAwarded of task-[^$]*by agent:ann: task\.PlaceBid"),
    ("gavel log why", r"It began with this request of agent:ann\.\nWhat it led to:\n +8 task\.TaskAwarded"),
    ("gavel audit prove", ""),
    ("gavel audit check", r"proven: record 8 of the 9 [^$]*task\.TaskAwarded"),
    ("python", r"proven: record 8, .*task\.TaskAwarded"),
    ("gavel log export tasks.msgpack", ""),
    ("gavel log export --check", r"holds: 2 of 9 records [^$]*positions 5 to 9, each with its proof"),
    ("gavel subject export", '"data_subject":"p17"'),
    ("grep", ""),
    ("gavel subject erase", "p17 is erased"),
    ("! grep", ""),
    ("gavel audit verify data/journal.db", r"is whole: 1\d records[^$]*1 to 9 are those of the given"),
    ("gavel audit replay --data data", r"position 5: task\.SubmitTask [^$]* 0 different, .* 2 not decidable"),
    ("gavel restore", r"9 records, .* whole"),
    ("gavel audit replay --data again", r"9 commands of 9 records .* 7 equal, 0 different, .* 2 not decidable"),
    ("gavel audit rotate-key", ""),
    ("gavel audit verify data/journal.db", r"is whole: 1\d records"),
    ("gavel audit consistency", r"consistent: the log of \d+ records begins with that of 9, of root"),
)
"""How each command of the page begins, and what it has to answer."""


def section(title: str) -> str:
    return re.split(r"^##+ ", TEXT.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def commands(title: str) -> Iterator[str]:
    (block,) = re.findall(r"```sh\n(.*?)```", section(title), re.DOTALL)
    yield from (line for line in block.splitlines() if line and not line.startswith("#"))


async def live(folder: Path) -> None:
    """A node by which a task that tells of a person is done."""
    async with open_client(settings_of(folder)) as admin:
        ann = await admin.register("ann")
        said = {"description": "a letter to Mara Lind", "data_subject": "p17", "bidding_seconds": 0.2}
        task_id = await admin.submit(**TASK | said)
        await recorded(admin, "task.BookOpened")
        assert (await ann.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
        await recorded(admin, "task.TaskAwarded")
        done = {"status": "completed", "token": 1, "result": {"sent to": "Mara Lind"}}
        assert (await ann.ask("PUT", f"/v1/tasks/{task_id}/status", done)).status_code == 200


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command answers. Gavel's are run in this process: a third of a walk by processes of its own is Python starting."""
    words = shlex.split(command, comments=True)
    if words[0] == "export":
        monkeypatch.setenv(*words[1].split("=", 1))
        return ""
    if words[0] != "gavel":
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, (command, done)
        return done.stdout
    into = Path(words[-1]) if words[-2] == ">" else None
    with redirect_stdout(StringIO()) as told:
        assert main(words[1:-2] if into else words[1:]) == 0, command
    if into:
        into.write_text(told.getvalue())
    return told.getvalue()


@pytest.mark.usefixtures("logs_as_they_were")
def test_an_auditor_can_go_the_way_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trio.run(live, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("GAVEL_HOUSE_SOLVER", "false")
    shutil.copytree(ROOT / "examples", "examples")
    shutil.copy("data/checkpoints/latest", "outside")
    way = [*commands("A walk"), *commands("Rotation of the signing key")]
    for command, (begins, answer) in zip(way, WALK, strict=True):
        assert command.startswith(begins)
        told = run(command, monkeypatch)
        assert re.search(answer, told), (command, told)


def test_every_command_that_a_page_shows_is_one() -> None:
    shown = TEXT + (ROOT / "README.md").read_text().partition("## Auditing")[2]
    parts = [
        part for block in re.findall(r"```sh\n(.*?)```", shown, re.DOTALL) for part in re.split(r"\n| \| | > ", block)
    ]
    found = [words for part in parts if (words := re.search(r"(?:^|\s)gavel (.*)", part))]
    assert len(found) > 50
    for words in found:
        given = shlex.split(words[1], comments=True)
        build_parser(given[0]).parse_args(given)


def test_the_actions_of_the_table_are_those_of_the_routes() -> None:
    rows = re.findall(r"^\| (`\w+\.\w+`.*?) \| ", section("What is done"), re.MULTILINE)
    told = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    nouns: Iterator[str] = accumulate((name.partition(".")[0] for name in told), lambda last, noun: noun or last)
    named = {f"{noun}.{name.partition('.')[2]}" for noun, name in zip(nouns, told, strict=True)}
    done = {endpoint.action for endpoint in ENDPOINTS if endpoint.acts} - {"trail.begin"}
    assert named == done | {"session.sign_in", "session.with_password", "provider.sign_in"} | {
        f"files.{action.value}" for action in Beside
    }


def test_the_numbers_are_those_of_the_program(tmp_path: Path) -> None:
    assert f"`checkpoint_seconds` ({settings_of(tmp_path).checkpoint_seconds:.0f})" in TEXT
    assert f"{FILES_MAX} stay" in TEXT.replace("\n", " ")
