"""The threat model names tests that there are, for each threat at least one."""

import re
from pathlib import Path

from gateway.identity.tickets import LINK_SECONDS
from gateway.settings import rows
from tests.stories.test_journal_page import named, names_in

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text()


def test_each_threat_is_met_by_a_test_that_is_there() -> None:
    table = TEXT.partition("## Threats")[2].partition("\n## ")[0]
    threats = [
        line for line in table.splitlines() if line.startswith("| ") and not line.startswith(("| | threat", "| ---"))
    ]
    assert len(threats) > 20
    for threat in threats:
        assert named(threat), threat
        for file, test in named(threat):
            assert test in names_in(file), f"{file}::{test}"


def test_what_the_page_names_is_there() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make (\w+)`", TEXT)) <= set(targets)
    known = {name for row in rows({}) for name in row.environment}
    assert set(re.findall(r"\bGAVEL_[A-Z_]+", TEXT)) <= known
    assert "once, for ten minutes" in TEXT
    assert LINK_SECONDS == 600.0
