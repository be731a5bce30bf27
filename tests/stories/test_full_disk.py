"""A node whose disk is full refuses clearly, lives, records nothing by halves, and takes commands again once there is room."""

import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
import trio

from gateway.api.calls import IDEMPOTENCY_HEADER, POSITION_HEADER
from runtime.verification import verify
from tests.stories.ledger import check_replay, compare, gather, read_log
from tests.stories.nodes import Served, serving
from tests.stories.traffic import DONE, SKILL, Agent, Asked, Door, Told, Traffic, ask_again

GUARD_SECONDS = 120
DISK_BYTES = 8 * 2**20
LEFT_BYTES = 100_000
"""The room that is left: enough for a few commands, too little for many."""
WAVES_MAX = 50
IN_A_DISK = 'mount -t tmpfs -o size={bytes} tmpfs "$0" && exec "$@"'
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_A_DISK.format(bytes=DISK_BYTES))


@contextmanager
def short_of_files(node: Served) -> Iterator[None]:
    """No file of the node may grow any more: the journal by LEFT_BYTES, others that are longer already not at all."""
    limits = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in node.folder.path.glob("journal.db*"))
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (size + LEFT_BYTES, limits[1]))
    yield
    if node.process.returncode is None:
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def short_of_disk(node: Served, left_bytes: int = LEFT_BYTES) -> Iterator[None]:
    """Somebody else has taken the disk but for so many bytes."""
    filler = node.folder.path / "filler"
    with filler.open("wb", buffering=0) as file:
        with suppress(OSError):
            while True:
                file.write(bytes(2**16))
        file.truncate(file.tell() - left_bytes)
    yield
    filler.unlink()


@asynccontextmanager
async def open_door(node: Served, traffic: Traffic) -> AsyncIterator[Door]:
    async with httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
        door = Door(await node.open(), http, traffic)
        traffic.admin = node.admin_key()
        yield door


def submission(traffic: Traffic, number: int) -> Asked:
    payload = {"number": number, "bytes": traffic.chance.randbytes(4000).hex()}
    body = {"task_type": "analysis", "capabilities": [SKILL], "payload": payload}
    return Asked("task.TaskSubmitted", body, traffic.admin, "POST", "/v1/tasks", body, f"submit-{number}")


def key(traffic: Traffic, number: int) -> Asked:
    body = {"role": "operator", "label": f"key {number}"}
    return Asked("key.KeyIssued", body, traffic.admin, "POST", "/v1/keys", body, f"key-{number}")


async def attempt(door: Door, asked: Asked) -> bool:
    """Whether there was room for it; where there was none, the refusal has to say so, and it is asked again later."""
    headers = {IDEMPOTENCY_HEADER: asked.key}
    answer = await door.send(asked.method, asked.path, asked.token, asked.body, headers)
    if answer.status_code in DONE:
        door.traffic.note(Told(asked, answer.status_code, answer.json(), int(answer.headers[POSITION_HEADER])))
        return True
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert "could not commit: " in answer.json()["detail"]
    door.traffic.unanswered[asked.key] = asked
    return False


async def fill(door: Door) -> None:
    """Asks for more of several kinds, until ten at once are all refused: what is small may still fit where more did not."""
    for _ in range(WAVES_MAX):
        if not any(await wave(door)):
            return
    raise AssertionError("there is always room")


async def wave(door: Door) -> list[bool]:
    """Ten commands at once: which of them were taken."""
    taken: list[bool] = []

    async def ask(asked: Asked) -> None:
        taken.append(await attempt(door, asked))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask, submission(door.traffic, next(door.traffic.submitted)))
            nursery.start_soon(ask, key(door.traffic, next(door.traffic.submitted)))
    return taken


async def check_it_lives(door: Door) -> None:
    """It answers whoever watches and reads, says what is wrong, and has recorded nothing of what it has refused."""
    assert (await door.send("GET", "/livez", "")).status_code == 200
    ready = await door.send("GET", "/readyz", "")
    assert ready.status_code == 503
    assert "the journal could not commit: " in ready.json()["detail"]
    status = (await door.send("GET", "/v1/status", door.traffic.admin)).json()
    assert (status["ready"], status["commit_failures"] > 0) == (False, True), status
    lines = await read_log(door)
    assert lines
    for asked in door.traffic.unanswered.values():
        halves = [line for line in lines if all(line["data"].get(name) == value for name, value in asked.says.items())]
        assert halves == [], asked
    content = door.traffic.chance.randbytes(2 * LEFT_BYTES + DISK_BYTES)
    path = f"/v1/blobs/{sha256(content).hexdigest()}"
    assert (await door.send("PUT", path, door.traffic.admin, content)).status_code == 507
    assert (await door.send("GET", path, door.traffic.admin)).status_code == 404


async def go_on(door: Door, told: int) -> None:
    """What was refused is taken when it is asked again, and everybody can read it."""
    refused = len(door.traffic.unanswered)
    assert refused >= 10
    await ask_again(door, [])
    assert len(door.traffic.told) == told + refused
    name = door.traffic.told[-1].reply
    assert (await door.send("GET", "/v1/tasks", door.traffic.admin)).status_code == 200, name
    ready = await door.send("GET", "/readyz", "")
    assert ready.status_code == 200, ready.text


@asynccontextmanager
async def limited(folder: Path) -> AsyncIterator[Served]:
    async with serving(folder) as node:
        yield node


@asynccontextmanager
async def on_a_small_disk(folder: Path) -> AsyncIterator[Served]:
    tried = await trio.run_process([*UNSHARE, str(folder), "true"], capture_stderr=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr.decode().strip()}")
    async with serving(folder, *UNSHARE, str(folder), inside="/proc/{pid}/root", disk_free_bytes_min=0) as node:
        yield node


WORLDS: dict[str, tuple[Any, Callable[[Served], Any]]] = {
    "limit": (limited, short_of_files),
    "disk": (on_a_small_disk, short_of_disk),
}


@pytest.mark.rotate(keep=1)
@pytest.mark.parametrize("world", WORLDS)
async def test_a_full_disk_loses_nothing_and_takes_commands_again_when_there_is_room(
    tmp_path: Path, world: str
) -> None:
    traffic = Traffic(Random(1))
    open_world, short = WORLDS[world]
    with trio.fail_after(GUARD_SECONDS):
        async with open_world(tmp_path) as node, open_door(node, traffic) as door:
            await Agent("ann", speaks_http=True).register(door)
            assert await attempt(door, submission(traffic, next(traffic.submitted)))
            with short(node):
                await fill(door)
                await check_it_lives(door)
                told = len(traffic.told)
            await go_on(door, told)
            evidence = await gather(door)
            copy = tmp_path / "copy.db"
            with node.folder.journal.open("rb") as journal:  # a small disk is gone with its node, but for open files
                assert await node.stop() == 0, node.said
                copy.write_bytes(journal.read())
        compare(traffic, evidence, copy)
        assert verify(copy).whole


@pytest.mark.rotate(keep=1)
@pytest.mark.parametrize("ending", ["stopped", "killed"])
async def test_a_node_that_ends_on_a_full_disk_has_kept_what_it_acknowledged(tmp_path: Path, ending: str) -> None:
    traffic = Traffic(Random(2))
    with trio.fail_after(GUARD_SECONDS):
        async with serving(tmp_path) as node, open_door(node, traffic) as door:
            await Agent("ann", speaks_http=True).register(door)
            with short_of_files(node):
                await fill(door)
                if ending == "stopped":
                    assert await node.stop() == 0, node.said
                else:
                    await node.kill()
        assert verify(tmp_path / "data" / "journal.db").whole
        async with serving(tmp_path) as node, open_door(node, traffic) as door:
            await go_on(door, len(traffic.told))
            evidence = await gather(door)
            assert await node.stop() == 0, node.said
        compare(traffic, evidence, tmp_path / "data" / "journal.db")
        await check_replay(tmp_path)
