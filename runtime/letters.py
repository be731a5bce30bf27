"""Dead letters: messages that nobody will handle. They are counted by reason, the newest are kept, and can be sent again."""

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.delivery import Context, Delivery

if TYPE_CHECKING:
    from runtime.ref import ActorRef

LETTERS_MAX = 1000
REASONS_MAX = 50
"""Reasons that are counted each; the rest is counted together."""


class DeadLetter(NamedTuple):
    """A message, whom it was for, why it was not handled, and on whose behalf it was sent."""

    number: int
    message: Any
    ref: "ActorRef"
    reason: str
    context: Context | None


class DeadLetters:
    """The newest LETTERS_MAX of them, and the counts of all."""

    def __init__(self) -> None:
        self.count_by_reason: Counter[str] = Counter()
        self._letters: deque[DeadLetter] = deque(maxlen=LETTERS_MAX)
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def add(self, ref: "ActorRef", delivery: Delivery, reason: str) -> None:
        """Keeps a message that was told to somebody who is gone."""
        self._number += 1
        self.count_by_reason[self._counted_as(reason)] += 1
        self._letters.append(DeadLetter(self._number, delivery.message, ref, reason, delivery.context))

    def _counted_as(self, reason: str) -> str:
        """The reason without what is told of one case in brackets: there must be few."""
        plain = reason.partition(" (")[0]
        return plain if plain in self.count_by_reason or len(self.count_by_reason) < REASONS_MAX else "other"

    def newest(self, limit: int = 100) -> list[DeadLetter]:
        """The last ones, newest first."""
        return list(self._letters)[: -limit - 1 : -1]

    def find(self, number: int) -> DeadLetter | None:
        """The letter of this number, while it is kept."""
        return next((letter for letter in self._letters if letter.number == number), None)

    def forget(self, concerns: Callable[[Any, Context | None], bool]) -> None:
        """Drops the letters whose message and context are concerned; they stay counted."""
        kept = [letter for letter in self._letters if not concerns(letter.message, letter.context)]
        self._letters = deque(kept, maxlen=LETTERS_MAX)

    def send_again(self, letter: DeadLetter, to: "ActorRef | None" = None) -> None:
        """Tells it anew, to the same address or another, and forgets it; where nobody is there again, it is a new dead letter.

        Raises KeyError for a letter that was sent again already or is not kept any more, and Overloaded where there is no room: then it is
        kept.
        """
        if letter not in self._letters:
            raise KeyError(f"dead letter {letter.number} is not kept any more")
        place = self._letters.index(letter)
        # First: were it a dead letter once more, that would push the oldest out, perhaps itself.
        del self._letters[place]
        try:
            (to or letter.ref).tell(letter.message, context=letter.context)
        except BaseException:
            self._letters.insert(place, letter)
            raise
