"""Whose turn it is to be called: the agents with a free slot, by skill, the least taken first.

How far an agent is taken: the tasks that it holds, and its part of the open books that call it, by its slots. A book counts 1, in equal
parts over those whom it calls, since each of them gets it as likely as not: so books are spread over all agents, and no more are opened
than could be awarded. Of those equally taken the one comes first that was called longest ago. What is counted is whole numbers, so that
nothing depends on the order in which books begin and end.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count

WHOLE = 1 << 40
"""What a book counts, and a slot holds."""
STEPS = 16
"""So many degrees there are from free to taken."""
DEGREE_MAX = 4 * STEPS
"""Whoever is called for more than it could do is told apart no further than this."""


def part(called: int) -> int:
    """What a book counts for each of those whom it calls."""
    return WHOLE // max(1, called)


def degree(held: int, slots: int, awaited: int) -> int:
    """How far somebody is taken who holds so many tasks and awaits so much of open books."""
    return min(DEGREE_MAX, (held * WHOLE + awaited) * STEPS // (slots * WHOLE))


class Awaited:
    """What each agent awaits of the open books; whoever awaits nothing is not in here."""

    def __init__(self) -> None:
        self._by_agent: dict[str, int] = {}

    def of(self, name: str) -> int:
        return self._by_agent.get(name, 0)

    def add(self, names: Sequence[str]) -> None:
        """A book was opened for these."""
        by_agent, more = self._by_agent, part(len(names))
        for name in names:
            by_agent[name] = by_agent.get(name, 0) + more

    def drop(self, names: Sequence[str]) -> None:
        """It has ended."""
        less = part(len(names))
        for name in names:
            left = self._by_agent[name] - less
            if left:
                self._by_agent[name] = left
            else:
                del self._by_agent[name]


class Queue:
    """Agents by how far they are taken, and in the order in which they came to that."""

    def __init__(self) -> None:
        self._by_degree: dict[int, OrderedDict[str, None]] = {}
        self._degree_by_agent: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._degree_by_agent)

    def __contains__(self, name: str) -> bool:
        return name in self._degree_by_agent

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """From the least taken on. Nothing may change meanwhile."""
        for number in sorted(self._by_degree):
            for name in self._by_degree[number]:
                yield number, name

    def put(self, name: str, number: int, *, last: bool = False) -> None:
        """Takes in how far an agent is taken now; where that is as before it keeps its place, unless it goes `last`."""
        before = self._degree_by_agent.get(name)
        if before == number:
            if last:
                self._by_degree[number].move_to_end(name)
            return
        if before is not None:
            self.drop(name)
        self._degree_by_agent[name] = number
        alike = self._by_degree.get(number)
        if alike is None:
            alike = self._by_degree[number] = OrderedDict()
        alike[name] = None

    def drop(self, name: str) -> None:
        """It has no free slot any more, or not this skill."""
        number = self._degree_by_agent.pop(name)
        alike = self._by_degree[number]
        del alike[name]
        if not alike:
            del self._by_degree[number]


class Round:
    """Who is called in one step: what its books add to how far everybody is taken is counted beside what has happened."""

    def __init__(self, degree_with: Callable[[str, int], int]) -> None:
        """`degree_with` says how far somebody would be taken who awaited so much more."""
        self.degree_with = degree_with
        self.more: dict[str, int] = {}

    def degree(self, name: str) -> int:
        return self.degree_with(name, self.more.get(name, 0))

    def call(self, names: Sequence[str]) -> None:
        """One more book calls these."""
        more = part(len(names))
        for name in names:
            self.more[name] = self.more.get(name, 0) + more


class Walk:
    """Goes through a queue for several books of one step: those whom it has called come again when it is their turn again."""

    def __init__(self, queue: Iterable[tuple[int, str]], suits: Callable[[str], bool], round_: Round) -> None:
        self._rest = iter(queue)
        self._suits = suits
        self._round = round_
        self._next = next(self._rest, None)
        self._seen: tuple[int, str] | None = None
        """Who comes next, where that was looked for already."""
        self._later: list[tuple[int, int, str]] = []
        self._number = count()

    def take(self, many: int) -> list[str]:
        """The next so many who suit, or all there are."""
        found: list[str] = []
        while len(found) < many and (one := self._pop()) is not None:
            found.append(one[1])
        return found

    def has_more(self) -> bool:
        """Whether anybody else suits."""
        self._seen = self._pop()
        return self._seen is not None

    def put_back(self, names: Iterable[str]) -> None:
        """These may be called once more, by books to come."""
        for name in names:
            heappush(self._later, (self._round.degree(name), next(self._number), name))

    def _pop(self) -> tuple[int, str] | None:
        """The least taken who suits."""
        while (one := self._first()) is not None:
            number, name = one
            if name not in self._round.more or self._round.degree(name) <= number:
                return one  # who was not called in this step stands where its queue has it
            self.put_back([name])
        return None

    def _first(self) -> tuple[int, str] | None:
        """As it stood when it was put where it is: those not yet come to before those who were put back and are as far taken."""
        if self._seen is not None:
            one, self._seen = self._seen, None
            return one
        while self._next is not None and (not self._later or self._next[0] <= self._later[0][0]):
            one, self._next = self._next, next(self._rest, None)
            if self._suits(one[1]):
                return one
        if not self._later:
            return None
        number, _, name = heappop(self._later)
        return number, name
