"""What the journal keeps at hand, bounded in bytes: the newest states of streams, and answers that were given under idempotency keys.

What was used longest ago goes first. What rests on records that are not committed never goes: until then it is found nowhere else.

How large a state is, is measured now and then, since that costs a look at all of it: when the events that came since the last look are
a quarter of its size, packed; or twice as many as the last time, LOOK_BYTES_MAX at most, where it has not grown by them. So a step pays
for a look-up alone, and the sum is short of the truth by what those last events have brought.
"""

from collections import OrderedDict
from sys import getsizeof
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from runtime.records import Aggregate

STATE_CACHE_BYTES = 256 * 2**20
REPLY_CACHE_BYTES_MAX = 64 * 2**20
ENTRIES_MIN = 64
"""So many stay however large they are: what a step has had fetched must be there when it runs."""

ENTRY_BYTES = 500
"""What an entry takes up beside its value: its name, its places in the tables, and what is noted of it."""

NEW_BYTES, NEW_EVENT_BYTES = 8192, 1024
"""Packed events become states of eight times as many bytes and less. What most streams begin with has to be within: to measure a task that
was just submitted costs as much as to decide it."""

LOOK_BYTES_MIN = 256
LOOK_BYTES_MAX = 65_536
NESTED_MAX = 16
LEVELS_MAX = 32
PLAIN = {str, int, float, bool, bytes, type(None)}


class Held(msgspec.Struct, frozen=True, gc=False):
    """A stream's state as of its newest decision, the position of that decision's last record, and what decides about it."""

    state: Any
    version: int
    tenant: str
    position: int
    aggregate: Aggregate
    is_archived: bool = False


class Placed(Protocol):
    """Something that rests on the records up to a position."""

    @property
    def position(self) -> int: ...


K = TypeVar("K")
V = TypeVar("V", bound=Placed | None)


class Cache(OrderedDict[K, V], Generic[K, V]):
    """Values by name, oldest use first; `bytes` is what they take up together. Values are set by `put` alone."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self.bytes_max = bytes_max
        self.bytes = 0
        self._bytes_by_name: dict[K, int] = {}

    def put(self, name: K, value: V, size: int) -> None:
        """Keeps a value of that size as the newest."""
        self.bytes += size - self._bytes_by_name.get(name, 0)
        self._bytes_by_name[name] = size
        self[name] = value
        self.move_to_end(name)

    def shrink(self, committed: int, entries_min: int = ENTRIES_MIN) -> None:
        """Drops the oldest until the rest fits, or until one rests on what is not committed yet."""
        while self.bytes > self.bytes_max and len(self) > entries_min:
            name = next(iter(self))
            value = self[name]
            if value is not None and value.position > committed:
                break
            self._drop(name)

    def forget(self, committed: int) -> None:
        """Drops all but what rests on records that are not committed yet."""
        for name in [name for name, value in self.items() if value is None or value.position <= committed]:
            self._drop(name)

    def _drop(self, name: K) -> None:
        del self[name]
        self.bytes -= self._bytes_by_name.pop(name)

    def clear(self) -> None:
        super().clear()
        self._bytes_by_name.clear()
        self.bytes = 0


class States(Cache[str, Held]):
    """The newest states of streams, each with how many packed bytes of events it may still take before it is measured."""

    def __init__(self, bytes_max: int = STATE_CACHE_BYTES) -> None:
        super().__init__(bytes_max)
        self._left: dict[str, int] = {}
        self._looks: dict[str, int] = {}
        self.copied: dict[str, int] = {}
        """Of which version the newest saved copy is, where there is one."""

    def renew(self, stream: str, held: Held, event_bytes: int) -> bool:
        """Keeps what a stream has become by events of so many packed bytes; whether it was measured, which is now and then."""
        self[stream] = held
        self.move_to_end(stream)
        left = self._left.get(stream, 0) - event_bytes
        self._left[stream] = left
        if left > 0:
            return False
        self.measure(stream, held)
        return True

    def begin(self, stream: str, held: Held) -> None:
        """Keeps the state of a stream that has no records yet. It counts for NEW_BYTES until more than NEW_EVENT_BYTES have come."""
        self._looks[stream] = self._left[stream] = NEW_EVENT_BYTES
        self.put(stream, held, ENTRY_BYTES + NEW_BYTES)

    def measure(self, stream: str, held: Held) -> None:
        """Keeps a state and looks at how large it is now."""
        size, before = ENTRY_BYTES + memory_bytes(held.state), self._bytes_by_name.get(stream, 0)
        look = max(size // 4, LOOK_BYTES_MIN)
        if size <= before:
            look = max(look, min(2 * self._looks[stream], LOOK_BYTES_MAX))
        self._looks[stream] = self._left[stream] = look
        self.put(stream, held, size)

    def _drop(self, name: str) -> None:
        super()._drop(name)
        del self._left[name], self._looks[name]
        self.copied.pop(name, None)

    def clear(self) -> None:
        super().clear()
        self._left.clear()
        self._looks.clear()
        self.copied.clear()


def memory_bytes(value: Any, levels: int = LEVELS_MAX) -> int:
    """What a tree of plain values and structs takes up in memory; what it has in common with others is counted for each.

    Of a collection's nested values NESTED_MAX are looked into, evenly spread, and stand for the others.
    """
    if isinstance(value, msgspec.Struct):
        inner = [getattr(value, name) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        inner = [*value, *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inner = list(value)
    else:
        return getsizeof(value)
    nested = [one for one in inner if type(one) not in PLAIN]
    size = getsizeof(value) + sum([getsizeof(one) for one in inner if type(one) in PLAIN])
    if not nested or not levels:
        return size
    seen = nested[:: -(-len(nested) // NESTED_MAX)]
    return size + sum([memory_bytes(one, levels - 1) for one in seen]) * len(nested) // len(seen)
