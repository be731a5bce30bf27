"""How things are named: ids that are safe in a stream's name, a file's name and a URL."""

from typing import Annotated

from msgspec import Meta

# `$` alone would let a trailing newline pass.
Id = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)")]

TaskId = Id
AgentId = Id
KeyId = Id
UserId = Id
SessionId = Id
ProblemId = Id
JobId = Id

TENANT_NAME = r"^[a-z][a-z0-9-]{0,30}$(?!\n)"
"""What a strictly isolated tenant, and so its journal and the journal's folder, can be called: shorter than a key's id in a token."""

DataSubject = Annotated[str, Meta(max_length=100, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$(?!\n)")]
"""Whose personal data it is, by an id that the tenant has given to that person; empty: nobody's. The id itself stays in the log for ever,
so it should tell nothing: a number, not a name."""

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
"""The sha256 of a blob, in hexadecimal digits."""
