"""Audits over HTTP: the live journal judged by its own key, by a key and by a checkpoint that the auditor kept."""

from typing import Any
from urllib.parse import urlencode

import pytest

from aggregates.values.roles import Role
from runtime.transparency import Signer, read_note, verify_note
from tests.gateway.clients import Client


@pytest.fixture
async def auditor(admin: Client) -> Client:
    return await admin.with_role(Role.AUDITOR)


async def verify(client: Client, **query: str) -> Any:
    return await client.get(f"/v1/audit/verify?{urlencode(query)}")


async def note_of(client: Client) -> str:
    answer = await client.ask("GET", "/v1/audit/checkpoint")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    return answer.text


async def test_a_whole_journal_is_found_whole_while_it_is_written(auditor: Client, admin: Client) -> None:
    for _ in range(3):
        await admin.submit()
        report = await verify(auditor)
        seen = admin.node.store.position - 1  # all but that it was verified
        assert (report["whole"], report["positions"], report["first_bad"]) == (True, seen, None)
    judged = admin.node.store.judge()
    checkpoint = verify_note(await note_of(auditor), judged.key)
    assert (checkpoint.size, checkpoint.root.hex()) == (judged.positions, judged.root)


async def test_a_kept_key_and_a_kept_checkpoint_are_compared(auditor: Client, admin: Client) -> None:
    key, note = (await verify(auditor))["key"], await note_of(auditor)
    await admin.submit()
    report = await verify(auditor, key=key, against=note)
    assert (report["whole"], report["against"]) == (True, read_note(note)[0].size)
    assert not any("set back to an earlier" in doubt and "--against" in doubt for doubt in report["not_excluded"])


async def test_another_key_and_another_history_are_found(auditor: Client) -> None:
    checkpoint = read_note(await note_of(auditor))[0]
    other = Signer.make()
    report = await verify(auditor, key=other.vkey(checkpoint.origin))
    assert (report["whole"], report["faults"] != []) == (False, True)
    forged = admin_note(auditor, checkpoint.size, bytes(32))
    report = await verify(auditor, against=forged)
    assert (report["whole"], report["faults"] != []) == (False, True)
    longer = admin_note(auditor, checkpoint.size + 5, checkpoint.root)
    assert (await verify(auditor, against=longer))["whole"] is False


def admin_note(client: Client, size: int, root: bytes) -> str:
    """What the node's own key would have signed in another history."""
    store = client.node.store
    return store.signer.sign(store.origin, size, root)


async def test_what_is_no_key_and_no_checkpoint_is_refused(auditor: Client) -> None:
    for query in ({"key": "nonsense"}, {"key": ""}, {"against": "nonsense"}, {"against": ""}, {"key": "x" * 300}):
        answer = await auditor.ask("GET", f"/v1/audit/verify?{urlencode(query)}")
        assert (answer.status_code, answer.json()["status"]) == (422, 422), query
        assert answer.json()["detail"]


async def test_only_who_audits_may(admin: Client) -> None:
    agent, enrolment = await admin.register("a1"), await admin.with_role(Role.AGENT)
    for path in ("/v1/audit/verify", "/v1/audit/checkpoint"):
        for client in (agent, enrolment):
            assert (await client.ask("GET", path)).status_code == 403
        assert (await admin.http.get(admin.node.url + path)).status_code == 401
        assert (await (await admin.with_role(Role.OPERATOR)).ask("GET", path)).status_code == 200
