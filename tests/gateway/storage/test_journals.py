"""Named journals: a strictly isolated tenant has its own file, positions, keys and proof, and nobody else reads any of it."""

import shutil
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from eventsourcing.persistence import OperationalError

from aggregates.key import IssueKey
from aggregates.values.roles import Role
from gateway.app import ENDPOINTS
from gateway.compartments import GONE
from gateway.identity.auth import digest_of
from gateway.identity.cookies import COOKIE
from gateway.limits.rates import Rate
from gateway.node import open_node
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable
from runtime.delivery import Context
from runtime.errors import Fenced
from runtime.verification import verify
from tests.gateway.clients import (
    BID,
    TASK,
    Client,
    Closed,
    Denied,
    Socket,
    open_client,
    open_socket,
    recorded,
    settings_of,
)
from tests.gateway.feed_clients import open_feed

SECRET = "the-recipe-of-acme"
PUBLIC = "the-weather-of-default"
QUBO = b"3 2\n1 2 1\n2 3 1\n"


async def isolated(admin: Client, name: str = "acme") -> Client:
    """The admin of a tenant that is isolated from now on."""
    answer = await admin.ask("POST", "/v1/journals", {"name": name})
    assert answer.status_code == 201, answer.text
    return Client(admin.node, admin.http, answer.json()["key"])


def again(client: Client, admin: Client) -> Client:
    """The same key at another node, or at the same after a restart."""
    return Client(admin.node, admin.http, client.key)


@pytest.fixture
async def acme(admin: Client) -> Client:
    """The admin of an isolated tenant of the node."""
    return await isolated(admin)


class Work(NamedTuple):
    """One of each thing that a tenant may have."""

    task: str
    agent: str
    key: str
    problem: str
    blob: str


async def work(client: Client, word: str) -> Work:
    """Does something of everything, `word` in it."""
    content = QUBO + f"# {word}\n".encode()
    assert (await client.upload(content)).status_code == 201
    blob = sha256(content).hexdigest()
    body = {"name": word, "blob": blob, "format": "rudy"}
    key = (await client.ask("POST", "/v1/keys", {"role": "auditor", "label": word})).json()["key_id"]
    problem = (await client.ask("POST", "/v1/problems", body)).json()
    assert "problem_id" in problem, problem
    await client.register(f"agent-of-{word}", description=word)
    task = await client.submit(description=word)
    await client.ask("POST", f"/v1/agents/agent-of-{word}/drain", {"reason": word})
    return Work(task, f"agent-of-{word}", key, problem["problem_id"], blob)


def files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


# ---- apart


async def test_records_of_an_isolated_tenant_are_in_its_own_files_and_nowhere_else(tmp_path: Path):
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        acme = await isolated(admin)
        await work(acme, SECRET)
        await work(admin, PUBLIC)
    own = DataFolder(settings.data).named("acme").path
    secret = [path for path, content in files(settings.data) if SECRET.encode() in content]
    public = [path for path, content in files(settings.data) if PUBLIC.encode() in content]
    assert {path.name for path in secret} >= {"journal.db", "read.db"}
    assert {path.name for path in public} >= {"journal.db", "read.db"}
    assert all(path.is_relative_to(own) for path in secret)
    assert not any(path.is_relative_to(own) for path in public)
    for name in ("journal-key", "node-secret", "admin-key"):
        assert (own / name).read_bytes() != (settings.data / name).read_bytes()
        assert (own / name).stat().st_mode & 0o077 == 0


async def test_each_journal_counts_its_own_positions(admin: Client, acme: Client):
    before, theirs = (await admin.get("/v1/log"))["position"], (await acme.get("/v1/log"))["position"]
    for _ in range(3):
        await acme.submit(capabilities=[])
    log = await acme.get("/v1/log")
    assert [record["position"] for record in log["records"]] == list(range(1, log["position"] + 1))
    assert log["position"] >= theirs + 3
    assert (await admin.get("/v1/log"))["position"] == before
    assert {record["tenant"] for record in log["records"]} == {"acme"}


async def test_an_isolated_tenant_takes_its_turn_for_the_places_of_the_node(tmp_path: Path):
    async with open_client(settings_of(tmp_path, tasks_running_max=1, tenant_weights=("acme=2",))) as admin:
        acme = await isolated(admin)
        for client in (admin, acme):
            await client.register("ann")
        first = await admin.submit()
        await recorded(admin, "task.BookOpened", f"task-{first}")
        theirs = await acme.submit()
        (wait, *_) = (await acme.get(f"/v1/tasks/{theirs}/explain"))["waits_for"]
        assert (wait["reason"], "1 of 1 on the node, 0 of them yours" in wait["detail"]) == ("node_full", True)
        await admin.ask("DELETE", f"/v1/tasks/{first}")
        position = 0
        while (await acme.get(f"/v1/tasks/{theirs}"))["stage"] != "bidding":
            position = await admin.node.compartment("acme").system.journal.wait_past(position)


PATHS = (
    "/v1/tasks/{task}",
    "/v1/tasks/{task}/bids",
    "/v1/agents/{agent}",
    "/v1/keys/{key}",
    "/v1/problems/{problem}",
    "/v1/blobs/{blob}",
    "/v1/log/state?stream=task-{task}",
)
LISTS = (
    "/v1/tasks",
    "/v1/agents",
    "/v1/problems",
    "/v1/solves",
    "/v1/keys",
    "/v1/log",
    "/v1/dead-letters",
    "/v1/status",
)


async def test_keys_of_one_journal_read_nothing_of_another(admin: Client, acme: Client):
    globex = await isolated(admin, "globex")
    words = {"default": PUBLIC, "acme": SECRET, "globex": "the-plans-of-globex"}
    clients = {"default": admin, "acme": acme, "globex": globex}
    done = {name: await work(client, words[name]) for name, client in clients.items()}
    for name, client in clients.items():
        for path in PATHS:
            assert (await client.ask("GET", path.format(**done[name]._asdict()))).status_code == 200, (name, path)
        for other in words.keys() - {name}:
            for path in PATHS:
                answer = await client.ask("GET", path.format(**done[other]._asdict()))
                assert answer.status_code == 404 or answer.json().get("bids") == [], (name, other, path)
            for path in (*LISTS, f"/v1/log?stream=task-{done[other].task}", f"/v1/log?stream=key-{done[other].key}"):
                assert words[other] not in (await client.ask("GET", path)).text, (name, other, path)
            ends = [
                ("DELETE", f"/v1/agents/{done[other].agent}"),
                ("DELETE", f"/v1/keys/{done[other].key}"),
                ("DELETE", f"/v1/tasks/{done[other].task}"),
            ]
            for method, path in ends:
                assert (await client.ask(method, path)).status_code == 404, (name, other, path)


async def test_no_route_takes_a_key_that_was_changed_to_name_another_journal(
    admin: Client, acme: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(admin.node.visitors.rates, "_strangers", Rate(1e6, 1_000_000, monotonic))
    await isolated(admin, "globex")
    rest = acme.key.removeprefix("gvl_acme_")
    forged = [
        f"gvl_{rest}",
        f"gvl_globex_{rest}",
        f"gvl_none_{rest}",
        f"gvl_main_{rest}",
        admin.key.replace("gvl_", "gvl_acme_"),
    ]
    for line in ENDPOINTS:
        if line.needs is None:
            continue
        path = line.path.replace("{path:path}", "x").replace("{sha256}", "0" * 64)
        for key in forged:
            answer = await Client(admin.node, admin.http, key).ask(line.method, path, {})
            assert answer.status_code == 401, (line, key)
    for key in forged:
        with pytest.raises(Denied) as denied:
            async with open_socket(admin.node, "/v1/feed", key, ""):
                pass
        assert denied.value.status == 401


async def test_a_key_that_stands_in_the_wrong_journal_opens_nothing(admin: Client, acme: Client, monkeypatch: Any):
    theirs = admin.node.compartment("acme")
    key_id = theirs.system.ids.new()
    token = theirs.tokens.token(key_id)
    issue = IssueKey(key_id=key_id, role=Role.ADMIN, digest=digest_of(token))
    await theirs.system.ask(issue, Context(tenant="globex", principal="test"))
    late = await admin.with_role(Role.ADMIN, tenant="late")
    monkeypatch.setitem(admin.node.isolated._berth_by_name, "late", next(iter(admin.node.isolated)))
    for client in (Client(admin.node, admin.http, token), late):
        answer = await client.ask("GET", "/v1/tasks")
        assert (answer.status_code, "journal of its own" in answer.text) == (401, True)


async def test_a_session_is_for_the_journal_of_its_key(admin: Client, acme: Client):
    task_id = await acme.submit(capabilities=[])
    link = (await acme.ask("POST", "/session")).json()
    await admin.http.get(admin.node.url + link["path"])
    cookie = {"Cookie": f"{COOKIE}={admin.http.cookies[COOKIE]}"}
    seen = (await admin.http.get(f"{admin.node.url}/v1/tasks", headers=cookie)).json()
    assert [task["task_id"] for task in seen["tasks"]] == [task_id]


async def win(socket: Socket, task_id: str) -> int:
    """Bids for the task as the only agent that was called, and returns the token of the award."""
    call = await socket.next("call")
    assert call["task_id"] == task_id
    await socket.ask(type="bid", task_id=task_id, **BID)
    token: int = (await socket.next("award"))["token"]
    return token


async def test_agents_of_an_isolated_tenant_do_its_work_and_hear_of_nothing_else(admin: Client, acme: Client):
    stranger, agent = await admin.register("a1"), await acme.register("a1")
    assert stranger.key != agent.key
    async with stranger.socket() as theirs, agent.socket() as socket:
        await theirs.next("welcome")
        await socket.next("welcome")
        task_id = await acme.submit()
        token = await win(socket, task_id)
        await socket.ask(type="start", task_id=task_id, token=token)
        done = await socket.ask(type="complete", task_id=task_id, token=token, result={"value": 7})
        assert done["type"] == "ack"
        other = await admin.submit()
        await win(theirs, other)  # its first call is for the task of its own tenant
    assert (await acme.get(f"/v1/tasks/{task_id}"))["result"] == {"value": 7}


# ---- positions name their journal


async def test_a_feed_tells_its_own_journal_and_its_cursor_names_it(admin: Client, acme: Client):
    async with open_feed(acme, "?after=0") as feed:
        await admin.submit()
        task_id = await acme.submit()
        told = [await feed.record() for _ in range(2)]
        assert [one.name for one in told] == ["key.KeyIssued", "task.TaskSubmitted"]
        assert told[-1].data["stream"] == f"task-{task_id}"
        cursor = feed.cursor
    assert cursor == f"acme:{told[-1].id}"
    await acme.submit()
    async with open_feed(acme, Last_Event_ID=cursor) as feed:
        assert (await feed.record()).id > told[-1].id
    for client in (admin, await isolated(admin, "globex")):
        for path, headers in (("/v1/feed", {"Last_Event_ID": cursor}), (f"/v1/feed?after={cursor}", {})):
            answer = await client.ask("GET", path, **headers)
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:journal_differs")


@pytest.mark.parametrize("path", ["/v1/log?after={}", "/v1/tasks?after={}", "/v1/tasks?after_position={}"])
async def test_a_position_that_names_its_journal_is_refused_by_another(admin: Client, acme: Client, path: str):
    await acme.submit(capabilities=[])
    await acme.get("/v1/tasks")  # the read models have it
    for client, own, foreign in ((acme, "acme:1", "main:1"), (admin, "main:1", "acme:1")):
        assert (await client.get(path.format(own))) == (await client.get(path.format(1)))
        answer = await client.ask("GET", path.format(foreign))
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:journal_differs")
        assert (await client.ask("GET", path.format("acme:x"))).status_code in (409, 422)


async def test_each_answer_says_its_journal_and_a_request_may_insist_on_one(admin: Client, acme: Client):
    for client, name, other in ((admin, "main", "acme"), (acme, "acme", "main")):
        answer = await client.ask("GET", "/v1/tasks", Gavel_Journal=name)
        assert (answer.status_code, answer.headers["gavel-journal"]) == (200, name)
        refused = await client.ask("POST", "/v1/tasks", {"task_type": "analysis"}, Gavel_Journal=other)
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:gavel:problem:journal_differs")


async def test_sockets_take_positions_of_their_own_journal_alone(admin: Client, acme: Client):
    agent = await acme.register("a1")
    async with open_socket(admin.node, "/v1/agents/a1/ws?after=acme:1", agent.key) as socket:
        assert (await socket.next("welcome"))["position"] == 1
    for path in ("/v1/agents/a1/ws?after=main:1", "/v1/feed?after=main:1"):
        with pytest.raises(Denied) as denied:
            async with open_socket(admin.node, path, agent.key, "gavel.v1.json" if "ws" in path else ""):
                pass
        assert denied.value.status == 409


# ---- proofs


async def test_each_journal_is_proven_by_its_own_key_and_named_in_its_checkpoints(admin: Client, acme: Client):
    theirs, ours = await acme.get("/v1/audit/verify"), await admin.get("/v1/audit/verify")
    assert (theirs["whole"], ours["whole"]) == (True, True)
    assert theirs["key"] != ours["key"]
    note = (await acme.ask("GET", "/v1/audit/checkpoint")).text
    assert note.startswith("gavel/acme/")
    assert (await admin.ask("GET", "/v1/audit/checkpoint")).text.startswith("gavel/main/")
    crossed = await admin.ask("GET", f"/v1/audit/verify?{urlencode({'against': note})}")
    assert crossed.status_code == 422 or not crossed.json()["whole"]
    path = admin.node.folder.named("acme").journal
    assert verify(path, key=theirs["key"]).whole
    assert not verify(path, key=ours["key"]).whole


# ---- who may isolate whom


async def test_only_admins_of_the_node_isolate_tenants_and_see_which_are(admin: Client, acme: Client):
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    agent = await admin.with_role(Role.AGENT)
    for client in (acme, stranger, agent):
        assert (await client.ask("POST", "/v1/journals", {"name": "globex"})).status_code == 403
        assert (await client.ask("GET", "/v1/journals")).status_code == 403
    for client in (acme, stranger):
        assert (await client.get("/v1/status"))["journals"] == []
        assert "acme" not in (await client.ask("GET", "/metrics")).text
    (row,) = (await admin.get("/v1/status"))["journals"]
    assert (row["name"], row["open"], row["faults"]) == ("acme", True, [])
    assert f'gavel_journal_position{{journal="acme"}} {row["position"]}\n' in (await admin.ask("GET", "/metrics")).text


@pytest.mark.parametrize(
    "name,code",
    [("default", "tenant_not_empty"), ("other", "tenant_not_empty"), ("main", "name_taken"), ("Acme", "body_invalid")],
)
async def test_who_has_records_elsewhere_or_no_good_name_is_not_isolated(admin: Client, name: str, code: str):
    await admin.with_role(Role.AGENT, tenant="other")
    answer = await admin.ask("POST", "/v1/journals", {"name": name})
    assert answer.json()["type"] == f"urn:gavel:problem:{code}"
    assert not admin.node.folder.named(name).path.exists()
    assert (await admin.get("/v1/journals"))["journals"] == []


async def test_a_journal_is_opened_once(admin: Client, acme: Client):
    answer = await admin.ask("POST", "/v1/journals", {"name": "acme"}, Idempotency_Key="k1")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:gavel:problem:journal_open")
    assert (await acme.ask("GET", "/v1/tasks")).status_code == 200


async def test_who_isolates_a_tenant_and_hears_nothing_may_say_it_again(admin: Client):
    body = {"name": "acme"}
    first, again = [await admin.ask("POST", "/v1/journals", body, Idempotency_Key="k1") for _ in range(2)]
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.json()["key"].startswith("gvl_acme_")
    for key, code in (("k2", "journal_open"), ("k1", "key_reused")):
        other = {"name": "globex"} if key == "k1" else body
        refused = await admin.ask("POST", "/v1/journals", other, Idempotency_Key=key)
        assert refused.json()["type"] == f"urn:gavel:problem:{code}"
    assert [row["name"] for row in (await admin.get("/v1/journals"))["journals"]] == ["acme"]


# ---- again


async def test_after_a_restart_everything_is_where_it_was(tmp_path: Path):
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        acme = await isolated(admin)
        done = await work(acme, SECRET)
        before = await acme.get("/v1/log")
    async with open_client(settings) as admin:
        acme = again(acme, admin)
        assert (await acme.get("/v1/log")) == before
        assert (await acme.get(f"/v1/tasks/{done.task}"))["description"] == SECRET
        assert (await admin.ask("GET", f"/v1/tasks/{done.task}")).status_code == 404
        await acme.submit()


# ---- what is broken is closed, and nothing else


async def closed(client: Client) -> None:
    answer = await client.ask("GET", "/v1/tasks")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == "the journal acme is closed"


async def test_a_disk_that_is_full_for_one_journal_is_not_for_the_others(
    admin: Client, acme: Client, monkeypatch: pytest.MonkeyPatch
):
    def fail(batch: object) -> None:
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(admin.node.compartment("acme").store, "append", fail)
        answer = await acme.ask("POST", "/v1/tasks", TASK)
        assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (503, True)
        await admin.submit()
        assert (await admin.ask("GET", "/readyz")).status_code == 200
        (row,) = (await admin.get("/v1/journals"))["journals"]
        assert (row["open"], "disk is full" in row["faults"][0]) == (True, True)
        assert (await acme.get("/v1/status"))["faults"] == row["faults"]
        assert (await admin.get("/v1/status"))["faults"] == []
    await acme.submit()


async def test_a_journal_that_fails_ends_alone_and_is_opened_again(
    admin: Client, acme: Client, monkeypatch: pytest.MonkeyPatch
):
    def fence(batch: object) -> None:
        raise Fenced("somebody else wrote here")

    agent = await acme.register("a1")
    async with agent.socket() as socket:
        await socket.next("welcome")
        with monkeypatch.context() as patched:
            patched.setattr(admin.node.compartment("acme").store, "append", fence)
            assert (await acme.ask("POST", "/v1/tasks", {"task_type": "analysis"})).status_code == 503
        assert await end_of(socket) == GONE
    await closed(acme)
    await admin.submit()
    assert (await admin.ask("GET", "/readyz")).status_code == 200
    (row,) = (await admin.get("/v1/journals"))["journals"]
    assert (row["open"], row["position"], row["reason"]) == (False, None, "somebody else wrote here")
    assert 'gavel_journal_open{journal="acme"} 0.0\n' in (await admin.ask("GET", "/metrics")).text
    assert (await isolated(admin)).key == ""  # whoever was given it has it
    await acme.submit(capabilities=[])


async def end_of(socket: Socket) -> int:
    """The code with which the node closes a socket."""
    try:
        while True:
            await socket.receive()
    except Closed as ended:
        return ended.code


def _lose(folder: DataFolder) -> None:
    folder.path.rename(folder.path.with_name("elsewhere-without-records"))
    shutil.rmtree(folder.path.with_name("elsewhere-without-records"))


def _alter(folder: DataFolder) -> None:
    with sqlite3.connect(folder.journal) as connection:
        connection.execute("UPDATE nodes SET hash=zeroblob(32)")


def _exchange_key(folder: DataFolder) -> None:
    folder.journal_key.unlink()
    shutil.copy(folder.path.parent.parent / "journal-key", folder.journal_key)


def _tear(folder: DataFolder) -> None:
    folder.journal.write_bytes(b"no database")


@pytest.mark.parametrize("harm", [_lose, _alter, _exchange_key, _tear])
async def test_a_journal_that_is_harmed_stays_closed_at_the_start_and_the_others_are_open(tmp_path: Path, harm: Any):
    settings = settings_of(tmp_path)
    async with open_client(settings) as admin:
        acme, globex = await isolated(admin), await isolated(admin, "globex")
        await acme.submit()
    own = DataFolder(settings.data).named("acme")
    shutil.copytree(own.path, tmp_path / "kept")
    harm(own)
    async with open_client(settings) as admin:
        await closed(again(acme, admin))
        await again(globex, admin).submit()
        await admin.submit()
        answer = await admin.ask("POST", "/v1/journals", {"name": "acme"})
        assert (answer.status_code, "can't be opened" in answer.text) == (503, True)
        shutil.rmtree(own.path, ignore_errors=True)
        shutil.copytree(tmp_path / "kept", own.path)
        await isolated(admin)
        assert len((await again(acme, admin).get("/v1/tasks"))["tasks"]) == 1


async def test_a_node_does_not_start_beside_records_that_its_shared_journal_does_not_list(tmp_path: Path):
    first, second = settings_of(tmp_path / "one"), settings_of(tmp_path / "two")
    async with open_client(first) as admin:
        acme = await isolated(admin)
        await acme.submit()
    async with open_client(second):
        pass
    shutil.copytree(first.data / "journals", second.data / "journals")
    with pytest.raises(FolderUnusable, match="the shared journal does not list it"):
        await _start(second)


async def _start(settings: GavelSettings) -> None:
    async with open_node(settings, door=False):
        pass


@pytest.mark.parametrize("point", ["gateway.compartments.OpenJournal", "gateway.compartments.Compartments._start"])
async def test_a_node_that_dies_while_it_isolates_a_tenant_can_be_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    def die(*arguments: object, **named: object) -> None:
        raise Died

    settings = settings_of(tmp_path)
    monkeypatch.setattr(point, die)
    with pytest.raises(Died):
        await _isolate_without_door(settings)
    monkeypatch.undo()
    async with open_client(settings) as admin:
        is_listed = point.endswith("_start")
        assert ("acme" in admin.node.isolated) == is_listed
        if not is_listed:
            await isolated(admin)
        await Client(admin.node, admin.http, DataFolder(settings.data).named("acme").admin_key.read_text()).submit()


class Died(BaseException):
    """The process ends here."""


async def _isolate_without_door(settings: GavelSettings) -> None:
    async with open_node(settings, door=False) as node:
        await node.isolated.open("acme", Context(tenant="default", principal="test"))


async def test_files_of_a_journal_that_was_never_listed_hold_nobody_up(tmp_path: Path):
    settings = settings_of(tmp_path)
    left = DataFolder(settings.data).named("acme").path
    left.mkdir(parents=True, mode=0o700)
    (left / "journal.db").touch()
    async with open_client(settings) as admin:
        acme = await isolated(admin)
        await acme.submit()


async def test_where_no_file_can_be_written_no_journal_is_made_and_no_key_is_turned(admin: Client) -> None:
    """The folder is gone, and the disk might as well be full: what is asked for is refused, and nothing is half done."""
    folder = admin.node.folder.path
    away = folder.rename(folder.with_name("elsewhere"))
    asked = [("/v1/journals", {"name": "acme"}), ("/v1/audit/rotations", {"reason": "yearly"})]
    for path, body in asked:
        answer = await admin.ask("POST", path, body)
        assert (answer.status_code, answer.json()["type"]) == (507, "urn:gavel:problem:insufficient_storage")
        assert str(folder) not in answer.text
    shutil.rmtree(folder, ignore_errors=True)
    away.rename(folder)
    for path, body in asked:
        assert (await admin.ask("POST", path, body)).status_code == 201
