"""One webhook's deliveries: in order, at least once, under the same id, whatever the endpoint does, and nothing that was erased."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aggregates.values.roles import Role
from gateway.outside import Answer
from gateway.routes.webhooks import WebhookMade
from gateway.webhooks import courier as couriers
from gateway.webhooks import messages
from gateway.webhooks.courier import Courier
from gateway.webhooks.messages import body_of, message_id
from tests.gateway.clients import Client, open_client, recorded, settings_of
from tests.gateway.receivers import Heard, Receiver, Says, open_receiver
from tests.gateway.test_subjects import SECRETS, found_in

SECRET = SECRETS["description"]
TASKS = {"kinds": ["task.TaskSubmitted"]}


@asynccontextmanager
async def open_admin(folder: Path, **changed: Any) -> AsyncIterator[Client]:
    """The admin of a node whose webhooks may go to loopback."""
    async with open_client(settings_of(folder, webhook_http=True, webhook_private=True, **changed)) as admin:
        yield admin


@pytest.fixture
async def hooked(tmp_path: Path) -> AsyncIterator[Client]:
    async with open_admin(tmp_path) as admin:
        yield admin


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(couriers, "RETRY_SECONDS_MIN", 0.01)


async def create(client: Client, receiver: Receiver, **body: Any) -> WebhookMade:
    answer = await client.ask("POST", "/v1/webhooks", {"url": receiver.url, **TASKS, **body})
    assert answer.status_code == 201, answer.text
    return msgspec.convert(answer.json(), WebhookMade)


async def courier_of(client: Client, made: WebhookMade) -> Courier:
    found = await client.node.webhooks.find("default", made.webhook_id)
    assert found is not None
    return found


async def settled(client: Client, made: WebhookMade) -> None:
    """A test message takes its turn: what was sent before has been answered, and counts."""
    answer = await client.ask("POST", f"/v1/webhooks/{made.webhook_id}/test")
    assert (answer.status_code, answer.json()["status"]) == (200, 204)


async def row_of(client: Client, made: WebhookMade) -> Any:
    return await client.get(f"/v1/webhooks/{made.webhook_id}")


async def test_what_is_wanted_is_told_in_order_signed_and_in_the_words_of_the_log(hooked: Client) -> None:
    async with open_receiver() as receiver:
        made = await create(hooked, receiver)
        names = [await hooked.submit() for _ in range(3)]
        heard = [await receiver.next() for _ in names]
        assert [one.verified(made.secret)["data"]["data"]["task_id"] for one in heard] == names
        assert {one.headers["content-type"] for one in heard} == {"application/json"}
        (told,) = (await hooked.get(f"/v1/log?stream=task-{names[0]}&limit=1"))["records"]
        said = heard[0].verified(made.secret)
        assert said["data"] == told
        assert (said["type"], said["withheld"], said["left_out"]) == ("task.TaskSubmitted", False, False)
        assert (receiver.connections, len({one.id for one in heard})) == (1, 3)


async def test_another_tenants_records_are_not_told(hooked: Client) -> None:
    stranger = await hooked.with_role(Role.ADMIN, tenant="other")
    async with open_receiver() as receiver:
        await create(hooked, receiver)
        await stranger.submit(capabilities=[])
        name = await hooked.submit()
        assert (await receiver.next_said())["data"]["data"]["task_id"] == name


async def test_what_fails_is_tried_again_in_its_turn_under_the_same_id(hooked: Client) -> None:
    answers = [Says(500), Says(0), Says(302, (("Location", "/elsewhere"),)), Says(429, (("Retry-After", "0"),)), Says()]

    async def answering(heard: Heard) -> Says:
        return answers.pop(0) if answers else Says()

    async with open_receiver(answering) as receiver:
        made = await create(hooked, receiver)
        await hooked.submit()
        await hooked.submit()
        heard = [await receiver.next() for _ in range(6)]
        assert [one.id for one in heard] == [heard[0].id] * 5 + [heard[5].id]
        assert heard[0].position < heard[5].position
        await recorded(hooked, "webhook.WebhookFailing")
        await settled(hooked, made)
        await (await courier_of(hooked, made)).note()
        row = await row_of(hooked, made)
        assert (row["delivered"], row["failed"], row["failing_since"]) == (2, 4, None)
        attempts = (await hooked.get(f"/v1/webhooks/{made.webhook_id}/deliveries"))["attempts"]
        assert [one["status"] for one in reversed(attempts)] == [500, None, 302, 429, 204, 204, 204]
        assert attempts[2]["number"] == 5
        assert "lost" in attempts[5]["error"]


@pytest.mark.parametrize("answer", [Says(410), Says(503)])
async def test_a_dead_endpoint_is_paused_on_record_and_goes_on_when_it_is_resumed(tmp_path: Path, answer: Says) -> None:
    answers = [answer]

    async def answering(heard: Heard) -> Says:
        return answers[0]

    dead = 0.0 if answer.status == 503 else 3600.0
    async with open_admin(tmp_path, webhook_dead_seconds=dead) as admin, open_receiver(answering) as receiver:
        made = await create(admin, receiver)
        name = await admin.submit()
        await recorded(admin, "webhook.WebhookPaused")
        row = await row_of(admin, made)
        assert (row["status"], str(answer.status) in row["reason"]) == ("paused", True)
        assert (await admin.get("/v1/status"))["webhooks"]["count_by_status"].keys() <= {"paused", "active"}
        before = len(receiver.heard)
        answers[0] = Says()
        await admin.submit()
        assert (await admin.ask("POST", f"/v1/webhooks/{made.webhook_id}/resume")).status_code == 200
        while len(receiver.heard) < before + 2:
            heard = await receiver.next()
        assert msgspec.json.decode(receiver.heard[before].body)["data"]["data"]["task_id"] == name
        assert heard.position == receiver.heard[-1].position


async def test_a_slow_endpoint_holds_up_nobody_but_itself_nor_the_nodes_end(tmp_path: Path) -> None:
    async def never(heard: Heard) -> Says:
        await trio.sleep_forever()
        raise AssertionError

    async with open_receiver(never) as slow, open_receiver() as fast:
        async with open_admin(tmp_path) as admin:
            await create(admin, slow)
            await create(admin, fast)
            for _ in range(5):
                await admin.submit()
            assert [(await fast.next()).position for _ in range(5)] == sorted(one.position for one in fast.heard)
            assert len(slow.heard) <= 1
            ended = trio.current_time()
        assert trio.current_time() - ended < 5


async def test_after_a_restart_it_goes_on_where_that_was_noted(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        async with open_admin(tmp_path) as admin:
            made = await create(admin, receiver)
            await admin.submit()
            await receiver.next()
            await settled(admin, made)
            assert (await receiver.next_said())["type"] == "webhook.test"
        async with open_admin(tmp_path) as admin:
            name = await admin.submit()
            said = await receiver.next_said()
            assert said["data"]["data"]["task_id"] == name
            assert len(receiver.heard) == 3


async def test_what_was_not_noted_before_a_crash_is_sent_again_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unnoted(courier: Courier) -> None:
        """As a node that is killed leaves it."""

    async with open_receiver() as receiver:
        with monkeypatch.context() as killed:
            killed.setattr(Courier, "note", unnoted)
            async with open_admin(tmp_path) as admin:
                await create(admin, receiver)
                for _ in range(3):
                    await admin.submit()
                first = [(await receiver.next()).id for _ in range(3)]
        async with open_admin(tmp_path):
            assert [(await receiver.next()).id for _ in range(3)] == first


async def test_of_an_erased_person_nothing_leaves_any_more(hooked: Client, tmp_path: Path) -> None:
    """One message waits for its next attempt, one is on its way: neither tells of the person once the erasure is answered."""
    under_way = trio.Event()

    async def answering(heard: Heard) -> Says:
        if SECRET in heard.body.decode():
            under_way.set()
            await trio.sleep_forever()
        return Says()

    person = {"data_subject": "p17", "description": SECRET, "payload": {"to": SECRET}}
    async with open_receiver(answering) as receiver:
        made = await create(hooked, receiver)
        for _ in range(2):
            await hooked.submit(**person)
        await under_way.wait()
        assert (await hooked.ask("DELETE", "/v1/subjects/p17?reason=asked")).status_code == 200
        told, again, second = [await receiver.next() for _ in range(3)]
        assert (again.id, second.position > told.position) == (told.id, True)
        for heard in (again, second):
            said = heard.verified(made.secret)
            assert (SECRET in str(said), said["withheld"]) == (False, True)
            assert (said["data"]["data"]["description"], said["data"]["data"]["payload"]) == ("", {})
        attempts = await hooked.get(f"/v1/webhooks/{made.webhook_id}/deliveries")
        assert SECRET not in str(attempts)
    assert found_in(tmp_path) == set()


async def test_a_record_that_is_too_long_goes_without_its_data(hooked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MESSAGE_BYTES_MAX", 2000)
    async with open_receiver() as receiver:
        await create(hooked, receiver)
        await hooked.submit(payload={"long": "x" * 3000})
        said = await receiver.next_said()
        assert (said["left_out"], said["data"]["data"], said["data"]["kind"]) == (True, None, "task.TaskSubmitted")


async def test_two_records_of_the_same_journal_never_share_an_id(hooked: Client) -> None:
    await hooked.submit()
    stored = hooked.node.store.read(0, 1000)
    assert len({message_id(record) for record in stored}) == len(stored)
    assert all("." not in message_id(record) and message_id(record).isascii() for record in stored)
    assert all(
        msgspec.json.decode(body_of(record, "shared"))["data"]["position"] == record.position for record in stored
    )


class Faulty:
    """An endpoint that fails by a script, then takes everything."""

    def __init__(self, script: list[int]) -> None:
        self.script = script
        self.taken: list[Heard] = []
        self.last: Heard | None = None

    async def __call__(self, heard: Heard) -> Says:
        status = self.script.pop(0) if self.script else 204
        if status == 204:
            self.taken.append(heard)
        return Says(status if status != 1 else 0)


SCRIPTS = st.lists(st.sampled_from([204, 204, 204, 500, 429, 1]), max_size=12)


@hypothesis_settings(max_examples=5, deadline=None)
@given(script=SCRIPTS, tasks=st.integers(1, 6))
def test_whatever_an_endpoint_does_it_takes_every_record_once_and_in_order(script: list[int], tasks: int) -> None:
    """At least once for who answers in vain; a message that was taken and answered is not sent again."""
    trio.run(_faulty, list(script), tasks)


async def _faulty(script: list[int], tasks: int) -> None:

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(couriers, "RETRY_SECONDS_MIN", 0.001)
        endpoint = Faulty(script)
        async with open_receiver(endpoint) as receiver, open_admin(Path(folder)) as admin:
            await create(admin, receiver)
            for _ in range(tasks):
                await admin.submit()
            while len(endpoint.taken) < tasks:
                await receiver.next()
            positions = [heard.position for heard in endpoint.taken]
            stored = admin.node.store.read(0, 1000)
            assert positions == [record.position for record in stored if record.kind == "task.TaskSubmitted"]


def test_the_pauses_grow_up_to_their_bound_and_heed_what_the_endpoint_asks_for() -> None:
    class Most:
        @staticmethod
        def uniform(least: float, most: float) -> float:
            return most

    courier: Any = Courier.__new__(Courier)
    courier._place = couriers.Place(*(None,) * 4, couriers.Terms(60.0, 1.0), Most())  # type: ignore[arg-type]
    pauses = [Courier._pause(courier, number, Answer(500), 0.0) for number in range(1, 40)]
    assert pauses[:4] == pytest.approx([0.01, 0.02, 0.04, 0.08])
    assert (pauses == sorted(pauses), pauses[-1]) == (True, 60.0)
    asked = [Courier._pause(courier, 1, Answer(429, "", text), 0.0) for text in ("5", "999999", "0")]
    assert asked == [5.0, 60.0, 0.01]
