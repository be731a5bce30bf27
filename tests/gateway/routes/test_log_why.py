"""Why something happened: over HTTP, from a node's command line, and from a file."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from aggregates.values.roles import Role
from gateway.cli import main
from gateway.commands.log_why import told
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.why import Reasons, related_in
from tests.gateway.audit.altered import find, history
from tests.gateway.clients import BID, Client, recorded

pytestmark = pytest.mark.usefixtures("logs_as_they_were")


async def asked(client: Client, **query: object) -> Any:
    return await client.get(f"/v1/log/why?{urlencode(query)}")


async def test_an_award_is_traced_to_the_bid_that_led_to_it_and_on_to_its_effects(admin: Client) -> None:
    agent = await admin.register("a1")
    task_id = await admin.submit()
    await recorded(admin, "task.BookOpened")
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    await recorded(admin, "task.TaskAwarded")
    why = await asked(admin, of=task_id)
    assert [link["command"] for link in why["chain"]] == ["task.AwardTask", "task.PlaceBid"]
    assert [link["principal"] for link in why["chain"]] == ["actor:coordinator", "agent:a1"]
    assert (why["began"], why["began_by"], why["tree"]) == ("request", "agent:a1", None)
    bid = why["chain"][1]
    tree = (await asked(admin, of=bid["position"], tree="true"))["tree"]
    assert [below["link"]["command"] for below in tree["led_to"]] == ["task.AwardTask"]
    for of in (bid["id"], bid["correlation"], f"task-{task_id}"):
        assert (await asked(admin, of=of))["chain"][-1] == bid
    assert (await asked(admin, of="a1"))["chain"][0]["stream"] == "agent-default:a1"
    assert (await asked(admin, of="agent-default:a1"))["chain"][0]["command"] == "agent.RegisterAgent"


async def test_what_is_not_there_or_another_tenants_looks_alike(admin: Client) -> None:
    task_id = await admin.submit()
    stranger = await admin.with_role(Role.AUDITOR, tenant="other")
    mine = await asked(admin, of=task_id)
    for of in (task_id, mine["of"], mine["chain"][0]["id"], mine["chain"][0]["correlation"], "", "0", 10**30):
        answer = await stranger.ask("GET", f"/v1/log/why?{urlencode({'of': of})}")
        assert answer.status_code == 404, of
    for role in (Role.AGENT, Role.OPERATOR):
        answer = await (await admin.with_role(role)).ask("GET", f"/v1/log/why?of={task_id}")
        assert answer.status_code == (403 if role is Role.AGENT else 200)


# ---- from a file


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return history(tmp_path)


def why(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> Any:
    assert main(["log", "why", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_chain_of_a_file_goes_up_to_a_request_or_a_timer(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unblocked = find(journal, "task.UnblockTask", lambda said: said["task_id"] == "second")
    answer = why(capsys, unblocked, journal)
    assert [link["command"] for link in answer["chain"]] == ["task.UnblockTask", "task.CompleteTask"]
    assert [event["kind"] for event in answer["chain"][0]["events"]] == ["task.DependencyMet", "task.TaskUnblocked"]
    lost = why(capsys, find(journal, "agent.LoseAgent"), journal)
    assert (lost["began"], lost["began_by"]) == ("timer", "actor:coordinator")
    assert why(capsys, unblocked + 1, journal)["chain"] == answer["chain"]


def test_what_a_request_led_to_is_told_as_a_tree(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = find(journal, "task.CompleteTask", lambda said: said["task_id"] == "first")
    tree = why(capsys, done, journal, "--tree")["tree"]
    below = {one["link"]["command"] for one in tree["led_to"]}
    assert "task.UnblockTask" in below
    grandchildren = [two["link"]["command"] for one in tree["led_to"] for two in one["led_to"]]
    assert "task.OpenBook" in [*below, *grandchildren]
    assert main(["log", "why", str(done), str(journal), "--tree"]) == 0
    text = capsys.readouterr().out
    assert "It began with this request of operator:o1." in text
    assert re.match(r"\n  \d", text.partition("What it led to:")[2])


def test_names_of_all_kinds_are_found(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    link = why(capsys, "task-first", journal)["chain"][0]
    for name in ("first", link["id"], link["position"]):
        assert why(capsys, name, journal)["chain"][0] == link
    assert why(capsys, link["correlation"], journal)["chain"][0]["correlation"] == link["correlation"]
    assert why(capsys, "cid", journal, "--tenant", "acme")["chain"][0]["stream"] == "agent-acme:cid"
    for name in ("nobody-there", "0", "99999", "9" * 19, "9" * 40):
        assert main(["log", "why", name, str(journal)]) == 2
        assert "has no event, stream, command or correlation" in capsys.readouterr().err
    assert main(["log", "why", "first", str(journal), "--tenant", "other"]) == 2


def test_bounds_are_said(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.why.CHAIN_MAX", 1)
    monkeypatch.setattr("runtime.why.WIDTH_MAX", 0)
    with open_journal(journal) as connection:
        log = JournalFile(connection, journal)
        reasons = Reasons(log, related_in(log))
        position = find(journal, "task.CompleteTask", lambda said: said["task_id"] == "first")
        answer = reasons.why(position, tree=True)
        assert answer is not None
        assert answer.tree is not None
        assert (answer.tree.led_to, answer.tree.left_out > 0) == ([], True)
        assert any(line.strip().startswith("and ") for line in told(answer))
        cut = reasons.why(find(journal, "task.UnblockTask", lambda said: said["task_id"] == "second"))
        assert cut is not None
        assert (len(cut.chain), cut.began) == (1, "unknown")
