"""What the clients of a run were told: held against the journal when the run is over."""

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from runtime.deadlines import SWEEP_SECONDS
from runtime.delivery import Context
from runtime.errors import Failure, NotAnswered
from runtime.records import Command, reply_type
from runtime.system import System

if TYPE_CHECKING:
    from runtime.simulation.world import World

R = TypeVar("R")

LATE_SECONDS_MAX = 1.0
"""An asker may be told so much after its deadline: deadlines are swept, and other tasks run first."""


class Asked:
    """A command under an idempotency key: how often it reached a node, and what its client was told."""

    def __init__(self, tenant: str, key: str, command: Command[Any], digest: bytes, at: float) -> None:
        self.tenant = tenant
        self.key = key
        self.command = command
        self.digest = digest
        self.arrivals = 0
        self.first_at = at
        self.is_acknowledged = False
        self.reply: Any = None
        self.refusal = ""

    def __str__(self) -> str:
        return f"{type(self.command).__name__} {self.key} of {self.tenant}"


class Ledger:
    """Clients write to it what they hear, and the node's side of each call what it is asked. Only what is decided belongs here: an
    answer without an Effect is stored nowhere."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.asked: dict[tuple[str, str], Asked] = {}

    def arrives(self, context: Context, command: Command[Any]) -> Asked:
        """A command has reached a node, once or again."""
        name = (context.tenant, context.key)
        asked = self.asked.get(name)
        if asked is None:
            asked = self.asked[name] = Asked(context.tenant, context.key, command, context.digest, self._world.wall())
        asked.arrivals += 1
        return asked

    def acknowledged(self, context: Context, reply: Any) -> None:
        """Its client was told this. Told twice, it was told the same."""
        asked = self.asked[context.tenant, context.key]
        if asked.is_acknowledged and asked.reply != reply:
            self._world.fail("replies_match_commits", f"{asked} was answered {asked.reply}, then {reply}")
        asked.is_acknowledged, asked.reply = True, reply

    def refused(self, context: Context, failure: Failure) -> None:
        """Its client was told for good that nothing of it was done."""
        self.asked[context.tenant, context.key].refusal = str(failure)

    # ---- on the node's side

    async def ask(self, system: System, command: Command[R], context: Context, seconds: float | None = None) -> R:
        """Asks the system on behalf of a client: the answer comes in time, and what it tells is on disk when it comes."""
        self.arrives(context, command)
        began = self._world.now
        try:
            reply = await system.ask(command, context, seconds)
        except NotAnswered:
            self._look_at_time(system, command, context, began, seconds)
            raise
        self._look_at_time(system, command, context, began, seconds)
        self._look_at_disk(system, command, context, reply)
        return reply

    def _look_at_time(
        self, system: System, command: Command[Any], context: Context, began: float, seconds: float | None
    ) -> None:
        limit = LATE_SECONDS_MAX + SWEEP_SECONDS + (system.deadlines.seconds_max if seconds is None else seconds)
        took = self._world.now - began
        if took > limit and took - self._world.stalled > limit:
            detail = f"{type(command).__name__} {context.key} was answered after {took:.3f} s"
            self._world.fail("every_caller_answered", detail)

    def _look_at_disk(self, system: System, command: Command[Any], context: Context, reply: Any) -> None:
        found = system.journal.store.find_reply(context.tenant, context.key)
        detail = f"{type(command).__name__} {context.key} was answered {reply}"
        if found is None:
            self._world.fail("replies_match_commits", f"{detail} before its commit")
        stored = stored_reply(command, found[1])
        if stored != reply:
            self._world.fail("replies_match_commits", f"{detail}, stored is {stored}")


def stored_reply(command: Command[Any], reply: bytes) -> Any:
    """The reply to such a command, as it stands on disk."""
    return msgspec.msgpack.decode(reply, type=reply_type(type(command)))
