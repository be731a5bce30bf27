"""What the tests themselves rely on: soak marks, rotating families, time budgets."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py")
MARKS = "markers =\n    soak: long\n    rotate(keep): some\n"

FAMILY = """
import pytest

@pytest.mark.rotate(keep=2)
@pytest.mark.parametrize("number", range(10))
def test_one_of_many(number):
    pass

@pytest.mark.soak
def test_long():
    pass

def test_plain():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(f"[pytest]\n{MARKS}")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(test_family=FAMILY)
    return pytester


def ran(pytester: pytest.Pytester, *options: str) -> set[str]:
    result = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider", *options)
    assert result.ret == 0
    return {line.split()[0] for line in result.outlines if " PASSED" in line}


def test_only_some_of_a_rotating_family_run_and_no_soak_test(project: pytest.Pytester):
    names = ran(project, "--rotate-by", "abc")
    assert len(names) == 3
    assert "test_family.py::test_plain" in names
    assert "test_family.py::test_long" not in names
    assert ran(project, "--rotate-by", "abc") == names


def test_another_commit_runs_other_cases_and_some_commits_run_them_all(project: pytest.Pytester):
    chosen = [ran(project, "--rotate-by", commit) for commit in ("abc", "def", "ghi")]
    assert len(set.union(*chosen)) > len(chosen[0])


MADE_UP = """
from hypothesis import given, settings, strategies

@settings(database=None, max_examples=20)
@given(number=strategies.integers())
def test_made_up(number):
    print("drew", number)
"""


def drawn(pytester: pytest.Pytester, *options: str) -> list[str]:
    alone = ("--disable-plugin-autoload", "-p", "hypothesispytest")  # others take seconds to load
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *alone, *options)
    assert result.ret == 0
    return [line for line in result.outlines if "drew" in line]


def test_made_up_examples_are_the_same_again_and_fresh_under_soak(pytester: pytest.Pytester):
    pytester.makeini(f"[pytest]\n{MARKS}")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(MADE_UP)
    once = drawn(pytester, "--rotate-by", "abc")
    assert drawn(pytester, "--rotate-by", "def") == once
    assert drawn(pytester, "--soak") != once
    assert drawn(pytester, "--hypothesis-seed=1") != once


def test_a_seed_is_the_same_again_and_fresh_under_soak(pytester: pytest.Pytester):
    pytester.makeini(f"[pytest]\n{MARKS}")
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(test_seeded="def test_any(seed):\n    pass\n\ndef test_other(seed):\n    pass\n")
    once = ran(pytester)
    assert len({name.partition("[")[2] for name in once}) == 2
    assert ran(pytester) == once
    assert ran(pytester, "--soak") != once


def test_soak_runs_everything(project: pytest.Pytester):
    assert len(ran(project, "--soak")) == 12


def test_a_folder_over_its_budget_is_named_and_fails_only_when_asked(pytester: pytest.Pytester):
    text = CONFTEST.read_text(encoding="utf-8")
    assert '("agents",): 60,' in text
    pytester.makeini(f"[pytest]\n{MARKS}")
    pytester.makeconftest(text.replace('("agents",): 60,', '("agents",): 0,'))
    folder = pytester.mkdir("tests") / "agents"
    folder.mkdir()
    (folder / "test_any.py").write_text("def test_any():\n    pass\n", encoding="utf-8")
    lenient = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    lenient.stdout.fnmatch_lines(["*time budgets*", "agents * of 0 s: OVER BUDGET", "solvers * of 90 s"])
    assert lenient.ret == 0
    assert pytester.runpytest_inprocess("-p", "no:cacheprovider", "--strict-budgets").ret == 1


HANGING = """
import pytest
import trio

async def test_endless(tmp_path):
    await trio.sleep_forever()

async def test_far_away_on_a_mocked_clock(autojump_clock):
    await trio.sleep(10_000)

async def test_plain():
    await trio.sleep(0)
"""


def test_an_async_test_that_hangs_fails_where_it_waits_and_the_others_run(pytester: pytest.Pytester):
    text = CONFTEST.read_text(encoding="utf-8")
    assert "TEST_SECONDS_MAX = 600.0" in text
    pytester.makeini(f"[pytest]\ntrio_mode = true\n{MARKS}")
    pytester.makeconftest(text.replace("TEST_SECONDS_MAX = 600.0", "TEST_SECONDS_MAX = 0.2"))
    pytester.makepyfile(HANGING)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*await trio.sleep_forever()*", "*TooSlowError*"])
