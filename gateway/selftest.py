"""What `gavel selftest` looks at: the machine under a node, and a node from the first task to its seal.

A check returns what it found, in words, or raises what is wrong.
"""

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import trio
from cryptography import x509

from gateway.client import Client, Denied, NotReached
from gateway.door.binds import NotBound, open_entrances, parse_all
from gateway.door.opening import Exposed, plan_door
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from runtime.room import free_bytes

MEMORY_BYTES_MIN = 512 << 20
"""A node has 110 MB at its start; what more it takes has bounds of its own."""
CLOCK_SECONDS_MIN = 1_767_225_600.0
"""The beginning of 2026: no clock that is right shows less."""
CERTIFICATE_DAYS_MIN = 7
AWARD_SECONDS_MAX = 20.0
LOOK_SECONDS = 0.05
VERIFIED_RECORDS_MAX = 500_000
KEY_SECONDS = 600.0
TENANT = "selftest"
"""Whose agent and task they are in a node that has other work: nobody else's."""
SKILL = "selftest"
READY = re.compile(r"gavel_ready(\{.*\})? 1(\.0)?$")


class Failed(Exception):
    """What a check found wrong."""


class Finding(msgspec.Struct, frozen=True):
    """What came of one check."""

    name: str
    ok: bool
    found: str
    seconds: float


class Work(NamedTuple):
    """What checks of a node share: its admin, and whoever may do the work."""

    admin: Client
    worker: Client
    task_id: str = ""


def checked(name: str, check: Callable[[], str]) -> Finding:
    """Makes one check."""
    began = time.monotonic()
    try:
        ok, found = True, check()
    except (Failed, Denied, NotReached, NotBound, Exposed, OSError, ValueError, HTTPException) as error:
        ok, found = False, str(error) or type(error).__name__
    return Finding(name, ok, found, round(time.monotonic() - began, 3))


# ---- the machine


def of_machine(settings: GavelSettings, *, is_running: bool) -> Iterator[Finding]:
    """Whether a node with these settings finds what it needs."""
    yield checked("memory", _memory)
    yield checked("disk", lambda: _disk(settings))
    yield checked("clock", lambda: _clock(settings))
    yield checked("door", lambda: _door(settings))
    yield checked("addresses", lambda: _addresses(settings, is_running=is_running))


def _memory() -> str:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    told = f"{available / 1e9:.1f} GB available, {os.cpu_count()} cores"
    if available < MEMORY_BYTES_MIN:
        raise Failed(f"{told}: a node needs {MEMORY_BYTES_MIN / 1e9:.1f} GB")
    return told


def _disk(settings: GavelSettings) -> str:
    folder = next(one for one in (settings.data, *settings.data.absolute().parents) if one.is_dir())
    left = free_bytes(folder)
    if left < settings.disk_free_bytes_min:
        raise Failed(f"{left} bytes are free at {folder}: below {settings.disk_free_bytes_min} no new work is taken")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        file.flush()
        began = time.monotonic()
        os.fsync(file.fileno())
    return f"{left / 1e9:.1f} GB free at {folder}, a sync takes {(time.monotonic() - began) * 1e3:.1f} ms"


def _clock(settings: GavelSettings) -> str:
    now, journal = time.time(), DataFolder(settings.data).journal
    if now < CLOCK_SECONDS_MIN:
        raise Failed(f"it is said to be {_time(now)}: the clock is wrong")
    written = journal.stat().st_mtime if journal.is_file() else 0.0
    if now + 1.0 < written:
        raise Failed(f"it is said to be {_time(now)}, and the journal was written at {_time(written)}")
    return _time(now)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _door(settings: GavelSettings) -> str:
    plan_door(settings)
    if settings.tls_certificate is None:
        return "no certificate: plain, for this machine alone" if not settings.insecure else "plain, --insecure"
    ends = x509.load_pem_x509_certificate(settings.tls_certificate.read_bytes()).not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS_MIN:
        raise Failed(f"{settings.tls_certificate} ends in {days} days, at {ends.isoformat()}")
    return f"{settings.tls_certificate} is good for {days} days"


def _addresses(settings: GavelSettings, *, is_running: bool) -> str:
    if is_running:
        return "held by the node that runs"
    names = ", ".join((*settings.bind, *settings.extra_binds))
    binds = parse_all((*settings.bind, *settings.extra_binds), has_certificate=settings.tls_certificate is not None)

    async def listen() -> None:
        for entrance in await open_entrances([bind for bind in binds if bind.host or bind.path]):
            entrance.close()

    trio.run(listen)
    return f"{names}: free"


# ---- a node


def of_node(admin: Client, *, is_shared: bool) -> Iterator[Finding]:
    """Whether a node does its work; one that has other work (`is_shared`) does it for a tenant of its own."""
    yield checked("ready", lambda: _ready(admin))
    works: list[Work] = []

    def work() -> str:
        began = time.monotonic()
        works.append(_work(admin, is_shared=is_shared))
        return f"submitted, bid for, awarded and completed in {time.monotonic() - began:.2f} s"

    yield checked("task", work)
    if works:
        yield checked("read models", lambda: _read_models(works[0]))
    yield checked("journal", lambda: _journal(admin))
    yield checked("rates", lambda: _rates(admin))
    yield checked("metrics", lambda: _metrics(admin))


def _ready(admin: Client) -> str:
    admin.get("/livez")
    admin.get("/readyz")
    return f"{admin.url} answers"


def _work(admin: Client, *, is_shared: bool) -> Work:
    """A task from its submission to its result, by an agent that is registered for it and leaves again."""
    query = f"?tenant={TENANT}" if is_shared else ""
    asked = {"role": "agent", "label": "gavel selftest", "expires_at": time.time() + KEY_SECONDS}
    worker = _with_key(admin, admin.post(f"/v1/keys{query}", asked)["key"])
    agent_id = f"selftest-{os.urandom(4).hex()}"
    registration = {"id": agent_id, "name": "Self-test", "agent_type": "performance", "capabilities": [SKILL]}
    agent = _with_key(worker, worker.post("/v1/agents", registration)["key"])
    try:
        body = {"task_type": "analysis", "capabilities": [SKILL], "payload": {"n": 1}, "bidding_seconds": 10.0}
        task_id: str = worker.post("/v1/tasks", body)["task_id"]
        agent.post(f"/v1/tasks/{task_id}/bids", {"price": 1.0, "eta_seconds": 1.0})
        award = _awaited(worker, task_id, agent_id)
        done = {"status": "completed", "token": award["token"], "result": {"n": 2}}
        agent.put(f"/v1/tasks/{task_id}/status", done)
    finally:
        agent.send("DELETE", f"/v1/agents/{agent_id}")
    return Work(admin, worker, task_id)


def _with_key(client: Client, key: str) -> Client:
    return Client(client.url, key, client.trust)


def _awaited(client: Client, task_id: str, agent_id: str) -> dict[str, Any]:
    """The task as soon as the agent has it."""
    until = time.monotonic() + AWARD_SECONDS_MAX
    while True:
        task: dict[str, Any] = client.get(f"/v1/tasks/{task_id}")
        if task["agent_id"] == agent_id:
            return task
        if time.monotonic() > until:
            raise Failed(f"task {task_id} is not awarded within {AWARD_SECONDS_MAX:g} s: it is {task['stage']}")
        time.sleep(LOOK_SECONDS)


def _read_models(work: Work) -> str:
    stage = work.worker.get(f"/v1/tasks/{work.task_id}")["stage"]
    if stage != "completed":
        raise Failed(f"the task was completed, and is shown as {stage}")
    listed = work.admin.get("/v1/projections")["projections"]
    if stopped := [one["name"] for one in listed if one["stopped_at"]]:
        raise Failed(f"stopped: {', '.join(stopped)}; gavel projections list tells why")
    return f"{len(listed)} show what was written"


def _journal(admin: Client) -> str:
    seal = admin.get("/v1/status")["checkpoint"]
    if seal is None:
        raise Failed("nothing is sealed")
    if seal["size"] > VERIFIED_RECORDS_MAX:
        return f"{seal['size']} records are sealed; gavel audit verify reads them all"
    report = admin.get("/v1/audit/verify")
    if not report["whole"]:
        raise Failed("; ".join(report["faults"]) or f"altered at {report['first_bad']}")
    return f"{seal['size']} records, sealed and verified"


def _rates(admin: Client) -> str:
    told = admin.answer("GET", "/v1/me").headers["RateLimit"]
    if not told:
        raise Failed("an answer tells nothing of its caller's rate")
    return f"RateLimit: {told}"


def _metrics(admin: Client) -> str:
    lines = admin.send("GET", "/metrics").decode().splitlines()
    if not any(READY.match(line) for line in lines):
        raise Failed("gavel_ready is not 1")
    return f"{sum(not line.startswith('#') for line in lines)} numbers"
