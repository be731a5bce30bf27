"""Large values beside a document: blobs of the tenant, each by a name of the document's own."""

from typing import Annotated

from msgspec import Meta

from aggregates.values.ids import Digest

BLOBS_MAX = 32

Blobs = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$(?!\n)")], Digest],
    Meta(max_length=BLOBS_MAX),
]
"""The sha256 of each, in hexadecimal digits."""
