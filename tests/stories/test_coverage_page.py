"""The page of what is asked and what shows it names tests, commands, routes and settings that there are."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.app import ENDPOINTS, SOCKETS
from gateway.cli import build_parser
from gateway.settings import rows
from tests.stories.test_journal_page import names_in

ROOT = Path(__file__).parents[2]
ID = re.compile(r"[A-Z]\d{3}")


class Line(NamedTuple):
    """A row of the table."""

    row: str
    asked: str
    shown: list[str]


def lines() -> list[Line]:
    text = (ROOT / "docs" / "coverage.md").read_text().partition("| --- | --- | --- |\n")[2]
    found = []
    for line in text.splitlines():
        row, asked, shown = (cell.strip() for cell in line.strip("|").split(" | "))
        found.append(Line(row, asked, re.findall(r"`([^`]+)`", shown)))
    return found


def test_each_row_stands_once_under_an_id_and_is_shown_by_a_test() -> None:
    rows = [line.row for line in lines()]
    assert len(rows) > 10
    assert all(ID.fullmatch(row) for row in rows)
    assert len(rows) == len(set(rows))
    for line in lines():
        assert line.asked
        assert any("::" in one for one in line.shown), f"{line.row} names no test"


@pytest.mark.parametrize("line", lines(), ids=lambda line: line.row)
def test_whatever_a_row_names_is_there(line: Line) -> None:
    routes = {endpoint.route for endpoint in ENDPOINTS} | {socket.route for socket in SOCKETS}
    settings = {name for row in rows({}) for name in row.environment}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for one in line.shown:
        if "::" in one:
            file, _, test = one.partition("::")
            assert test in names_in(file), one
        elif one.startswith("gavel "):
            words = shlex.split(one)[1:]
            build_parser(words[0]).parse_args(words)
        elif one.startswith("make "):
            assert one.removeprefix("make ") in targets
        elif one.isupper():
            assert one in settings, one
        else:
            assert one in routes, one


def test_a_name_that_is_not_there_is_found() -> None:
    for one in ("gateway/identity/test_auth::test_nothing", "POST /v1/nothing", "make nothing", "GAVEL_NOTHING"):
        with pytest.raises(AssertionError):
            test_whatever_a_row_names_is_there(Line("X000", "nothing", [one]))
