"""Proofs over HTTP: of one record, and of two sizes of the log; nobody is shown another tenant's record."""

import base64

import pytest

from aggregates.key import IssueKey
from aggregates.values.roles import Role
from gateway.identity.auth import digest_of
from runtime.delivery import Context
from runtime.proofs import verify_consistency
from runtime.proving import check_proof
from tests.gateway.clients import Client


@pytest.fixture
async def auditor(admin: Client) -> Client:
    return await admin.with_role(Role.AUDITOR)


async def key_of(client: Client) -> str:
    key: str = (await client.get("/v1/audit/verify"))["key"]
    return key


async def test_a_record_is_proven_over_http_and_checked_elsewhere(auditor: Client, admin: Client) -> None:
    await admin.submit()
    last, key = admin.node.store.position, await key_of(auditor)
    for position in (1, last):
        told = await auditor.get(f"/v1/audit/proofs/{position}")
        proof, checkpoint = check_proof(told["proof"], key)
        assert (proof.position, checkpoint.size >= last) == (position, True)  # who audits leaves records, too
        assert (told["stream"], told["version"], told["kind"]) == (proof.stream, proof.version, proof.kind)
        assert (base64.b64decode(told["body"]), told["leaf"], told["path"]) == (proof.body, proof.leaf, proof.path)
        assert told["checkpoint"] in told["proof"]


async def test_two_sizes_are_linked_over_http(auditor: Client, admin: Client) -> None:
    old = admin.node.store.position
    note = (await auditor.ask("GET", "/v1/audit/checkpoint")).text
    await admin.submit()
    told = await auditor.get(f"/v1/audit/consistency?old={old}")
    roots = [bytes.fromhex(told[name]) for name in ("old_root", "new_root")]
    verify_consistency(told["old"], roots[0], told["new"], roots[1], [base64.b64decode(one) for one in told["path"]])
    assert base64.b64encode(roots[0]).decode() in note
    assert (told["old"], told["new"]) == (old, admin.node.store.position)


async def test_what_is_not_in_the_log_is_not_found(auditor: Client, admin: Client) -> None:
    beyond = admin.node.store.position + 10
    for path in (
        f"proofs/{beyond}",
        "proofs/0",
        "proofs/first",
        f"consistency?old=1&new={beyond}",
        "proofs/1?size=1000000",
    ):
        assert (await auditor.ask("GET", f"/v1/audit/{path}")).status_code == 404, path
    assert (await auditor.ask("GET", "/v1/audit/consistency")).status_code == 422


async def test_another_tenants_record_looks_like_none(auditor: Client, admin: Client) -> None:
    node = admin.node
    key_id = node.system.ids.new()
    token = node.tokens.token(key_id)
    issue = IssueKey(key_id=key_id, role=Role.AUDITOR, digest=digest_of(token), label="theirs")
    await node.system.ask(issue, Context(tenant="other", principal="test"))
    own, foreign = Client(node, admin.http, token), node.store.position - 1
    assert (await own.get(f"/v1/audit/proofs/{node.store.position}"))["kind"] == "key.KeyIssued"
    assert (await own.ask("GET", f"/v1/audit/proofs/{foreign}")).status_code == 404
    assert (await auditor.ask("GET", f"/v1/audit/proofs/{node.store.position}")).status_code == 200


async def test_only_who_audits_may(admin: Client) -> None:
    agent, enrolment = await admin.register("a1"), await admin.with_role(Role.AGENT)
    for path in ("/v1/audit/proofs/1", "/v1/audit/consistency?old=1"):
        for client in (agent, enrolment):
            assert (await client.ask("GET", path)).status_code == 403
        assert (await admin.http.get(admin.node.url + path)).status_code == 401
