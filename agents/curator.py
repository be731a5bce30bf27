"""The curator of the node: takes it down where a projection shall go on without an event, and that a person's data is erased."""

from aggregates import projection, subject
from aggregates.projection import SkipAccepted, SkipEvent
from aggregates.subject import EraseSubject, SubjectAccepted
from runtime.actor import Actor, Effect, reply


class Curator(Actor[SkipEvent | EraseSubject, None]):
    """Read models and keys of persons are the node's, whoever reads them: there is one curator for all tenants."""

    takes = (SkipEvent, EraseSubject)

    def handle(self, message: SkipEvent | EraseSubject) -> Effect:
        if isinstance(message, EraseSubject):
            erased = SubjectAccepted(data_subject=message.data_subject, keys=len(message.keys))
            stream = subject.stream(message.tenant, message.data_subject)
            return Effect([(stream, message)], lambda recorded: reply(message, erased))
        accepted = SkipAccepted(projection=message.projection, position=message.position)
        return Effect([(projection.stream(message.projection), message)], lambda recorded: reply(message, accepted))
