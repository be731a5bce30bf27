"""A person's data: encrypted wherever it is written, given out whole, and gone from every file once it is erased."""

from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import trio

from aggregates.subject import EraseSubject
from aggregates.values.roles import Role
from gateway import cli
from gateway.storage.folder import DataFolder, FolderUnusable
from runtime.delivery import Context
from tests.gateway.clients import AgentClient, Client, open_client, recorded, settings_of
from tests.gateway.test_tasks import opened

pytestmark = pytest.mark.usefixtures("logs_as_they_were")

PERSON = "p17"
SECRETS = {
    name: f"Quellmalz-{name}-{number}"
    for number, name in enumerate(
        ("description", "payload", "result", "reason", "name", "about", "label", "refusal"), 7741
    )
}
"""What nobody may find any more, by the field that it is planted in."""


async def plant(admin: Client, person: str = PERSON) -> tuple[str, str]:
    """A life in which everything that can be personal is: a task that is done, one that is cancelled, an agent, a key."""
    ann = await admin.register("ann", name=SECRETS["name"], description=SECRETS["about"], data_subject=person)
    await admin.ask("POST", "/v1/keys", {"role": "auditor", "label": SECRETS["label"], "data_subject": person})
    task: dict[str, Any] = {
        "description": SECRETS["description"],
        "payload": {"to": [SECRETS["payload"]]},
        "data_subject": person,
    }
    done = await do(admin, ann, **task)
    refused = await admin.submit(**task)
    await opened(admin, refused)
    answer = await ann.ask("POST", f"/v1/tasks/{refused}/refusals", {"reason": SECRETS["refusal"]})
    assert answer.status_code == 201, answer.text
    answer = await admin.ask(
        "DELETE", f"/v1/tasks/{refused}?reason={SECRETS['reason']}", Idempotency_Key=f"cancel-{person}"
    )
    assert answer.status_code == 200, answer.text
    await admin.node.projector.wait_for(admin.node.system.journal.position)
    return done, refused


async def do(admin: Client, agent: AgentClient, **changed: Any) -> str:
    task_id = await admin.submit(bidding_seconds=0.2, **changed)
    await finish(admin, agent, task_id)
    return task_id


async def finish(admin: Client, agent: AgentClient, task_id: str) -> None:
    bid, journal = {"price": 1.0, "eta_seconds": 5.0}, admin.node.system.journal
    position = journal.position
    while (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", bid)).status_code != 201:
        position = await journal.wait_past(position)  # the book is not open yet, or not any more
    await recorded(admin, "task.TaskAwarded")
    body = {"status": "completed", "token": 1, "result": {"said": SECRETS["result"]}}
    answer = await agent.ask("PUT", f"/v1/tasks/{task_id}/status", body)
    assert answer.status_code == 200, answer.text


def found_in(folder: Path) -> set[str]:
    """Which secrets stand in which files; a database server that runs may take files away while they are looked through."""
    found = set[str]()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            found |= {
                f"{name} in {path.relative_to(folder)}"
                for name, secret in SECRETS.items()
                if secret.encode() in content
            }
    return found


async def erase(admin: Client, person: str = PERSON) -> Any:
    answer = await admin.ask("DELETE", f"/v1/subjects/{person}?reason=asked")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def run(tmp_path: Path, *words: str) -> int:
    return await trio.to_thread.run_sync(partial(cli.main, [*words, "--data", str(tmp_path / "data")]))


async def test_personal_data_is_read_by_those_who_may_and_stands_in_no_journal(admin: Client, tmp_path: Path) -> None:
    done, refused = await plant(admin)
    task = await admin.get(f"/v1/tasks/{done}")
    assert (task["description"], task["result"]) == (SECRETS["description"], {"said": SECRETS["result"]})
    assert (await admin.get(f"/v1/tasks/{refused}"))["reason"] == SECRETS["reason"]
    assert (await admin.get("/v1/agents/ann"))["name"] == SECRETS["name"]
    records = (await admin.get("/v1/log?limit=500&commands=true"))["records"]
    assert all(secret in str(records) for secret in SECRETS.values())
    assert {found.partition(" in ")[2].removesuffix("-wal") for found in found_in(tmp_path)} == {"data/read.db"}


async def test_after_an_erasure_no_file_holds_a_trace_and_every_proof_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        done, refused = await plant(admin)
        position = admin.node.system.journal.position
        await admin.get(f"/v1/tasks/{done}?as_of={position}")
        await admin.submit(description="of another", data_subject="p18")
        kept = (await admin.ask("GET", "/v1/audit/checkpoint")).text
        assert await run(tmp_path, "backup", str(tmp_path / "backup.db")) == 0
        assert await erase(admin) == {"data_subject": PERSON, "keys": 1}
        assert found_in(tmp_path) == set()
        for task_id in (done, refused):
            task = await admin.get(f"/v1/tasks/{task_id}")
            assert (task["description"], task["payload"], task["reason"]) == ("", {}, "erased")
        assert (await admin.get(f"/v1/tasks/{done}?as_of={position}"))["description"] == ""
        records = (await admin.get("/v1/log?limit=500&commands=true"))["records"]
        assert not any(secret in str(records) for secret in SECRETS.values())
        verdict = await admin.get("/v1/audit/verify")
        assert (verdict["whole"], verdict["positions"] > position) == (True, True)
        assert (await admin.get(f"/v1/audit/verify?against={quote(kept)}"))["whole"]
    assert found_in(tmp_path) == set()
    assert await run(tmp_path, "log", "replay") == 0
    assert await run(tmp_path, "log", "check") == 0
    out = capsys.readouterr()
    assert not any(secret in out.out + out.err for secret in SECRETS.values())
    async with open_client(settings_of(tmp_path)) as admin:
        assert (await admin.get(f"/v1/tasks/{done}"))["description"] == ""


async def test_an_erasure_that_was_cut_short_is_carried_through_before_the_door_opens(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        done, _ = await plant(admin)
        (key,) = admin.node.keyring.ids_of(("default", PERSON))
        erasing = EraseSubject(data_subject=PERSON, keys=(key.hex(),), reason="asked")
        await admin.node.system.ask(erasing, Context(tenant="default", principal="test"))
        assert (await admin.get(f"/v1/tasks/{done}"))["description"] == ""
        assert admin.node.keyring.find(key) is not None
    async with open_client(settings_of(tmp_path)) as admin:
        assert admin.node.keyring.find(key) is None
        assert found_in(tmp_path) == set()
        assert admin.node.keyring.done() == {admin.node.system.journal.position}


async def test_keys_that_come_back_are_destroyed_again_before_the_door_opens(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    async with open_client(settings_of(tmp_path)) as admin:
        done, _ = await plant(admin)
        admin.node.keyring.copy(tmp_path / "keys-of-yesterday")
        await erase(admin)
    (tmp_path / "keys-of-yesterday").replace(folder.keyring)
    async with open_client(settings_of(tmp_path)) as admin:
        assert admin.node.keyring.ids_of(("default", PERSON)) == []
        assert (await admin.get(f"/v1/tasks/{done}"))["description"] == ""


async def test_who_are_erased_meanwhile_are_carried_through_together(
    admin: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    people = [f"p{number}" for number in range(8)]
    tasks = [await admin.submit(description=SECRETS["description"], data_subject=person) for person in people]
    purge, purges = admin.node.projector.purge, list[int]()

    async def counted() -> None:
        purges.append(admin.node.system.journal.position)
        await purge()

    monkeypatch.setattr(admin.node.projector, "purge", counted)
    async with trio.open_nursery() as nursery:
        async with admin.node.carrying_through:
            for person in people:
                nursery.start_soon(erase, admin, person)
            for person in people:
                await recorded(admin, "subject.SubjectErased", f"subject-default:{person}")
    assert (len(purges), admin.node.erasures) == (1, 0)
    assert found_in(tmp_path) == set()
    assert {(await admin.get(f"/v1/tasks/{task_id}"))["description"] for task_id in tasks} == {""}


async def test_others_keep_their_data_and_whoever_comes_back_is_a_new_person(admin: Client) -> None:
    (erased, _), kept = await plant(admin), await admin.submit(description="of another", data_subject="p18")
    await erase(admin)
    again = await admin.submit(description="back again", data_subject=PERSON)
    assert [(await admin.get(f"/v1/tasks/{name}"))["description"] for name in (erased, kept, again)] == [
        "",
        "of another",
        "back again",
    ]
    assert (await erase(admin))["keys"] == 1
    assert (await erase(admin))["keys"] == 0
    rows = (await admin.get("/v1/subjects"))["subjects"]
    assert [row["data_subject"] for row in rows] == [PERSON, "p18"]


async def test_an_erased_persons_open_task_is_still_done_and_its_agent_still_works(admin: Client) -> None:
    ann = await admin.register("ann", name=SECRETS["name"], data_subject=PERSON)
    task_id = await admin.submit(bidding_seconds=0.5, payload={"to": SECRETS["payload"]}, data_subject=PERSON)
    await opened(admin, task_id)
    await erase(admin)
    await finish(admin, ann, task_id)
    task = await admin.get(f"/v1/tasks/{task_id}")
    assert (task["stage"], task["payload"], task["result"]) == ("completed", {}, {"said": SECRETS["result"]})
    assert (await ann.ask("PATCH", "/v1/agents/ann", {"price": 3.0})).status_code == 200


async def test_a_person_gets_all_that_is_recorded_page_by_page(admin: Client, tmp_path: Path) -> None:
    await plant(admin)
    whole = await admin.get(f"/v1/subjects/{PERSON}?limit=500")
    assert all(secret in str(whole) for secret in SECRETS.values())
    paged: list[Any] = []
    after: int | None = 0
    while after is not None:
        page = await admin.get(f"/v1/subjects/{PERSON}?limit=3&after={after}")
        paged, after = paged + page["records"], page["next"]
    assert paged == whole["records"]
    await erase(admin)
    empty = await admin.get(f"/v1/subjects/{PERSON}?limit=500")
    assert len(empty["records"]) == len(paged) + 1
    assert all(one["withheld"] for one in empty["records"][:-1])
    assert not any(secret in str(empty) for secret in SECRETS.values())


async def test_a_repeat_of_a_request_that_told_of_an_erased_person_is_refused_not_compared(admin: Client) -> None:
    _, refused = await plant(admin)
    path = f"/v1/tasks/{refused}?reason={SECRETS['reason']}"
    assert (await admin.ask("DELETE", path, Idempotency_Key=f"cancel-{PERSON}")).status_code == 200
    await erase(admin)
    again = await admin.ask("DELETE", path, Idempotency_Key=f"cancel-{PERSON}")
    assert (again.status_code, again.json()["type"]) == (410, "urn:gavel:problem:request_erased")
    guess = sha256(SECRETS["reason"].encode()).digest()
    assert guess not in admin.node.folder.journal.read_bytes()


@pytest.mark.parametrize(("person", "status"), [("p99", 404), ("-not-an-id", 422), ("a" * 101, 422)])
async def test_who_is_not_known_can_not_be_erased(admin: Client, person: str, status: int) -> None:
    assert (await admin.ask("DELETE", f"/v1/subjects/{person}?reason=x")).status_code == status


async def test_only_admins_give_out_or_erase_what_is_personal_and_of_their_tenant(admin: Client) -> None:
    await plant(admin)
    for role in (Role.OPERATOR, Role.AUDITOR, Role.AGENT):
        other = await admin.with_role(role)
        for method in ("GET", "DELETE"):
            assert (await other.ask(method, f"/v1/subjects/{PERSON}")).status_code == 403
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    assert (await stranger.get(f"/v1/subjects/{PERSON}"))["records"] == []
    assert (await stranger.ask("DELETE", f"/v1/subjects/{PERSON}")).status_code == 404
    assert (await stranger.get("/v1/subjects"))["subjects"] == []


async def test_an_isolated_tenants_persons_stand_under_keys_of_its_own(admin: Client, tmp_path: Path) -> None:
    key = (await admin.ask("POST", "/v1/journals", {"name": "acme"})).json()["key"]
    acme = Client(admin.node, admin.http, key)
    task_id = await acme.submit(description=SECRETS["description"], data_subject=PERSON)
    assert (tmp_path / "data" / "journals" / "acme" / "keyring.db").is_file()
    assert admin.node.keyring.ids_of(("acme", PERSON)) == []
    assert (await erase(acme))["keys"] == 1
    assert (await acme.get(f"/v1/tasks/{task_id}"))["description"] == ""
    assert found_in(tmp_path) == set()


async def test_with_encryption_at_rest_nothing_that_was_recorded_or_answered_can_be_read_in_the_files(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, encrypt_at_rest=True)
    async with open_client(settings) as admin:
        task_id = await admin.submit(description="a plain word: marmalade")
        await admin.ask("POST", "/v1/tasks", {"task_type": "analysis"}, Idempotency_Key="marmalade-key")
        assert (await admin.get(f"/v1/tasks/{task_id}"))["description"] == "a plain word: marmalade"
        journal = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("journal.db*"))
        assert b"plain word" not in journal
        assert b"SubmitTask" not in journal
        assert (await admin.get("/v1/audit/verify"))["whole"]
    async with open_client(settings_of(tmp_path)) as admin:
        assert (await admin.get(f"/v1/tasks/{task_id}"))["description"] == "a plain word: marmalade"
        other = await admin.submit(description="in the clear")
        state = await admin.get(f"/v1/log/state?stream=task-{other}")
        assert state["state"]["stage"] in ("submitted", "bidding")


async def test_a_node_does_not_start_under_another_master_key_and_says_so(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)):
        pass
    with pytest.raises(FolderUnusable, match="wrapped by another master key than that of GAVEL_MASTER_KEY"):
        async with open_client(settings_of(tmp_path, master_key="ab" * 32)):
            pass


async def test_a_new_master_key_wraps_all_keys_and_no_record_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        done, _ = await plant(admin)
        note = (await admin.ask("GET", "/v1/audit/checkpoint")).text
        assert await run(tmp_path, "subject", "rewrap") == 2
    monkeypatch.setenv("GAVEL_NEW_MASTER_KEY", "cd" * 32)
    assert await run(tmp_path, "subject", "rewrap") == 0
    async with open_client(settings_of(tmp_path, master_key="cd" * 32)) as admin:
        assert (await admin.get(f"/v1/tasks/{done}"))["description"] == SECRETS["description"]
        records = (await admin.get("/v1/log?limit=500"))["records"]
        labels = [record["data"]["label"] for record in records if record["kind"] == "key.KeyIssued"]
        assert SECRETS["label"] in labels
        report = await admin.get(f"/v1/audit/verify?{urlencode({'against': note})}")
        assert (report["whole"], report["against"]) == (True, int(note.splitlines()[1]))


async def test_a_backup_from_before_an_erasure_does_not_bring_the_person_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, backup = DataFolder(tmp_path / "data"), str(tmp_path / "backup.db")
    async with open_client(settings_of(tmp_path)) as admin:
        (done, _), kept = await plant(admin), await admin.submit(description="of another", data_subject="p18")
        assert await run(tmp_path, "backup", backup) == 0
        await erase(admin)
    shown: dict[str, list[str]] = {}
    with_keys = ["--key-file", str(folder.journal_key), "--master-key-file", str(folder.master_key)]
    for name, words in {
        "erased": [*with_keys, "--erasures", str(folder.erasures)],
        "older": with_keys,
        "without": [*with_keys[:2], "--without-keys"],
    }.items():
        assert await run(tmp_path, "restore", backup, "--into", str(tmp_path / name / "data"), *words) == 0
        async with open_client(settings_of(tmp_path / name)) as admin:
            shown[name] = [(await admin.get(f"/v1/tasks/{task_id}"))["description"] for task_id in (done, kept)]
    assert shown == {"erased": ["", "of another"], "older": [SECRETS["description"], "of another"], "without": ["", ""]}
    assert "who was erased after this backup was made can be read again" in capsys.readouterr().err
    assert await run(tmp_path, "restore", backup, "--into", str(tmp_path / "no"), *with_keys[:2]) == 2
    assert "give --master-key-file" in capsys.readouterr().err


async def test_a_blob_of_a_person_is_given_out_until_the_person_is_erased(admin: Client, tmp_path: Path) -> None:
    content = SECRETS["payload"].encode() * 1000
    digest = sha256(content).hexdigest()
    answer = await admin.http.put(
        f"{admin.node.url}/v1/blobs/{digest}?data_subject={PERSON}",
        content=content,
        headers={"Authorization": f"Bearer {admin.key}"},
    )
    assert answer.status_code == 201, answer.text
    assert (await admin.ask("GET", f"/v1/blobs/{digest}")).content == content
    assert (await admin.get(f"/v1/subjects/{PERSON}"))["blobs"] == [{"digest": digest, "bytes": len(content)}]
    assert found_in(tmp_path) == set()
    assert (await erase(admin))["keys"] == 1
    assert (await admin.ask("GET", f"/v1/blobs/{digest}")).status_code == 404
