"""Who takes which message: by its type, so that a sender need not know the address."""

from typing import TYPE_CHECKING, Any, TypeVar

from runtime.cell import Cell
from runtime.delivery import Context, Delivery, Receipt
from runtime.errors import Unreachable
from runtime.kind import STOPPED, Kind
from runtime.life import Life, Work
from runtime.records import Command
from runtime.ref import ActorRef

if TYPE_CHECKING:
    from runtime.actors import Actors

R = TypeVar("R")

NOBODY = "nobody takes its type"


class Nobody(Cell):
    """The address of a message of which nobody takes the type."""

    __slots__ = ("_router",)

    def __init__(self, actors: "Actors", router: "Router") -> None:
        super().__init__(actors, Kind("nobody", mailbox_max=1), None, "nobody", None)
        self._state = STOPPED
        self._router = router

    def tell(self, message: Any, *, context: Context | None = None) -> None:
        # A dead letter that is sent again: by now somebody may take it.
        ref = self._router.route(message)
        if ref is self:
            super().tell(message, context=context)
        else:
            ref.tell(message, context=context)

    def _await(self, delivery: Delivery, asker: Life | Work | None, seconds: float | None) -> None:
        raise Unreachable(f"nobody takes {type(delivery.message).__name__}")

    def _enqueue(self, delivery: Delivery, wait: bool) -> bool:
        self._refuse(delivery, NOBODY)
        return True


class Router:
    """The addresses by type of message: an actor's, a pool's, or that of actors by key."""

    def __init__(self, actors: "Actors") -> None:
        self._ref_by_type: dict[type, ActorRef] = {}
        self._nobody = Nobody(actors, self)

    def add(self, ref: ActorRef, *types: type) -> None:
        """Has messages of these types sent to this address; by default those that its actor `takes`.

        Raises ValueError where a type is taken already, naming both, or where no type is named.
        """
        if not types and isinstance(ref, Cell):
            types = tuple(sorted(ref.takes, key=lambda one: one.__name__))
        if not types:
            raise ValueError(f"{ref.path} says of no type that it takes it: name them")
        faults = [
            f"{one.__name__} is taken by {self._ref_by_type[one].path} already, {ref.path} can't take it too"
            for one in types
            if one in self._ref_by_type
        ]
        if faults:
            raise ValueError("; ".join(faults))
        self._ref_by_type.update(dict.fromkeys(types, ref))

    def remove(self, *types: type) -> None:
        """Nobody takes these types any more. Raises KeyError where nobody did."""
        for one in types:
            del self._ref_by_type[one]

    def types(self) -> dict[type, ActorRef]:
        """Who takes what."""
        return dict(self._ref_by_type)

    def route(self, message: Any) -> ActorRef:
        """The address for this message; where nobody takes its type, one where an ask is Unreachable and a tell a dead letter."""
        return self._ref_by_type.get(type(message), self._nobody)

    async def ask(
        self,
        message: Command[R],
        *,
        seconds: float | None = None,
        context: Context | None = None,
        receipt: Receipt | None = None,
    ) -> R:
        """Asks whoever takes this type of message, as `ActorRef.ask` does."""
        return await self.route(message).ask(message, seconds=seconds, context=context, receipt=receipt)

    def tell(self, message: Any, *, context: Context | None = None) -> None:
        """Tells whoever takes this type of message, as `ActorRef.tell` does."""
        self.route(message).tell(message, context=context)

    async def tell_when_free(self, message: Any, *, context: Context | None = None) -> None:
        """Tells whoever takes this type of message as soon as there is room."""
        await self.route(message).tell_when_free(message, context=context)
