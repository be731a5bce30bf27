"""Rotation of the key that signs a journal: a record, and files of the data folder, so that a node may be killed anywhere in between.

1. The new key is written to `journal-key.next`, whole and synced. Until the record stands it is a file that nobody uses; the next attempt
   takes it, so that an attempt of which nobody knows how it ended can still end well.
2. The record is committed, in a batch that the new key signs. From then on only the new key can go on, and both are on disk.
3. The old key is kept as `journal-key.ID`, for backups from before, and `journal-key.next` takes its place. A start finds by the record
   which of the two files the journal needs, and does what is left of this.
"""

import structlog
import trio
from eventsourcing.persistence import PersistenceError

from aggregates.journal_key import RotateKey, RotationAccepted
from gateway.api.file_faults import refused_where_unwritable
from gateway.parts import Compartment
from gateway.storage.key_files import put_in_place
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.rotation import ROTATIONS_MAX, rotation
from runtime.threads import run_blocking
from runtime.transparency import Signer

log = structlog.get_logger("gateway.upkeep.rotations")


async def rotate(node: Compartment, reason: str, context: Context) -> RotationAccepted:
    """Has a new key sign the compartment's journal. Raises Failure; what is then not known is known to the next attempt."""
    journal, folder = node.system.journal, node.folder
    async with node.rotating:
        if len(node.store.signing_keys.chain) > ROTATIONS_MAX // 2:
            raise Refused("rotations_too_many", f"the signing key was rotated {ROTATIONS_MAX // 2} times already")
        old = node.store.signer
        with refused_where_unwritable("the new key"):
            new = await run_blocking(Signer.load_or_make, folder.journal_key_next)
            if new.public_key == old.public_key:  # the attempt before was recorded after all
                await run_blocking(put_in_place, folder)
                new = await run_blocking(Signer.load_or_make, folder.journal_key_next)
        await journal.write_with(node.store.expect, new)
        said = rotation(node.store.origin, old, new)
        command = RotateKey(
            reason=reason,
            old=said.old,
            new=said.new,
            signed_by_old=said.signed_by_old,
            signed_by_new=said.signed_by_new,
        )
        accepted = await node.system.ask(command, context)
        if node.store.signer.public_key == new.public_key:
            with trio.CancelScope(shield=True):
                await run_blocking(put_in_place, folder)
                await _drop_copies(node)
        return accepted


async def _drop_copies(node: Compartment) -> None:
    """What the old key has sealed is not believed any more; where it stays, it only takes room."""
    try:
        await node.system.journal.write_with(node.store.drop_copies)
    except PersistenceError as error:
        log.warning("copies_of_states_stay", reason=str(error))
