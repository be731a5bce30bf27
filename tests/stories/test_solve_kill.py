"""A node that is killed in the midst of a solve takes it up again with the same seed, and what it ends with can be computed anew."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import trio

from solvers.formats import write_rudy
from solvers.generators import sparse_random
from solvers.verify import decode_assignment, recompute
from tests.stories.nodes import Served, run, serving

GUARD_SECONDS = 120
VARIABLES = 2_000
GRAPH = write_rudy(sparse_random(VARIABLES, 5.0, 1))
SEED = 11
WORK = 50_000_000
"""A good part of a second of one thread: the node is killed as soon as it has begun."""


class Asking:
    """The admin's client in one life of a node."""

    def __init__(self, url: str, key: str, http: httpx2.AsyncClient) -> None:
        self._url, self._key, self._http = url, key, http

    async def ask(self, method: str, path: str, prefer: str = "wait=0", **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._key}", "Prefer": prefer}
        answer = await self._http.request(method, f"{self._url}{path}", headers=headers, **given)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def queue(self, **body: Any) -> str:
        """A solve of the graph, which it brings."""
        digest = sha256(GRAPH).hexdigest()
        await self.ask("PUT", f"/v1/blobs/{digest}", content=GRAPH)
        problem = await self.ask("POST", "/v1/problems", json={"name": "graph", "blob": digest})
        asked = {"problem_id": problem["problem_id"], **body}
        job_id: str = (await self.ask("POST", "/v1/solves", json=asked))["job_id"]
        return job_id

    async def until(self, job_id: str, wanted: Callable[[Any], bool]) -> Any:
        """The solve, once it is so."""
        row = await self.ask("GET", f"/v1/solves/{job_id}")
        while not wanted(row):
            path = f"/v1/solves/{job_id}?after_position={row['last_position']}"
            row = await self.ask("GET", path, prefer="wait=10")
        return row


async def begin(node: Served, http: httpx2.AsyncClient) -> Asking:
    """A client of the node, once its door is open."""
    url = await node.open()
    return Asking(url, node.admin_key(), http)


async def test_a_solve_goes_on_after_its_node_was_killed_and_replays_bit_for_bit(tmp_path: Path) -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
            async with serving(tmp_path) as node:
                asking = await begin(node, http)
                bounds = {"seconds": 600, "work_max": WORK, "strategy": "annealing"}
                job_id = await asking.queue(**bounds, seed=SEED)
                await asking.until(job_id, lambda row: row["stage"] == "running")
                await node.kill()
            async with serving(tmp_path) as node:
                done = await (await begin(node, http)).until(job_id, lambda row: row["stage"] == "completed")
                assert await node.stop() == 0, node.said
    assert (done["seed"], done["works"], done["work"] >= WORK) == (SEED, [done["work"]], True)
    assert recompute(GRAPH, decode_assignment(done["assignment"], VARIABLES), format="rudy") == done["value"]
    audited = await run(["audit", "replay", "--solves", "--json", "--data", str(tmp_path / "data")], tmp_path)
    assert audited.returncode == 0, audited.stderr.decode()
    solves = json.loads(audited.stdout)["solves"]
    assert (solves["solves"], solves["equal"]) == (1, 1)
