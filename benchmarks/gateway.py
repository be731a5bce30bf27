"""What a request costs: our door against stock hypercorn on Trio, each in a process of its own, with the same clients.

CPU time of the server's process (user and system, all threads) over the requests that it has answered, where a row does not say
otherwise; rounds of both sides in turn, medians. `docs/benchmarks.md` says what each row measures.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import msgspec

from benchmarks.doors import Door, open_door
from benchmarks.knocking import head, knock, start_knocking
from benchmarks.many_tasks import TENANT, folder_of_tasks
from benchmarks.measure import NEVER, Measured, NotMeasurable, Row

CONNECTIONS = 32
CONNECTIONS_OPEN = 256
ROUNDS = 5
ROUND_SECONDS = 2.0
WARM_SECONDS = 0.5
POSTING_TENANTS = 6
"""What is posted is spread over so many, each with a coordinator of its own."""

TASK = {"task_type": "analysis", "description": "cut it", "capabilities": ["cutting"], "payload": {"seed": 4711}}
P99_SECONDS_MAX = 0.05
PROBE_SECONDS = 2.0
PROBES = 6
NOISE = 1.15
"""How far a rate may be over the rate at which the same server was found to be busy."""

IN_FLIGHT = 32
BIDDING_SECONDS = 60.0
BOOKS = 512
ANSWERS = 31
"""How often each book is bid on: so often, and once more, does a book take an agent's answer."""
BOOKS_AT_ONCE = 128
SLOTS = 64
OPENING_SECONDS = 0.02
READERS = 500
EVENTS_PER_SECOND = 20
IDLE = 10_000
SETTLE_SECONDS = 2.0
FAIR_SECONDS = 6.0
FAIR_RATE = 50.0
FLOODERS = 32


def both(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> Measured:
    """Both sides in turn."""
    pairs = [(ours(), theirs()) for _ in range(rounds)]
    return Measured(ours=[pair[0] for pair in pairs], theirs=[pair[1] for pair in pairs])


def authorized(key: str) -> str:
    return f"Authorization: Bearer {key}"


def cpu_microseconds(door: Door, requests: list[str], names: str, seconds: float) -> float:
    """What the server's CPU spends on an answer."""
    texts = [(text, 1.0) for text in requests]
    told = knock(
        mode="closed",
        port=door.port,
        pid=door.pid,
        requests=texts,
        names=names,
        connections=CONNECTIONS,
        seconds=seconds,
        warm=WARM_SECONDS,
    )
    if told["errors"] or not told["answers"]:
        raise NotMeasurable(f"{told['errors']} requests were not answered well, {told['answers']} were")
    return float(told["cpu"] / told["answers"] * 1e6)


@contextmanager
def open_node(row: str, posting: int = 0, *, tasks: int | None = None) -> Iterator[tuple[Door, str]]:
    """A whole node over many tasks of one tenant, with a key of that and of so many others, the row's own; and the file with their ids."""
    data, names = folder_of_tasks(tasks) if tasks else folder_of_tasks()
    with open_door("node", str(data), ",".join([TENANT, *(f"{row}-{n}" for n in range(posting))])) as door:
        yield door, str(names)


def get_bare(rounds: int = ROUNDS, seconds: float = ROUND_SECONDS) -> Measured:
    """The same Starlette route."""
    with open_door("ours_bare") as ours, open_door("stock_bare") as theirs:
        asked = [head("GET", "/")]
        return both(
            lambda: cpu_microseconds(ours, asked, "", seconds),
            lambda: cpu_microseconds(theirs, asked, "", seconds),
            rounds,
        )


def get(rounds: int = ROUNDS, seconds: float = ROUND_SECONDS, tasks: int | None = None) -> Measured:
    """A random task of many; a constant."""
    with open_node("get", tasks=tasks) as (ours, names), open_door("stock_bare") as theirs:
        key = authorized(ours.keys[0])
        asked, constant = [head("GET", "/v1/tasks/<name>", key)], [head("GET", "/", key)]
        return both(
            lambda: cpu_microseconds(ours, asked, names, seconds),
            lambda: cpu_microseconds(theirs, constant, "", seconds),
            rounds,
        )


def post(rounds: int = ROUNDS, seconds: float = ROUND_SECONDS, tasks: int | None = None) -> Measured:
    """A task, in the journal before it is answered; one that is validated and forgotten."""
    with open_node("post", POSTING_TENANTS, tasks=tasks) as (ours, _), open_door("stock_pydantic") as theirs:
        body = json.dumps(TASK)
        asked = [head("POST", "/v1/tasks", authorized(key), body=body) for key in ours.keys[1:]]
        validated = [head("POST", "/tasks", authorized(ours.keys[0]), body=body)]
        return both(
            lambda: cpu_microseconds(ours, asked, "", seconds),
            lambda: cpu_microseconds(theirs, validated, "", seconds),
            rounds,
        )


# Rates


def highest_rate(
    door: Door,
    texts: list[tuple[str, float]],
    names: str,
    seconds: float,
    probes: int,
    p99_seconds_max: float = P99_SECONDS_MAX,
) -> float:
    """The most requests a second, at random moments, of which 99 of 100 are answered within so long and none fails."""
    common = {"port": door.port, "pid": door.pid, "requests": texts, "names": names}
    busy = knock(mode="closed", **common, connections=CONNECTIONS, seconds=seconds, warm=WARM_SECONDS)
    low, high = 0.0, NOISE * busy["answers"] / busy["seconds"]
    for probe in range(probes):
        rate = high * 0.8 if probe == 0 else (low + high) / 2
        told = knock(mode="opened", **common, connections=CONNECTIONS_OPEN, seconds=seconds, rate=rate)
        if told["errors"] or told["p99"] >= p99_seconds_max:
            high = rate
        else:
            low = rate
    return low


def mixed(rounds: int = 3, seconds: float = PROBE_SECONDS, probes: int = PROBES, tasks: int | None = None) -> Measured:
    """Four in five look at a task, one submits one; nothing but a constant."""
    with open_node("mixed", POSTING_TENANTS, tasks=tasks) as (ours, names), open_door("stock_bare") as theirs:
        body = json.dumps(TASK)
        texts = [(head("GET", "/v1/tasks/<name>", authorized(ours.keys[0])), 0.8)]
        texts += [
            (head("POST", "/v1/tasks", authorized(key), body=body), 0.2 / len(ours.keys[1:])) for key in ours.keys[1:]
        ]
        constant = [(head("GET", "/", authorized(ours.keys[0])), 1.0)]
        return both(
            lambda: highest_rate(ours, texts, names, seconds, probes),
            lambda: highest_rate(theirs, constant, "", seconds, probes),
            rounds,
        )


def fair(rounds: int = 3, seconds: float = FAIR_SECONDS, tasks: int | None = None) -> Measured:
    """A tenant that asks now and then: p99 in milliseconds while another asks as fast as it is answered, and alone."""
    with open_node("fair", 1, tasks=tasks) as (door, names):
        asked = [(head("GET", "/v1/tasks/<name>", authorized(door.keys[0])), 1.0)]
        flood = [(head("GET", "/v1/tasks", authorized(door.keys[1])), 1.0)]
        common = {"port": door.port, "pid": door.pid}
        visit = partial(
            knock, mode="opened", **common, requests=asked, names=names, connections=CONNECTIONS, rate=FAIR_RATE
        )

        def flooded() -> float:
            finish = start_knocking(
                mode="closed", **common, requests=flood, names="", connections=FLOODERS, seconds=seconds, warm=1.0
            )
            told = visit(seconds=seconds - 1.0)
            finish()
            return NEVER if told["errors"] else float(told["p99"] * 1e3)

        for first in (
            asked,
            flood,
        ):  # the first pages of a process are slow, and a p99 of 250 requests shows three of them
            knock(mode="closed", **common, requests=first, names=names, connections=1, seconds=WARM_SECONDS, warm=0.0)
        return both(flooded, lambda: float(visit(seconds=seconds - 1.0)["p99"] * 1e3), rounds)


# Websockets and streams


def frame(payload: bytes) -> str:
    """A binary frame as clients send it, with a mask that is not all zeros, in hexadecimal digits."""
    mask = b"\x37\xfa\x21\x3d"
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    return (b"\x82" + size + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))).hex()


def upgrade(path: str, *fields: str) -> str:
    """A request for a websocket."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    asked = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key)
    return head("GET", path, *asked, *fields)


def ask(door: Door, method: str, path: str, key: str, body: Any = None) -> Any:
    """One request to a node, its answer decoded."""
    client = http.client.HTTPConnection("127.0.0.1", door.port)
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    client.request(method, path, None if body is None else json.dumps(body), fields)
    answer = client.getresponse()
    said = json.loads(answer.read())
    client.close()
    if answer.status >= 300:
        raise NotMeasurable(f"{method} {path}: {said}")
    return said


def _hire(door: Door, books: int = BOOKS) -> str:
    """The key of an agent that bids; others never answer, so that all books stay open, and have slots for them. Each is called for each."""
    common = {"agent_type": "performance", "capabilities": ["cutting"], "slots": SLOTS}
    names = ["ada", *(f"silent-{number}" for number in range(max(1, -(-books // SLOTS) - 1)))]
    hired = [ask(door, "POST", "/v1/agents", door.keys[0], {"id": name, "name": name, **common}) for name in names]
    return str(hired[0]["key"])


@contextmanager
def _bids(door: Door, books: int = BOOKS) -> Iterator[list[str]]:
    """The frames of bids for so many tasks, which are called off in the end."""
    submitted: list[str] = []
    for first in range(0, books, BOOKS_AT_ONCE):
        tasks = [TASK | {"bidding_seconds": BIDDING_SECONDS}] * min(BOOKS_AT_ONCE, books - first)
        told = ask(door, "POST", "/v1/tasks:batch", door.keys[0], {"tasks": tasks})["tasks"]
        submitted += [one["task_id"] for one in told]
    while ask(door, "GET", f"/v1/tasks/{submitted[-1]}", door.keys[0])["stage"] != "bidding":
        time.sleep(OPENING_SECONDS)
    yield [
        frame(msgspec.msgpack.encode({"type": "bid", "task_id": task_id, "price": price, "eta_seconds": 5.0}))
        for price in range(1, ANSWERS + 1)
        for task_id in submitted
    ]
    for task_id in submitted:
        ask(door, "DELETE", f"/v1/tasks/{task_id}", door.keys[0])


def ws_command(rounds: int = ROUNDS, seconds: float = ROUND_SECONDS, tasks: int | None = None) -> Measured:
    """Bids in the journal; the same frames sent back."""
    with open_node("commands", tasks=tasks) as (ours, _), open_door("stock_bare") as theirs:
        protocol = "Sec-WebSocket-Protocol: gavel.v1.msgpack"
        bid_here = upgrade("/v1/agents/ada/ws", authorized(_hire(ours)), protocol)

        def rate(door: Door, request: str, frames: list[str], counted: bytes, *, once: bool = False) -> float:
            told = knock(
                mode="sockets",
                port=door.port,
                pid=door.pid,
                request=request,
                frames=frames,
                counted=counted.hex(),
                in_flight=IN_FLIGHT,
                seconds=seconds,
                warm=WARM_SECONDS,
                once=once,
            )
            return float(told["answers"] / told["seconds"])

        def bidding() -> float:
            with _bids(ours) as frames:
                return rate(ours, bid_here, frames, msgspec.msgpack.encode("ack"), once=True)

        echoed = [frame(msgspec.msgpack.encode({"type": "bid", "task_id": "0" * 36, "price": 1.0, "eta_seconds": 5.0}))]
        return both(bidding, lambda: rate(theirs, upgrade("/ws"), echoed, b"task_id"), rounds)


def fanout_sse(
    rounds: int = 3,
    seconds: float = 4.0,
    readers: int = READERS,
    rate: int = EVENTS_PER_SECOND,
    tasks: int | None = None,
) -> Measured:
    """Deliveries for a second of the server's CPU: one event at one reader."""
    with open_node("feeds", 1, tasks=tasks) as (ours, _), open_door("stock_stream") as theirs:
        body, key = json.dumps(TASK), authorized(ours.keys[1])
        common = {"mode": "streams", "readers": readers, "rate": rate, "seconds": seconds, "warm": 2.0}

        def deliveries(door: Door, path: str, place: str) -> float:
            told = knock(
                **common,
                port=door.port,
                pid=door.pid,
                request=head("GET", path, key),
                posts=[(head("POST", place, key, body=body), 1.0)],
                counted="event: task.TaskSubmitted",
            )
            return 0.0 if told["errors"] else float(told["answers"] / told["cpu"])

        return both(
            lambda: deliveries(ours, "/v1/feed", "/v1/tasks"), lambda: deliveries(theirs, "/events", "/post"), rounds
        )


def ws_idle_bytes(rounds: int = 1, connections: int = IDLE) -> Measured:
    """Resident bytes of the server for each websocket that says nothing."""

    def grown(kind: str) -> float:
        with ExitStack() as stack:
            door = stack.enter_context(open_door(kind))
            told = knock(
                mode="idle",
                port=door.port,
                pid=door.pid,
                request=upgrade("/ws"),
                connections=connections,
                settle=SETTLE_SECONDS,
            )
            return float(told["bytes"])

    return both(lambda: grown("ours_bare"), lambda: grown("stock_bare"), rounds)


STOCK = "stock hypercorn -k trio: "
US = "us CPU per request"


def _cost(name: str, measure: Callable[[], Measured], peer: str, goal: float) -> Row:
    return Row(name=name, measure=measure, peer=STOCK + peer, unit=US, better="less", goal=goal)


def _rate(name: str, measure: Callable[[], Measured], peer: str, unit: str, goal: float) -> Row:
    return Row(name=name, measure=measure, peer=STOCK + peer, unit=unit, better="more", goal=goal)


ROWS = (
    _cost("get_bare", get_bare, "the same bare Starlette route", 2.0),
    _cost("get", get, "a bare route that returns a constant", 1.3),
    _cost("post", post, "Starlette and pydantic, nothing is written", 1.2),
    _rate("ws_command", ws_command, "plain echo, 32 in flight", "per second", 0.6),
    _rate("fanout_sse", fanout_sse, "StreamingResponse", "deliveries per CPU second", 3.0),
    _rate("mixed", mixed, "a bare route, GET alone", "requests per second with p99 < 50 ms", 1.0),
    Row(
        name="fair",
        measure=fair,
        peer="the same tenant alone",
        unit="ms p99 while another tenant floods",
        better="less",
        goal=2.0,
        at_most=True,
    ),
    Row(
        name="ws_idle_bytes",
        measure=ws_idle_bytes,
        peer=STOCK + "the same websocket route",
        unit=f"resident bytes per idle websocket at {IDLE:,}",
        better="less",
    ),
)
