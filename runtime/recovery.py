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
        self._unheard: dict[str, int] = {}
        self._restore(saved)
        if only is not None:
            for name in only:
                self._fold(name)
        self.start = self._start()

    def _restore(self, saved: Sequence[Memory]) -> None:
        shapes = {name: shape(role.actor) for name, role in self._roles.items()}
        for actor, key, its_shape, position, memory in saved:
            name, role = (actor, key), actor.removeprefix(UNHEARD)
            if role != actor:
                if shapes.get(role) == its_shape:
                    self._unheard[role] = position
            elif shapes.get(actor) == its_shape and (self._only is None or name in self._only):
                kind = type(self._roles[actor].actor.fresh())
                fold = Fold(msgspec.msgpack.decode(memory, type=kind), position, self._reacted.get(name, 0))
                self.folds[name] = fold

    def _start(self) -> int:
        """Folds are saved of all actors at once: whoever has none has its whole past behind the oldest of them.

        Unless it has reacted to something by then, or a role has no fold that fits: then everything is heard again.
        """
        covered = {*self._unheard, *(actor for actor, _ in self.folds)}
        uncovered = {name for name, role in self._roles.items() if role.actor.hears} - covered
        if self._only is None and (uncovered or set(self._reacted) - set(self.folds)):
            return 0
        starts = [min(fold.position, fold.reacted) for fold in self.folds.values()]
        return min(starts if self._only is not None else [*starts, *self._unheard.values()], default=0)

    def _fold(self, name: Name) -> Fold:
        fold = self.folds.get(name)
        if fold is None:
            fold = self.folds[name] = Fold(self._roles[name[0]].actor.fresh(), 0, self._reacted.get(name, 0))
        return fold

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
