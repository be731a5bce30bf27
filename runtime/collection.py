"""Collects blobs that nothing refers to: a blob is referred to where its name stands in any record of its tenant, an open task's included.

The records are looked through as bytes: a name stands there as text, wherever in a document. A blob is left alone for a grace period from
when its tenant brought or used it last, so that what was uploaded can be referred to in peace.
"""

import re
from collections.abc import Iterator, Sequence

import msgspec

from runtime.blobs import Blobs, Claim
from runtime.journal import Journal
from runtime.store.sqlite import SqliteStore
from runtime.threads import run_blocking
from runtime.uploads import Uploads

PAGE = 2000
DIGITS = re.compile(rb"[0-9a-f]{64,}")
NAME_BYTES = 64


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """Blobs that nothing refers to, and how many are `kept`: those that are referred to or in their grace period. `unclaimed` counts files
    that were nobody's: a node that was killed in the middle of an upload has left them. `uploads` counts those without a byte for too long.
    """

    blobs: list[str]
    bytes: int
    kept: int
    unclaimed: int
    uploads: int
    is_dry_run: bool


async def collect(
    blobs: Blobs, uploads: Uploads, journal: Journal, tenant: str, *, unused_since: float, dry_run: bool
) -> Collected:
    """Drops the tenant's blobs that no record refers to and that were not used since, or only says which they are."""
    claims = await run_blocking(blobs.claims, tenant)
    old: dict[bytes, list[Claim]] = {}
    for claim in claims:
        if claim.used_at < unused_since:
            old.setdefault(claim.digest.encode(), []).append(claim)
    await journal.settled()
    after = 0
    while old and after < journal.position:
        after, named = await journal.read_with(_named, journal.store, after, tenant, frozenset(old))
        for digest in named:
            del old[digest]
    loose = sorted(claim for mine in old.values() for claim in mine)
    unclaimed = await run_blocking(blobs.unclaimed, unused_since, not dry_run)
    if not dry_run:
        loose = await run_blocking(_drop, blobs, tenant, loose, unused_since)
        blobs.forget_used(tenant, sum(claim.bytes for claim in loose))
    return Collected(
        blobs=sorted({claim.digest for claim in loose}),
        bytes=sum(claim.bytes for claim in loose),
        kept=len(claims) - len(loose),
        unclaimed=unclaimed,
        uploads=await uploads.collect(tenant, dry_run=dry_run),
        is_dry_run=dry_run,
    )


def _named(store: SqliteStore, after: int, tenant: str, wanted: frozenset[bytes]) -> tuple[int, set[bytes]]:
    """Which of the names stand in a page of the tenant's records, and the position that it reaches."""
    found: set[bytes] = set()
    page = store.bodies(after, PAGE)
    for _, body in page:
        names = wanted.intersection(_names(body))
        if names and store.codec.meta(body).tenant == tenant:
            found |= names
    return page[-1][0], found


def _names(body: bytes) -> Iterator[bytes]:
    """Whatever could be a blob's name; more digits than one has may hold several."""
    for digits in DIGITS.findall(body):
        for first in range(len(digits) - NAME_BYTES + 1):
            yield digits[first : first + NAME_BYTES]


def _drop(blobs: Blobs, tenant: str, claims: Sequence[Claim], unused_since: float) -> list[Claim]:
    return [claim for claim in claims if blobs.drop(tenant, claim.name, unused_since)]
