"""The curator of the node: takes it down where a projection shall go on without an event."""

from aggregates import projection
from aggregates.projection import SkipAccepted, SkipEvent
from runtime.actor import Actor, Effect, reply


class Curator(Actor[SkipEvent, None]):
    """Read models are the node's, whoever reads them: there is one curator for all tenants."""

    takes = (SkipEvent,)

    def handle(self, message: SkipEvent) -> Effect:
        accepted = SkipAccepted(projection=message.projection, position=message.position)
        return Effect([(projection.stream(message.projection), message)], lambda recorded: reply(message, accepted))
