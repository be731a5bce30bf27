"""A strictly isolated tenant as its operator meets it: from the command line, over a kill, and out of a backup."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import trio

from gateway.storage.folder import DataFolder
from runtime.verification import verify
from tests.stories.nodes import Served, run, serving

GUARD_SECONDS = 120
QUIET = {"house_solver": "false"}
"""Nobody does anything but the callers."""
BLOB = b"3 2\n1 2 1\n2 3 1\n"


class Caller:
    """Somebody with a key, at a node's door."""

    def __init__(self, http: httpx2.AsyncClient, url: str, key: str) -> None:
        self.http = http
        self.url = url
        self.key = key

    async def ask(self, method: str, path: str, body: Any = None, **sent: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return await self.http.request(method, self.url + path, json=body, headers=headers, **sent)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def submit(self, word: str) -> str:
        answer = await self.ask("POST", "/v1/tasks", {"task_type": "analysis", "description": word})
        assert answer.status_code == 202, answer.text
        task_id: str = answer.json()["task_id"]
        return task_id


async def told(folder: Path, *command: str, code: int = 0, **settings: object) -> Any:
    """What a command prints with --json."""
    done = await run([*command, "--json"], folder, **settings)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout)


async def heads(*callers: Caller) -> list[tuple[int, str]]:
    """The size and the root that each caller's journal is sealed with."""
    seals = [(await caller.get("/v1/status"))["checkpoint"] for caller in callers]
    return [(seal["size"], seal["root"]) for seal in seals]


async def callers(node: Served, http: httpx2.AsyncClient) -> tuple[Caller, Caller]:
    """The admins of the node and of its isolated tenant, with the keys that lie in the data folder."""
    url = await node.open()
    own = node.folder.named("acme").admin_key.read_text()
    return Caller(http, url, node.admin_key()), Caller(http, url, own)


async def test_an_isolated_tenant_outlives_a_kill_and_is_restored_from_a_backup(tmp_path: Path) -> None:
    with trio.fail_after(GUARD_SECONDS):
        async with httpx2.AsyncClient(timeout=GUARD_SECONDS, verify=False) as http:
            keys, done = await _first_life(tmp_path, http)
            copied = await _second_life(tmp_path, http, keys, done)
            await _third_life(tmp_path, http, keys, done, copied)


async def _first_life(tmp_path: Path, http: httpx2.AsyncClient) -> tuple[list[str], list[str]]:
    """Isolates a tenant, works for both, and is killed."""
    async with serving(tmp_path, **QUIET) as node:
        url = await node.open()
        opened = await told(tmp_path, "journals", "open", "acme")
        assert (opened["name"], opened["key"][:9]) == ("acme", "gvl_acme_")
        admin, acme = await callers(node, http)
        assert acme.key == opened["key"]
        operator = await told(tmp_path, "keys", "create", "--role", "operator", "--journal", "acme")
        assert operator["key"].startswith("gvl_acme_")
        done = [await admin.submit("public"), await acme.submit("kept-apart")]
        blob = f"/v1/blobs/{sha256(BLOB).hexdigest()}"
        put = await acme.http.put(url + blob, content=BLOB, headers={"Authorization": f"Bearer {acme.key}"})
        assert put.status_code == 201
        listed = (await told(tmp_path, "journals", "list"))["journals"]
        assert [(row["name"], row["open"]) for row in listed] == [("acme", True)]
        await node.kill()
    return [admin.key, acme.key, operator["key"]], done


async def _second_life(tmp_path: Path, http: httpx2.AsyncClient, keys: list[str], done: list[str]) -> Any:
    """Finds all where it was, looks at it from the command line, and is backed up while it runs."""
    async with serving(tmp_path, **QUIET) as node:
        admin, acme = await callers(node, http)
        assert [admin.key, acme.key] == keys[:2]
        assert (await acme.get(f"/v1/tasks/{done[1]}"))["description"] == "kept-apart"
        assert (await admin.ask("GET", f"/v1/tasks/{done[1]}")).status_code == 404
        assert (await acme.ask("GET", f"/v1/tasks/{done[0]}")).status_code == 404
        tail = (await told(tmp_path, "log", "tail", "--journal", "acme"))["records"]
        assert {record["tenant"] for record in tail} == {"acme"}
        assert (await told(tmp_path, "log", "replay", "--journal", "acme"))["equal"]
        exported = await told(tmp_path, "log", "export", "acme.msgpack", "--journal", "acme")
        assert exported["records"] == len(tail) + 1  # that it was asked for
        assert b"kept-apart" in (tmp_path / "acme.msgpack").read_bytes()
        copied = await told(tmp_path, "backup", "copy.db")
        ((size, _),) = await heads(admin)
        assert copied["positions"] == size - 1  # the last says that it was backed up
        (named,) = copied["journals"]
        assert [(named["positions"], named["root"])] == await heads(acme)
        assert (copied["whole"], named["whole"], copied["blobs"], named["blobs"]) == (True, True, 0, 1)
        assert await node.stop() == 0
    assert b"kept-apart" not in (tmp_path / "copy.db").read_bytes()
    return copied


async def _third_life(tmp_path: Path, http: httpx2.AsyncClient, keys: list[str], done: list[str], copied: Any) -> None:
    """A restored folder has the same heads, the same data, and is opened by the same keys."""
    folder, kept = tmp_path / "restored", DataFolder(tmp_path / "data")
    shared, own = str(kept.journal_key), str(kept.named("acme").journal_key)
    said = await run(["restore", "copy.db", "--key-file", shared, "--into", str(folder / "data")], tmp_path)
    assert (said.returncode, b"no --key-file holds the signing key of: acme" in said.stderr) == (2, True)
    assert not folder.exists()
    command = ["restore", "copy.db", "--key-file", shared, "--key-file", own]
    restored = await told(tmp_path, *command, "--into", str(folder / "data"))
    assert [restored["root"], restored["journals"][0]["root"]] == [copied["root"], copied["journals"][0]["root"]]
    again = await run([*command, "--into", str(folder / "data")], tmp_path)
    assert (again.returncode, b"is not empty" in again.stderr) == (2, True)
    for name, place in (("copy.db", folder / "data"), ("copy.db.journals/acme.db", folder / "data/journals/acme")):
        before, after = verify(tmp_path / name), verify(place / "journal.db")
        assert (before.root, before.positions, after.whole) == (after.root, after.positions, True)
    async with serving(folder, **QUIET) as node:
        url = await node.open()
        old_admin, old_acme, operator = (Caller(http, url, key) for key in keys)
        assert (await old_admin.get(f"/v1/tasks/{done[0]}"))["description"] == "public"
        for caller in (old_acme, operator):
            assert (await caller.get(f"/v1/tasks/{done[1]}"))["description"] == "kept-apart"
            assert (await caller.ask("GET", f"/v1/blobs/{sha256(BLOB).hexdigest()}")).content == BLOB
            assert (await caller.ask("GET", f"/v1/tasks/{done[0]}")).status_code == 404
        log = await old_acme.get("/v1/log")
        assert [record["kind"] for record in log["records"]][-1] == "key.KeyIssued"  # that of the new admin key file
        assert log["position"] == copied["journals"][0]["positions"] + 1
        await old_acme.submit("goes on")
        assert await node.stop() == 0
