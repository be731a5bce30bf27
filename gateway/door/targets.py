"""What a request is for: a target that names its authority (`GET http://host/path`) is read as the path alone with that as its Host.

RFC 9112, 3.2.2: a server takes such requests, and what their Host header says counts for nothing. So nobody further in ever sees two hosts.
"""

import re
from typing import NamedTuple

ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)
AUTHORITY = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[-A-Za-z0-9._~%!$&'()*+,;=]+)(?::[0-9]{0,5})?")
"""A host, and perhaps a port. Who puts a user before it (`user@host`) means to mislead."""

Headers = list[tuple[bytes, bytes]]


class Target(NamedTuple):
    """A target as most requests have it, and the headers that go with it."""

    path: bytes
    headers: Headers


def read_target(target: bytes, headers: Headers) -> Target | None:
    """The target in origin-form, where it can be that; None where it names an authority that is none."""
    absolute = ABSOLUTE.fullmatch(target)
    if absolute is None:
        return Target(target, headers)
    authority, rest = absolute.groups()
    if AUTHORITY.fullmatch(authority) is None:
        return None
    path = rest if rest.startswith(b"/") else b"/" + rest
    return Target(path, [(b"host", authority), *((name, value) for name, value in headers if name != b"host")])
