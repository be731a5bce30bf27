"""The other peer of the runtime's bench: pykka, whose actors are a thread and an unbounded queue each."""

import time

import pykka


class Counter(pykka.ThreadingActor):
    """Adds, and answers the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        self.total += message
        return self.total


def ask(asks: int) -> float:
    """CPU microseconds of both threads for a question."""
    ref = Counter.start()
    try:
        started = time.process_time()
        for _ in range(asks):
            ref.ask(1)
        return (time.process_time() - started) / asks * 1e6
    finally:
        ref.stop()


def tell(messages: int) -> float:
    """CPU microseconds of both threads for a message; the clock stops when all are handled."""
    ref = Counter.start()
    try:
        started = time.process_time()
        for _ in range(messages):
            ref.tell(1)
        ref.ask(1)
        return (time.process_time() - started) / messages * 1e6
    finally:
        ref.stop()
