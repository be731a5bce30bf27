"""Settings as a mechanism: which source wins, what is refused, and how it is listed."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from runtime.settings import (
    SettingsFaulty,
    about,
    environment_source,
    fields_of,
    file_source,
    markdown,
    resolve,
    rows,
)

PREFIX = "SHOP_"


class Share(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping as a setting."""

    left: float = 0.5
    right: float = 0.5

    def __post_init__(self) -> None:
        if self.left + self.right != 1.0:
            raise ValueError("left and right have to add up to 1")


class Shop(Struct, frozen=True, kw_only=True):
    """A table of settings that has one of each type."""

    doors_max: Annotated[int, about("open doors", "MAX_DOORS", "shop.doors", ge=1, le=9)] = 2
    rate: Annotated[float, about("speed", "shop.limits.rate", gt=0)] = 1.5
    lit: Annotated[bool, about("light is on", "LIT")] = True
    folder: Annotated[Path, about("where", default_shown="a folder")] = Path("here")
    spare: Annotated[Path | None, about("where else", used=False)] = None
    kind: Annotated[Literal["small", "large"], about("size")] = "small"
    tags: Annotated[tuple[str, ...], about("words", "TAGS")] = ()
    share: Annotated[Share, about("halves", "shop.share", used=False)] = Share()
    word: Annotated[str, about("to get in", secret=True)] = ""


def settled(environ: dict[str, str] | None = None, *files: Path) -> Shop:
    sources = [file_source(Shop, path) for path in files]
    return resolve(Shop, [*sources, environment_source(Shop, environ or {}, PREFIX)]).settings


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(environ: dict[str, str] | None, *files: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsFaulty) as caught:
        settled(environ, *files)
    return caught.value.faults


def test_nothing_said_means_the_defaults():
    assert settled() == Shop()


def test_later_sources_win(tmp_path: Path):
    toml = written(tmp_path, "shop.toml", "doors_max = 3\nrate = 2\nlit = false\n")
    yaml = written(tmp_path, "shop.yaml", "shop:\n  doors: 4\n  limits:\n    rate: 2.5\n")
    found = settled({"SHOP_DOORS_MAX": "5"}, toml, yaml)
    assert (found.doors_max, found.rate, found.lit) == (5, 2.5, False)


def test_own_name_in_the_environment_wins_over_an_alias_which_is_then_not_even_read():
    assert settled({"MAX_DOORS": "tcp://10.0.0.1:80", "SHOP_DOORS_MAX": "7"}).doors_max == 7


def test_every_type_is_read_from_text():
    found = settled(
        {
            "SHOP_DOORS_MAX": "9",
            "SHOP_RATE": "0.25",
            "LIT": "false",
            "SHOP_FOLDER": "~/shop",
            "SHOP_SPARE": "spare",
            "SHOP_KIND": "large",
            "TAGS": "SOC2, ISO27001,GDPR",
            "SHOP_SHARE": '{"left": 0.25, "right": 0.75}',
            "SHOP_WORD": "42",
        }
    )
    assert found == Shop(
        doors_max=9,
        rate=0.25,
        lit=False,
        folder=Path("~/shop").expanduser(),
        spare=Path("spare"),
        kind="large",
        tags=("SOC2", "ISO27001", "GDPR"),
        share=Share(left=0.25, right=0.75),
        word="42",
    )


def test_an_empty_environment_value_counts_as_none():
    assert settled({"SHOP_DOORS_MAX": "", "MAX_DOORS": "3"}).doors_max == 3


def test_a_foreign_environment_name_with_our_prefix_is_no_fault():
    assert settled({"SHOP_SERVICE_HOST": "10.0.0.1"}) == Shop()


def test_all_faults_of_all_sources_are_named_at_once_with_their_source(tmp_path: Path):
    toml = written(tmp_path, "a.toml", 'doors_mx = 3\nrate = "2"\n')
    yaml = written(tmp_path, "b.yaml", "shop:\n  doors: 12\n  share: {left: 0.5, right: 0.6}\n  share2: 1\n")
    named = faults({"LIT": "maybe", "SHOP_KIND": "huge", "SHOP_SHARE": "{", "SHOP_FOLDER": "x"}, toml, yaml)
    places = {str(toml), f"{yaml}, line 2", f"{yaml}, line 3", f"{yaml}, line 4", "environment"}
    assert {fault.split(": ")[0] for fault in named} == places
    for expected in (
        f"{toml}: doors_mx: no such setting (did you mean doors_max?)",
        f"{toml}: rate: Expected `float`, got `str`",
        f"{yaml}, line 4: shop.share2: no such setting (did you mean shop.share?)",
        f"{yaml}, line 2: shop.doors: Expected `int` <= 9",
        f"{yaml}, line 3: shop.share: left and right have to add up to 1",
        "environment: LIT: Expected `bool`, got `str`",
        "environment: SHOP_KIND: Invalid enum value 'huge'",
    ):
        assert expected in named
    assert any(fault.startswith("environment: SHOP_SHARE: ") for fault in named)
    assert len(named) == 8


def test_each_member_of_a_mapping_is_checked_by_itself_and_named_with_its_line(tmp_path: Path):
    text = "shop:\n  share:\n    left: many\n    middle: 0.1\n    right: 1\n"
    path = written(tmp_path, "a.yaml", text)
    assert faults(None, path) == (
        f"{path}, line 3: shop.share.left: Expected `float`, got `str`",
        f"{path}, line 4: shop.share.middle: no such setting",
    )


def test_a_key_that_stands_twice_in_a_yaml_file_is_a_fault_with_both_lines(tmp_path: Path):
    path = written(tmp_path, "a.yaml", "shop:\n  doors: 3\n  doors: 4\n")
    assert faults(None, path) == (f"{path}: line 3: shop.doors: stands in line 2 too",)


def test_it_is_known_which_source_won_over_which(tmp_path: Path):
    first = written(tmp_path, "a.yaml", "shop:\n  doors: 3\n  limits: {rate: 2}\n")
    second = written(tmp_path, "b.yaml", "doors_max: 4\n")
    sources = [file_source(Shop, path) for path in (first, second)]
    found = resolve(Shop, [*sources, environment_source(Shop, {"MAX_DOORS": "5"}, PREFIX)])
    row = next(row for row in rows(found, PREFIX) if row.name == "doors_max")
    assert (row.value, row.source) == ("5", "environment (MAX_DOORS)")
    assert row.over == (f"{second} (doors_max)", f"{first} (shop.doors)")
    assert [row.name for row in rows(found, PREFIX) if row.over] == ["doors_max"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.toml", "doors_max = ", "Invalid value"),
        ("a.toml", "doors_max = 1\ndoors_max = 2", "overwrite"),
        ("a.yaml", "shop: [1, 2", "expected"),
        ("a.yaml", "- 1\n", "a mapping is expected, not a list"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a.toml", "[shop.doors]\nopen = 3\n", "Expected `int`, got `object`"),
        ("a.toml", "folder = 3\n", "Expected `Path`, got `int`"),
    ],
)
def test_a_broken_file_is_refused_with_its_fault(tmp_path: Path, name: str, text: str, fault: str):
    (found,) = faults(None, written(tmp_path, name, text))
    assert found.startswith(str(tmp_path / name))
    assert fault in found


def test_a_missing_file_and_junk_are_refused(tmp_path: Path):
    junk = tmp_path / "junk.yaml"
    junk.write_bytes(b"\xff\xfe\x00")
    missing, binary = faults(None, tmp_path / "absent.toml", junk)
    assert "No such file" in missing
    assert "can't decode" in binary


def test_an_empty_file_says_nothing(tmp_path: Path):
    assert settled(None, written(tmp_path, "a.yaml", ""), written(tmp_path, "a.toml", "")) == Shop()


def test_two_settings_that_answer_to_one_name_are_our_mistake():
    class Twins(Struct, frozen=True, kw_only=True):
        one: Annotated[int, about("one", "SAME")] = 1
        two: Annotated[int, about("two", "SAME")] = 2

    with pytest.raises(AssertionError, match="SAME"):
        fields_of(Twins)


def test_the_listing_shows_type_bounds_value_source_and_no_secret(tmp_path: Path):
    yaml = written(tmp_path, "a.yaml", "shop: {doors: 4}")
    sources = [file_source(Shop, yaml), environment_source(Shop, {"TAGS": "a,b", "SHOP_WORD": "sesame"}, PREFIX)]
    listing = rows(resolve(Shop, sources), PREFIX)
    row = {row.name: row for row in listing}
    assert [row.name for row in listing] == [field.name for field in fields_of(Shop)]
    assert (row["doors_max"].type, row["doors_max"].value) == ("whole number >= 1, <= 9", "4")
    assert row["doors_max"].source == f"{yaml} (shop.doors)"
    assert row["doors_max"].environment == ("SHOP_DOORS_MAX", "MAX_DOORS")
    assert (row["tags"].type, row["tags"].value, row["tags"].source) == ("list of text", "a,b", "environment (TAGS)")
    assert (row["kind"].type, row["rate"].type, row["spare"].type) == ("small or large", "number > 0", "path")
    assert (row["folder"].default, row["folder"].source, row["share"].used) == ("a folder", "default", False)
    assert row["word"].value == "set"
    assert "sesame" not in repr(listing)
    assert markdown(listing).count("no part acts on it yet") == 2
    assert markdown(listing).count("\n") == len(listing) + 2


@given(st.integers())
def test_a_number_within_its_bounds_is_taken_and_any_other_refused(number: int):
    if 1 <= number <= 9:
        assert settled({"MAX_DOORS": str(number)}).doors_max == number
    else:
        (fault,) = faults({"MAX_DOORS": str(number)})
        assert "MAX_DOORS: Expected `int`" in fault
