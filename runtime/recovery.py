"""How actors get their memories back: from the saved folds and the journal past them, with the reactions that are still owed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from runtime.actor import Actor
from runtime.records import Event, Recorded
from runtime.store.contract import Memory

if TYPE_CHECKING:
    from runtime.system import Role

NODE = "node"
UNHEARD = "unheard/"
"""Before the name of a role of which there was no actor when memories were saved: it had heard nothing by then."""

WHOLE = "whole/"
"""The line that says which memories were saved together."""

Name = tuple[str, str]


@dataclass(slots=True)
class Fold:
    """A memory as of `position`, and the records past `reacted` that its actor has not reacted to."""

    memory: Any
    position: int = 0
    reacted: int = 0
    reactions: list[Recorded] = field(default_factory=list)


def shape(actor: type[Actor[Any, Any]]) -> str:
    """Changes when the memory's type or the fold's number does: a saved fold of another shape is not used."""
    memory: Any = type(actor.fresh())
    return _shape(memory, actor.FOLD)


@cache
def _shape(memory: Any, fold: int) -> str:
    schema = msgspec.json.encode(msgspec.json.schema(memory), order="deterministic")
    return hashlib.sha256(schema + b"%d" % fold).hexdigest()


def whole(memories: Sequence[Memory], position: int) -> list[Memory]:
    """The memories of all actors there were at a position, with a line by which it is known again that none is missing."""
    return [*memories, Memory(WHOLE, "", "", position, _names(memories))]


def _names(memories: Iterable[Memory]) -> bytes:
    """Which memories these are; what is in them is sealed with each."""
    names = sorted((memory.actor, memory.key, memory.shape, memory.position) for memory in memories)
    return hashlib.sha256(msgspec.msgpack.encode(names)).digest()


def _roles_of(memories: Iterable[Memory]) -> set[str]:
    return {memory.actor.removeprefix(UNHEARD) for memory in memories}


def hearers(roles: Iterable["Role"]) -> dict[type[Event], tuple[str, ...]]:
    """The names of the roles that hear each type of event."""
    names: dict[type[Event], tuple[str, ...]] = {}
    for role in roles:
        for event in role.actor.hears:
            names[event] = (*names.get(event, ()), role.name)
    return names


class Recovery:
    """Folds records into the memories of all roles (or only those of `only`); feed it the journal from `start` on, in order."""

    def __init__(
        self,
        roles: Mapping[str, "Role"],
        saved: Sequence[Memory],
        reacted: Mapping[Name, int],
        only: Collection[Name] | None = None,
    ) -> None:
        self._roles = roles
        self._names = hearers(roles.values())
        self._only = only
        self._reacted = reacted
        self.folds: dict[Name, Fold] = {}
        self._covered: set[str] = set()
        self._base = 0
        self._restore(saved)
        if only is not None:
            for name in only:
                self._fold(name)
        self.start = self._start()

    def _restore(self, saved: Sequence[Memory]) -> None:
        shapes = {name: shape(role.actor) for name, role in self._roles.items()}
        lines = [memory for memory in saved if memory.actor == WHOLE]
        memories = [memory for memory in saved if memory.actor != WHOLE]
        fitting: list[Memory] = []
        others: list[Memory] = []
        for memory in memories:
            fits = shapes.get(memory.actor.removeprefix(UNHEARD)) == memory.shape
            (fitting if fits else others).append(memory)
        if lines and lines[0].memory == _names(memories):
            self._base = min(memory.position for memory in saved)
            self._covered = _roles_of(fitting) - _roles_of(others)
        for actor, key, _, position, packed in fitting:
            name = (actor, key)
            if actor in self._roles and (self._only is None or name in self._only):
                kind = type(self._roles[actor].actor.fresh())
                fold = Fold(msgspec.msgpack.decode(packed, type=kind), position, self._reacted.get(name, 0))
                self.folds[name] = fold

    def _start(self) -> int:
        """Folds are saved of all actors at once: whoever has none has its whole past behind the oldest of them.

        Unless some are missing, or a role has none that fits: then everything is heard again.
        """
        uncovered = {name for name, role in self._roles.items() if role.actor.hears} - self._covered
        if self._only is None and uncovered:
            return 0
        starts = [min(fold.position, fold.reacted) for fold in self.folds.values()]
        return min(starts if self._only is not None else [*starts, self._base], default=0)

    def _fold(self, name: Name) -> Fold:
        fold = self.folds.get(name)
        if fold is None:
            base = self._base if name[0] in self._covered else 0
            reacted = max(base, self._reacted.get(name, 0))
            fold = self.folds[name] = Fold(self._roles[name[0]].actor.fresh(), base, reacted)
        return fold

    @property
    def hears(self) -> bool:
        """Whether any role remembers anything: else there is nothing to fold."""
        return bool(self._names)

    def take(self, record: Recorded, *, committed: bool = True) -> None:
        """Folds one record; what is not committed yet will be reacted to when it is."""
        for actor in self._names.get(type(record.event), ()):
            role = self._roles[actor]
            name = (actor, record.meta.tenant if role.key == "tenant" else NODE)
            if self._only is not None and name not in self._only:
                continue
            fold = self._fold(name)
            if record.position > fold.position:
                fold.memory = role.actor.remember(fold.memory, record)
                fold.position = record.position
            if committed and record.position > fold.reacted:
                fold.reactions.append(record)
