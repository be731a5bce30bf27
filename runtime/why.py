"""Why something happened: the chain of causes from an event up to the request that began it, and what it led to in turn.

Each record says what led to it: `@4711` another event, `timer` the actor's own clock, and nothing where somebody asked. All that one
message set off has one correlation, so what an event led to is found among those of the same.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from runtime.codec import SHUT, Codec
from runtime.decidable import UNDECIDABLE
from runtime.records import Meta, name_of
from runtime.store.log import Log

CHAIN_MAX = 1_000
"""How many causes are followed upwards; a longer chain says that it goes on."""

RELATED_MAX = 5_000
"""How many records of one correlation are looked at for what an event led to."""

LOOKED_AT_MAX = 20_000
"""How many records of a file that hold a correlation's text are looked at."""

BRANCHES_MAX = 1_000
WIDTH_MAX = 100
"""How many commands a tree has in all, and how many follow from one event."""

SIBLINGS_MAX = 256
"""How far the events of one command may reach."""

NEWEST = 2**62
POSITION_DIGITS_MAX = 18
"""A longer number is no position that a database could look for."""

TIMER = "timer"
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

Began = Literal["request", "timer", "unknown"]
"""By what a chain began: somebody asked, time came, or its beginning is not on record (any more, or within CHAIN_MAX)."""


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a command."""

    position: int
    kind: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A command and its events: who asked for it and when, and what led to it. `command` is empty where it can't be read."""

    position: int
    stream: str
    command: str
    id: str
    asked: dict[str, Any]
    events: list[Happened]
    at: float
    recorded_at: float
    tenant: str
    principal: str
    cause: str
    correlation: str


class Branch(msgspec.Struct, kw_only=True):
    """A command, and those that its events led to; `left_out` of those are not shown."""

    link: Link
    led_to: list["Branch"] = []
    left_out: int = 0


class Why(msgspec.Struct, kw_only=True):
    """`chain` goes from the command that was asked about up to the first one; `tree` has what it led to, where that was asked for."""

    of: int
    chain: list[Link]
    began: Began
    began_by: str
    tree: Branch | None = None


Related = Callable[[str, str, int], Sequence[int]]
"""The positions of a correlation's records, of one tenant, up to so many, in order: `related(tenant, correlation, limit)`."""


class Reasons:
    """Looks for reasons in one journal, as far as one tenant may see it (any, where none is named); blocks."""

    def __init__(self, log: Log, related: Related, tenant: str = "") -> None:
        self._log = log
        self._related = related
        self._tenant = tenant

    # ---- finding what was asked about

    def find(self, of: str) -> int | None:
        """The position that a text names: itself, or the newest record of a stream, a command, a correlation; None where there is none."""
        if of.isascii() and of.isdigit():
            return int(of) if len(of) <= POSITION_DIGITS_MAX and self.link(int(of)) is not None else None
        for stream in (of, *self._streams_of(of)):
            if (position := self._newest_of(stream)) is not None:
                return position
        if UUID7.fullmatch(of) and (position := self._command_of(of)) is not None:
            return position
        found = self._related(self._tenant, of, 1)
        return found[0] if found and self.link(found[0]) is not None else None

    def _streams_of(self, name: str) -> list[str]:
        """The streams that something of this name may have."""
        nouns = sorted(self._log.codec.aggregate_by_noun)
        own = [f"{noun}-{self._tenant}:{name}" for noun in nouns] if self._tenant else []
        return [*(f"{noun}-{name}" for noun in nouns), *own]

    def _newest_of(self, stream: str) -> int | None:
        rows = self._log.query(
            f"SELECT {self._log.POSITION} FROM stored_events WHERE originator_id=? ORDER BY originator_version DESC LIMIT 1",
            (stream,),
        )
        return int(rows[0][0]) if rows and self.link(int(rows[0][0])) is not None else None

    def _command_of(self, command_id: str) -> int | None:
        """A command's id says when it was decided, and decisions are recorded in the order of their times."""
        at = int(command_id[:8] + command_id[9:13], 16) / 1000
        low, high = 0, self._log.newest_position()
        while low < high:
            middle = (low + high) // 2
            meta = self._meta(middle + 1)
            if meta is not None and meta.at < at - 1.0:
                low = middle + 1
            else:
                high = middle
        return self._scan_for(command_id, low, at + 1.0)

    def _scan_for(self, command_id: str, after: int, until: float) -> int | None:
        while rows := self._log.rows(after, NEWEST, SIBLINGS_MAX):
            for position, _, _, _, body in rows:
                meta = _meta_of(self._log.codec, body)
                if meta is not None and meta.id == command_id and self._tenant in ("", meta.tenant):
                    return position
                if meta is not None and meta.at > until:
                    return None
            after = rows[-1][0]
        return None

    # ---- links

    def _meta(self, position: int) -> Meta | None:
        rows = self._log.rows(position - 1, position, 1)
        return _meta_of(self._log.codec, rows[0][4]) if rows else None

    def link(self, position: int) -> Link | None:
        """The command that an event belongs to; None where there is no such event for this tenant."""
        rows = self._log.rows(position - 1, position, 1)
        if not rows:
            return None
        stream, meta = rows[0][1], _meta_of(self._log.codec, rows[0][4])
        if meta is None or self._tenant not in ("", meta.tenant):
            return None
        first = max(0, position - SIBLINGS_MAX)
        around = self._log.rows(first, position + SIBLINGS_MAX, 2 * SIBLINGS_MAX) if meta.command is None else ()
        around = around or self._log.rows(position - 1, position + SIBLINGS_MAX, SIBLINGS_MAX)
        events, record = [], meta.command
        for where, its_stream, _, kind, body in around:
            told = _meta_of(self._log.codec, body) if its_stream == stream else None
            if told is not None and told.id == meta.id:
                events.append(Happened(position=where, kind=name_of(kind)))
                record = told.command or record
            elif where > position:
                break
        return Link(
            position=events[0].position,
            stream=stream,
            command=name_of(record.name) if record is not None else "",
            id=meta.id,
            asked=_asked(self._log.codec, record) if record is not None else {},
            events=events,
            at=meta.at,
            recorded_at=meta.recorded_at,
            tenant=meta.tenant,
            principal=meta.principal,
            cause=meta.cause,
            correlation=meta.correlation,
        )

    # ---- reasons

    def why(self, position: int, *, tree: bool = False) -> Why | None:
        """What led to the event at a position, and what it led to; None where there is no such event for this tenant."""
        link = self.link(position)
        if link is None:
            return None
        chain = [link]
        while len(chain) < CHAIN_MAX and (above := self._above(chain[-1])) is not None:
            chain.append(above)
        began, by = _beginning(chain[-1])
        return Why(of=position, chain=chain, began=began, began_by=by, tree=self._tree(link) if tree else None)

    def _above(self, link: Link) -> Link | None:
        """What led to a command; causes lie before their effects, so that no chain goes round."""
        cause = link.cause
        if cause.startswith("@") and cause[1:].isdigit() and int(cause[1:]) < link.position:
            return self.link(int(cause[1:]))
        if cause in ("", TIMER) or cause.startswith("@"):
            return None
        found = self._command_of(cause) if UUID7.fullmatch(cause) else None
        return self.link(found) if found is not None and found < link.position else None

    def _tree(self, root: Link) -> Branch:
        """What a command led to, breadth first, so that what is left out is the farthest."""
        effects = self._effects(root)
        branch = Branch(link=root)
        waiting, shown = [branch], 1
        for branch_now in waiting:
            causes = [branch_now.link.id, *(f"@{event.position}" for event in branch_now.link.events)]
            below = [position for cause in causes for position in effects.get(cause, ())]
            for position in sorted(below):
                link = self.link(position) if len(branch_now.led_to) < WIDTH_MAX and shown < BRANCHES_MAX else None
                if link is None:
                    branch_now.left_out += 1
                    continue
                shown += 1
                branch_now.led_to.append(Branch(link=link))
            waiting.extend(branch_now.led_to)
        return branch

    def _effects(self, root: Link) -> dict[str, list[int]]:
        """Where commands begin that have the root's correlation and come after it, by their cause."""
        found: defaultdict[str, list[int]] = defaultdict(list)
        for position in self._related(root.tenant, root.correlation, RELATED_MAX):
            if position > root.position:
                meta = self._meta(position)
                if meta is not None and meta.command is not None and meta.correlation == root.correlation:
                    found[meta.cause].append(position)
        return found


def related_in(log: Log) -> Related:
    """Looks through the whole log for a correlation: for who has nothing but a file."""

    def related(tenant: str, correlation: str, limit: int) -> list[int]:
        found = []
        for position, body in _holding(log, correlation):
            meta = _meta_of(log.codec, body)
            if meta is not None and meta.correlation == correlation and tenant in ("", meta.tenant):
                found.append(position)
            if len(found) == limit:
                break
        return found

    return related


def _holding(log: Log, text: str) -> Iterator[tuple[int, bytes]]:
    """The records that may hold a text; all of them where bodies are sealed whole, which no database looks into."""
    newest = log.rows(log.newest_position() - 1, NEWEST, 1)
    if not newest or newest[0][4][0] != SHUT:
        yield from log.query(
            f"SELECT {log.POSITION}, state FROM stored_events WHERE instr(state, CAST(? AS BLOB))"
            f" ORDER BY {log.POSITION} LIMIT ?",
            (text, LOOKED_AT_MAX),
        )
        return
    after = 0
    while rows := log.rows(after, NEWEST, SIBLINGS_MAX):
        yield from ((row[0], row[4]) for row in rows)
        after = rows[-1][0]


def _beginning(first: Link) -> tuple[Began, str]:
    if not first.cause:
        return "request", first.principal
    return ("timer", first.principal) if first.cause == TIMER else ("unknown", first.cause)


def _meta_of(codec: Codec, body: bytes) -> Meta | None:
    try:
        return codec.meta(body)
    except UNDECIDABLE:
        return None


def _asked(codec: Codec, record: Any) -> dict[str, Any]:
    """What a command says, in plain values, as far as it can be read."""
    try:
        said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(codec.command(record), order="deterministic"))
    except UNDECIDABLE:
        return {}
    return {name: value for name, value in said.items() if name not in ("at", "tenant")}
