"""Erases a person's data: all that was recorded stays where it is, and the keys under which it can be read are destroyed.

The order makes it hold after a kill at any point. That the person is erased is recorded first, with the names of the keys; whatever has
not been carried through then is carried through before the door opens, at the next start or in a backup that was restored: the keys
destroyed, copies of states thrown away, blobs removed, and read models overwritten in the file. Most of that costs the same for one person
as for many: who is recorded while others are carried through waits for them, and is then carried through with all who wait.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from aggregates import subject
from aggregates.subject import EraseSubject, SubjectAccepted, SubjectErased
from gateway.parts import Compartment
from gateway.upkeep.erasure_list import ErasureLine, note_erasures
from runtime.delivery import Context
from runtime.errors import Overloaded
from runtime.keyring import DISPOSABLE, KeyringUnusable
from runtime.records import PERSONAL, Recorded, marked
from runtime.threads import run_blocking

ROUNDS_MAX = 3
"""What is recorded of a person while it is erased stands under a new key, and is erased too: so often."""

log = structlog.get_logger("gateway.upkeep.erasure")
T = TypeVar("T")


async def erase(node: Compartment, data_subject: str, reason: str, context: Context) -> SubjectAccepted:
    """Erases what is recorded of a data subject of the caller's tenant, and all copies of it, before it returns.

    Raises Refused where nothing is, and Overloaded where it is on record but not carried through yet: ask again.
    """
    node.erasures += 1
    try:
        return SubjectAccepted(data_subject=data_subject, keys=await _erase(node, data_subject, reason, context))
    finally:
        node.erasures -= 1


async def _erase(node: Compartment, data_subject: str, reason: str, context: Context) -> int:
    keyring, whose = node.keyring, (context.tenant, data_subject)
    await node.system.journal.settled()
    destroyed = 0
    for number in range(ROUNDS_MAX):
        keys = await _guarded(keyring.retire, whose)
        if number and not keys:
            break
        erasing = EraseSubject(data_subject=data_subject, keys=tuple(key.hex() for key in keys), reason=reason)
        await node.system.ask(erasing, context if not number else msgspec.structs.replace(context, key=""))
        destroyed += len(keys)
        async with node.carrying_through:
            await carry_through(node)
    return destroyed


async def carry_through(node: Compartment) -> None:
    """Does what is on record and not done yet, of this node's own erasures and of those that came with a backup."""
    keyring = node.keyring
    done = await _guarded(keyring.done)
    # What is noted as done may be of a journal that was set back since: whose keys are held is not done.
    held = {key.hex() for key in await _guarded(keyring.all_ids)}
    due = [one for one in await _on_record(node) if one.position not in done or not held.isdisjoint(one.keys)]
    if not due:
        return
    await run_blocking(note_erasures, node.folder.erasures, due)
    await _guarded(keyring.destroy, [bytes.fromhex(key) for one in due for key in one.keys])
    await _guarded(keyring.dispose, DISPOSABLE)
    await _forget_copies(node)
    node.fanout.forget()
    await node.webhooks.begin_again()
    for tenant, data_subject in sorted({(one.tenant, one.data_subject) for one in due}):
        await node.uploads.erase(tenant, data_subject)
        await run_blocking(node.blobs.erase, tenant, data_subject)
    node.system.dead_letters.forget(partial(_is_personal, {one.tenant for one in due}))
    _check_models(node)
    await node.projector.wait_for(max(one.position for one in due))
    _check_models(node)
    await node.history.forget()
    await node.projector.purge()
    await node.system.save_memories()
    node.erasure_fault = ""
    for one in due:
        await _guarded(keyring.note_done, one.position)
        log.info("subject_erased", position=one.position, keys=len(one.keys))


async def carry_through_at_start(node: Compartment) -> None:
    """The same before the door opens. What can't be overwritten yet is named as a fault; its keys are destroyed all the same."""
    try:
        await carry_through(node)
    except Overloaded as error:
        node.erasure_fault = str(error)
        log.error("erasure_not_complete", reason=str(error))


async def _on_record(node: Compartment) -> list[ErasureLine]:
    first = subject.stream("", "").removesuffix(":")
    records: Sequence[Recorded] = await node.system.journal.read_with(node.store.read_streams, first)
    return [
        ErasureLine(
            node.store.origin, record.position, record.meta.tenant, record.event.data_subject, record.event.keys
        )
        for record in records
        if isinstance(record.event, SubjectErased)
    ]


async def _forget_copies(node: Compartment) -> None:
    """What the journal keeps beside the records: states and memories, at hand and saved."""
    node.system.journal.forget_all()
    await node.system.journal.write_with(node.store.drop_copies)


def _is_personal(tenants: set[str], message: object, context: Context | None) -> bool:
    """Whether a message of one of these tenants has fields that may tell of a person: whose they are, only its actor would know."""
    struct = type(message)
    is_theirs = context is None or context.tenant in tenants
    return is_theirs and issubclass(struct, msgspec.Struct) and bool(marked(struct, PERSONAL))


def _check_models(node: Compartment) -> None:
    """Raises Overloaded where read models can't be overwritten now."""
    stopped = [one.name for one in node.projector.status() if one.reason]
    if stopped:
        raise Overloaded(
            f"the keys are destroyed, but {', '.join(stopped)} has stopped and may hold copies: mend it first"
        )
    if any(not one.ended for one in node.projector.rebuilds):
        raise Overloaded("the keys are destroyed, but read models are being made anew: ask again when they are there")


async def _guarded(function: Callable[..., T], *arguments: Any) -> T:
    """Runs what blocks and needs the file of keys. Raises Overloaded where that can't be written."""
    try:
        return await run_blocking(function, *arguments)
    except KeyringUnusable as error:
        raise Overloaded(str(error)) from error
