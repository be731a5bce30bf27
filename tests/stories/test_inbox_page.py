"""What the page on the inbox shows is what happens: its walk is run as it stands, and its numbers are those of the program."""

import os
import re
import subprocess
import sys
from pathlib import Path

from agents.coordinating.timetable import HOLD_GRACE_SECONDS
from aggregates.agent import HOLD_SECONDS, PERSON_PREFIX
from aggregates.task.terms import RELEASES_MAX
from gateway.routes.inbox import routes
from gateway.settings import GavelSettings
from tests.stories.test_readme import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "inbox.md").read_text()
SECONDS_MAX = 120


def test_the_walk_works_as_it_stands(tmp_path: Path) -> None:
    (walk,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    script = "trap 'kill %1 2> /dev/null || true' EXIT\n" + walk.replace("8070", str(free_port()))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-m", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_numbers_are_those_of_the_program() -> None:
    text, known = " ".join(TEXT.split()), GavelSettings()
    for told in (
        f"after its lease, {known.lease_seconds:.0f} s",
        f"without a word: {known.hold_seconds / 3600:.0f} h",
        f"the first {RELEASES_MAX} times",
        f"`{PERSON_PREFIX}` and the user's id",
    ):
        assert told in text, told
    assert (known.lease_grace_share, HOLD_GRACE_SECONDS) == (0.25, 600.0)  # the last quarter; ten minutes
    assert known.hold_seconds == HOLD_SECONDS


def test_every_route_is_named() -> None:
    for line in routes:
        path = line.path.removeprefix("/v1/inbox/tasks/{task_id}").replace("/v1/inbox", "/v1/inbox") or "/{task_id}"
        assert path in TEXT, line.route
