"""Counts what has arrived, on both sides of a bench: the clock stops with the last message and not with the end of tasks."""

import trio


class Arrivals:
    """So many messages are expected; whoever takes the last one sets `all`."""

    __slots__ = ("all", "missing")

    def __init__(self, expected: int) -> None:
        self.missing = expected
        self.all = trio.Event()
