"""A node's parts as routes and commands find them. Opened and closed by `gateway/node.py`.

What stands on one journal is a compartment: its store, actors, read models, blobs and sockets, and the keys that open it. The node is
the compartment of all tenants but the strictly isolated; each of those has one to itself, and its callers meet nothing else.
"""

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import structlog
import trio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from aggregates.journal import SHARED
from aggregates.values.roles import Principal
from gateway.api.kept import Kept
from gateway.api.operations import Operations
from gateway.door.bounds import Counts
from gateway.door.proxies import UNIX
from gateway.door.tls import Certificates
from gateway.feeds.fanout import Fanout
from gateway.feeds.sockets import Sockets
from gateway.feeds.waiting import Waits
from gateway.identity.auth import Tokens, digest_of
from gateway.identity.bearers import Bearers
from gateway.identity.passwords import Passwords
from gateway.identity.provider import SignIns
from gateway.identity.tickets import Tickets
from gateway.limits.admission import Visitors, check_stranger, pace
from gateway.limits.callers import Callers, Most
from gateway.limits.fair import FairTurns
from gateway.limits.places import Places
from gateway.limits.rates import Rates
from gateway.origins import address_of, lock_address_of
from gateway.outside import Sender
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.trail import Trail
from gateway.upkeep.checkpoints import Keeper
from gateway.webhooks.courier import Terms
from gateway.webhooks.couriers import Webhooks
from runtime.blobs import Blobs
from runtime.delivery import Context
from runtime.errors import Failure, Refused
from runtime.history import History
from runtime.keyring import Keyring
from runtime.projector import Projector
from runtime.records import Command
from runtime.room import Room
from runtime.store.store import Store
from runtime.system import System
from runtime.uploads import Uploads
from runtime.witness import Witness

if TYPE_CHECKING:
    from gateway.compartments import Compartments

R = TypeVar("R")

TENANT = "default"
"""The tenant of the first admin key, and so of whatever it makes; its admins look after the node."""

BATCHES_OF_TENANT_MAX = 4
"""That go on at a time: more would only lengthen each other."""

MOMENTS_OF_TENANT_MAX = 2
"""Questions as of the past that go on at a time: fewer than may wait for read models as they were, so that no tenant takes all places."""

VERIFICATIONS_MAX, VERIFICATIONS_OF_TENANT_MAX, VERIFICATIONS_WAITING_MAX = 2, 1, BATCHES_OF_TENANT_MAX
"""A verification reads a whole journal: how many go on in all and of a tenant, and how many of a tenant may wait."""

PROBLEM_FILES_MAX, PROBLEM_FILES_OF_TENANT_MAX, PROBLEM_FILES_WAITING_MAX = 2, 1, 40
"""A file of a problem may take a few hundred megabytes while it is read: the same of these."""

LAG_POSITIONS_MAX = 10_000
"""How far the read models may be behind before the node calls itself not ready."""

FAILURE_SECONDS = 10.0
"""How long a failed commit speaks against the node, where none after it succeeded."""


CURSOR = re.compile(r"(?P<journal>[a-z][a-z0-9-]*):(?P<position>.*)", re.DOTALL)
"""A position that names its journal; a time has colons too, and begins with a digit."""

TRIES = 10
TRY_AGAIN_SECONDS = 1.0
"""How often, and after how long each time, a start asks its own actors: a disk that is busy for a moment ends no start."""

log = structlog.get_logger("gateway.node")


class Parts(NamedTuple):
    """What stands on one journal."""

    folder: DataFolder
    store: Store
    system: System
    projector: Projector
    history: History
    blobs: Blobs
    room: Room
    uploads: Uploads
    keeper: Keeper


class Compartment:
    """One journal and what stands on it. `journal` is its name, and the tenant's."""

    def __init__(self, journal: str, settings: GavelSettings, parts: Parts, visitors: Visitors, counts: Counts) -> None:
        self.journal = journal
        self.settings = settings
        self.folder, self.store, self.system, self.projector, self.history = parts[:5]
        self.blobs, self.room, self.uploads, self.keeper = parts[5:]
        self.visitors = visitors
        self.tickets, self.passwords, self.bearers = visitors.tickets, visitors.passwords, visitors.bearers
        self.counts = counts
        self.tokens = Tokens(self.folder.secret(), journal)
        self.trail = Trail(
            self.system,
            self.folder.secret(),
            refusals_max=settings.refusals_recorded_max,
            strangers_tenant=TENANT if journal == SHARED else journal,
        )
        self.waits = Waits(self.system)
        self.operations = Operations()
        self.batches = Places(BATCHES_OF_TENANT_MAX, "batches")
        self.moments = Places(MOMENTS_OF_TENANT_MAX, "questions as of the past")
        self.kept = Kept(self.system.clock.now)
        self.sockets = Sockets(self.system, self.position_in, self.trail.refuse, partial(pace, visitors))
        self.fanout = Fanout(self.system.journal)
        terms = Terms(settings.webhook_retry_seconds_max, settings.webhook_dead_seconds)
        outside = Sender(http=settings.webhook_http, private=settings.webhook_private)
        self.webhooks = Webhooks(self.system, journal, self.folder.secret(), outside, terms)
        self.started_at = self.system.clock.now()
        self.admin_token = ""
        self.rotating = trio.Lock()
        self.erasures = 0
        """How many are under way."""
        self.carrying_through = trio.Lock()
        self.erasure_fault = ""
        """Why an erasure that is on record is not carried through yet."""

        self._failures = 0
        self._failed_at = -FAILURE_SECONDS

    @property
    def keyring(self) -> Keyring:
        """The keys of data subjects."""
        keyring = self.store.keyring
        assert keyring is not None, "a node's journals have keys"
        return keyring

    def is_home_of(self, tenant: str) -> bool:
        """Whether this tenant's records belong here."""
        return tenant == self.journal

    def is_looked_after_by(self, tenant: str) -> bool:
        """Whether this tenant's admins decide what concerns the whole journal."""
        return tenant == self.journal

    def check_journal(self, name: str) -> None:
        """Raises Refused where what a caller brings is of another journal: a position there says nothing here."""
        if name != self.journal:
            raise Refused("journal_differs", f"this is of the journal {name}, and yours is {self.journal}")

    def cursor(self, position: int) -> str:
        """A position that says its journal, unless that is the shared one."""
        return str(position) if self.journal == SHARED else f"{self.journal}:{position}"

    def position_in(self, cursor: str) -> str:
        """The position in a cursor, or whatever else stands there. Raises Refused where it names another journal."""
        named = CURSOR.fullmatch(cursor)
        if named is None:
            return cursor
        self.check_journal(named["journal"])
        return named["position"]

    async def ask(
        self, message: Command[R], principal: Principal, *, key: str = "", digest: bytes = b"", correlation: str = ""
    ) -> R:
        """Asks whoever takes this type of message, on somebody's behalf."""
        context = Context(
            tenant=principal.tenant, principal=principal.name, key=key, digest=digest, correlation=correlation
        )
        return await self.system.ask(message, context)

    async def ask_at_start(self, message: Command[R], tenant: str) -> R:
        """Asks on the node's own behalf, until it is answered or refused, or TRIES have failed."""
        tries_left = TRIES
        while True:
            try:
                return await self.system.ask(message, Context(tenant=tenant, principal="node"))
            except Refused:
                raise
            except Failure as failure:
                tries_left -= 1
                if not tries_left:
                    raise
                log.warning("start_held_up", message=type(message).__name__, reason=str(failure))
                await trio.sleep(TRY_AGAIN_SECONDS)

    def faults(self) -> list[str]:
        """What keeps the compartment from being ready; empty when nothing does."""
        journal = self.system.journal
        found = [f"{one.name} stopped: {one.reason}" for one in self.projector.status() if one.reason]
        if self.projector.trouble:
            found.append(f"the read models can't be written: {self.projector.trouble}")
        behind = [one.name for one in self.projector.status() if one.position < journal.position - LAG_POSITIONS_MAX]
        found += [f"{name} is far behind the journal" for name in behind]
        if self._commit_fails():
            found.append(f"the journal could not commit: {journal.last_failure}")
        if self.erasure_fault:
            found.append(f"an erasure is not complete: {self.erasure_fault}")
        if fault := self.room.fault():
            found.append(f"no new work is taken: {fault}")
        return found

    def _commit_fails(self) -> bool:
        journal = self.system.journal
        if journal.failures > self._failures:
            self._failures, self._failed_at = journal.failures, trio.current_time()
        return journal.is_failing and trio.current_time() < self._failed_at + FAILURE_SECONDS


class Node(Compartment):
    """A running node: its shared journal, and the compartments of isolated tenants. `url` is empty where its door is not open."""

    isolated: "Compartments"
    certificates: Certificates | None = None
    is_draining = False
    """Whether it was asked to stop, and serves on for a while."""
    witness: Witness | None = None

    def __init__(self, settings: GavelSettings, parts: Parts, bearers: Bearers, sign_ins: SignIns) -> None:
        rates = Rates(settings, trio.current_time)
        visitors = Visitors(
            Tickets(parts.system.clock.now), Passwords(), bearers, rates, FairTurns(), *_shared_places()
        )
        super().__init__(SHARED, settings, parts, visitors, Counts())
        self.sign_ins = sign_ins
        self.url = ""
        self.opened = trio.Event()
        """Is set when the door is open: what goes out of the node by itself begins then."""
        self.callers = Callers(
            Most(settings.requests_per_principal_max, settings.requests_per_tenant_max),
            Most(settings.sockets_per_principal_max, settings.sockets_per_tenant_max),
        )

    def faults(self) -> list[str]:
        """What keeps the node from being ready; empty when nothing does."""
        return [*super().faults(), *(["it is about to stop"] if self.is_draining else [])]

    def is_home_of(self, tenant: str) -> bool:
        """All tenants are at home here but those that have a journal of their own."""
        return tenant not in self.isolated

    def is_looked_after_by(self, tenant: str) -> bool:
        return tenant == TENANT

    def check_stranger(self, connection: HTTPConnection, whose: str) -> None:
        """Raises TooOften where an address that was turned away too often brings what costs much to look at."""
        if address_of(connection) != UNIX:
            check_stranger(self.visitors, lock_address_of(connection), whose)

    def compartment(self, journal: str) -> Compartment:
        """Raises KeyError where there is no such journal, Unreachable where it is closed."""
        return self if journal == SHARED else self.isolated.find(journal)

    def home_of(self, tenant: str) -> Compartment:
        """Where a tenant's records are. Raises Unreachable where its journal is closed."""
        return self.isolated.find(tenant) if tenant in self.isolated else self

    def sign_in_link(self) -> str:
        """A link that signs a browser in as the admin, once."""
        return f"{self.url}/session?ticket={self.tickets.issue(digest_of(self.admin_token))}"


def _shared_places() -> tuple[Places, Places]:
    """For verifications, and for reading files of problems: tenants share these, and none may take all."""
    verifications = Places(
        VERIFICATIONS_OF_TENANT_MAX,
        "verifications",
        waiting_of_tenant_max=VERIFICATIONS_WAITING_MAX,
        of_all_max=VERIFICATIONS_MAX,
    )
    files = Places(
        PROBLEM_FILES_OF_TENANT_MAX,
        "files of problems",
        waiting_of_tenant_max=PROBLEM_FILES_WAITING_MAX,
        of_all_max=PROBLEM_FILES_MAX,
    )
    return verifications, files


def whole_node(compartment: Compartment, principal: Principal) -> Node | None:
    """The node with all its journals, for those whose tenant looks after it; None for others."""
    return compartment if isinstance(compartment, Node) and principal.tenant == TENANT else None


def check_whole_node(compartment: Compartment, principal: Principal) -> Node:
    """The same. Raises `HTTPException` 403 for others."""
    node = whole_node(compartment, principal)
    if node is None:
        raise HTTPException(403, f"this is for those who look after the node, whose tenant is {TENANT}")
    return node
