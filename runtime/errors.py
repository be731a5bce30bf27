"""The expected failures: four families that callers can tell apart; everything else is a bug or a broken world."""

from collections.abc import Sequence
from typing import NamedTuple

ELSEWHERE = "from another thread, actors are reached by trio.from_thread.run(ref.ask, …)"


class Failure(Exception):
    """What a caller of an actor may expect to catch."""


class FieldFault(NamedTuple):
    """One thing that is wrong with a command: `pointer` leads to it among the command's fields, as a JSON pointer (RFC 6901)."""

    pointer: str
    code: str
    detail: str


class Refused(Failure):
    """The domain says no: `code` is a fact in snake_case, `status` the HTTP status that says the same (403, 404, 409, 422 or 501).

    Where it is what the command says that can't be taken, `faults` has all that is wrong with it; where it would be taken later,
    `retry_seconds` says when to try again.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        status: int = 409,
        faults: Sequence[FieldFault] = (),
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.status = status
        self.faults = tuple(faults)
        self.retry_seconds = retry_seconds

    @classmethod
    def of(cls, faults: Sequence[FieldFault]) -> "Refused":
        """The refusal of a command that has these faults: it goes by the code of the first, and tells all."""
        told = [fault.detail if len(faults) == 1 else f"{fault.code}: {fault.detail}" for fault in faults]
        return cls(faults[0].code, "; ".join(told), status=422, faults=faults)


class Conflict(Failure):
    """The race was lost: somebody else wrote what this command relied on. Reading again and trying again may help."""


class Stale(Conflict):
    """What the caller has seen is not the newest any more: something was recorded past the position that it names."""


class Overloaded(Failure):
    """There is no room now; `retry_seconds` says when to try again. Nothing of the command was recorded."""

    def __init__(self, detail: str, *, retry_seconds: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_seconds = retry_seconds


class Unreachable(Failure):
    """Nobody is there to answer: the actor or the node is stopped, or no actor takes this type of message."""


class AskCycle(Unreachable):
    """The asked actor waits, however far round, for the asker: nobody would ever answer. The text names the whole chain."""


class NotAnswered(Unreachable):
    """The deadline passed. `begun` tells whether the message had been begun (it will complete and be recorded) or was withdrawn."""

    def __init__(self, detail: str, *, begun: bool) -> None:
        super().__init__(detail)
        self.begun = begun


class NotCommitted(Overloaded):
    """The journal could not commit the batch; nothing of it is recorded, the reason is in the text."""


class NoRoom(Overloaded):
    """The disk has less room left than is kept for work that has begun; nothing of the command was recorded."""


class Crashed(Failure):
    """The actor failed while it handled the message; `error_id` finds the stack in the log."""

    def __init__(self, error_id: str) -> None:
        super().__init__(f"the actor failed (error {error_id})")
        self.error_id = error_id


class Exhausted(Exception):
    """An actor failed more often than its restart budget allows; the node stops."""


class Fenced(Exception):
    """A second writer has written to this journal; this node stops before it can do harm."""
