"""Opens the real node of `gateway.node`, without its door, on a simulated machine."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.node import Elements, open_node
from gateway.parts import Node
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, write_private
from runtime.simulation import World
from runtime.transparency import Signer

SECRET_BYTES = 32
HOLD_SECONDS = 60.0
"""How long a task stays with a person who says nothing."""
REBALANCE_GAIN, REBALANCE_SECONDS = 0.02, 5.0
"""Tasks that nobody begins are moved to whoever is a little better, some seconds after their award."""


def settings(folder: Path, *, lease_seconds: float) -> GavelSettings:
    """A node's settings for a run: short terms, no watchdog (it is a thread), no kernels."""
    return GavelSettings(
        data=folder,
        lease_seconds=lease_seconds,
        task_timeout_seconds=lease_seconds * 6,
        coordination_interval_seconds=lease_seconds / 2,
        hold_seconds=HOLD_SECONDS,
        rebalance_gain=REBALANCE_GAIN,
        rebalance_seconds=REBALANCE_SECONDS,
        house_solver=False,
        disk_free_bytes_min=0,
        handler_warn_seconds=0.0,
        handler_seconds_max=0.0,
        mailbox_max=64,
        pending_commands_max=256,
    )


@asynccontextmanager
async def boot(world: World, folder: Path, *, lease_seconds: float) -> AsyncIterator[Node]:
    """A node over this folder, with the world's clock and chance."""
    _give_secrets(world, DataFolder(folder))
    elements = Elements(
        clock=world.clock(),
        entropy=world.chance("entropy").randbytes,
        chance=world.chance("node"),
        interceptors=(world.watch,),
    )
    async with open_node(settings(folder, lease_seconds=lease_seconds), door=False, elements=elements) as node:
        yield node


def _give_secrets(world: World, folder: DataFolder) -> None:
    """The files that a node makes from real random bytes at its first start."""
    if folder.node_secret.exists():
        return
    os.chmod(folder.path, 0o700)
    chance = world.chance("secrets")
    Signer(Ed25519PrivateKey.from_private_bytes(chance.randbytes(SECRET_BYTES))).save(folder.journal_key)
    write_private(folder.node_secret, chance.randbytes(SECRET_BYTES).hex())
    write_private(folder.master_key, chance.randbytes(SECRET_BYTES).hex())
