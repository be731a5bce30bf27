"""The wheel: it installs in a clean environment and runs from a folder whose own packages have our names."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from solvers.formats import write_rudy
from solvers.generators import toroidal_grid

ROOT = Path(__file__).parents[1]
STOREYS = {"runtime", "aggregates", "agents", "solvers", "projections", "gateway"}
TRIANGLE = "3 3\n1 2 1\n2 3 1\n1 3 1\n"  # any cut of a triangle severs two edges at most


def run(*command: str | Path, folder: Path) -> str:
    """Run a command as a stranger would: nothing of this process's paths or settings reaches it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "GAVEL_", "COV_"))}
    answer = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, folder=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment with the wheel. What it depends on is lent by the one that runs the tests, which saves minutes."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        folder=folder,
    )
    own = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    Path(own, "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def decoys(tmp_path: Path) -> Path:
    for name in ("agents", "runtime"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a foreign package was loaded')\n")
    return tmp_path


def test_the_wheel_holds_the_storeys_the_example_and_the_console_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == STOREYS
    assert "gateway/_examples/agent.py" in names
    shipped = {str(path.relative_to(ROOT)) for path in (ROOT / "gateway" / "console").rglob("*") if path.is_file()}
    assert shipped
    assert shipped <= names
    assert not any("__pycache__" in name for name in names)


def test_the_command_runs_beside_foreign_packages_of_our_names(environment: Path, decoys: Path):
    assert "demo" in run(environment / "bin" / "gavel", "--help", folder=decoys)


def test_a_problem_is_solved_beside_foreign_packages_of_our_names(environment: Path, decoys: Path):
    (decoys / "triangle.txt").write_text(TRIANGLE, encoding="utf-8")
    command = (environment / "bin" / "gavel", "solve", "triangle.txt", "--seconds", "1", "--seed", "7", "--json")
    answer = json.loads(run(*command, folder=decoys))
    assert (answer["value"], answer["variables"], answer["verified"]) == (2, 3, True)


def test_kernels_are_cached_in_the_environment(environment: Path, decoys: Path):
    """The second process finds what the first compiled: it compiles nothing anew and writes nothing."""
    command = (environment / "bin" / "gavel", "solve", written(decoys), "--target", "1", "--json")  # as far in both
    run(*command, folder=decoys)
    before = caches(environment)
    assert before
    run(*command, folder=decoys)
    assert caches(environment) == before


def written(folder: Path) -> Path:
    """A problem for which kernels are loaded: small ones need none."""
    path = folder / "grid.txt"
    path.write_bytes(write_rudy(toroidal_grid(20, 20, 1)))
    return path


def caches(environment: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in environment.rglob("*.nbc")}
