"""`gavel users`: people come and go by the command line; no password stands in its arguments or in what it prints."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import trio

from gateway import cli
from tests.gateway.clients import open_client, settings_of

PASSWORD = "correct horse battery"


async def test_people_are_registered_sent_away_and_let_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAVEL_DATA", str(tmp_path / "data"))

    async def run(*words: str, said: str = "") -> tuple[int, Any]:
        monkeypatch.setattr("sys.stdin", io.StringIO(said))
        code = await trio.to_thread.run_sync(cli.main, ["users", *words, "--json"])
        printed = capsys.readouterr()
        told = [line for line in printed.out.splitlines() if line.startswith("{")]
        assert PASSWORD not in printed.out + printed.err
        return code, json.loads(told[-1]) if told else printed.err

    async with open_client(settings_of(tmp_path)) as admin:

        async def signs_in(password: str) -> int:
            body = {"name": "ann", "password": password}
            status: int = (await admin.http.post(f"{admin.node.url}/session/password", json=body)).status_code
            admin.http.cookies.clear()
            return status

        code, made = await run("add", "ann", "ann@example.org", "--role", "operator", said=f"{PASSWORD}\n")
        assert (code, made["role"], "password" in made) == (0, "operator", False)
        assert await signs_in(PASSWORD) == 200
        for action, status in (("disable", 401), ("enable", 200)):
            assert (await run(action, "ANN"))[0] == 0
            assert await signs_in(PASSWORD) == status
        assert (await run("password", "ann@example.org", said="another horse battery\r\n"))[0] == 0
        assert [await signs_in(PASSWORD), await signs_in("another horse battery")] == [401, 200]
        assert (await run("unlock", made["user_id"]))[1]["user_id"] == made["user_id"]
        assert (await run("add", "bob", "bob@example.org", "--no-password"))[0] == 0
        (bob, ann) = (await run("list"))[1]["users"]
        assert (ann["username"], ann["status"], bob["role"]) == ("ann", "active", "read_only")
        assert (await run("remove", "ann", "--reason", "gone"))[1]["user_id"] == made["user_id"]
        for words, why in (
            (("remove", "ann"), "no user is called ann"),
            (("add", "cid", "nowhere"), "/email"),
            (("password", "bob"), "12 to 128"),
        ):
            code, told = await run(*words)
            assert (code, why in told) == (2, True), told
    assert (await run("list"))[1]["users"][1]["status"] == "removed"  # of the folder, where no node runs


def test_a_password_that_is_typed_is_typed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    typed = iter(["one password here", "another password"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    assert cli.main(["users", "password", "ann"]) == 2
