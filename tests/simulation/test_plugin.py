"""The fixture for anybody's tests: a failure names the invariant, the seed and the faults, and the line that it prints fails alike."""

import importlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEST = """
from runtime.simulation import Kind

SHOVE = Kind("shove", "is pushed", 3.0)
NOISE = Kind("noise", "does nothing", 9.0)

async def tower(world):
    for fault in world.faults.of(SHOVE):
        world.note("tower", "is shoved", at=fault.at)
        world.holds("stands", fault.at < 40, "fell")

def test_tower(simulate):
    outcomes = simulate(tower, range(60), faults=(SHOVE, NOISE))
    print([outcome.seed for outcome in outcomes])

def test_plain(simulate):
    assert [outcome.ok for outcome in simulate(tower, faults=())] == [True] * 20
"""


@pytest.fixture
def run_pytest(tmp_path, monkeypatch):
    """Runs those tests with this plugin alone, as somebody else's project has it."""
    (tmp_path / "test_tower.py").write_text(TEST)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> str:
        told = io.StringIO()
        plugins = ["-p", "runtime.pytest_simulation", "-p", "no:cacheprovider", "--import-mode=importlib"]
        with redirect_stdout(told), redirect_stderr(told):
            pytest.main([*plugins, *options])
        return told.getvalue()

    return run


def test_a_failure_tells_all_that_it_takes_to_have_it_again(run_pytest):
    told = run_pytest()
    assert "1 failed, 1 passed" in told
    found = re.search(r"stands does not hold with seed (\d+): fell", told)
    assert found is not None
    assert "is shoved at=" in told
    assert re.search(r"faults, of \d+ as few as break it: shove@[\d.]+$", told, re.MULTILINE)
    again = re.search(r"again: pytest (.*)$", told, re.MULTILINE)
    assert again is not None
    replayed = run_pytest(*shlex.split(again[1]))
    assert f"stands does not hold with seed {found[1]}: fell" in replayed
    assert again[0] in replayed


def test_options_choose_seeds_and_bad_faults_are_named(run_pytest):
    assert "[0, 1, 2]" in run_pytest("-s", "-k", "tower", "--simulate-seeds", "3", "--simulate-faults", "")
    assert "'shove@soon' is no fault" in run_pytest("-k", "tower", "--simulate-faults", "shove@soon")


def test_the_package_declares_the_plugin_and_loading_it_loads_nothing_heavy():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    (module,) = declared.values()
    assert importlib.import_module(module).simulate
    look = f"import sys, {module}; print(sorted({{'trio', 'msgspec', 'sqlalchemy', 'runtime.simulation'}} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_fixture_gives_outcomes_without_their_traces(simulate):
    async def quiet(world):
        world.note("nobody", "does nothing")

    (outcome,) = simulate(quiet, [3])
    assert (outcome.seed, outcome.ok, outcome.steps, outcome.trace) == (3, True, 1, [])


def test_it_is_not_to_be_used_where_trio_runs(simulate):
    async def main():
        simulate(lambda world: None, [1])

    import trio

    with pytest.raises(pytest.fail.Exception, match="Attempted to call run"):
        trio.run(main)
