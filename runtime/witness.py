"""A witness (C2SP tlog-witness): cosigns what it has checked to be a continuation of what it cosigned before, and nothing else.

Of each log it keeps the last checkpoint that it has cosigned. A later one is cosigned only with a proof that it begins with that one; a
fork and a rollback are refused for ever. What it keeps is on disk before it answers, under a lock: two requests at a time, be they of two
processes, can't set it back.
"""

import base64
import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import structlog

from runtime.cosignatures import Cosigner, WitnessKey
from runtime.evidence import Unreadable
from runtime.proofs import NotProven, verify_consistency
from runtime.store.copies import write_whole
from runtime.transparency import (
    EMPTY_ROOT,
    NOTE_CHARACTERS_MAX,
    Checkpoint,
    NotANote,
    NotSigned,
    PublicKey,
    read_note,
    unbase64,
)

PROOF_LINES_MAX = 63
REQUEST_BYTES_MAX = NOTE_CHARACTERS_MAX + 64 * 50
LOGS_MAX = 1000
PLAIN, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"

_REQUEST = re.compile(r"old (0|[1-9][0-9]{0,17})\n((?:[^\n]+\n)*)\n(.+)", re.DOTALL)

_HASH = re.compile(r"[0-9a-f]{64}")

log = structlog.get_logger()


class Answer(NamedTuple):
    """What a witness says: the status of C2SP's protocol, and the body."""

    status: int
    text: str
    media: str = PLAIN


class Request(NamedTuple):
    """A checkpoint to cosign, and the proof that it continues the last one, of `old` records."""

    old: int
    path: Sequence[bytes]
    note: str


def written_request(request: Request) -> str:
    """A request as C2SP writes it."""
    path = "".join(f"{base64.b64encode(digest).decode()}\n" for digest in request.path)
    return f"old {request.old}\n{path}\n{request.note}"


def read_request(text: str) -> Request:
    """The request in a text. Raises NotANote."""
    parts = _REQUEST.fullmatch(text)
    if parts is None or len(text) > REQUEST_BYTES_MAX:
        raise NotANote("the request is not an old size, a proof, an empty line and a checkpoint")
    path = [unbase64(line, "the proof") for line in parts[2].split("\n")[:-1]]
    if len(path) > PROOF_LINES_MAX:
        raise NotANote(f"the proof is longer than {PROOF_LINES_MAX} lines")
    return Request(int(parts[1]), path, parts[3])


class Witness:
    """Cosigns for the logs of these keys; `folder` is what it remembers. Its methods block."""

    def __init__(
        self, folder: Path, cosigner: Cosigner, trusted: Sequence[PublicKey], now: Callable[[], float]
    ) -> None:
        """Several keys may be of one log: after a rotation it signs with another. Raises NotANote where a key names no log."""
        if len(trusted) > LOGS_MAX or not all(key.name for key in trusted):
            raise NotANote(f"a witness trusts at most {LOGS_MAX} keys, each with the name of its log")
        self.folder = folder
        self.cosigner = cosigner
        self.trusted = trusted
        self._now = now

    def add_checkpoint(self, text: str) -> Answer:
        """Cosigns, or says why not. Raises Unreadable where what it remembers is damaged, OSError where it can't remember."""
        try:
            request = read_request(text)
            checkpoint, signed, signatures = read_note(request.note)
        except NotANote as error:
            return Answer(400, f"{error}\n")
        keys = [key for key in self.trusted if key.name == checkpoint.origin]
        if not keys:
            return Answer(404, f"the log {checkpoint.origin} is not one that this witness knows\n")
        if (fault := _unsigned(keys, checkpoint, signed, signatures)) is not None:
            return Answer(403, f"{fault}\n")
        if request.old > checkpoint.size:
            return Answer(400, f"old {request.old} is larger than the checkpoint's {checkpoint.size}\n")
        with self._alone():
            return self._go_on(request, checkpoint, signed)

    def _go_on(self, request: Request, checkpoint: Checkpoint, signed: str) -> Answer:
        last = self._last(checkpoint.origin)
        if request.old != last.size:
            return Answer(409, f"{last.size}\n", SIZE)
        try:
            if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
                raise NotProven("the root of no records is another one")
            verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, request.path)
        except NotProven as error:
            log.warning(
                "witness_refuses", origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(),
                last_size=last.size, last_root=last.root.hex(), reason=str(error),
            )  # fmt: skip
            return Answer(422, f"{error}\n")
        line = self.cosigner.line(signed, int(self._now()))
        write_whole(self._path(checkpoint.origin), f"{request.note}{line}")
        return Answer(200, line)

    def last(self, origin: str) -> str | None:
        """The note that was cosigned last, None where none was. Raises Unreadable where that can't be told."""
        return self.last_by_hash(sha256(origin.encode()).hexdigest())

    def last_by_hash(self, origin_hash: str) -> str | None:
        """The same, by the SHA-256 of the log's origin."""
        path = self.folder / f"{origin_hash}.checkpoint"
        if not _HASH.fullmatch(origin_hash) or not path.exists():
            return None
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Unreadable(f"{path} can't be read: {error}") from error

    def _last(self, origin: str) -> Checkpoint:
        note = self.last(origin)
        if note is None:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        try:
            checkpoint, text, signatures = read_note(note)
            WitnessKey(self.cosigner.vkey).check(text, signatures)
        except (NotANote, NotSigned) as error:
            raise Unreadable(f"{self._path(origin)} is not what this witness has left there: {error}") from error
        if checkpoint.origin != origin:
            raise Unreadable(f"{self._path(origin)} is of another log, {checkpoint.origin}")
        return checkpoint

    def _path(self, origin: str) -> Path:
        return self.folder / f"{sha256(origin.encode()).hexdigest()}.checkpoint"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _unsigned(
    keys: Sequence[PublicKey], checkpoint: Checkpoint, text: str, signatures: Sequence[tuple[str, bytes]]
) -> str | None:
    """Why none of the trusted keys has signed, None where one has; a line of one of them that does not fit spoils the note."""
    reasons = []
    for key in keys:
        try:
            key.check(text, signatures, checkpoint.origin)
        except NotSigned as error:
            reasons.append(str(error))
    spoilt = [reason for reason in reasons if "does not fit" in reason]
    return spoilt[0] if spoilt else reasons[0] if len(reasons) == len(keys) else None
