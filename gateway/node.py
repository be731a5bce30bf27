"""Opens a node: the one place that knows every part, and the order in which they start and stop.

Start: store, actors (their memories folded from the log), read models caught up, the journals of isolated tenants, then the door.
Stop: the reverse; the door closes first, the shared journal last.
"""

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog
import trio
from msgspec.structs import replace

from agents.coordinating.allotment import Allotment
from agents.coordinating.coordinator import Coordinator
from agents.coordinating.places import seats
from agents.coordinating.terms import Terms
from agents.house_solver import House
from agents.kernel_threads import KernelThreads
from agents.roster import ROSTER
from agents.solver import Solver
from aggregates.journal import JournalFacts
from aggregates.key import IssueKey
from aggregates.values.roles import Role as KeyRole
from gateway.backends import backends_of
from gateway.compartments import Compartments
from gateway.door.binds import NotBound, PortTaken
from gateway.door.opening import Door, Exposed, allow_files, open_door, plan_door
from gateway.identity.auth import digest_of, key_id_of
from gateway.identity.bearers import Bearers
from gateway.identity.client import ClientFaulty, client_of
from gateway.identity.fetching import Fetcher
from gateway.identity.issuers import IssuersFaulty, read_issuers
from gateway.identity.login import Logins
from gateway.identity.provider import Provider, SignIns
from gateway.parts import TENANT, Compartment, Node, Parts
from gateway.scoring import score_weights
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, FolderUnusable
from gateway.storage.journals import NotInstalled, make_named, open_named, open_store, read_models_place
from gateway.storage.skips import skipped_in
from gateway.upkeep.checkpoints import Keeper
from gateway.upkeep.erasure import carry_through_at_start
from gateway.upkeep.retention import keep_retention
from gateway.upkeep.starts import note_settings
from gateway.upkeep.witnesses import Witnessed, witnesses_of
from projections.catalog import PROJECTIONS
from runtime.blobs import Blobs
from runtime.clock import SystemClock
from runtime.cosignatures import Cosigner
from runtime.errors import Refused
from runtime.history import Copies, History
from runtime.ids import Ids
from runtime.journal import Journal
from runtime.kept_checkpoints import Outside, check_outside
from runtime.kind import Interceptor
from runtime.projector import Projector
from runtime.room import Room, free_bytes
from runtime.spans import Spans
from runtime.store.store import Store
from runtime.system import Bounds, Role, open_system
from runtime.threads import run_blocking
from runtime.transparency import NotANote, PublicKey, Signer
from runtime.uploads import Uploads
from runtime.witness import Witness

__all__ = ["TENANT", "Exposed", "FolderUnusable", "Node", "NotBound", "NotInstalled", "PortTaken", "open_node"]

CACHE_PARTS = 16
"""A named journal keeps so small a part of what the shared one may keep of its states at hand: there may be many."""

log = structlog.get_logger("gateway.node")


class Misconfigured(FolderUnusable):
    """A setting that can't be used, be it well-formed; the text names it."""


class Elements(NamedTuple):
    """What a node takes from the machine that it runs on: a simulation gives its own."""

    clock: SystemClock
    entropy: Callable[[int], bytes] = os.urandom
    chance: Random | None = None
    interceptors: tuple[Interceptor, ...] = ()
    free_bytes: Callable[[Path], int] = free_bytes


@asynccontextmanager
async def open_node(
    settings: GavelSettings, *, door: bool = True, elements: Elements | None = None, passing: bool = False
) -> AsyncIterator[Node]:
    """A running node over the data folder of the settings; without `door` nobody can reach it but the caller. One that is opened in
    `passing`, for a question, has settings that nobody has decided on: they are not recorded.

    Raises FolderUnusable, Locked (another process has the journal), Exposed, NotInstalled or NotBound (PortTaken) before it runs; Exhausted
    or Fenced when it has to stop.
    """
    plan = _planned(settings) if door else None
    folder = DataFolder(settings.data)
    folder.make()
    elements = elements or Elements(SystemClock())
    fetcher = Fetcher(ca_file=settings.identity_ca_file, allow_http=settings.identity_insecure)
    bearers = _bearers(settings, fetcher, elements.clock)
    sign_ins = _sign_ins(settings, fetcher, elements.clock)
    cores = settings.solver_threads or max(1, (os.cpu_count() or 2) - 1)
    threads = KernelThreads(cores, settings.solver_memory_bytes_max)
    machine = Machine(elements, Ids(elements.clock, elements.entropy), threads, _allotment(settings))
    try:
        store = open_store(settings, folder, elements.entropy)
        async with _open_parts(settings, folder, store, machine) as parts:
            node = Node(settings, parts, bearers, sign_ins)
            node.witness = _witness(settings, folder, elements.clock)
            await carry_through_at_start(node)
            async with _keep_trail(node), _open_isolated(node, machine):
                await _admit_admin(node, TENANT)
                if not passing:
                    await note_settings(node)
                if plan is None:
                    _opened(node)
                    yield node
                    return
                async with _open_door(node, plan):
                    _opened(node)
                    yield node
    except BaseExceptionGroup as group:
        alone = _alone(group)
        if alone is None:
            raise
        raise alone from None


def _planned(settings: GavelSettings) -> Door:
    """Raises Misconfigured or Exposed."""
    try:
        return plan_door(settings)
    except ValueError as error:
        raise Misconfigured(str(error)) from error


def _opened(node: Node) -> None:
    node.system.opened()
    node.isolated.reachable()


class Machine(NamedTuple):
    """What all journals of a node share: its clock and chance, the ids made of them, the threads for kernels, and the places for tasks."""

    elements: Elements
    ids: Ids
    threads: KernelThreads
    allotment: Allotment


@asynccontextmanager
async def _open_isolated(node: Node, machine: Machine) -> AsyncIterator[None]:
    """The journals of isolated tenants; at the end all are ended in order."""
    async with trio.open_nursery() as nursery:
        open_one, make = (
            partial(_open_compartment, node, machine),
            partial(make_named, node.folder, entropy=machine.elements.entropy),
        )
        node.isolated = Compartments(node, nursery, open_one, make)
        await node.isolated.open_listed()
        yield
        node.isolated.leave()


@asynccontextmanager
async def _open_compartment(node: Node, machine: Machine, facts: JournalFacts) -> AsyncIterator[Compartment]:
    folder = node.folder.named(facts.name)
    allow_files(node)
    store = await run_blocking(open_named, node.settings, folder, facts)
    settings = replace(
        node.settings,
        handler_warn_seconds=0.0,  # one thread watches the loop for all: the node's own
        handler_seconds_max=0.0,
        read_models="",  # a file of its own, as the journal has
        checkpoints=node.settings.checkpoints and node.settings.checkpoints / "journals" / facts.name,
        read_copies_bytes_max=node.settings.read_copies_bytes_max // CACHE_PARTS,
        state_cache_bytes_max=node.settings.state_cache_bytes_max // CACHE_PARTS,
    )
    async with _open_parts(settings, folder, store, machine) as parts:
        compartment = Compartment(facts.name, node.settings, parts, node.visitors, node.counts)
        await carry_through_at_start(compartment)
        await _admit_admin(compartment, facts.name)
        async with _keep_trail(compartment), trio.open_nursery() as nursery:
            nursery.start_soon(compartment.sockets.run)
            nursery.start_soon(compartment.fanout.run)
            nursery.start_soon(compartment.webhooks.run, node.opened)
            nursery.start_soon(keep_retention, compartment)
            yield compartment
            nursery.cancel_scope.cancel()
        await compartment.webhooks.close()


@asynccontextmanager
async def _keep_trail(compartment: Compartment) -> AsyncIterator[None]:
    """Records what was refused and how actions ended; at the end, when the door is closed, all that is left of it."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compartment.trail.run)
            yield
            nursery.cancel_scope.cancel()
    finally:
        await compartment.trail.close()


@asynccontextmanager
async def _open_parts(
    settings: GavelSettings, folder: DataFolder, store: Store, machine: Machine
) -> AsyncIterator[Parts]:
    elements = machine.elements
    store.encrypts = settings.encrypt_at_rest
    try:
        outside = Outside(
            settings.checkpoints or (folder.checkpoints_of_postgres if settings.journal else folder.checkpoints)
        )
        await run_blocking(check_outside, store, outside)
        keeper = Keeper(store, outside, _witnesses(settings))
        blobs = Blobs(
            folder.blobs,
            blob_bytes_max=settings.blob_bytes_max,
            tenant_bytes_max=settings.blob_tenant_bytes_max,
            keyring=store.keyring,
            at_rest=settings.encrypt_at_rest,
        )
        uploads = Uploads(blobs, elements.clock.now)
        await uploads.load()
        roster = [_hired(role, settings, blobs, machine) for role in ROSTER]
        room = Room(folder.path, settings.disk_free_bytes_min, measure=elements.free_bytes)
        with keeper.at_stop():
            async with open_system(
                store,
                roster,
                clock=elements.clock,
                ids=machine.ids,
                bounds=_bounds(settings),
                interceptors=(*elements.interceptors, *_spans(settings)),
                chance=elements.chance,
                room=room,
            ) as system:
                skipped = skipped_in(store.read_stream)
                place = read_models_place(settings, folder)
                projector = Projector(place, PROJECTIONS, system.journal, origin=store.origin, skipped=skipped)
                async with trio.open_nursery() as nursery:
                    await nursery.start(projector.run)
                    nursery.start_soon(keeper.run, settings.checkpoint_seconds)
                    history = _open_history(settings, folder, system.journal, projector)
                    if settings.read_copies_bytes_max:
                        nursery.start_soon(history.keep_copies, projector)
                    yield Parts(folder, store, system, projector, history, blobs, room, uploads, keeper)
                    await projector.catch_up()
                    history.close()
                    nursery.cancel_scope.cancel()
    finally:
        store.close()
        if store.keyring is not None:
            store.keyring.close()


def _bearers(settings: GavelSettings, fetcher: Fetcher, clock: SystemClock) -> Bearers:
    """What verifies tokens of identity providers. Raises Misconfigured."""
    if settings.token_issuers is None:
        return Bearers((), fetcher, clock.now)
    try:
        issuers = read_issuers(settings.token_issuers, allow_http=settings.identity_insecure)
    except IssuersFaulty as error:
        raise Misconfigured(f"GAVEL_TOKEN_ISSUERS: {error}") from error
    return Bearers(issuers, fetcher, clock.now)


def _sign_ins(settings: GavelSettings, fetcher: Fetcher, clock: SystemClock) -> SignIns:
    """The identity provider where people sign in, where one is named. Raises Misconfigured."""
    try:
        client = client_of(settings)
    except ClientFaulty as error:
        raise Misconfigured(str(error)) from error
    return SignIns(Provider(client, fetcher, clock.now) if client else None, Logins(clock.now))


def _witnesses(settings: GavelSettings) -> list[Witnessed]:
    """Raises Misconfigured."""
    try:
        return witnesses_of(settings.witnesses)
    except NotANote as error:
        raise Misconfigured(f"GAVEL_WITNESSES: {error}") from error


def _witness(settings: GavelSettings, folder: DataFolder, clock: SystemClock) -> Witness | None:
    """What cosigns for other logs, where there are some. Raises Misconfigured."""
    if not settings.witness_logs:
        return None
    try:
        trusted = [PublicKey(one) for one in settings.witness_logs]
        return Witness(folder.witness, Cosigner(Signer.load_or_make(folder.witness_key)), trusted, clock.now)
    except NotANote as error:
        raise Misconfigured(f"GAVEL_WITNESS_LOGS: {error}") from error


def _open_history(settings: GavelSettings, folder: DataFolder, journal: Journal, projector: Projector) -> History:
    """What a node that was killed left of moments is of no use to anybody."""
    shutil.rmtree(folder.moments, ignore_errors=True)
    copies = Copies(folder.read_copies, bytes_max=settings.read_copies_bytes_max)
    origin = journal.store.origin
    return History(copies, folder.moments, PROJECTIONS, journal.read, origin=origin, skipped=projector.skips)


def _hired(role: Role, settings: GavelSettings, blobs: Blobs, machine: Machine) -> Role:
    """A line of the roster, with what its actor is told of this node."""
    if role.actor is Coordinator:
        terms = Terms(
            lease_seconds=settings.lease_seconds,
            grace_share=settings.lease_grace_share,
            budget_seconds_max=settings.task_timeout_seconds,
            bidding_seconds_max=settings.bidding_seconds_max,
            attempts_max=settings.task_retries_max + 1,
            cycle_seconds=settings.coordination_interval_seconds,
            aging_factor=settings.priority_aging_factor,
            batch_seconds=settings.batch_seconds,
            rebalance_gain=settings.rebalance_gain,
            rebalance_seconds=settings.rebalance_seconds,
            max_capacity=settings.agent_capacity,
            lease_seconds_min=settings.lease_seconds_min,
            lease_seconds_max=settings.lease_seconds_max,
            hold_seconds=settings.hold_seconds,
            hold_seconds_max=settings.hold_seconds_max,
            weights=score_weights(settings),
            tasks_open_max=settings.tasks_open_max,
        )
        places = seats(machine.allotment)
        return role._replace(make=lambda here: Coordinator(here, terms, places(here.key)))
    if role.actor is Solver:
        house = House(bids=settings.house_solver)
        return role._replace(
            make=lambda here: Solver(
                here,
                partial(blobs.read, tenant=here.key),
                house=house,
                threads=machine.threads,
                backends=backends_of(settings),
            )
        )
    return role


def _allotment(settings: GavelSettings) -> Allotment:
    """The places for tasks, shared by all journals."""
    named = (one.rpartition("=") for one in settings.tenant_weights)
    weights = {tenant: float(weight) for tenant, _, weight in named}
    return Allotment(settings.tasks_running_max, settings.tasks_running_per_tenant_max, weights)


def _bounds(settings: GavelSettings) -> Bounds:
    return Bounds(
        mailbox_max=settings.mailbox_max,
        ask_seconds_max=settings.ask_seconds_max,
        batch_events_max=settings.batch_events_max,
        state_cache_bytes_max=settings.state_cache_bytes_max,
        pending_commands_max=settings.pending_commands_max,
        handler_warn_seconds=settings.handler_warn_seconds,
        handler_seconds_max=settings.handler_seconds_max,
    )


def _spans(settings: GavelSettings) -> tuple[Interceptor, ...]:
    """What makes spans, where that is wanted."""
    if not settings.opentelemetry:
        return ()
    try:
        return (Spans(),)
    except ImportError as error:
        raise NotInstalled(
            f"spans are wanted, and opentelemetry-api is not there: install gavel-runtime[otel] ({error})"
        ) from error


async def _admit_admin(node: Compartment, tenant: str) -> None:
    """Sees to it that the key in the data folder opens the door; a crash between file and record is mended by the next start."""
    token = node.folder.admin_token(node.tokens.token(node.system.ids.new()))
    key_id = key_id_of(token)
    if key_id is None:
        raise FolderUnusable(
            f"{node.folder.admin_key} holds no key; without the file a new one is made at the next start"
        )
    issue = IssueKey(key_id=key_id, role=KeyRole.ADMIN, digest=digest_of(token), label="made at the first start")
    try:
        await node.ask_at_start(issue, tenant)
    except Refused as refused:
        log.warning("admin_key_opens_nothing", file=str(node.folder.admin_key), reason=str(refused))
    node.admin_token = token


@asynccontextmanager
async def _open_door(node: Node, door: Door) -> AsyncIterator[None]:
    async with trio.open_nursery() as delivering:
        delivering.start_soon(node.sockets.run)
        delivering.start_soon(node.visitors.turns.run)
        delivering.start_soon(node.fanout.run)
        delivering.start_soon(node.webhooks.run, node.opened)
        delivering.start_soon(keep_retention, node)
        async with open_door(node, door):
            node.opened.set()
            yield
        delivering.cancel_scope.cancel()
    await node.webhooks.close()


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one exception of a group that holds no other: nurseries wrap even that."""
    if len(group.exceptions) != 1:
        return None
    inner = group.exceptions[0]
    return _alone(inner) if isinstance(inner, BaseExceptionGroup) else inner
