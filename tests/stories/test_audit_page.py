"""What the page on audits shows is what happens: its commands are run as they stand, on a node's data folder."""

import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway.cli import main
from runtime.outside import FILES_MAX
from tests.gateway.clients import settings_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "audit.md").read_text()
PROOF = TEXT.partition("## Proof")[2].partition("\n## ")[0]


@pytest.fixture(autouse=True)
def _logs_go_their_old_way_afterwards() -> Iterator[None]:
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_an_auditor_can_go_the_way_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAVEL_DATA", "data")
    assert main(["keys", "create", "--role", "auditor"]) == 0
    way = re.findall(r"^gavel (.*)$", PROOF.partition("```sh")[2].partition("```")[0], re.MULTILINE)
    assert len(way) == 9
    for command in way:
        capsys.readouterr()
        words = shlex.split(command, comments=True)
        assert main(words) == 0, command
        told = capsys.readouterr().out
        if words[1] == "verify" and "--key" not in words:
            Path("log-key").write_text(told.splitlines()[-1].removeprefix("Key: "))
    assert re.match(r"consistent: the log of \d+ records begins with that of \d+, of root", told)


def test_the_numbers_are_those_of_the_program(tmp_path: Path) -> None:
    assert f"`checkpoint_seconds` ({settings_of(tmp_path).checkpoint_seconds:.0f})" in PROOF
    assert f"{FILES_MAX} stay" in PROOF.replace("\n", " ")
