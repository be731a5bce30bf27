"""Concurrency keys: how many tasks of one key may be under way at a time, and what becomes of one that is too many."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
Key = Annotated[str, Meta(min_length=1, max_length=100, pattern=rf"^{NAME}$(?!\n)")]
Group = Annotated[str, Meta(max_length=100, pattern=rf"^(?:{NAME})?$(?!\n)")]
Limit = Annotated[int, Meta(ge=1, le=10_000)]
Grace = Annotated[float, Meta(ge=0, le=86400.0 * 7)]


class Strategy(StrEnum):
    """What becomes of a task when its key has no place left.

    `queue`: it waits for one, in its place in line. `round_robin`: it waits, and the key's groups take turns. `cancel_in_progress`: the
    oldest of the key are cancelled for it. `cancel_newest`: it is cancelled itself.
    """

    QUEUE = "queue"
    ROUND_ROBIN = "round_robin"
    CANCEL_IN_PROGRESS = "cancel_in_progress"
    CANCEL_NEWEST = "cancel_newest"


class Concurrency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `limit` tasks of the `key` are called for or held at a time; `group` is whose turn it is in `round_robin`, and whoever holds
    one that is cancelled for this one may go on for `grace_seconds`."""

    key: Key
    limit: Limit = 1
    strategy: Strategy = Strategy.QUEUE
    group: Group = ""
    grace_seconds: Grace = 0.0
