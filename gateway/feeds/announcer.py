"""What a record says to many agents alike, as the bytes of a websocket frame: made once for each protocol, however many are told.

A call to hundreds, and that somebody else has won, are most of what agents are told. What is for one agent alone, or has to be read up
first, is left to the translator.
"""

import trio

from aggregates.task import BookOpened, BookVoided, DryRunEnded, TaskAwarded
from gateway.feeds.frames import Protocol
from gateway.feeds.translator import Frame, Translator, reasons_lost, told_lost
from runtime.records import Recorded


class Announcer:
    """Keeps what the record says that was asked about last: records come one after the other."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator
        self.told_at = 0.0
        """When the first was told what that record says, in Trio's time."""
        self._position = -1
        self._topic_by_agent: dict[str, str] = {}
        self._frame_by_topic: dict[str, Frame] = {}
        self._said: dict[tuple[str, str], bytes] = {}

    def said(self, recorded: Recorded, agent_id: str, protocol: Protocol) -> bytes | None:
        """The frame for this agent; None where there is none that others are told too."""
        if recorded.position != self._position:
            self._take(recorded)
        topic = self._topic_by_agent.get(agent_id)
        if topic is None:
            return None
        said = self._said.get((topic, protocol.name))
        if said is None:
            said = self._said[topic, protocol.name] = protocol.said(self._frame_by_topic[topic])
        return said

    def _take(self, recorded: Recorded) -> None:
        self._position, self.told_at = recorded.position, trio.current_time()
        self._topic_by_agent, self._frame_by_topic, self._said = {}, {}, {}
        match event := recorded.event:
            case BookOpened():
                call = self._translator.call_at_hand(recorded, event)
                if call is not None and call["closes_in"]:
                    self._topic_by_agent, self._frame_by_topic = dict.fromkeys(event.eligible, ""), {"": call}
            case TaskAwarded() | BookVoided() | DryRunEnded():
                self._topic_by_agent = reasons_lost(event)
                self._frame_by_topic = {
                    reason: told_lost(recorded, event, reason) for reason in set(self._topic_by_agent.values())
                }
