"""The witnesses that a node asks to cosign its checkpoints: over HTTP (C2SP tlog-witness), or by files in a folder that both reach.

In a folder, a request is `ORIGIN-HASH.add-checkpoint`, with the body that HTTP would carry, and waits until the witness has put
`ORIGIN-HASH.answer` beside it: the status, and the body of the answer.
"""

import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

from runtime.cosignatures import WitnessKey, cosigned
from runtime.evidence import Unreadable
from runtime.proving import Readable, linked
from runtime.store.copies import write_whole
from runtime.transparency import NOTE_CHARACTERS_MAX, NotANote, NotSigned, read_note
from runtime.witness import Request, read_request, written_request

ANSWER_SECONDS_MAX = 20.0
REQUEST, ANSWER = ".add-checkpoint", ".answer"


class NotCosigned(Exception):
    """A witness has not cosigned; the message says why."""


class Told(NamedTuple):
    """What a witness answered."""

    status: int
    text: str


class Witnessed(ABC):
    """A witness, as the log knows it: its key, and how many records it has seen."""

    def __init__(self, key: WitnessKey, place: str) -> None:
        self.key = key
        self.place = place
        self.seen = 0

    @abstractmethod
    def cosign(self, log: Readable, note: str) -> str | None:
        """The note that the witness has cosigned, this one or an earlier one; None where it has not answered yet. Raises NotCosigned."""

    def request(self, log: Readable, note: str) -> Request:
        """Asks for a checkpoint, with the proof that it continues what the witness has seen."""
        size = read_note(note)[0].size
        return Request(self.seen, linked(log, self.seen, size)[0] if self.seen else [], note)

    def take(self, told: Told, note: str) -> str | None:
        """The cosigned note; None where the witness has seen another size, which is known from now on. Raises NotCosigned."""
        size = read_note(note)[0].size
        if told.status == 200:
            try:
                both = cosigned(note, told.text, [self.key])
            except (NotANote, NotSigned) as error:
                raise NotCosigned(f"{self.place}: {error}") from error
            self.seen = size
            return both
        if told.status != 409 or not told.text.strip().isdigit():
            raise NotCosigned(f"{self.place} answers {told.status}: {told.text.strip()[:500]}")
        self.seen = int(told.text.strip()[:18])
        if self.seen > size:
            raise NotCosigned(
                f"{self.place} has seen {self.seen} records of this log, which holds {size}: it was set back"
            )
        return None


class HttpWitness(Witnessed):
    """One that is asked at `PLACE/add-checkpoint`."""

    def cosign(self, log: Readable, note: str) -> str | None:
        for _ in range(2):  # the first answer may be how much it has seen
            if (both := self.take(self._post(written_request(self.request(log, note))), note)) is not None:
                return both
        raise NotCosigned(f"{self.place} has seen {self.seen} records, and says again and again that it has not")

    def _post(self, text: str) -> Told:
        request = urllib.request.Request(f"{self.place.rstrip('/')}/add-checkpoint", data=text.encode(), method="POST")
        request.add_header("Content-Type", "text/plain; charset=utf-8")
        try:
            with _opener.open(request, timeout=ANSWER_SECONDS_MAX) as answer:
                return Told(answer.status, answer.read(NOTE_CHARACTERS_MAX).decode("utf-8", "replace"))
        except HTTPError as error:
            with error:
                return Told(error.code, error.read(NOTE_CHARACTERS_MAX).decode("utf-8", "replace"))
        except (OSError, ValueError) as error:
            raise NotCosigned(f"{self.place} can't be asked: {error}") from error


class DroppedWitness(Witnessed):
    """One that is asked by a file in the folder `PLACE`."""

    def cosign(self, log: Readable, note: str) -> str | None:
        stem = sha256(read_note(note)[0].origin.encode()).hexdigest()
        asked, answered = (Path(self.place) / f"{stem}{suffix}" for suffix in (REQUEST, ANSWER))
        try:
            both = self._answer(asked, answered) if answered.exists() else None
            if not asked.exists() and self.seen < read_note(note)[0].size:
                write_whole(asked, written_request(self.request(log, note)))
        except (OSError, UnicodeDecodeError, NotANote, Unreadable) as error:
            raise NotCosigned(f"{self.place}: {error}") from error
        return both

    def _answer(self, asked: Path, answered: Path) -> str | None:
        """Takes what was answered; afterwards neither file is there, whatever it was."""
        try:
            status, _, text = answered.read_text(encoding="utf-8").partition("\n")
            request = read_request(asked.read_text(encoding="utf-8")) if asked.exists() else None
            if request is None or not status.isdigit():
                return None
            return self.take(Told(int(status[:3]), text), request.note)
        finally:
            asked.unlink(missing_ok=True)
            answered.unlink(missing_ok=True)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """What is not at the address that was configured is another witness."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirection)


def witnesses_of(settings: Sequence[str]) -> list[Witnessed]:
    """The witnesses that settings name, each as `VKEY PLACE`. Raises NotANote."""
    found: list[Witnessed] = []
    for text in settings:
        vkey, _, place = text.partition(" ")
        if not place.strip():
            raise NotANote(f"a witness is named by its key and its place, VKEY URL or VKEY FOLDER: {text!r}")
        kind = HttpWitness if place.strip().startswith(("http://", "https://")) else DroppedWitness
        found.append(kind(WitnessKey(vkey), place.strip()))
    return found
