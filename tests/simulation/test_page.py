"""What the page on simulation shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

from runtime.simulation import KINDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "simulation.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_planted_race_is_found_as_the_page_tells_it():
    file = ROOT / "examples" / "race.py"
    shown = BLOCKS[0][1]
    assert shown in file.read_text()
    assert len([line for line in shown.splitlines() if line]) <= 20
    told = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True, cwd=ROOT)
    assert told.stdout == BLOCKS[1][1]


def test_the_example_of_an_own_fault_is_run_as_it_stands():
    (example,) = [text for language, text in BLOCKS[1:] if language == "python"]
    exec(compile(example, "docs/simulation.md", "exec"), {"__name__": "example"})


def test_the_table_of_faults_is_whole():
    assert re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", PAGE.partition("## Invariants")[0], re.MULTILINE) == [
        (kind.name, kind.what) for kind in KINDS
    ]
