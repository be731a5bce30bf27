"""Whether work is given out at all: how that stands, and what an operator's word changes in it."""

from collections.abc import Sequence

from agents.coordinating.open_tasks import OpenTasks
from aggregates.coordination import CoordinationStands, StartCoordination, StopCoordination, stream
from runtime.actor import Effect, Reply, reply
from runtime.records import Recorded


def stands(memory: OpenTasks) -> CoordinationStands:
    """How it stands, since when, and why."""
    since = memory.stopped_at or memory.started_at
    return CoordinationStands(running=not memory.stopped_at, since=since, reason=memory.stop_reason)


def stop_or_start(memory: OpenTasks, tenant: str, command: StopCoordination | StartCoordination) -> Effect:
    """The change, answered with how it stands then."""
    stood = stands(memory)

    def answer(recorded: Sequence[Recorded]) -> Reply:
        if not recorded:
            return reply(command, stood)
        since, reason = recorded[0].meta.at, command.reason if isinstance(command, StopCoordination) else ""
        running = isinstance(command, StartCoordination)
        return reply(command, CoordinationStands(running=running, since=since, reason=reason))

    return Effect([(stream(tenant), command)], answer)
