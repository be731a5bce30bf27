"""The clients that the gateway bench sends, in a process of their own.

`python -m benchmarks.knocking` reads what to do, and says what came of it.

Raw sockets and prepared bytes, the same for both sides, and no more work for an answer than finding its end. The server's CPU time is read
at the two ends of the measured time.
"""

import json
import math
import os
import random
import re
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import NotMeasurable

RECEIVE_BYTES = 262_144
POLL_SECONDS = 0.05
DRAIN_SECONDS_MAX = 3.0
ANSWER_SECONDS_MAX = 10.0
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
TICKS = os.sysconf("SC_CLK_TCK")


def knock(clients: str = "benchmarks.knocking", /, **spec: Any) -> dict[str, Any]:
    """Sends clients, a module of which there are more, in a process of their own and waits for what they have to say."""
    command = [sys.executable, "-m", clients]
    done = subprocess.run(command, input=json.dumps(spec), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasurable(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def start_knocking(**spec: Any) -> Callable[[], dict[str, Any]]:
    """The same, beside others: what is returned waits for the answer."""
    command = [sys.executable, "-m", "benchmarks.knocking"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(spec))
    process.stdin.close()
    process.stdin = None

    def finish() -> dict[str, Any]:
        said, _ = process.communicate()
        if process.returncode:
            raise NotMeasurable("the clients have failed")
        answer: dict[str, Any] = json.loads(said)
        return answer

    return finish


def cpu_seconds(pid: int) -> float:
    """What a process has used: user and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def head(method: str, path: str, *fields: str, body: str = "") -> str:
    """A request as any client sends it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: bench", "Accept: */*", *fields]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + "\r\n\r\n" + body


class Requests:
    """What is asked for, in a random order: texts with their weights, in which `{}` stands for one of the names in a file."""

    def __init__(self, texts: list[tuple[str, float]], names: str) -> None:
        self._parts = [text.encode().split(b"<name>") for text, _ in texts]
        self._weights = [weight for _, weight in texts]
        self._names = Path(names).read_bytes().split() if names else [b""]
        self._next: deque[bytes] = deque()

    def take(self) -> bytes:
        if not self._next:
            parts = random.choices(self._parts, self._weights, k=4096)
            names = random.choices(self._names, k=4096)
            self._next.extend(name.join(part) for part, name in zip(parts, names, strict=True))
        return self._next.popleft()


class Client:
    """One connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at = 0.0
        self._heard = b""
        self._missing = 0

    def ask(self, request: bytes, at: float) -> None:
        self.asked_at = at
        self.socket.sendall(request)

    def hear(self) -> bool | None:
        """Whether the answer is whole; None where it is none or an error."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            return None
        if self._missing:
            self._missing -= len(data)
            return self._missing == 0
        data = self._heard + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._heard = data
            return False
        self._heard = b""
        length = LENGTH.search(data, 0, end)
        if not data.startswith(b"HTTP/1.1 2") or length is None:
            return None
        self._missing = end + 4 + int(length[1]) - len(data)
        return self._missing == 0


def _connect(port: int, count: int) -> tuple[select.epoll, dict[int, Client]]:
    poll, clients = select.epoll(), {}
    for _ in range(count):
        client = Client(port)
        clients[client.socket.fileno()] = client
        poll.register(client.socket.fileno(), select.EPOLLIN)
    return poll, clients


def closed(spec: dict[str, Any]) -> dict[str, Any]:
    """Each connection asks as soon as it was answered; what the server's CPU spent on an answer."""
    requests = Requests(spec["requests"], spec["names"])
    poll, clients = _connect(spec["port"], spec["connections"])
    for client in clients.values():
        client.ask(requests.take(), time.perf_counter())
    _answer(poll, clients, requests, spec["warm"])
    spent, began = cpu_seconds(spec["pid"]), time.perf_counter()
    times, errors = _answer(poll, clients, requests, spec["seconds"])
    seconds, cpu = time.perf_counter() - began, cpu_seconds(spec["pid"]) - spent
    return {"answers": len(times), "errors": errors, "seconds": seconds, "cpu": cpu, "p99": quantile(times, 0.99)}


def _answer(
    poll: select.epoll, clients: dict[int, Client], requests: Requests, seconds: float
) -> tuple[list[float], int]:
    times, errors, until = [], 0, time.perf_counter() + seconds
    while (now := time.perf_counter()) < until:
        for number, _ in poll.poll(POLL_SECONDS):
            client = clients[number]
            whole = client.hear()
            if whole is None:
                errors += 1
                poll.unregister(number)
            elif whole:
                times.append(now - client.asked_at)
                client.ask(requests.take(), now)
    return times, errors


def opened(spec: dict[str, Any]) -> dict[str, Any]:
    """Requests come when they come, as many a second as named, whether those before were answered or not."""
    requests = Requests(spec["requests"], spec["names"])
    poll, clients = _connect(spec["port"], spec["connections"])
    free, waiting, times, errors = list(clients.values()), deque[float](), [], 0
    chance = random.Random(spec["rate"])
    start = next_at = time.perf_counter()
    until = start + spec["seconds"]
    while (now := time.perf_counter()) < until or (len(free) < len(clients) and now < until + DRAIN_SECONDS_MAX):
        while next_at <= now and next_at < until:
            waiting.append(next_at)
            next_at += chance.expovariate(spec["rate"])
        while waiting and free:
            free.pop().ask(requests.take(), waiting.popleft())
        rest = min(next_at, until) - now
        for number, _ in poll.poll(max(0.0, min(rest, POLL_SECONDS))):
            client = clients[number]
            whole = client.hear()
            if whole is None:
                errors += 1
                poll.unregister(number)
            elif whole:
                times.append(time.perf_counter() - client.asked_at)
                free.append(client)
    errors += len(waiting)
    return {"answers": len(times), "errors": errors, "p99": quantile(times, 0.99) if times else 1e9}


def sockets(spec: dict[str, Any]) -> dict[str, Any]:
    """One websocket with so many frames in flight: those of the server that hold what is counted. `once`: no frame is sent again, and
    the measured time ends with the last."""
    stream, heard = open_socket(spec["port"], spec["request"])
    frames = [bytes.fromhex(frame) for frame in spec["frames"]]
    counted, flight = bytes.fromhex(spec["counted"]), spec["in_flight"]
    frames_max = len(frames) if spec["once"] else math.inf
    stream.settimeout(ANSWER_SECONDS_MAX)
    asked = 0
    stream.sendall(b"".join(frames[asked % len(frames)] for asked in range(flight)))
    asked = flight
    answers, warm_until = 0, time.perf_counter() + spec["warm"]
    began, spent, first, until = 0.0, 0.0, 0, warm_until + spec["seconds"]
    while (now := time.perf_counter()) < until and answers < frames_max:
        if not began and now >= warm_until:
            began, spent, first = now, cpu_seconds(spec["pid"]), answers
        heard += stream.recv(RECEIVE_BYTES)
        got, heard = _count(heard, counted)
        answers += got
        more = int(min(got, frames_max - asked))
        stream.sendall(b"".join(frames[(asked + number) % len(frames)] for number in range(more)))
        asked += more
    if not began:
        raise RuntimeError("all frames were answered before it was warm")
    return {
        "answers": answers - first,
        "seconds": time.perf_counter() - began,
        "cpu": cpu_seconds(spec["pid"]) - spent,
        "errors": 0,
    }


def open_socket(port: int, request: str) -> tuple[socket.socket, bytes]:
    """A websocket, and what came with the answer."""
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(request.encode())
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += stream.recv(RECEIVE_BYTES) or _lost(heard)
    answer, _, heard = heard.partition(b"\r\n\r\n")
    if not answer.startswith(b"HTTP/1.1 101"):
        _lost(answer)
    return stream, heard


def _lost(heard: bytes) -> bytes:
    raise RuntimeError(f"no websocket: {heard[:500]!r}")


def _count(heard: bytes, counted: bytes) -> tuple[int, bytes]:
    """How many whole frames hold what is counted, and what is left over."""
    count, at = 0, 0
    while len(heard) >= at + 2:
        size, begin = heard[at + 1] & 127, at + 2
        if size == 126:
            size, begin = int.from_bytes(heard[at + 2 : at + 4]), at + 4
        if len(heard) < begin + size:
            break
        count += heard.find(counted, begin, begin + size) >= 0
        at = begin + size
    return count, heard[at:]


def idle(spec: dict[str, Any]) -> dict[str, Any]:
    """So many websockets that say nothing: the server's resident bytes for each."""
    before = _resident_bytes(spec["pid"])
    kept = [open_socket(spec["port"], spec["request"]) for _ in range(spec["connections"])]
    time.sleep(spec["settle"])
    return {"bytes": (_resident_bytes(spec["pid"]) - before) / len(kept)}


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def streams(spec: dict[str, Any]) -> dict[str, Any]:
    """So many readers of an event stream, while somebody posts so many events a second: deliveries, and the CPU that they took."""
    poll, readers = select.epoll(), {}
    for _ in range(spec["readers"]):
        reader = socket.create_connection(("127.0.0.1", spec["port"]))
        reader.sendall(spec["request"].encode())
        readers[reader.fileno()] = reader
        poll.register(reader.fileno(), select.EPOLLIN)
    counted = spec["counted"].encode()
    _hear_all(poll, readers, counted, spec["warm"])
    poster, posts = Client(spec["port"]), Requests(spec["posts"], "")
    spent, began = cpu_seconds(spec["pid"]), time.perf_counter()
    posted = heard = 0
    until = began + spec["seconds"]
    while (now := time.perf_counter()) < until:
        while posted < (now - began) * spec["rate"]:
            poster.ask(posts.take(), now)
            while (whole := poster.hear()) is not True:
                if whole is None:
                    raise RuntimeError("what was posted was not taken")
            posted += 1
        heard += _hear_all(poll, readers, counted, 0.002)
    wanted, last = posted * len(readers), time.perf_counter()
    while heard < wanted and time.perf_counter() < last + DRAIN_SECONDS_MAX:
        got = _hear_all(poll, readers, counted, 0.05)
        heard, last = heard + got, time.perf_counter() if got else last
    cpu = cpu_seconds(spec["pid"]) - spent
    return {"answers": heard, "errors": wanted - heard, "cpu": cpu, "seconds": time.perf_counter() - began}


def _hear_all(poll: select.epoll, readers: dict[int, socket.socket], counted: bytes, seconds: float) -> int:
    count, until = 0, time.perf_counter() + seconds
    while (rest := until - time.perf_counter()) > 0:
        for number, _ in poll.poll(rest):
            heard = readers[number].recv(RECEIVE_BYTES)
            count += heard.count(counted)
            if not heard:
                raise RuntimeError("a stream has ended")
    return count


def quantile(times: list[float], share: float) -> float:
    """The time that so many did not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else 0.0


MODES = {"closed": closed, "opened": opened, "sockets": sockets, "idle": idle, "streams": streams}

if __name__ == "__main__":
    told = json.load(sys.stdin)
    print(json.dumps(MODES[told.pop("mode")](told)))
