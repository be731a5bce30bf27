"""A node that is killed while it delivers: all that was acknowledged arrives, in order, and what comes twice comes under the same id."""

import random
from pathlib import Path
from typing import Any

import httpx2
import trio

from tests.gateway.receivers import Heard, Receiver, Says, open_receiver
from tests.stories.nodes import Served, serving

GUARD_SECONDS = 120  # no assertion about speed: only that the test ends
LIVES = 2
TASKS = 130
"""In each life that is killed: how far the webhook is was noted by then (every 100 messages), or was not."""
OPEN = {"webhook_http": "true", "webhook_private": "true"}


class Endpoint:
    """Takes what comes, until it has taken so many: from then on it hears, and does not answer."""

    def __init__(self) -> None:
        self.left = 0
        self.silent = trio.Event()
        self.taken: set[str] = set()

    def begin(self, left: int) -> None:
        self.left, self.silent = left, trio.Event()

    async def answer(self, heard: Heard) -> Says:
        if self.left <= 0:
            self.silent.set()
            await trio.sleep_forever()
        self.left -= 1
        self.taken.add(heard.id)
        return Says()


async def ask(node: Served, http: httpx2.AsyncClient, path: str, body: Any, key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {node.admin_key()}"} | ({"Idempotency-Key": key} if key else {})
    answer = await http.post(node.url + path, json=body, headers=headers)
    assert answer.status_code < 300, answer.text
    return answer.json()


async def submit(node: Served, http: httpx2.AsyncClient, key: str) -> list[str]:
    """The ids of the tasks of a batch, which is asked for under this key."""
    parts = [{"method": "POST", "path": "/v1/tasks", "body": {"task_type": "analysis"}}] * TASKS
    results = (await ask(node, http, "/v1/batch", {"requests": parts}, key))["results"]
    return [result["body"]["task_id"] for result in results]


async def live(
    folder: Path, endpoint: Endpoint, receiver: Receiver, life: int, taken: int, secret: str
) -> tuple[str, list[str]]:
    """One life, killed while a message is under way; the webhook's secret, and what was acknowledged."""
    endpoint.begin(taken)
    async with serving(folder, **OPEN) as node, httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
        await node.open()
        if not secret:
            wanted = {"url": receiver.url, "kinds": ["task.TaskSubmitted"]}
            secret = (await ask(node, http, "/v1/webhooks", wanted))["secret"]
        names = await submit(node, http, f"life-{life}")
        await endpoint.silent.wait()
        await node.kill()
    return secret, names


async def test_whatever_is_killed_on_its_way_arrives_and_twice_only_under_the_same_id(
    tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    chance, endpoint = random.Random(seed), Endpoint()
    secret, acknowledged, starts = "", list[str](), list[int]()
    with trio.fail_after(GUARD_SECONDS):
        async with open_receiver(endpoint.answer) as receiver:
            for life in range(LIVES - 1):
                starts.append(len(receiver.heard))
                secret, names = await live(tmp_path, endpoint, receiver, life, chance.randrange(1, TASKS), secret)
                acknowledged += names
            starts.append(len(receiver.heard))
            endpoint.begin(10 * TASKS)
            async with serving(tmp_path, **OPEN) as node, httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
                await node.open()
                last = await submit(node, http, f"life-{LIVES - 2}")  # again, and answered as before
                assert last == acknowledged[-TASKS:]
                while len(endpoint.taken) < len(acknowledged):
                    await receiver.next()
                    await trio.lowlevel.checkpoint()
                assert await node.stop() == 0, node.said
            heard = receiver.heard
    said = {one.id: one.verified(secret)["data"] for one in heard}
    assert sorted(line["data"]["task_id"] for line in said.values()) == sorted(acknowledged)
    assert all(one.verified(secret)["data"] == said[one.id] for one in heard)  # the same record each time
    assert len(heard) > len(said)  # what was heard and not answered came again
    whole = sorted({one.position for one in heard})
    for start, end in zip(starts, [*starts[1:], len(heard)], strict=True):
        positions = [one.position for one in heard[start:end]]
        first = whole.index(positions[0])
        assert positions == whole[first : first + len(positions)]  # in order, none left out
        before = max((one.position for one in heard[:start]), default=whole[0])
        assert positions[0] <= before
