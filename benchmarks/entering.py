"""How soon a task is taken and an agent registered, durably and over HTTP, while others ask at moments of their own choosing.

Requests come at random moments, as many a second as named, whether those before were answered or not; each is counted from the moment at
which it was due, so that a server that stops for a while can't hide what it kept waiting. Two figures of each: p99 at 1,000 a second, and
the most a second that are all answered with a p99 below what document 004 asks for, by the clock, on cores that client and server share.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.doors import Door, open_door
from benchmarks.gateway import CONNECTIONS_OPEN, PROBES, TASK, authorized, highest_rate
from benchmarks.knocking import head, knock
from benchmarks.measure import NEVER, Measured, Row

RATE = 1_000.0
"""Operations a second: document 004."""
SECONDS = 5.0
PROBE_SECONDS = 2.0
WARM_SECONDS = 1.0
ROUNDS = 3
TENANTS = 8
"""No tenant may have more than 10,000 agents; these are enough for all rounds."""


class Entry(NamedTuple):
    """What is asked for, and within how many seconds document 004 wants it answered."""

    path: str
    body: Mapping[str, object]
    p99_seconds_max: float


TASKS = Entry("/v1/tasks", TASK, 0.05)
AGENTS = Entry("/v1/agents", {"name": "ann", "agent_type": "performance", "capabilities": ["cutting"], "slots": 4}, 0.1)


@contextmanager
def _asked(entry: Entry, place: Path | None, tenants: int) -> Iterator[tuple[Door, list[tuple[str, float]]]]:
    """A node without a past that has been asked for a while, and the requests: one of each tenant."""
    names = ",".join(f"tenant-{number}" for number in range(tenants))
    with (
        tempfile.TemporaryDirectory(prefix="gavel-entering-", dir=place) as folder,
        open_door("node", f"{folder}/data", names) as door,
    ):
        body = json.dumps(dict(entry.body))
        texts = [(head("POST", entry.path, authorized(key), body=body), 1.0) for key in door.keys]
        common = {"port": door.port, "pid": door.pid, "requests": texts, "names": ""}
        knock(mode="closed", **common, connections=1, seconds=WARM_SECONDS, warm=0.0)
        yield door, texts


def p99(
    entry: Entry,
    rounds: int = ROUNDS,
    rate: float = RATE,
    seconds: float = SECONDS,
    place: Path | None = None,
    tenants: int = TENANTS,
) -> Measured:
    """Milliseconds; NEVER where not all were answered well."""
    with _asked(entry, place, tenants) as (door, texts):

        def once() -> float:
            told = knock(
                mode="opened",
                port=door.port,
                pid=door.pid,
                requests=texts,
                names="",
                connections=CONNECTIONS_OPEN,
                seconds=seconds,
                rate=rate,
            )
            return NEVER if told["errors"] else float(told["p99"] * 1e3)

        return Measured(ours=[once() for _ in range(rounds)], theirs=[entry.p99_seconds_max * 1e3] * rounds)


def sustained(
    entry: Entry,
    rounds: int = ROUNDS,
    seconds: float = PROBE_SECONDS,
    probes: int = PROBES,
    place: Path | None = None,
    tenants: int = TENANTS,
) -> Measured:
    """The most a second."""
    with _asked(entry, place, tenants) as (door, texts):
        rates = [highest_rate(door, texts, "", seconds, probes, entry.p99_seconds_max) for _ in range(rounds)]
        return Measured(ours=rates, theirs=[RATE] * rounds)


def submit() -> Measured:
    """Tasks at 1,000 a second."""
    return p99(TASKS)


def submit_rate() -> Measured:
    """Tasks, as many a second as go."""
    return sustained(TASKS)


def register() -> Measured:
    """Agents at 1,000 a second, each a new one with a key of its own."""
    return p99(AGENTS)


def register_rate() -> Measured:
    """Agents, as many a second as go."""
    return sustained(AGENTS, rounds=1)


ASKED_FOR = "document 004"
ROWS = (
    Row(
        name="submit",
        measure=submit,
        peer=f"{ASKED_FOR}: < 50 ms",
        unit="ms p99 at 1,000 a second over HTTP, durable",
        better="less",
    ),
    Row(
        name="submit_rate",
        measure=submit_rate,
        peer=f"{ASKED_FOR}: 1,000 operations a second",
        unit="durable tasks a second over HTTP with p99 < 50 ms",
        better="more",
    ),
    Row(
        name="register",
        measure=register,
        peer=f"{ASKED_FOR}: < 100 ms",
        unit="ms p99 at 1,000 a second over HTTP, durable",
        better="less",
    ),
    Row(
        name="register_rate",
        measure=register_rate,
        peer=f"{ASKED_FOR}: 1,000 operations a second",
        unit="durable registrations a second over HTTP with p99 < 100 ms",
        better="more",
    ),
)
