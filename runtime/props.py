"""How an actor is kept: what whoever spawns it may choose."""

from collections.abc import Iterator
from typing import NamedTuple

from runtime.supervision import DEFAULT, Supervision


class Props(NamedTuple):
    """How an actor is kept: the bounds of its mailbox and stash, its supervision, whether an asker may run it in its own step, and whether
    the times of its messages are measured."""

    mailbox_max: int = 1024
    stash_max: int = 1024
    supervision: Supervision = DEFAULT
    caller_runs: bool = True
    telemetry: bool = True

    def faults(self) -> Iterator[str]:
        """What keeps an actor from being kept so."""
        if self.mailbox_max < 1:
            yield f"mailbox_max is {self.mailbox_max}: there must be room for one message"
        if self.stash_max < 0:
            yield f"stash_max is {self.stash_max}: it must not be below 0"
        yield from self.supervision.faults()


USUAL = Props()
