"""Records the settings that a node is started with, where they are others than at its last start."""

import hmac
from functools import cache, partial
from importlib.metadata import version

import msgspec

from aggregates.trail import NoteSettings
from gateway.parts import TENANT, Node
from gateway.settings import GavelSettings
from runtime.settings import secrets_of

ELSEWHERE = frozenset({"data"})
"""Where a folder is stands in no record that lies in it: it may be moved."""
DIGEST_CHARACTERS = 32


program_version = cache(partial(version, "gavel-runtime"))
"""Read from the package's own files once: a millisecond."""


def settings_facts(settings: GavelSettings, secret: bytes) -> dict[str, str]:
    """Each setting as JSON text; a secret that is set as a digest, which tells whether it is the same and nothing else."""
    hidden = secrets_of(GavelSettings)
    facts = {}
    for name, value in msgspec.to_builtins(settings, enc_hook=str).items():
        text = msgspec.json.encode(value, order="deterministic")
        if name in hidden and value:
            text = b"digest " + hmac.digest(secret, b"setting " + text, "sha256").hex()[:DIGEST_CHARACTERS].encode()
        if name not in ELSEWHERE:
            facts[name] = text.decode()
    return facts


async def note_settings(node: Node) -> None:
    """Puts them on record, or the node does not start."""
    facts = settings_facts(node.settings, node.folder.secret())
    await node.ask_at_start(NoteSettings(settings=facts, version=program_version()), TENANT)
