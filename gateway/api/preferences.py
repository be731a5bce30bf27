"""What a client would like (RFC 7240): to wait, or to be answered at once, with little or with much. Nobody is refused for it.

A preference that was followed is named in `Preference-Applied`; one that is not known or makes no sense is passed over.
"""

from typing import NamedTuple

from starlette.types import Scope

from gateway.api.conditional import header
from gateway.api.queries import Header

WAIT_SECONDS_MAX = 30
"""Longer than this nobody is kept waiting: proxies and clients give up after a minute."""

PREFERENCES_MAX = 20

WAIT = Header(
    "Prefer",
    f"`wait=N`: to be answered when there is something to tell, after N seconds at the latest, {WAIT_SECONDS_MAX} at most.",
    {"type": "string", "examples": ["wait=10"]},
)
RETURN = Header(
    "Prefer",
    "`return=minimal`: to be answered without a body (204). `return=representation`: with the row as it is then.",
    {"type": "string", "examples": ["return=minimal"]},
)
ASYNC = Header(
    "Prefer",
    "`respond-async`: where it takes longer than the `wait=N` beside it (at once without that), to be answered 202 with where to ask.",
    {"type": "string", "examples": ["respond-async, wait=5"]},
)


class Preferences(NamedTuple):
    """What a client would like; how long to wait in seconds, 0 for not at all."""

    wait: int = 0
    returns: str = ""
    respond_async: bool = False


NONE = Preferences()


def preferences(scope: Scope) -> Preferences:
    """The preferences of a request."""
    text = header(scope, b"prefer")
    return _parsed(text) if text else NONE


def _parsed(text: str) -> Preferences:
    found: dict[str, str] = {}
    for part in text.split(",")[:PREFERENCES_MAX]:
        name, _, value = part.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait, returns = found.get("wait", ""), found.get("return", "")
    seconds = min(int(wait[:9]), WAIT_SECONDS_MAX) if wait.isascii() and wait.isdigit() else 0
    known = returns if returns in ("minimal", "representation") else ""
    return Preferences(seconds, known, "respond-async" in found)
