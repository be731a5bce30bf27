"""The page of attacks is what the table says."""

from pathlib import Path

from tests.gateway.attacks.page import page
from tests.gateway.attacks.table import attacks

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8") == page()


def test_no_two_attacks_have_one_name() -> None:
    names = [one.name for one in attacks()]
    assert len(set(names)) == len(names)
