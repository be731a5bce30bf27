"""Nodes that keep their checkpoints outside and have them cosigned, by another node and by files in a folder."""

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.cli import main
from gateway.node import Misconfigured
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.upkeep.witnesses import REQUEST
from runtime.cosignatures import Cosigner, WitnessKey
from runtime.evidence import Unreadable
from runtime.store.copies import copy_database
from runtime.transparency import Signer, read_note
from runtime.verification import verify
from tests.gateway.clients import Client, open_client, settings_of
from tests.runtime.sealed import ORIGIN, SIGNER, SIZE, lone, write


def witnessed(note: str | None, vkey: str) -> int:
    """When; raises NotSigned."""
    assert note is not None
    _, text, signatures = read_note(note)
    return WitnessKey(vkey).check(text, signatures)


async def vkey_of(admin: Client) -> str:
    key: str = (await admin.get("/v1/audit/verify"))["key"]
    return key


@pytest.fixture
def settings(tmp_path: Path) -> GavelSettings:
    return settings_of(tmp_path)


async def test_a_node_keeps_its_newest_checkpoint_outside_at_an_interval_and_at_its_stop(
    settings: GavelSettings,
) -> None:
    async with open_client(settings) as admin:
        keeper = admin.node.keeper
        await keeper.keep()
        assert keeper.outside.newest() == admin.node.store.checkpoint()
        await admin.submit()
        last = admin.node.store.position
        assert keeper.outside.sizes()[-1] < last
    assert keeper.outside.sizes()[-1] >= last
    assert keeper.outside.folder == DataFolder(settings.data).checkpoints


async def test_what_lies_where_a_checkpoint_belongs_is_not_taken_for_it(settings: GavelSettings) -> None:
    async with open_client(settings) as admin:
        keeper, store = admin.node.keeper, admin.node.store
        await keeper.keep()
        kept = keeper.outside.path(keeper.kept)
        for position in range(store.position + 1, store.position + 20):
            keeper.outside.path(position).write_bytes(kept.read_bytes())
        await admin.submit()
        await keeper.keep()
        assert keeper.outside.path(keeper.kept).read_text() == store.checkpoint()
        for position in range(keeper.kept + 1, keeper.kept + 20):
            keeper.outside.path(position).unlink(missing_ok=True)


async def test_a_journal_that_was_set_back_does_not_open(settings: GavelSettings, tmp_path: Path) -> None:
    journal = DataFolder(settings.data).journal
    async with open_client(settings) as admin:
        copy_database(journal, tmp_path / "older.db")
        await admin.submit()
    for path in settings.data.glob("journal.db*"):
        path.unlink()
    copy_database(tmp_path / "older.db", journal)
    with pytest.raises(Unreadable, match="does not hold the checkpoint"):
        async with open_client(settings):
            pass
    report = verify(journal)
    assert report.whole
    assert main(["audit", "verify", str(journal), "--against", str(DataFolder(settings.data).checkpoints)]) == 1


async def test_a_named_journal_has_its_own_checkpoints(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, checkpoints=tmp_path / "elsewhere")
    async with open_client(settings) as admin:
        await admin.ask("POST", "/v1/journals", {"name": "acme"})
    assert list((tmp_path / "elsewhere").glob("*.checkpoint"))
    assert list((tmp_path / "elsewhere" / "journals" / "acme").glob("*.checkpoint"))


# ---- another node as the witness


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Client, Client, str]]:
    """A node, and another one that cosigns for it, with the key that it cosigns under."""
    first = settings_of(tmp_path / "log")
    async with open_client(first) as admin:
        log_key = await vkey_of(admin)
    async with open_client(settings_of(tmp_path / "witness", witness_logs=(log_key,))) as witness:
        key = (await witness.get("/v1/witness"))["key"]
        settings = settings_of(tmp_path / "log", witnesses=(f"{key} {witness.node.url}/v1/witness",))
        async with open_client(settings) as admin:
            yield admin, witness, key


async def test_a_node_has_its_checkpoints_cosigned_by_another_one(pair: tuple[Client, Client, str]) -> None:
    admin, witness, key = pair
    for _ in range(2):
        await admin.submit()
        await admin.node.keeper.keep()
        note = admin.node.keeper.outside.newest()
        assert witnessed(note, key) > 0
        told = await witness.get("/v1/witness")
        assert [log["size"] for log in told["logs"]] == [admin.node.store.position]
    report = verify(DataFolder(admin.node.settings.data).journal, against=note, witnesses=[key])
    assert report.whole, report.faults
    assert any("were witnessed by" in text for text in report.holds)


async def test_a_third_party_is_shown_who_has_witnessed_a_proof(
    pair: tuple[Client, Client, str], tmp_path: Path, capsys: Any
) -> None:
    admin, _, key = pair
    journal, vkey = DataFolder(admin.node.settings.data), await vkey_of(admin)
    assert (await admin.ask("GET", "/v1/audit/proofs/1?witnessed=true")).status_code == 404
    await admin.node.keeper.keep()
    witnessed_size = admin.node.store.position
    await admin.submit()
    told = await admin.get("/v1/audit/proofs/1?witnessed=true")
    (tmp_path / "proof").write_text(told["proof"])
    check = ["audit", "check", str(tmp_path / "proof"), "--key", vkey, "--witness"]
    assert main([*check, key]) == 0
    assert f"proven: record 1 of the {witnessed_size}" in (printed := capsys.readouterr().out)
    assert "witnessed by gavel/witness/" in printed
    assert main([*check, Cosigner(Signer.make()).vkey]) == 1
    assert "is not cosigned by" in capsys.readouterr().out
    verified = [
        "audit",
        "verify",
        str(journal.journal),
        "--key",
        vkey,
        "--against",
        str(journal.checkpoints),
        "--witness",
    ]
    assert main([*verified, key]) == 0
    assert f"records 1 to {witnessed_size} were witnessed by gavel/witness/" in (printed := capsys.readouterr().out)
    assert f"has rewritten what came after the {witnessed_size} records that were witnessed" in printed
    assert main([*verified, Cosigner(Signer.make()).vkey]) == 1
    assert "no given checkpoint is cosigned by" in capsys.readouterr().out
    note = admin.node.keeper.outside.path(witnessed_size)
    assert (
        main(["audit", "prove", "1", str(journal.journal), "--against", str(note), "--out", str(tmp_path / "again")])
        == 0
    )
    assert (tmp_path / "again").read_text() == told["proof"]


async def test_a_witness_says_what_it_has_cosigned_to_anybody(pair: tuple[Client, Client, str]) -> None:
    admin, witness, key = pair
    await admin.node.keeper.keep()
    origin = admin.node.store.origin
    path = f"/v1/witness/{sha256(origin.encode()).hexdigest()}/checkpoint"
    answer = await witness.http.get(witness.node.url + path)
    assert (answer.status_code, witnessed(answer.text, key) > 0) == (200, True)
    for absent in ("0" * 64, "nonsense"):
        assert (await witness.http.get(f"{witness.node.url}/v1/witness/{absent}/checkpoint")).status_code == 404


async def post(witness: Client, text: str) -> httpx2.Response:
    return await witness.http.post(f"{witness.node.url}/v1/witness/add-checkpoint", content=text.encode())


async def test_the_door_of_a_witness_answers_as_the_protocol_says(pair: tuple[Client, Client, str]) -> None:
    admin, witness, _ = pair
    await admin.node.keeper.keep()
    note = admin.node.store.checkpoint()
    size = admin.node.store.position
    answer = await post(witness, f"old 0\n\n{note}")
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (409, f"{size}\n", "text/x.tlog.size")
    assert (await post(witness, f"old {size}\n\n{note}")).status_code == 200
    origin, signer = admin.node.store.origin, admin.node.store.signer
    assert (await post(witness, f"old {size}\n\n{signer.sign(origin, size, bytes(32))}")).status_code == 422
    assert (await post(witness, f"old {size}\n\n{Signer.make().sign(origin, size, bytes(32))}")).status_code == 403
    assert (await post(witness, f"old 0\n\n{signer.sign('gavel/other', size, bytes(32))}")).status_code == 404
    assert (await post(witness, "nonsense")).status_code == 400
    assert (
        await witness.http.post(f"{witness.node.url}/v1/witness/add-checkpoint", content=b"\xff")
    ).status_code == 400
    assert (await post(witness, "x" * 200_000)).status_code == 413
    assert (await post(admin, f"old 0\n\n{note}")).status_code == 404


async def test_a_node_that_was_set_back_is_told_by_its_witness(pair: tuple[Client, Client, str], capsys: Any) -> None:
    admin, _, _ = pair
    note = admin.node.store.checkpoint()
    assert note is not None
    await admin.submit()
    await admin.node.keeper.keep()
    (asked,) = admin.node.keeper.witnesses
    asked.seen = 0
    await admin.node.keeper._ask(asked, note)
    assert "it was set back" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"witnesses": ("nonsense",)}, {"witness_logs": ("nonsense",)}])
async def test_a_witness_that_is_none_is_named_at_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="GAVEL_WITNESS"):
        async with open_client(settings_of(tmp_path, **wrong)):
            pass


async def test_two_witnesses_cosign_the_same_checkpoint(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path / "log")) as admin:
        log_key = await vkey_of(admin)
    async with (
        open_client(settings_of(tmp_path / "one", witness_logs=(log_key,))) as one,
        open_client(settings_of(tmp_path / "other", witness_logs=(log_key,))) as other,
    ):
        named = {(await each.get("/v1/witness"))["key"]: each.node.url for each in (one, other)}
        asked = tuple(f"{key} {url}/v1/witness" for key, url in named.items())
        async with open_client(settings_of(tmp_path / "log", witnesses=asked)) as admin:
            await admin.submit()
            await admin.node.keeper.keep()
            note = admin.node.keeper.outside.newest()
            assert all(witnessed(note, key) > 0 for key in named)
        async with open_client(settings_of(tmp_path / "log")) as admin:
            await admin.node.keeper.keep()
            kept = admin.node.keeper.outside.path(read_note(str(note))[0].size).read_text()
            assert kept == note  # what was cosigned is never written over by what was not


# ---- by files


async def test_a_witness_cosigns_what_is_dropped_into_a_folder(tmp_path: Path, capsys: Any) -> None:
    drop, state = tmp_path / "drop", tmp_path / "state"
    drop.mkdir()
    async with open_client(settings_of(tmp_path)) as admin:
        log_key = await vkey_of(admin)

    def cosign() -> int:
        return main(["audit", "witness", "--log", str(drop), "--state", str(state), "--trust", log_key, "--json"])

    assert cosign() == 0
    key = json.loads(capsys.readouterr().out.splitlines()[-1])["key"]
    async with open_client(settings_of(tmp_path, witnesses=(f"{key} {drop}",))) as admin:
        keeper = admin.node.keeper
        for _ in range(2):
            await admin.submit()
            await keeper.keep()
            asked = admin.node.store.position
            assert len(list(drop.glob(f"*{REQUEST}"))) == 1
            assert cosign() == 0
            await admin.submit()
            await keeper.keep()
            assert witnessed(keeper.outside.path(asked).read_text(), key) > 0
            await keeper.keep()
            assert cosign() == 0
            await keeper.keep()


def test_a_witness_of_a_journals_file_refuses_one_that_was_set_back(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path / "journal.db")
    lone(tmp_path / "journal.db")
    write(tmp_path / "older.db", (3, 5))
    lone(tmp_path / "older.db")

    def cosign(name: str, *more: str) -> int:
        words = ["--log", str(tmp_path / name), "--state", str(tmp_path / "state"), "--trust", SIGNER.vkey(ORIGIN)]
        return main(["audit", "witness", *words, *more])

    note = tmp_path / "cosigned"
    assert cosign("journal.db", "--out", str(note)) == 0
    assert read_note(note.read_text())[0].size == SIZE
    assert cosign("journal.db") == 0
    assert cosign("older.db") == 1
    assert f"has seen {SIZE}" in capsys.readouterr().out
