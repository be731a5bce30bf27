"""What the README shows is what happens: its tour is run as it stands, and its agent is the file that the demo runs."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECONDS_MAX = 120
SET_UP = 'make install\nexport PATH="$PWD/.venv/bin:$PATH" '


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_tour_works_as_it_stands(tmp_path: Path):
    tour = "".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
    assert SET_UP in tour
    port = free_port()
    script = tour.replace(SET_UP, "export ").replace("gavel serve", "gavel serve --bind 127.0.0.1:8070")
    script = script.replace("8070", str(port))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "/session?ticket=",
        '"award_reason":"ann scored',
        '"status":409',
        "event: task.TaskAwarded",
        f"{tmp_path}/.gavel/journal.db is whole: ",
    ):
        assert told in done.stdout + done.stderr, told


def test_the_agent_in_the_readme_is_the_one_that_the_demo_runs():
    listed = re.search(r"<!-- agent -->\n```python\n(.*)```\n<!-- /agent -->", README, re.DOTALL)
    assert listed is not None
    assert listed[1] == (ROOT / "examples" / "agent.py").read_text()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", *[f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")]]
)
def test_every_link_to_a_file_leads_to_one(page: str):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_every_page_is_named_by_the_readme() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(re.findall(r"\]\((docs/[^)#]+)", README))
