"""A journal as it stood before a position, made anew under a key that is thrown away: so that it can go on otherwise."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from agents.roster import ROSTER
from gateway.verdicts import Wrong
from runtime.codec import Body, Codec
from runtime.records import Meta
from runtime.recovery import NODE
from runtime.store.contract import Batch, Draft
from runtime.store.log import Log
from runtime.store.sqlite import SqliteStore
from runtime.transparency import Signer

PAGE = 1_000
_body = msgspec.msgpack.Decoder(Body)


def fork(log: Log, before: int, owing: dict[tuple[str, str], int], target: Path, codec: Codec, signer: Signer) -> float:
    """Copies the records before a position into a new journal of that signer; returns the time of the last.

    `owing` says up to where actors had reacted whose reactions come later; all others had to everything. Raises Wrong.
    """
    store = SqliteStore(target, codec, signer, name="what-if")
    tenants: set[str] = set()
    newest_at = 0.0
    try:
        for recorded_at, drafts in groupby(_drafts(log, before), key=itemgetter(0)):
            batch = [draft for _, draft in drafts]
            tenants.update(draft.meta.tenant for draft in batch)
            newest_at = max(newest_at, batch[-1].meta.at, recorded_at)
            store.append(Batch(batch, [], [], recorded_at))
        store.save([], [(role, key, owing.get((role, key), before - 1)) for role, key in _places(tenants)])
    finally:
        store.close()
    return newest_at


def _drafts(log: Log, before: int) -> Iterator[tuple[float, Draft]]:
    after = 0
    while rows := log.rows(after, before - 1, PAGE):
        for position, stream, version, kind, body in rows:
            if position != after + 1:
                raise Wrong(f"{log.place} has no record at position {after + 1}: what followed from it can't be told")
            after = position
            yield _draft(position, stream, version, kind, log.codec.plain(body))


def _draft(position: int, stream: str, version: int, kind: str, body: bytes) -> tuple[float, Draft]:
    """What is personal stays behind: no decision compares it."""
    opened = _body.decode(body)
    # Each record has its own: the store notes the time of its batch in it.
    meta: Meta = replace(opened.meta)
    return meta.recorded_at, Draft(position, stream, version, kind, meta, bytes(opened.data))


def _places(tenants: set[str]) -> Iterator[tuple[str, str]]:
    for role in ROSTER:
        keys: Any = sorted(tenants) if role.key == "tenant" else [NODE]
        for key in keys:
            yield role.name, key
