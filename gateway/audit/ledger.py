"""An auditor's own books of agents and their work: what the log says of each, at any record and as of the step that led to it.

They are kept from the events alone and owe nothing to the coordinator's memory: an agent's profile is folded by the agents' own rules.
All decisions of a step were made upon what stood before its first one, so the books keep how agents stood there too.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

from agents.coordinating.turns import Awaited
from aggregates import agent as agents
from aggregates.agent import (
    Agent,
    AgentCleared,
    AgentDeregistered,
    AgentDraining,
    AgentLost,
    AgentRegistered,
    AgentReturned,
    AgentSuspected,
    AgentUpdated,
)
from aggregates.coordination import BatchAssigned
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    DryRunEnded,
    LeaseExpired,
    QuestionAnswered,
    QuestionAsked,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskRebalanced,
    TaskRequeued,
    TaskStarted,
    TaskSubmitted,
    is_taken,
)
from aggregates.task_type import SchemasDropped, SchemasSet
from aggregates.values.capacity import total
from aggregates.values.reputation import Recent, gained
from gateway.audit.schemas import SchemaBooks
from runtime.records import Event, Meta

DEPARTED_MAX = 10_000
"""Of how many agents that left the coordinator knows the past; that of those who left before is forgotten there, and so here."""

StepKey = tuple[float, str, str, str, str]


class Standing(NamedTuple):
    """How an agent stood: `position` is that of the last event that changed any of it."""

    position: int
    profile: Agent
    running: int
    recent: Recent
    counts: Recent
    used: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.profile.stage is agents.Stage.ACTIVE

    @property
    def is_free(self) -> bool:
        return self.is_active and self.running < self.profile.slots


class Account:
    """An agent's page in the books."""

    __slots__ = (
        "counts",
        "gone_at",
        "heard_at",
        "held",
        "position",
        "profile",
        "recent",
        "since",
    )

    def __init__(self) -> None:
        self.position = 0
        self.profile = agents.initial
        self.held: dict[str, float] = {}
        """The units that each task takes."""
        self.recent = Recent()
        """Its past, as much as is left of it."""
        self.counts = Recent()
        """The same, and nothing fades: the facts of earlier records."""
        self.since = 0.0
        """When it registered or came back last."""
        self.heard_at = 0.0
        """When it said last what stands on record."""
        self.gone_at = 0
        """Where it is recorded that it was lost or left."""

    @property
    def has_past(self) -> bool:
        return self.counts != Recent()

    def standing(self) -> Standing:
        return Standing(
            self.position,
            self.profile,
            len(self.held),
            self.recent,
            self.counts,
            total(self.held.values()),
        )

    def gain(self, at: float, **gains: float) -> None:
        self.recent, self.counts = gained(self.recent, at, **gains), gained(self.counts, 0.0, **gains)


class Work:
    """An open task, as far as its agents' figures follow from it."""

    __slots__ = (
        "answered",
        "asked_at",
        "assignee",
        "awarded_at",
        "bidding_seconds",
        "called",
        "confidence",
        "eta_seconds",
        "input_seconds",
        "is_asking",
        "is_assigned",
        "is_begun",
        "opened_at",
        "units",
        "waits_since",
    )

    def __init__(self, event: TaskSubmitted | TaskRequeued, asked_at: float) -> None:
        self.bidding_seconds = event.bidding_seconds
        self.units = event.units
        self.asked_at = asked_at
        self.waits_since = max(asked_at, event.not_before or 0.0)
        self.opened_at = 0.0
        self.called: tuple[str, ...] = ()
        """By the book that is open."""
        self.answered: set[str] = set()
        self.assignee = ""
        self.awarded_at = 0.0
        self.is_assigned = False
        self.is_asking = False
        self.input_seconds = 0.0
        self.eta_seconds = 0.0
        self.confidence = 1.0
        self.is_begun = False

    @property
    def promised_at(self) -> float | None:
        """When its holder has promised to be done; None where it has promised nothing, or waits for an answer."""
        if self.is_assigned or self.is_asking:
            return None
        return self.awarded_at + self.eta_seconds + self.input_seconds


class Books:
    """The books of one tenant."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.departed: OrderedDict[str, Account] = OrderedDict()
        self.work: dict[str, Work] = {}
        self.schemas = SchemaBooks()
        self.names_by_skill: dict[str, set[str]] = {}
        """Every skill that was ever offered, and the active agents that offer it now."""
        self.batch: BatchAssigned | None = None
        """The last batch that was settled."""
        self._step: StepKey | None = None
        self._before: dict[str, Standing | None] = {}
        """How the agents stood that the step under way has changed."""
        self._awaited = Awaited()
        self._closed: list[tuple[str, ...]] = []
        """Whom the books called that the step under way has ended."""

    # ---- looking

    def begin(self, meta: Meta) -> None:
        """A command comes: it belongs to the step of the one before where it has the same cause at the same moment."""
        step = (meta.at, meta.cause, meta.correlation, meta.principal, meta.tenant)
        if step != self._step:
            self._step = step
            self._before.clear()
            for called in self._closed:
                self._awaited.drop(called)
            self._closed.clear()

    def standing(self, agent_id: str) -> Standing | None:
        """How an agent stood before the step under way; None where there was none."""
        if agent_id in self._before:
            return self._before[agent_id]
        account = self.accounts.get(agent_id)
        return account.standing() if account is not None else None

    def awaited(self, agent_id: str) -> int:
        """What an agent awaited of the books that were open before the step under way, and of those that it has opened so far."""
        return self._awaited.of(agent_id)

    def now(self, agent_id: str) -> Standing | None:
        """How an agent stands after the records so far."""
        account = self.accounts.get(agent_id)
        return account.standing() if account is not None else None

    def beside(self, agent_id: str, task_id: str) -> tuple[int, float, tuple[float, ...]] | None:
        """How many other tasks an agent holds, the units that they take, and when it has promised to be done with them; None where the
        step under way has changed that."""
        account = self.accounts.get(agent_id)
        if account is None or agent_id in self._before:
            return None
        others = [name for name in account.held if name != task_id]
        units = total(account.held[name] for name in others)
        moments = (self.work[name].promised_at for name in others if name in self.work)
        return len(others), units, tuple(sorted(moment for moment in moments if moment is not None))

    def able(self, needs: tuple[str, ...]) -> list[tuple[str, Standing]]:
        """The agents that were active with all these skills before the step under way, by name."""
        if needs:
            first, *others = (self.names_by_skill.get(skill, set()) for skill in needs)
            names = first.intersection(*others)
        else:
            names = {name for name, one in self.accounts.items() if one.profile.stage is agents.Stage.ACTIVE}
        found = []
        for name in sorted({*names, *self._before}):
            standing = self.standing(name)
            if standing is not None and standing.is_active and set(needs) <= set(standing.profile.capabilities):
                found.append((name, standing))
        return found

    # ---- keeping

    def take(self, position: int, event: Event, meta: Meta) -> None:
        """Enters an event of an agent or a task."""
        match event:
            case AgentRegistered():
                self._register(position, event, meta)
            case (
                AgentUpdated()
                | AgentDraining()
                | AgentSuspected()
                | AgentCleared()
                | AgentLost()
                | AgentReturned()
                | AgentDeregistered()
            ):
                self._change(position, event, meta)
            case SchemasSet() | SchemasDropped():
                self.schemas.take(position, event)
            case TaskSubmitted():
                self.work[event.task_id] = Work(event, event.submitted_at)
            case TaskRequeued():
                self.work[event.task_id] = Work(event, event.requeued_at)
            case BatchAssigned():
                self.batch = event
            case _:
                work = self.work.get(getattr(event, "task_id", ""))
                if work is not None:
                    self._follow(position, event, work, meta.at)

    def hear(self, agent_id: str, at: float) -> None:
        """An agent says something that stands on record."""
        account = self.accounts.get(agent_id)
        if account is not None and account.profile.stage is not agents.Stage.DEREGISTERED:
            account.heard_at = at

    def _touch(self, agent_id: str, position: int) -> Account | None:
        """The account of an agent that is about to change."""
        account = self.accounts.get(agent_id)
        if account is not None:
            if agent_id not in self._before:
                self._before[agent_id] = account.standing()
            account.position = position
        return account

    def _register(self, position: int, event: AgentRegistered, meta: Meta) -> None:
        name = event.agent_id
        account = self._touch(name, position)
        if account is None:
            self._before.setdefault(name, None)
            account = self.accounts[name] = self.departed.pop(name) if name in self.departed else Account()
            account.position, account.heard_at = position, 0.0
        self._renew(account, name, event)
        account.since = meta.at

    def _change(self, position: int, event: Any, meta: Meta) -> None:
        account = self._touch(event.agent_id, position)
        if account is None:
            return
        self._renew(account, event.agent_id, event)
        match event:
            case AgentCleared():
                account.heard_at = max(account.heard_at, event.heard_at)
            case AgentReturned():
                account.since = meta.at
            case AgentLost():
                account.gone_at = position
            case AgentDeregistered():
                account.gone_at, account.heard_at = position, 0.0
                self._dismiss(event.agent_id, account)

    def _renew(self, account: Account, name: str, event: Any) -> None:
        """The profile after an event, and the lists of who offers what."""
        self._list(name, account.profile, offers=False)
        account.profile = agents.evolve(account.profile, event)
        self._list(name, account.profile, offers=True)

    def _list(self, name: str, profile: Agent, *, offers: bool) -> None:
        if profile.stage is not agents.Stage.ACTIVE:
            return
        for skill in profile.capabilities:
            names = self.names_by_skill.setdefault(skill, set())
            if offers:
                names.add(name)
            else:
                names.discard(name)

    def _dismiss(self, name: str, account: Account) -> None:
        """Who left is kept until its last task was taken from it; then its figures alone, if it has any."""
        if account.profile.stage is not agents.Stage.DEREGISTERED or account.held:
            return
        del self.accounts[name]
        if account.has_past:
            self.departed[name] = account
            if len(self.departed) > DEPARTED_MAX:
                self.departed.popitem(last=False)

    def _follow(self, position: int, event: Any, work: Work, at: float) -> None:
        match event:
            case BookOpened():
                work.opened_at = event.closes_at - (event.bidding_seconds or work.bidding_seconds)
                work.answered, work.called = set(), event.eligible
                self._awaited.add(event.eligible)
            case BookVoided():
                self._close(work)
            case BidPlaced():
                self._count_answer(position, event, event.placed_at, work, at)
            case BidCommitted():
                self._count_answer(position, event, event.committed_at, work, at)
            case BidRefused() | BidWithdrawn():
                work.answered.add(event.agent_id)
            case TaskAwarded():
                self._close(work)
                work.assignee, work.eta_seconds = event.agent_id, event.eta_seconds
                work.confidence, work.is_begun = event.stated_confidence, False
                work.awarded_at, work.is_assigned = event.awarded_at, bool(event.assigned_by)
                work.is_asking, work.input_seconds = False, 0.0
                if (account := self._touch(event.agent_id, position)) is not None:
                    account.held[event.task_id] = work.units
            case TaskStarted():
                work.is_begun = True
            case QuestionAsked():
                work.is_asking = True
            case QuestionAnswered():
                work.is_asking, work.input_seconds = False, work.input_seconds + event.waited_seconds
            case TaskRebalanced():
                self._release(position, event.task_id, work)
            case TaskAmended() if event.not_before is not None:
                work.waits_since = max(work.asked_at, event.not_before)
            case LeaseExpired() | TaskFailed(final=False):
                no_show = is_taken(event) and not work.is_begun
                self._release(position, event.task_id, work, failed_at=at, no_shows=1.0 if no_show else 0.0)
            case TaskCompleted():
                self._complete(position, event, work, at)
            case TaskFailed() | TaskCancelled() | TaskExpired() | TaskDeadLettered() | DryRunEnded():
                self._close(work)
                self._release(position, event.task_id, work)
                del self.work[event.task_id]

    def _close(self, work: Work) -> None:
        """Its book has ended, where one was open: for what follows from the step after this one."""
        if work.called:
            self._closed.append(work.called)
            work.called = ()

    def _count_answer(
        self, position: int, event: BidPlaced | BidCommitted, answered_at: float, work: Work, at: float
    ) -> None:
        """Only the first answer to a call counts."""
        if event.agent_id not in work.answered:
            work.answered.add(event.agent_id)
            if (account := self._touch(event.agent_id, position)) is not None:
                account.gain(at, answers=1, answer_seconds=max(0.0, answered_at - work.opened_at))

    def _complete(self, position: int, event: TaskCompleted, work: Work, at: float) -> None:
        if (account := self._touch(event.agent_id, position)) is not None:
            kept = min(1.0, work.eta_seconds / event.seconds) if event.seconds > 0 else 1.0
            account.gain(at, stated=work.confidence, succeeded=1, kept=kept)
        self._release(position, event.task_id, work)
        del self.work[event.task_id]

    def _release(
        self, position: int, task_id: str, work: Work, *, failed_at: float | None = None, no_shows: float = 0.0
    ) -> None:
        name, work.assignee = work.assignee, ""
        account = self.accounts.get(name)
        if account is None or task_id not in account.held:
            return
        self._touch(name, position)
        del account.held[task_id]
        if failed_at is not None:
            account.gain(failed_at, stated=work.confidence, failed=1, no_shows=no_shows)
        self._dismiss(name, account)
