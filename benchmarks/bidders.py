"""The agents of `benchmarks/rounds.py`, in a process of their own: each has a socket and answers every call by a bid.

`python -m benchmarks.bidders` reads what to do, and says what came of it.
"""

import json
import random
import select
import socket
import sys
import time
from typing import Any

import msgspec

from benchmarks.knocking import POLL_SECONDS, RECEIVE_BYTES, Client, cpu_seconds, open_socket

ROUND_SECONDS_MAX = 30.0
MASK = 0x37FA213D
MASK_BYTES = MASK.to_bytes(4)


class Said(msgspec.Struct):
    """What of a server's frame matters here."""

    type: str
    task_id: str = ""
    position: int | None = None


def masked(payload: bytes) -> bytes:
    """A binary frame as clients send it."""
    size = len(payload)
    mask = MASK_BYTES * (size // 4) + MASK_BYTES[: size % 4]
    hidden = (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(size)
    head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2)
    return head + MASK_BYTES + hidden


def payloads(heard: bytes) -> tuple[list[bytes], bytes]:
    """The payloads of the frames that the bytes begin with, and what is left."""
    found, at = [], 0
    while len(heard) >= at + 2:
        size, begin = heard[at + 1] & 127, at + 2
        if size == 126:
            size, begin = int.from_bytes(heard[at + 2 : at + 4]), at + 4
        if len(heard) < begin + size:
            break
        found.append(heard[begin : begin + size])
        at = begin + size
    return found, heard[at:]


class Bidders:
    """All sockets, and what they have been told of the round that is open."""

    def __init__(self, port: int, requests: list[str], seed: int) -> None:
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.rests: dict[int, bytes] = {}
        self.random = random.Random(seed)
        self.read = msgspec.msgpack.Decoder(Said)
        self.acks = self.losses = self.awards = 0
        for request in requests:
            stream, heard = open_socket(port, request)
            number = stream.fileno()
            self.sockets[number], self.rests[number] = stream, heard
            self.poll.register(number, select.EPOLLIN)

    def run(self, poster: Client, posted: bytes) -> None:
        """One round: until everybody has the acknowledgement of its bid, and has heard who won. Raises where it goes otherwise."""
        self.acks = self.losses = self.awards = 0
        count, until = len(self.sockets), time.perf_counter() + ROUND_SECONDS_MAX
        poster.ask(posted, time.perf_counter())
        while self.acks < count or self.losses + self.awards < count:
            for number, _ in self.poll.poll(POLL_SECONDS):
                self._hear(number)
            if time.perf_counter() > until:
                raise RuntimeError(f"of {count}: {self.acks} bids taken, {self.losses} lost, {self.awards} won")
        while (whole := poster.hear()) is not True:
            if whole is None:
                raise RuntimeError("the task was not taken")
        if (self.acks, self.losses, self.awards) != (count, count - 1, 1):
            raise RuntimeError(f"of {count}: {self.acks} bids taken, {self.losses} lost, {self.awards} won")

    def _hear(self, number: int) -> None:
        data = self.sockets[number].recv(RECEIVE_BYTES)
        if not data:
            raise RuntimeError("a socket has ended")
        found, self.rests[number] = payloads(self.rests[number] + data)
        for payload in found:
            said = self.read.decode(payload)
            match said.type:
                case "call":
                    self._bid(number, said.task_id)
                case "ack":
                    self.acks += 1
                case "lost":
                    self.losses += 1
                case "award" if said.position is not None:  # one without is told again, to who has come back
                    self.awards += 1
                case "problem":
                    raise RuntimeError(payload)

    def _bid(self, number: int, task_id: str) -> None:
        price = round(self.random.uniform(1.0, 9.0), 2)
        bid = {"type": "bid", "id": number, "task_id": task_id, "price": price, "eta_seconds": 5.0}
        self.sockets[number].sendall(masked(msgspec.msgpack.encode(bid)))


def rounds(spec: dict[str, Any]) -> dict[str, Any]:
    """Some rounds to warm up, then those that are measured: the server's CPU for all of them."""
    bidders, poster = Bidders(spec["port"], spec["requests"], spec["seed"]), Client(spec["port"])
    posted = spec["posted"].encode()
    for _ in range(spec["warm"]):
        bidders.run(poster, posted)
    spent, began = cpu_seconds(spec["pid"]), time.perf_counter()
    for _ in range(spec["rounds"]):
        bidders.run(poster, posted)
    return {"cpu": cpu_seconds(spec["pid"]) - spent, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    print(json.dumps(rounds(json.load(sys.stdin))))
