"""What happens to an actor that fails: the policy that its parent gives it, and how many failures are too many.

A refusal (`runtime.errors.Failure`) is no failure of the actor: its asker is told, the actor lives on.
"""

import math
import random
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, NamedTuple

FACTOR_MAX = 1000.0


class Directive(Enum):
    """What to do with an actor that has failed."""

    RESUME = "resume"
    """Go on with the next message, the state as it is."""
    RESTART = "restart"
    """A new incarnation in the same place: its children are stopped first, its mailbox waits."""
    STOP = "stop"
    ESCALATE = "escalate"
    """The failure is the parent's."""


class Backoff(NamedTuple):
    """Waits before a restart: `seconds * factor**n`, at most `seconds_max`, each shortened by up to `jitter` of itself."""

    seconds: float = 0.1
    factor: float = 2.0
    seconds_max: float = 30.0
    jitter: float = 0.2

    def wait(self, failures: int, chance: random.Random) -> float:
        """Seconds to wait before the restart after this many failures in a row."""
        full = min(self.seconds_max, self.seconds * self.factor ** min(failures - 1, 64))
        return full * (1 - self.jitter * chance.random())

    def faults(self) -> Iterator[str]:
        """What keeps anybody from keeping to it."""
        for name in ("seconds", "seconds_max"):
            if not 0 <= (seconds := getattr(self, name)) < math.inf:
                yield f"backoff.{name} is {seconds}: it must be finite and not below 0"
        if not 1 <= self.factor <= FACTOR_MAX:
            yield f"backoff.factor is {self.factor}: it must be from 1 to {FACTOR_MAX}"
        if not 0 <= self.jitter <= 1:
            yield f"backoff.jitter is {self.jitter}: it must be from 0 to 1"


class Supervision(NamedTuple):
    """A child's policy. `by_error` is looked through in order; `otherwise` is for what it does not name.

    `restarts_max` restarts within `window_seconds` are allowed; the next failure is `exhausted`: by default the parent's.
    With `together`, all children of the parent that have such a policy restart with the one that failed.
    """

    by_error: tuple[tuple[type[BaseException], Directive], ...] = ()
    otherwise: Directive = Directive.RESTART
    backoff: Backoff | None = None
    restarts_max: int = 5
    window_seconds: float = 60.0
    exhausted: Literal[Directive.STOP, Directive.ESCALATE] = Directive.ESCALATE
    together: bool = False

    def directive(self, error: BaseException) -> Directive:
        """What is to be done about this error."""
        for kind, directive in self.by_error:
            if isinstance(error, kind):
                return directive
        return self.otherwise

    def faults(self) -> Iterator[str]:
        """What keeps anybody from keeping to it."""
        if self.restarts_max < 0:
            yield f"restarts_max is {self.restarts_max}: it must not be below 0"
        if not self.window_seconds >= 0:
            yield f"window_seconds is {self.window_seconds}: it must not be below 0"
        exhausted: Any = self.exhausted  # of who has no type checker
        if exhausted not in (Directive.STOP, Directive.ESCALATE):
            yield f"exhausted is {self.exhausted}: it must be STOP or ESCALATE"
        yield from self.backoff.faults() if self.backoff is not None else ()


class Failures:
    """The restarts of one child: within its window, and in a row."""

    __slots__ = ("_at", "_in_a_row", "_in_a_row_until")

    def __init__(self) -> None:
        self._at: deque[float] = deque()
        self._in_a_row = 0
        self._in_a_row_until = 0.0

    def __len__(self) -> int:
        return len(self._at)

    def add(self, at: float, policy: Supervision) -> bool:
        """Counts one; returns whether it was one too many."""
        self._at.append(at)
        while self._at[0] < at - policy.window_seconds:
            self._at.popleft()
        return len(self._at) > policy.restarts_max

    def wait(self, at: float, policy: Supervision, chance: random.Random) -> float:
        """Seconds to wait before the restart. A row of failures ends where none came for a whole window after a restart."""
        assert policy.backoff is not None
        self._in_a_row = self._in_a_row + 1 if at <= self._in_a_row_until else 1
        seconds = policy.backoff.wait(self._in_a_row, chance)
        self._in_a_row_until = at + seconds + policy.window_seconds
        return seconds


DEFAULT = Supervision()
