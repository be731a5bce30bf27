"""Whether the facts that commands carry were so: each is derived from the log anew and compared with what the command says.

A fact names the position at which it was read. What the log showed there has to be what the command carries, and nothing before the step
may have changed it since. What no log can show (when an agent was last heard from) is held against what bounds it.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from agents.coordinating.calls import are_all_that_may_be_called, called_min, distance
from agents.coordinating.folding.agents import SKILLS_MAX
from agents.coordinating.folding.tasks import ENDED_MAX
from agents.coordinating.turns import degree
from aggregates import qubo_problem as problems
from aggregates import task as tasks
from aggregates.agent import ClearAgent, LoseAgent, SuspectAgent
from aggregates.coordination import AssignBatch, BatchAssigned
from aggregates.qubo_problem import ProblemRegistered
from aggregates.solve_job import CompleteSolve, QueueSolve, SolveJob
from aggregates.task import (
    SPECIALISTS,
    AskQuestion,
    AssignTask,
    AwardTask,
    Candidate,
    CommitBid,
    CompleteTask,
    Contender,
    Doer,
    ExpireLease,
    FailDependent,
    FailTask,
    LateReported,
    NoteStall,
    OpenBook,
    PlaceBid,
    RebalanceTask,
    RefuseBid,
    RequeueTask,
    RevealBid,
    Stage,
    StartTask,
    SubmitTask,
    Task,
    TaskCompleted,
    TaskSubmitted,
    UnblockTask,
    WithdrawBid,
    skills_needed,
)
from aggregates.values.batches import BatchBook, BatchShare
from aggregates.values.capacity import fits
from aggregates.values.price_list import about
from aggregates.values.ranking import BidderFacts
from aggregates.values.reputation import Recent
from aggregates.values.skill_terms import evidence, serve
from gateway.audit.ledger import Account, Books, Standing, Work
from gateway.audit.look_ups import LookUps
from runtime.differences import unpacked
from runtime.records import Command, Event, Meta
from runtime.replay import Told

FALSE_FACTS_MAX = 1000
"""False facts that are named; those beyond are counted."""

WORDS = (PlaceBid, CommitBid, RevealBid, WithdrawBid, RefuseBid, StartTask, CompleteTask, FailTask, AskQuestion)
"""What an agent says itself: whoever says it is heard from."""

RULES_WITH_UNITS = 3
"""The rules of tasks from which on commands tell the capacity of agents."""
RULES_WITH_OFFERS = 5
"""From which on they tell what a bidder offers, where that was changed after the call."""

NOBODY = "nobody by that name"


class FalseFact(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that a command carries: what it says, and what the log said."""

    position: int
    stream: str
    command: str
    fact: str
    said: Any
    was: Any


class FactCounts(msgspec.Struct, kw_only=True):
    """`checked` facts were derived anew; `bounded` ones can't be and were held against what bounds them; of `unknown` ones the
    log shows too little; `false` counts those of the first two that were not so."""

    checked: int = 0
    bounded: int = 0
    unknown: int = 0
    false: int = 0


class Facts:
    """Follows a log and judges the facts in its commands. A witness of a replay."""

    def __init__(self, look_ups: LookUps) -> None:
        self.counts = FactCounts()
        self.false: list[FalseFact] = []
        self._look_ups = look_ups
        self._books: dict[str, Books] = {}
        self._missed: set[str] = set()
        """Of whom a record could not be read (empty: of anybody): what does not fit after that is nobody's lie."""
        self._told: Told
        self._judges: dict[type[Command[Any]], Callable[[Any, Books], None]] = {
            SubmitTask: self._submission,
            UnblockTask: self._dependency_end,
            FailDependent: self._dependency_end,
            OpenBook: self._call,
            NoteStall: self._stall,
            RequeueTask: self._offer_again,
            AssignTask: self._give,
            CompleteTask: self._result,
            AwardTask: self._award,
            AssignBatch: self._batch,
            RebalanceTask: self._rebalance,
            PlaceBid: self._priced,
            ExpireLease: self._silence_of_holder,
            SuspectAgent: self._silence,
            ClearAgent: self._sign_of_life,
            LoseAgent: self._silence,
            QueueSolve: self._problem,
            CompleteSolve: self._solved,
        }

    def hear(self, told: Told, is_asked: bool) -> None:
        """A command: its facts are judged if anybody asks, and whoever speaks in it is heard from."""
        command, meta = told.command, told.meta
        books = self._books.get(meta.tenant)
        if books is None:
            books = self._books[meta.tenant] = Books()
        books.begin(meta)
        if is_asked:
            self._told = told
            self.counts.checked += 1
            if command.at != meta.at or command.tenant != meta.tenant:
                self._lies("stamp", [command.at, command.tenant], [meta.at, meta.tenant])
            judge = self._judges.get(type(command))
            if judge is not None:
                judge(command, books)
        if isinstance(command, WORDS):
            books.hear(command.agent_id, command.at)

    def take(self, position: int, event: Event, meta: Meta) -> None:
        """An event: it is entered in the books."""
        books = self._books.get(meta.tenant)
        if books is None:
            books = self._books[meta.tenant] = Books()
        books.take(position, event, meta)

    def miss(self, tenant: str) -> None:
        """A record that can't be read: the books lack it from here on."""
        self._missed.add(tenant)

    # ---- saying

    def _say(self, fact: str, said: Any, was: Any) -> None:
        """A fact that does not fit what the log shows, as far as that can be read."""
        if self._missed and ("" in self._missed or self._told.meta.tenant in self._missed):
            self.counts.checked -= 1
            self.counts.unknown += 1
        else:
            self._lies(fact, said, was)

    def _lies(self, fact: str, said: Any, was: Any) -> None:
        self.counts.false += 1
        if len(self.false) < FALSE_FACTS_MAX:
            told = self._told
            self.false.append(
                FalseFact(
                    position=told.position,
                    stream=told.stream,
                    command=type(told.command).__name__,
                    fact=fact,
                    said=unpacked(said),
                    was=unpacked(was),
                )
            )

    def _check(self, fact: str, said: Any, was: Any) -> None:
        self.counts.checked += 1
        if said != was:
            self._say(fact, said, was)

    def _check_one_of(self, fact: str, said: Any, were: Sequence[Any]) -> None:
        """A fact that a step may have read before or after what another one of the same cause changed."""
        self.counts.checked += 1
        if said not in were:
            self._say(fact, said, were[0])

    def _bound(self, fact: str, said: float, least: float, most: float) -> None:
        self.counts.bounded += 1
        if not least <= said <= most:
            self._lies(fact, said, f"between {least!r} and {most!r}")

    # ---- submissions and dependencies

    def _submission(self, command: SubmitTask, books: Books) -> None:
        for fact in command.dependency_facts:
            self._dependency(fact.task_id, fact.stage, fact.position)
        for name in command.submitted_with:
            self._submitted_with(name)
        offered = books.names_by_skill
        if offered and len(offered) < SKILLS_MAX:
            never = tuple(skill for skill in skills_needed(command) if skill not in offered)
            self._check("skills_never_offered", tuple(sorted(command.skills_never_offered)), never)
        in_force = books.schemas.in_force(command.task_type)
        if in_force is not None or command.schema is not None:
            self._check("schema", command.schema, in_force)
        if command.schema is not None:
            unfit = books.schemas.unfit(command.task_type, command.schema.version, payload=command.payload)
            self._check("payload fits its schema", [], unfit)

    def _result(self, command: CompleteTask, books: Books) -> None:
        task = self._told.before
        if isinstance(task, Task) and task.schema_version:
            unfit = books.schemas.unfit(task.task_type, task.schema_version, result=command.result)
            self._check("result fits its schema", [], unfit)

    def _dependency(self, task_id: str, stage: Stage, position: int) -> None:
        fact, told = f"dependency {task_id}", self._told
        stood = self._stood(task_id)
        if stage is Stage.UNKNOWN:
            # One that ended too long ago is not at hand any more, and called unknown.
            if stood is None or told.position - stood[0] >= ENDED_MAX:
                self.counts.unknown += stood is not None
                self.counts.checked += stood is None
                return
            self._check(fact, (stage, position), (stood[1].stage, stood[0]))
            return
        self._check(fact, (stage, position), (stood[1].stage, stood[0]) if stood is not None else NOBODY)

    def _submitted_with(self, task_id: str) -> None:
        """It was submitted in the same step, and nothing else has happened to it."""
        stood, meta = self._stood(task_id), self._told.meta
        record = self._look_ups.record_at(stood[0]) if stood is not None else None
        was: Any = NOBODY
        if record is not None:
            step = (record.meta.at, record.meta.correlation, record.meta.principal)
            was = "submitted with it" if step == (meta.at, meta.correlation, meta.principal) else record.position
            was = was if isinstance(record.event, TaskSubmitted) else record.position
        self._check(f"dependency {task_id}", "submitted with it", was)

    def _stood(self, task_id: str) -> tuple[int, Task] | None:
        found = self._look_ups.stood_at(tasks.stream(task_id), self._told.position, aside=(LateReported,))
        if found is None or found[2] != self._told.meta.tenant:
            return None
        return found[0], found[1]

    def _dependency_end(self, command: UnblockTask | FailDependent, _: Books) -> None:
        stage = command.stage if isinstance(command, FailDependent) else Stage.COMPLETED
        stood = self._stood(command.dependency)
        was = (stood[1].stage, stood[0]) if stood is not None else NOBODY
        self._check(f"dependency {command.dependency}", (stage, command.position), was)

    # ---- calls and awards

    def _call(self, command: OpenBook, books: Books) -> None:
        task = self._called(command, books)
        if task is None:
            return
        excluded = {doer.agent_id for doer in command.doers}
        called = {candidate.agent_id for candidate in command.candidates}
        free = {
            name: one
            for name, one in books.able(task.capabilities)
            if one.is_free
            and name not in excluded
            and fits(task.units, one.profile.max_capacity, one.used)
            and _meets(one, task)
        }
        if by_the_clock := {name for name, one in free.items() if one.profile.working_hours.shifts} - called:
            # Whether they were on duty follows from rules of time zones, which stand in no log.
            self.counts.unknown += len(by_the_clock)
            free = {name: one for name, one in free.items() if name not in by_the_clock}
        left_out = sorted(free.keys() - called)
        if command.passed_over is not None and not (command.passed_over and by_the_clock):
            self._check("passed_over", command.passed_over, bool(left_out))
        if command.passed_over is None:
            if are_all_that_may_be_called(len(called), task.capabilities, task.skills):
                # The least loaded were called where there were too many: nobody who is left out may be less loaded than one who is called.
                busiest = max((candidate.running for candidate in command.candidates), default=0)
                left_out = [name for name in left_out if free[name].running < busiest]
        elif command.passed_over and len(called) >= _called_min(task):
            # Some are called, more or less by how much waits: nobody who is left out may be less taken than one who is called.
            taken = {name: degree(one.running, one.profile.slots, books.awaited(name)) for name, one in free.items()}
            most = max((taken[name] for name in called if name in taken), default=0)
            left_out = [name for name in left_out if taken[name] < most]
        self._check("candidates left out", [], left_out)

    def _stall(self, command: NoteStall, books: Books) -> None:
        task = self._called(command, books)
        if task is None:
            return
        called = {candidate.agent_id for candidate in command.candidates}
        able = dict(books.able(task.capabilities))
        left_out = sorted(able.keys() - called)
        if are_all_that_may_be_called(len(called), task.capabilities, task.skills):
            # Those are named that come nearest: nobody who is left out may come nearer than one who is named.
            farthest = max(_distance(name, able[name], task, command) for name in called if name in able)
            left_out = [name for name in left_out if _distance(name, able[name], task, command) < farthest]
        self._check("candidates left out", [], left_out)

    def _offer_again(self, command: RequeueTask, _: Books) -> None:
        task = self._told.before
        if isinstance(task, Task):
            self._doers(command.doers, task)
        else:
            self.counts.unknown += 1

    def _called(self, command: OpenBook | NoteStall, books: Books) -> Task | None:
        """The task, whose candidates and earlier doers are judged; None where nobody knows it."""
        task = self._told.before
        if not isinstance(task, Task):
            self.counts.unknown += 1
            return None
        self._candidates(command.candidates, task, books)
        self._doers(command.doers, task)
        return task

    def _candidates(self, candidates: Iterable[Candidate], task: Task, books: Books) -> None:
        for said in candidates:
            needed = frozenset(said.capabilities).intersection(task.capabilities)
            shown = (*self._capacity_said(said), said.skills, said.region)
            told = (said.position, sorted(needed), said.slots, said.running, *shown, True)
            were = [_as_candidate(one, task, self._counts_units()) for one in _views(books, said.agent_id)]
            self._check_one_of(f"candidate {said.agent_id}", told, were)

    def _offer_now(self, said: BidderFacts, task: Task, books: Books) -> None:
        """Where nothing is said to have changed since the call, the agent still offers what the task needs."""
        record = self._told.meta.command
        if record is None or record.rules < RULES_WITH_OFFERS:
            return
        views, fact = _views(books, said.agent_id), f"offer of {said.agent_id}"
        if said.changed is None:
            needs = frozenset(task.capabilities)
            served = [needs <= {*one.profile.capabilities} and _meets(one, task) for one in views]
            self._check_one_of(fact, True, served)
        else:
            now = said.changed
            told = (frozenset(now.capabilities).intersection(task.capabilities), now.skills, now.region)
            self._check_one_of(fact, told, [_as_offer(one, task) for one in views])

    def _counts_units(self) -> bool:
        """Whether the command was decided by rules that know of capacity."""
        record = self._told.meta.command
        return record is not None and record.rules >= RULES_WITH_UNITS

    def _capacity_said(self, said: Candidate | BidderFacts) -> tuple[Any, ...]:
        return (said.max_capacity, said.used) if self._counts_units() else ()

    def _doers(self, doers: Sequence[Doer], task: Task) -> None:
        for doer in doers:
            record = self._look_ups.record_at(doer.position) if doer.position < self._told.position else None
            done = record.event if record is not None else None
            was: Any = NOBODY
            if isinstance(done, TaskCompleted) and record is not None and record.meta.tenant == self._told.meta.tenant:
                was = (done.task_id, done.agent_id)
            self._check(f"doer of {doer.task_id}", (doer.task_id, doer.agent_id), was)
        named = {doer.task_id for doer in doers}
        for task_id in task.independent_of:
            if task_id not in named:
                self._unnamed_doer(task_id)

    def _unnamed_doer(self, task_id: str) -> None:
        stood = self._stood(task_id)
        if stood is None or self._told.position - stood[0] >= ENDED_MAX:
            self.counts.unknown += 1
        else:
            self._check("doers left out", [], [task_id] if stood[1].stage is Stage.COMPLETED else [])

    def _award(self, command: AwardTask, books: Books) -> None:
        task = self._told.before
        if not isinstance(task, Task):
            self.counts.unknown += 1
            return
        topics = (task.task_type.value, *task.capabilities)
        self._bidders(command.bidders, topics, [bid.agent_id for bid in task.bids], books, self._counts_units())
        for said in command.bidders:
            self._offer_now(said, task, books)
        if command.batch is not None:
            self._share(command.task_id, command.batch, books.batch)

    def _bidders(
        self,
        bidders: Sequence[BidderFacts],
        topics: tuple[str, ...],
        names: Iterable[str],
        books: Books,
        counts_units: bool,
    ) -> None:
        """Those of whom facts are told, and that nobody is left out who has bid and is active."""
        for said in bidders:
            kind = (said.agent_type,) if counts_units else ()
            capacity = (said.max_capacity, said.used) if counts_units else ()
            told = (*_told_of_bidder(said, topics), *capacity, *kind)
            has_recent = said.recent is not None
            were = [
                (
                    *_as_bidder(one, topics, has_recent=has_recent),
                    *_capacity(one, counts_units),
                    *_kind(one, counts_units),
                )
                for one in _views(books, said.agent_id)
            ]
            self._check_one_of(f"bidder {said.agent_id}", told, were)
        named = {one.agent_id for one in bidders}
        standings = [(name, books.standing(name)) for name in names if name not in named]
        left_out = [name for name, one in standings if one is not None and one.is_active]
        self._check("bidders left out", [], left_out)

    def _give(self, command: AssignTask, books: Books) -> None:
        task = self._told.before
        if not isinstance(task, Task):
            self.counts.unknown += 1
        elif command.candidate is not None:
            self._candidates([command.candidate], task, books)
            self._doers(command.doers, task)
            leases = [one.profile.lease_seconds for one in _views(books, command.agent_id)]
            self._check_one_of("lease_seconds", command.lease_seconds, leases)
            self._priced(command, books)

    def _rebalance(self, command: RebalanceTask, books: Books) -> None:
        """Which of the free are compared is the coordinator's choice; what is said of them is judged."""
        task = self._told.before
        if not isinstance(task, Task):
            self.counts.unknown += 1
            return
        self._doers(command.doers, task)
        for said in (command.holder, *command.candidates):
            self._contender(said, command, task, books)

    def _contender(self, said: Contender, command: RebalanceTask, task: Task, books: Books) -> None:
        facts, offered = said.facts, said.offered
        one, beside = books.standing(facts.agent_id), books.beside(facts.agent_id, command.task_id)
        if one is None or beside is None:
            self.counts.unknown += 1
            return
        running, units, promised = beside
        past = (facts.recent, facts.max_capacity, facts.agent_type, said.is_active)
        what = (frozenset(offered.capabilities), offered.skills, offered.region)
        told = (facts.position, facts.slots, facts.running, facts.used, *past, *what, said.promised)
        profile = one.profile
        was = (one.position, profile.slots, running, units, one.recent, profile.max_capacity, profile.agent_type)
        self._check(f"contender {facts.agent_id}", told, (*was, one.is_active, *_as_offer(one, task), promised))

    def _share(self, task_id: str, said: BatchShare, batch: BatchAssigned | None) -> None:
        """What an award tells of the batch that it was settled in: what the batch's own record says."""
        if batch is None:
            self._say("batch", said, None)
            return
        agents_by_task = {pair.task_id: pair.agent_id for pair in batch.pairs}
        was = (batch.number, agents_by_task.get(task_id, "" if task_id in batch.left else NOBODY))
        self._check("batch", (said.number, said.agent_id), was)
        prices = {one.agent_id: one.price for one in batch.prices}
        self._check("prices of the batch", said.prices, {name: prices.get(name) for name in said.prices})

    def _batch(self, command: AssignBatch, books: Books) -> None:
        for said in command.books:
            stood, work = self._stood(said.task_id), books.work.get(said.task_id)
            self._check(
                f"book of {said.task_id}",
                msgspec.structs.replace(said, changed={}),
                _as_book(stood, work, said.task_id),
            )
            if stood is None:
                continue
            for name, now in said.changed.items():
                told = (frozenset(now.capabilities), now.skills, now.region)
                self._check_one_of(f"offer of {name}", told, [_as_offer(one, stood[1]) for one in _views(books, name)])
        topics = tuple(sorted({topic for book in command.books for topic in book.topics}))
        names = sorted({bid.agent_id for book in command.books for bid in book.bids})
        self._bidders(command.bidders, topics, names, books, counts_units=True)

    def _priced(self, command: PlaceBid | AssignTask, books: Books) -> None:
        task, said = self._told.before, command.listed
        if said is None:
            return
        if not isinstance(task, Task):
            self.counts.unknown += 1
            return
        topics = (task.task_type.value, *task.capabilities)
        were = [
            (one.position, one.profile.price, about(one.profile.prices, topics))
            for one in _views(books, command.agent_id)
        ]
        self._check_one_of("listed", (said.position, said.base, said.prices), were)

    # ---- silence

    def _silence_of_holder(self, command: ExpireLease, books: Books) -> None:
        task = self._told.before
        account = books.accounts.get(task.assignee) if isinstance(task, Task) else None
        if account is None:
            self.counts.unknown += 1
            return
        if command.agent_gone_position:
            self._check("agent_gone_position", command.agent_gone_position, account.gone_at)
        self._last_heard(command.last_heard_at, command.at, account)

    def _silence(self, command: SuspectAgent | LoseAgent, books: Books) -> None:
        account = books.accounts.get(command.agent_id)
        if account is None:
            self._check("agent_id", command.agent_id, NOBODY)
            return
        self._last_heard(command.last_heard_at, command.at, account)

    def _sign_of_life(self, command: ClearAgent, books: Books) -> None:
        account = books.accounts.get(command.agent_id)
        if account is None:
            self._check("agent_id", command.agent_id, NOBODY)
            return
        self._bound("heard_at", command.heard_at, max(account.heard_at, account.since), command.at)

    def _last_heard(self, said: float, at: float, account: Account) -> None:
        """Never before what it said on record, or registered or came back; never after the decision."""
        self._bound("last_heard_at", said, max(account.heard_at, account.since), at)

    # ---- problems and solves

    def _problem(self, command: QueueSolve, _: Books) -> None:
        said = command.problem
        if said is None:
            return
        record = self._look_ups.record_at(said.position) if said.position < self._told.position else None
        event = record.event if record is not None else None
        was: Any = NOBODY
        if isinstance(event, ProblemRegistered) and record is not None:
            was = (event.problem_id, event.name, event.blob, event.format, event.sense, event.variables)
            if record.stream != problems.stream(command.problem_id) or record.meta.tenant != self._told.meta.tenant:
                was = NOBODY
        told = (command.problem_id, said.name, said.blob, said.format, said.sense, said.variables)
        self._check(f"problem {command.problem_id}", told, was)

    def _solved(self, command: CompleteSolve, _: Books) -> None:
        job = self._told.before
        if not isinstance(job, SolveJob) or job.queued is None:
            self.counts.unknown += 1
            return
        self.counts.checked += 2
        if command.input_digest != job.queued.problem.blob:
            self._lies("input_digest", command.input_digest, job.queued.problem.blob)
        if command.seed != job.queued.seed:
            self._lies("seed", command.seed, job.queued.seed)


def _called_min(task: Task) -> int:
    """How many are called at least, where there are so many."""
    least = called_min(task.capabilities, task.skills)
    return least if task.no_bids.call_max is None else min(least, task.no_bids.called(task.widening, least))


def _as_book(stood: tuple[int, Task] | None, work: Work | None, task_id: str) -> BatchBook | str:
    """A book as a batch tells it."""
    if stood is None or work is None:
        return NOBODY
    position, task = stood
    return BatchBook(
        task_id=task_id,
        round=task.round,
        priority=task.priority,
        waits_since=work.waits_since,
        budget_seconds=task.budget_seconds,
        topics=(task.task_type.value, *task.capabilities),
        units=task.units,
        price_max=task.price_max,
        specialist_type=SPECIALISTS[task.task_type],
        skills=task.skills,
        regions=task.regions,
        bids=task.bids,
        position=position,
    )


def _views(books: Books, agent_id: str) -> list[Standing]:
    """How an agent stood before the step, and stands now."""
    return [one for one in (books.standing(agent_id), books.now(agent_id)) if one is not None] or [_NONE]


_NONE = Standing(0, Account().profile, 0, Recent(), Recent())
"""How an agent stands that there is not."""


def _as_candidate(one: Standing, task: Task, counts_units: bool) -> tuple[Any, ...]:
    needed = sorted(frozenset(one.profile.capabilities).intersection(task.capabilities))
    shown = (*_capacity(one, counts_units), evidence(task.skills, one.profile.skills), _region(one, task))
    return (one.position, needed, one.profile.slots, one.running, *shown, one.is_active)


def _as_offer(one: Standing, task: Task) -> tuple[Any, ...]:
    needed = frozenset(one.profile.capabilities).intersection(task.capabilities)
    return (needed, evidence(task.skills, one.profile.skills), _region(one, task))


def _kind(one: Standing, counts_units: bool) -> tuple[Any, ...]:
    return (one.profile.agent_type,) if counts_units else ()


def _region(one: Standing, task: Task) -> str:
    return one.profile.region if task.regions else ""


def _meets(one: Standing, task: Task) -> bool:
    """Whether it is what a task asks for beyond the names of skills."""
    return serve(one.profile.skills, task.skills) and (not task.regions or one.profile.region in task.regions)


def _distance(name: str, one: Standing, task: Task, command: NoteStall) -> tuple[bool, bool, bool, float]:
    excluded = any(doer.agent_id == name for doer in command.doers)
    serves = serve(one.profile.skills, task.skills)
    return distance(_meets(one, task), serves, excluded, one.profile.max_capacity)


def _capacity(one: Standing, counts_units: bool) -> tuple[Any, ...]:
    return (one.profile.max_capacity, one.used) if counts_units else ()


def _told_of_bidder(said: BidderFacts, topics: Iterable[str]) -> tuple[Any, ...]:
    counts = (said.completed, said.failed, said.kept_sum, said.answers, said.answer_seconds_sum)
    past = counts if said.recent is None else (said.recent, *counts)
    special = not frozenset(said.specializations).isdisjoint(topics)
    return (said.position, said.slots, said.running, said.lease_seconds, special, *past, True)


def _as_bidder(one: Standing, topics: Iterable[str], *, has_recent: bool) -> tuple[Any, ...]:
    counts = one.counts
    counted = (counts.succeeded, counts.failed, counts.kept, counts.answers, counts.answer_seconds)
    past = (one.recent, 0, 0, 0.0, 0, 0.0) if has_recent else counted
    special = not frozenset(one.profile.specializations).isdisjoint(topics)
    return (one.position, one.profile.slots, one.running, one.profile.lease_seconds, special, *past, one.is_active)
