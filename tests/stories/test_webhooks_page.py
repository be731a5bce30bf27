"""The page about webhooks: its walk is walked, with the example that it names, against a real node."""

import re
import shutil
import socket
import sys
from pathlib import Path

import pytest
import trio

from tests.gateway.clients import open_client, settings_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "webhooks.md").read_text()
EXAMPLE = ROOT / "examples" / "receive_webhook.py"
LINES_MAX = 40


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks by curl")
async def test_the_walk_of_the_page_ends_well(tmp_path: Path) -> None:
    (walk,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "examples").symlink_to(EXAMPLE.parent)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    settings = settings_of(tmp_path, webhook_http=True, webhook_private=True)
    async with open_client(settings) as admin:
        environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "URL": admin.node.url, "KEY": admin.key}
        script = "set -e\n" + walk.replace("8080", str(free_port()))
        done = await trio.run_process(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_stdout=True, capture_stderr=True, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    heard = (tmp_path / "heard").read_text().splitlines()
    assert [line.partition(" ")[0] for line in heard if "webhook.test" not in line] == ["task.TaskSubmitted"]


def test_the_example_is_short_and_needs_the_standard_library_alone() -> None:
    source = EXAMPLE.read_text()
    assert len(source.splitlines()) <= LINES_MAX
    imported = re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names
