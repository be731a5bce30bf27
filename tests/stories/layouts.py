"""Journals that earlier layouts have written, kept so that each later program shows that it opens, verifies and goes on with them.

`python -m tests.stories.layouts` writes the journal of today's layout, where it is not kept yet: a node with agents, tasks in several
stages, a problem, a solve and keys lives a short life, and its journal is put beside this file.
"""

import lzma
import sys
import time
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.node import Elements, open_node
from runtime.clock import SystemClock
from runtime.store.copies import copy_database
from runtime.store.layouts import FORMAT
from runtime.transparency import Signer
from tests.gateway.clients import GUARD_SECONDS, Client, settings_of
from tests.gateway.routes.test_problems import register
from tests.gateway.routes.test_solves import TRIANGLE, ended, queue
from tests.gateway.test_tasks import award

FOLDER = Path(__file__).parent / "layouts"
LIVED_AT = 1_735_689_600.0
"""When that life began, 2025-01-01: a journal from a time that has not come yet would be refused."""

KEPT_KEY = "k-kept"
LEFT_OPEN = {"task_type": "analysis", "capabilities": ["cutting"], "payload": {"n": 2}, "bidding_seconds": 60.0}


def path_of(format: int) -> Path:
    """Where the journal of that layout is kept."""
    return FOLDER / f"format-{format}.db.xz"


def signer() -> Signer:
    """The key that all kept journals are signed with: it follows from these words, and protects nothing."""
    return Signer(Ed25519PrivateKey.from_private_bytes(sha256(b"a journal that is kept for tests").digest()))


def restore(format: int, data: Path) -> Path:
    """Puts a kept journal and its key into a data folder that a node can be opened on, and returns the journal's path."""
    data.mkdir(mode=0o700, parents=True)
    signer().save(data / "journal-key")
    (data / "journal.db").write_bytes(lzma.decompress(path_of(format).read_bytes()))
    return data / "journal.db"


async def live(folder: Path) -> None:
    """The life of the node: what it leaves behind is what the tests expect in every kept journal."""
    settings = settings_of(folder)
    settings.data.mkdir(mode=0o700)
    signer().save(settings.data / "journal-key")
    began = time.monotonic()
    elements = Elements(SystemClock(wall=lambda: LIVED_AT + time.monotonic() - began))
    with trio.fail_after(GUARD_SECONDS):
        async with open_node(settings, elements=elements) as node, httpx2.AsyncClient(verify=False) as http:
            await _work(Client(node, http, node.admin_token))


async def _work(admin: Client) -> None:
    agent = await admin.register("ann")
    done = f"/v1/tasks/{await award(admin, agent)}/status"
    for status in ({"status": "started", "token": 1}, {"status": "completed", "token": 1, "result": {"value": 2}}):
        assert (await agent.ask("PUT", done, status)).status_code == 200
    problem = (await register(admin, TRIANGLE)).json()
    assert (await ended(admin, await queue(admin, problem_id=problem["problem_id"], seed=1)))["stage"] == "completed"
    spare = await admin.ask("POST", "/v1/keys", {"role": "auditor", "label": "spare"})
    await admin.ask("DELETE", f"/v1/keys/{spare.json()['key_id']}")
    await admin.ask("DELETE", f"/v1/tasks/{await admin.submit()}?reason=enough")
    kept = await admin.ask("POST", "/v1/tasks", LEFT_OPEN, Idempotency_Key=KEPT_KEY)
    assert kept.status_code == 202, kept.text


def main() -> int:
    """Writes the journal of today's layout; refuses where one is kept, which must never change."""
    path = path_of(FORMAT)
    if path.exists():
        print(f"{path} is kept already", file=sys.stderr)
        return 1
    with TemporaryDirectory() as name:
        trio.run(partial(live, Path(name)))
        copy_database(Path(name) / "data" / "journal.db", Path(name) / "kept.db")
        FOLDER.mkdir(exist_ok=True)
        path.write_bytes(lzma.compress((Path(name) / "kept.db").read_bytes(), preset=9 | lzma.PRESET_EXTREME))
    return 0


if __name__ == "__main__":
    sys.exit(main())
