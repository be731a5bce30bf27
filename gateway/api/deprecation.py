"""What is on its way out: a line of the table says since when, until when, and what to use instead; its answers say so.

It is told as RFC 9745 (`Deprecation`) and RFC 8594 (`Sunset`) have it, in each answer of such a route, a refusal too, and in
the API document. Nothing is turned off by a date: a route ends when its line goes, which is to be no sooner than its sunset.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import quote


class Deprecated(NamedTuple):
    """Since when something is deprecated, where that is told about, when it may end, and what stands in its place: a path of the table."""

    since: datetime
    about: str
    sunset: datetime | None = None
    instead: str = ""

    def headers(self, path: Mapping[str, str]) -> Sequence[tuple[bytes, bytes]]:
        """What an answer to a request with these parameters of its path says of it."""
        links = [f'<{self.about}>; rel="deprecation"; type="text/html"']
        links += [f'<{self.about}>; rel="sunset"; type="text/html"'] if self.sunset is not None else []
        links += [f'<{self._successor(path)}>; rel="successor-version"'] if self.instead else []
        told = [(b"deprecation", f"@{int(self.since.timestamp())}".encode()), (b"link", ", ".join(links).encode())]
        if self.sunset is not None:
            told.append((b"sunset", format_datetime(self.sunset.astimezone(UTC), usegmt=True).encode()))
        return told

    def _successor(self, path: Mapping[str, str]) -> str:
        return self.instead.format(**{name: quote(value, safe="") for name, value in path.items()})

    @property
    def sentence(self) -> str:
        """The same for readers of the API document."""
        end = f" It may end on {self.sunset:%Y-%m-%d}." if self.sunset is not None else ""
        instead = f" Use `{self.instead}` instead." if self.instead else ""
        return f"Deprecated since {self.since:%Y-%m-%d}.{end}{instead}"
