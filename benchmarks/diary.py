"""A domain with something personal in it: diaries, and a scribe who takes their entries."""

from collections.abc import Sequence
from typing import Any

import msgspec

from runtime.actor import Actor, Effect, reply
from runtime.records import Command, Event, Personal, State

RULES = 1


class Written(msgspec.Struct, frozen=True):
    """The entry stands."""


class Diary(State, frozen=True, kw_only=True):
    entries: int = 0


initial = Diary()


class Write(Command[Written], frozen=True, kw_only=True):
    diary: str
    text: Personal[str]
    data_subject: str = ""


class EntryWritten(Event, frozen=True, kw_only=True):
    diary: str
    text: Personal[str]
    data_subject: str = ""


COMMANDS = (Write,)
EVENTS = (EntryWritten,)


def stream(diary: str) -> str:
    """The stream of a diary."""
    return f"diary-{diary}"


def decide(diary: Diary, command: Write) -> Sequence[EntryWritten]:
    return [EntryWritten(diary=command.diary, text=command.text, data_subject=command.data_subject)]


def evolve(diary: Diary, event: EntryWritten) -> Diary:
    return Diary(entries=diary.entries + 1)


class Scribe(Actor[Any, None]):
    """Takes entries."""

    takes = (Write,)

    def handle(self, message: Write) -> Effect:
        return Effect([(stream(message.diary), message)], lambda recorded: reply(message, WRITTEN))


WRITTEN = Written()
