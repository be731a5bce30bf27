"""Journals as they could have come about: random commands of two tenants, decided by the aggregates, recorded as events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from aggregates import (
    action,
    agent,
    archive,
    concurrency,
    coordination,
    journal,
    journal_key,
    key,
    lockout,
    projection,
    qubo_problem,
    queue,
    revocation,
    session,
    solve_job,
    subject,
    task,
    task_type,
    trail,
    user,
    webhook,
)
from aggregates.catalog import AGGREGATES
from aggregates.values.price_list import ListedPrices
from aggregates.values.qubo import Format, Sense
from aggregates.values.ranking import AwardPolicy, BidderFacts, Offered
from aggregates.values.roles import Role
from aggregates.values.sealed_bids import commitment_of, sealed_text
from aggregates.values.solving import Backend, Baseline, Known, WarmStart
from runtime.codec import Codec
from runtime.errors import Refused
from runtime.records import Command, Meta, Recorded
from tests.examples import BASELINE_RUN, COURSE, FEATURES, command_by_type

TENANTS = ("ours", "theirs")
PERSONS = ("p1", "p2")
AGENTS = ("ada", "ben", "cleo")
BLOB = sha256(b"a problem").hexdigest()
FORMAT = Format.BQP
START = 1_700_000_000.0
DRAWS = 4
codec = Codec(AGGREGATES)


@dataclass
class Story:
    """What was recorded, and the state of each tenant's streams after it."""

    records: list[Recorded] = field(default_factory=list)
    states: dict[tuple[str, str], Any] = field(default_factory=dict)
    at: float = START
    commands: int = 0
    told: set[tuple[str, str]] = field(default_factory=set)
    """The kinds of events that were recorded of each tenant."""

    def state(self, tenant: str, stream: str) -> Any:
        return self.states.get((tenant, stream))

    def has_news(self, module: ModuleType, stream: str, command: Command[Any]) -> bool:
        """Whether a command would be accepted, and lead to something that was not told yet of its tenant."""
        try:
            events = module.decide(self.states.get((command.tenant, stream), module.initial), command)
        except Refused:
            return False
        return any((command.tenant, codec.kind(event)) not in self.told for event in events)

    def tell(self, module: ModuleType, stream: str, command: Command[Any]) -> bool:
        """Decides a command; whether it was accepted."""
        name = (command.tenant, stream)
        try:
            events = module.decide(self.states.get(name, module.initial), command)
        except Refused:
            return False
        self.commands += 1
        self.at = max(self.at, command.at)
        for number, event in enumerate(events):
            state = self.states.get(name, module.initial)
            self.states[name] = module.evolve(state, event)
            self._record(stream, command, event, first=number == 0)
        return True

    def _record(self, stream: str, command: Command[Any], event: Any, *, first: bool) -> None:
        meta = Meta(
            id=f"command-{self.commands}",
            cause=f"@{len(self.records) // 2}",
            correlation=f"chain-{self.commands // 3}",
            tenant=command.tenant,
            principal="operator:one",
            at=command.at,
            recorded_at=command.at + 0.25,
            command=codec.command_record(command) if first else None,
        )
        position = len(self.records) + 1
        self.told.add((command.tenant, codec.kind(event)))
        version = 1 + sum(record.stream == stream for record in self.records)
        self.records.append(
            Recorded(position=position, stream=stream, version=version, kind=codec.kind(event), event=event, meta=meta)
        )


def told(seed: int, steps: int) -> Story:
    """A story of so many commands, most of them accepted; the same for the same seed.

    Of some that might be told next that one is which brings something new: or what is rare would be in few stories, and whoever adds a
    teller would change in which.
    """
    random, story = Random(seed), Story()
    for step in range(steps):
        story.at += random.choice((0.01, 0.02, 0.05))
        tenant = random.choice(TENANTS)
        draws = [(random.choices(TELLERS, WEIGHTS)[0], random.random()) for _ in range(DRAWS)]
        heard = [_Listener(story) for _ in draws]
        for (tell, own), listener in zip(draws, heard, strict=True):
            tell(listener, Random(own), tenant, step)
        said = next((one.said for one in heard if one.is_news), heard[0].said)
        for module, stream, command in said:
            story.tell(module, stream, command)
    return story


class _Listener(Story):
    """Hears what would be told, of a story that it does not change."""

    def __init__(self, story: Story) -> None:
        super().__init__(story.records, story.states, story.at, story.commands, story.told)
        self.said: list[tuple[ModuleType, str, Command[Any]]] = []
        self.is_news = False

    def tell(self, module: ModuleType, stream: str, command: Command[Any]) -> bool:
        self.said.append((module, stream, command))
        self.is_news = self.is_news or self.has_news(module, stream, command)
        return True


def _agent(story: Story, random: Random, tenant: str, step: int) -> None:
    agent_id = random.choice(AGENTS)
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "agent_id": agent_id}
    command: Command[Any] = random.choice(
        (
            agent.RegisterAgent(
                **common,
                key_id=f"key-{agent_id}",
                key_digest=bytes(32),
                name=agent_id.title(),
                agent_type=agent.AgentType.OPERATIONS,
                capabilities=("solve", "verify"),
                specializations=("solve",),
                slots=random.randint(1, 4),
                data_subject=random.choice(("", *PERSONS)),
            ),
            agent.UpdateAgent(**common, price=float(random.randint(0, 9))),
            agent.DrainAgent(**common, reason="rest"),
            agent.DeregisterAgent(**common, reason="gone"),
            agent.SuspectAgent(**common, last_heard_at=story.at - 1000.0, grace_share=0.25),
            agent.ClearAgent(**common, heard_at=story.at),
            agent.LoseAgent(**common, last_heard_at=story.at - random.choice((1.0, 1000.0))),
            agent.ReturnAgent(**common),
        )
    )
    story.tell(agent, agent.stream(tenant, agent_id), command)


def _submit(story: Story, random: Random, tenant: str, step: int) -> None:
    task_id = f"task-{step}"
    dependencies = tuple(
        sorted({random.choice(_tasks(story, tenant) or ("none",)) for _ in range(random.randint(0, 2))})
    )
    facts = tuple(
        task.DependencyFact(task_id=name, stage=story.states[tenant, task.stream(name)].stage, position=1)
        for name in dependencies
        if name != "none"
    )
    command = task.SubmitTask(
        at=story.at,
        tenant=tenant,
        task_id=task_id,
        task_type=random.choice(tuple(task.TaskType)),
        description=f"Task {step}",
        capabilities=("solve",),
        requirements={"memory": 2, "disks": [1.5, None]},
        dependencies=dependencies if facts else (),
        budget_seconds=random.choice((0.5, 60.0)),
        deadline=random.choice((None, None, story.at + 5.0)),
        payload={"b": 1, "a": {"d": 2.0, "c": "ü"}},
        attempts_max=random.randint(1, 3),
        submitted_by="agent:ada",
        data_subject=random.choice(("", *PERSONS)),
        award_policy=random.choice((*AwardPolicy, AwardPolicy.LOWEST_COST)),
        price_max=random.choice((None, None, None, 3.0)),
        dry_run=random.random() < 0.1,
        dependency_facts=facts,
        dependency_policy=random.choice((task.DependencyPolicy.FAIL, *task.DependencyPolicy)),
    )
    story.tell(task, task.stream(task_id), command)


def _tasks(story: Story, tenant: str) -> list[str]:
    return [name.removeprefix("task-") for owner, name in story.states if owner == tenant and name.startswith("task-")]


def _task(story: Story, random: Random, tenant: str, step: int) -> None:
    """One of the commands that may follow for a task; what does not is refused."""
    names = [
        name
        for name in _tasks(story, tenant)
        if (stage := story.states[tenant, task.stream(name)].stage) not in task.ENDED
        or stage is task.Stage.DEAD_LETTERED
    ]
    if not names:
        return
    task_id = random.choice(names[-3:])
    state = story.states[tenant, task.stream(task_id)]
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "task_id": task_id}
    commands = [command for stages, command in _following(state, random, common) if state.stage in stages]
    news = [command for command in commands if story.has_news(task, task.stream(task_id), command)]
    if commands:
        story.tell(task, task.stream(task_id), random.choice(news or commands))


def _following(state: task.Task, random: Random, common: dict[str, Any]) -> list[tuple[Any, Command[Any]]]:
    stage, at, agent_id = task.Stage, common["at"], random.choice(AGENTS)
    holder: dict[str, Any] = {"agent_id": state.assignee or "nobody", "token": max(1, state.attempt)}
    dependency = random.choice(state.waiting_for or ("none",))
    candidates = tuple(
        task.Candidate(agent_id=name, capabilities=("solve",), slots=9, running=0, position=1) for name in AGENTS
    )
    bidders = tuple(
        BidderFacts(
            agent_id=name,
            slots=random.choice((1, 3)),
            running=1,
            lease_seconds=2.0,
            is_person=random.random() < 0.1,
            position=1,
        )
        for name in AGENTS
    )
    place = task.PlaceBid(
        **common, agent_id=agent_id, price=float(random.randint(0, 5)), eta_seconds=random.random() + 0.1
    )
    any_stage = tuple(stage)

    def rarely(stages: tuple[task.Stage, ...]) -> tuple[task.Stage, ...]:
        return stages if random.random() < 0.1 else ()

    answer = task.AnswerQuestion(**common, number=state.questions, answer="so", answered_by="bob")
    return [
        ((stage.BLOCKED,), task.UnblockTask(**common, dependency=dependency, position=1)),
        ((stage.BLOCKED,), task.UnblockTask(**common, dependency=dependency, position=1)),
        ((stage.BLOCKED,), task.FailDependent(**common, dependency=dependency, stage=stage.FAILED, position=1)),
        ((stage.SUBMITTED,), task.OpenBook(**common, round=state.round + 1, candidates=candidates)),
        (
            rarely((stage.SUBMITTED,)),
            task.AssignTask(
                **common,
                agent_id=agent_id,
                assigned_by="operator:k0",
                candidate=next(one for one in candidates if one.agent_id == agent_id),
                listed=ListedPrices(base=1.0, position=1),
                lease_seconds=2.0,
            ),
        ),
        ((stage.BIDDING,), place),
        ((stage.BIDDING,), place),
        *_sealed(state, random, common, agent_id),
        ((stage.BIDDING,), task.RefuseBid(**common, agent_id=agent_id, reason="busy")),
        ((stage.BIDDING,), task.WithdrawBid(**common, agent_id=agent_id)),
        ((stage.BIDDING,), task.AwardTask(**{**common, "at": at + 3.0}, round=state.round, bidders=bidders)),
        ((stage.AWARDED,), task.StartTask(**common, **holder)),
        (task.HELD, task.AskQuestion(**common, **holder, question=random.choice(("how?", "why?")))),
        *[(task.HELD if state.question_at else (), answer)] * 3,
        *(_of_people(state, random, common, holder) if random.random() < 0.2 else ()),
        (task.HELD, task.CompleteTask(**common, **holder, result={"value": 2, "parts": {"y": 1, "x": [True]}})),
        (task.HELD, task.FailTask(**common, **holder, reason="no memory")),
        (task.HELD, task.ExpireLease(**common, token=holder["token"], last_heard_at=at - 3.0)),
        ((stage.AWARDED,), _rebalance(state, common, bidders)),
        (any_stage if state.taken else (), _late(state, common)),
        (rarely(task.HELD), task.EndOverrun(**{**common, "at": at + 9.0}, token=holder["token"])),
        (rarely(any_stage), task.ExpireTask(**{**common, "at": at + 9.0})),
        ((stage.SUBMITTED,), task.NoteStall(**common)),
        (rarely(any_stage), task.CancelTask(**common, reason="no longer needed")),
        (task.HELD if state.round == 1 else (), task.CancelTask(**common, grace_seconds=8.0)),
        (
            task.HELD if state.cancel_by else (),
            task.EndGrace(**{**common, "at": state.cancel_by}, token=holder["token"]),
        ),
        (rarely(any_stage), task.AmendTask(**common, priority=random.randint(1, 5))),
        ((stage.DEAD_LETTERED,), task.RequeueTask(**common, attempts=1, reason="once more")),
    ]


def _of_people(
    state: task.Task, random: Random, common: dict[str, Any], holder: dict[str, Any]
) -> list[tuple[Any, Command[Any]]]:
    back = task.FailTask(**common, **holder, reason="not mine", declined=True)
    return [
        (task.HELD, task.ReportProgress(**common, **holder, share=random.random(), note="on it")),
        ((task.Stage.SUBMITTED,), task.DeclineOffer(**common, agent_id=random.choice(AGENTS), reason="no time")),
        (task.HELD if state.is_person else (), back),
    ]


def _rebalance(state: task.Task, common: dict[str, Any], bidders: tuple[BidderFacts, ...]) -> Command[Any]:
    """Takes a task back, long after its award, from a holder that is late with all else."""
    offered = Offered(capabilities=state.capabilities)
    (holder,) = [one for one in bidders if one.agent_id == state.assignee] or bidders[:1]
    return task.RebalanceTask(
        **{**common, "at": state.awarded_at + 2.0},
        token=state.attempt,
        holder=task.Contender(facts=holder, offered=offered, promised=(0.0,)),
        candidates=tuple(task.Contender(facts=one, offered=offered) for one in bidders),
        gain=0.1,
        rest_seconds=1.0,
    )


def _sealed(state: task.Task, random: Random, common: dict[str, Any], agent_id: str) -> list[tuple[Any, Command[Any]]]:
    """What is said in a book of sealed bids; now and then something else is opened than was committed to."""
    if state.award_policy not in task.SEALED:
        return []
    stages = (task.Stage.BIDDING,)
    name = random.choice([one.agent_id for one in state.sealed] or [agent_id]) if state.is_revealing else agent_id
    terms: dict[str, Any] = {"agent_id": name, "salt": "5a" * 16}
    terms |= {"price": 2.0, "eta_seconds": 0.5, "confidence": 1.0, "capacity_offer": 0.0}
    commitment = commitment_of(sealed_text(task_id=common["task_id"], round=state.round, **terms))
    if state.is_revealing:
        terms["price"] = random.choice((2.0, 2.0, 1.0))
        return [(stages, task.RevealBid(**common, **terms))] * 6
    opening = task.OpenReveal(**{**common, "at": common["at"] + 3.0}, round=state.round)
    return [
        *[(stages, task.CommitBid(**common, agent_id=name, commitment=commitment))] * 4,
        *[(stages, opening)] * (4 if state.sealed else 0),
    ]


def _late(state: task.Task, common: dict[str, Any]) -> Command[Any]:
    """A report of whoever lost a lease first."""
    agent_id, token = (state.taken[0].agent_id, state.taken[0].token) if state.taken else ("nobody", 1)
    return task.NoteLateReport(**common, agent_id=agent_id, token=token, report="CompleteTask")


def _solve(story: Story, random: Random, tenant: str, step: int) -> None:
    jobs = [
        name.removeprefix("solve_job-")
        for owner, name in story.states
        if owner == tenant and name.startswith("solve_job-")
    ]
    job_id = random.choice([*jobs[-3:], f"job-{step}"])
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "job_id": job_id}
    facts = solve_job.ProblemFacts(name="grid", blob=BLOB, format=FORMAT, sense=Sense.MAX, variables=9, position=1)
    value, seconds = float(random.randint(0, 99)), random.random()
    command = random.choice(
        (
            solve_job.QueueSolve(**common, problem_id="grid", problem=facts, seconds=1.0, seed=7, task_id="t", token=1),
            solve_job.QueueSolve(
                **common,
                problem_id="grid",
                problem=facts,
                seconds=1.0,
                work_max=random.choice((None, 9)),
                backend=Backend.DYNEX,
                fallback=True,
                warm_start=WarmStart(job_id="job-0"),
                known=Known(assignment="AAAA", position=3),
                baseline=Baseline(seconds=1.0),
            ),
            solve_job.StartSolve(**common),
            solve_job.PlanSolve(
                **common, algorithm="annealing", features=FEATURES, memory_bytes=step, build="kernels-1"
            ),
            solve_job.ReportSolve(**common, value=value, work=random.randint(0, 9), seconds=seconds),
            solve_job.CompleteSolve(
                **common,
                value=value,
                assignment="AAAA",
                work=10,
                seconds=seconds,
                algorithm="annealing",
                seed=7,
                input_digest=BLOB,
                trace=random.choice(((), COURSE)),
                works=random.choice(((), (10,))),
                bound=random.choice((None, 99.0)),
                baseline=random.choice((None, BASELINE_RUN)),
            ),
            solve_job.FailSolve(**common, reason="unreadable"),
            solve_job.CancelSolve(**common, reason="not needed"),
        )
    )
    story.tell(solve_job, solve_job.stream(job_id), command)


def _problem(story: Story, random: Random, tenant: str, step: int) -> None:
    command = qubo_problem.RegisterProblem(
        at=story.at,
        tenant=tenant,
        problem_id=f"problem-{step}",
        name=random.choice(("grid", "G1")),
        format=FORMAT,
        blob=BLOB,
        best_known=random.choice((None, 12.0)),
        variables=9,
        couplings=12,
        sense=Sense.MAX,
    )
    story.tell(qubo_problem, qubo_problem.stream(command.problem_id), command)


def _key(story: Story, random: Random, tenant: str, step: int) -> None:
    key_id = f"key-{random.randint(0, 9)}"
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "key_id": key_id}
    command = random.choice(
        (
            key.IssueKey(
                **common, role=Role.AUDITOR, digest=bytes(32), label="for ann", data_subject=random.choice(PERSONS)
            ),
            key.ReplaceKey(**common, successor_id=f"key-{random.randint(0, 9)}", digest=bytes(32)),
            key.RevokeKey(**common, reason="leaked"),
        )
    )
    story.tell(key, key.stream(key_id), command)


def _user(story: Story, random: Random, tenant: str, step: int) -> None:
    user_id = random.choice(PERSONS) or "nobody"
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "user_id": user_id}
    theirs = common | {"data_subject": user_id}
    names: dict[str, Any] = {
        "username": f"name-{step}",
        "email": f"name-{step}@example.org",
        "name": random.choice(("", "Ann")),
    }
    command = random.choice(
        (
            user.RegisterUser(**theirs, **names, role=Role.OPERATOR, password_hash=random.choice(("", "$argon2id$"))),
            user.ChangeUser(**theirs, role=random.choice((None, Role.AUDITOR)), email=f"new-{step}@example.org"),
            user.SetPassword(**theirs, password_hash="$argon2id$"),
            user.DisableUser(**common, reason="on leave"),
            user.EnableUser(**common),
            user.RemoveUser(**common, reason="left"),
        )
    )
    story.tell(user, user.stream(user_id), command)


def _session(story: Story, random: Random, tenant: str, step: int) -> None:
    session_id = f"{tenant}-{random.randint(0, 9)}"
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "session_id": session_id}
    whose: dict[str, Any] = random.choice(({"user_id": "ann"}, {"key_id": "key-1"}))
    opening = session.OpenSession(**common, digest=bytes(32), way=session.Way.LINK, ends_at=story.at + 60.0, **whose)
    command = random.choice((opening, session.EndSession(**common, reason="signed out")))
    story.tell(session, session.stream(session_id), command)


def _revocation(story: Story, random: Random, tenant: str, step: int) -> None:
    command = revocation.RevokeTokens(
        at=story.at,
        tenant=tenant,
        target=sha256(f"{tenant} {random.randint(0, 3)}".encode()).hexdigest()[:32],
        kind=random.choice(tuple(revocation.Kind)),
        issued_before=story.at,
        until=story.at + random.choice((-1.0, 60.0)),
    )
    story.tell(revocation, revocation.stream(tenant, command.target), command)


def _lockout(story: Story, random: Random, tenant: str, step: int) -> None:
    scope = random.choice(tuple(lockout.Scope))
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "scope": scope, "whose": "ann"}
    kinds = (*[lockout.NoteFailure] * 12, lockout.NoteSuccess, lockout.Unlock)
    story.tell(lockout, lockout.stream(tenant, scope, "ann"), random.choice(kinds)(**common))


def _projection(story: Story, random: Random, tenant: str, step: int) -> None:
    name, position = f"{tenant}/{random.randint(1, 3)}", max(1, len(story.records))
    command = projection.SkipEvent(
        at=story.at, tenant=tenant, projection=name, position=position, reason="faulty", failure="it can't be read"
    )
    story.tell(projection, projection.stream(name), command)


def _coordination(story: Story, random: Random, tenant: str, step: int) -> None:
    common: dict[str, Any] = {"at": story.at, "tenant": tenant}
    command = random.choice(
        (
            coordination.StopCoordination(**common),
            coordination.StartCoordination(**common),
            replace(command_by_type[coordination.AssignBatch], **common, aged_at=story.at),
        )
    )
    story.tell(coordination, coordination.stream(tenant), command)


def _concurrency(story: Story, random: Random, tenant: str, step: int) -> None:
    key = random.choice(("deploy", "loom"))
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "key": key}
    limited = concurrency.SetConcurrency(**common, limit=random.randint(1, 3), set_by="ann")
    command = random.choice((limited, concurrency.DropConcurrency(**common)))
    story.tell(concurrency, concurrency.stream(tenant, key), command)


def _queue(story: Story, random: Random, tenant: str, step: int) -> None:
    name = random.choice(("reports", "analysis"))
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "queue": name}
    command = random.choice((queue.PauseQueue(**common, paused_by="ann"), queue.ResumeQueue(**common)))
    story.tell(queue, queue.stream(tenant, name), command)


def _task_type(story: Story, random: Random, tenant: str, step: int) -> None:
    kind = random.choice((task.TaskType.ANALYSIS, task.TaskType.TESTING))
    common: dict[str, Any] = {"task_type": kind, "at": story.at, "tenant": tenant}
    wanted = {"required": [random.choice(("text", "words", "pages"))]}
    command = random.choice((task_type.SetSchemas(payload=wanted, **common), task_type.DropSchemas(**common)))
    story.tell(task_type, task_type.stream(tenant, kind), command)


def _subject(story: Story, random: Random, tenant: str, step: int) -> None:
    name = random.choice(PERSONS)
    command = subject.EraseSubject(
        at=story.at, tenant=tenant, data_subject=name, keys=(f"{step:032x}",), reason="asked"
    )
    story.tell(subject, subject.stream(tenant, name), command)


def _journal(story: Story, random: Random, tenant: str, step: int) -> None:
    name = f"tenant-{random.randint(1, 3)}"
    command = journal.OpenJournal(at=story.at, tenant=tenant, name=name, origin=f"gavel/{name}/00", public_key="K")
    story.tell(journal, journal.stream(name), command)


def _journal_key(story: Story, random: Random, tenant: str, step: int) -> None:
    state = story.state(tenant, journal_key.stream()) or journal_key.initial
    command = journal_key.RotateKey(
        at=story.at,
        tenant=tenant,
        old=state.current or "K",
        new=f"K{step}",
        signed_by_old=bytes(64),
        signed_by_new=bytes(64),
    )
    story.tell(journal_key, journal_key.stream(), command)


def _action(story: Story, random: Random, tenant: str, step: int) -> None:
    action_id = f"{tenant}-{random.randint(1, 20)}"
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "action_id": action_id, "principal": "operator:one"}
    origin = action.Origin(address="192.0.2.7", behalf=random.choice(("", "agent:ada")), reason="asked for")
    command = random.choice(
        (
            action.BeginAction(**common, action="keys.revoke", subject="key-1", origin=origin),
            action.EndAction(**common, outcome=random.choice(tuple(action.Outcome)), code="because"),
        )
    )
    story.tell(action, action.stream(action_id), command)


def _trail(story: Story, random: Random, tenant: str, step: int) -> None:
    common: dict[str, Any] = {"at": story.at, "tenant": tenant}
    who, address = random.choice(AGENTS), f"192.0.2.{random.randint(1, 3)}"
    refusal = trail.Refusal(at=story.at, status=404, code="task_unknown", target=f"{random.randint(1, 9)}")
    counted = trail.Counted(
        since=story.at, until=story.at + 60, count=2, count_by_code={"task_unknown": 2}, samples=(refusal,)
    )
    suspect: dict[str, Any] = {"pattern": random.choice(tuple(trail.Pattern)), "since": story.at - 60, "position": 1}
    days, suspects = trail.stream(tenant, who, story.at), trail.suspects_stream(tenant, address)
    strangers = trail.stream(tenant, address, story.at)
    told = [
        (
            days,
            trail.NoteRefusals(**common, principal=who, refusals=(refusal,), counted=random.choice((None, counted))),
        ),
        (strangers, trail.NoteStrangers(**common, address=address, counted=counted, keys=("k1",))),
        (suspects, trail.SuspectIntruder(**common, source=address, count=30, **suspect)),
        (trail.SETTINGS, trail.NoteSettings(**common, settings={"bind": f"127.0.0.1:{step}"})),
    ]
    stream, command = random.choice(told)
    story.tell(trail, stream, command)


def _archive(story: Story, random: Random, tenant: str, step: int) -> None:
    state = story.state(tenant, archive.stream()) or archive.initial
    command = archive.ArchiveStreams(
        at=story.at,
        tenant=tenant,
        number=state.count + 1,
        name=f"archive-{step}.db",
        sha256=bytes(32),
        before=story.at,
        streams=1,
        records=random.randint(1, 9),
        first=1,
        last=9,
        stubs=bytes(32),
    )
    story.tell(archive, archive.stream(), command)


def _webhook(story: Story, random: Random, tenant: str, step: int) -> None:
    name = f"hook-{random.randint(1, 2)}" if random.random() < 0.8 else f"hook-{step}"
    state = story.state(tenant, webhook.stream(tenant, name)) or webhook.initial
    common: dict[str, Any] = {"at": story.at, "tenant": tenant, "webhook_id": name}
    here = max(1, len(story.records))
    note: dict[str, Any] = {"run": state.run, "position": state.position + random.randint(0, 2)}
    delivered = webhook.NoteDelivered(**common, **note, delivered=random.randint(0, 2), failed=random.randint(0, 1))
    command = random.choice(
        (
            webhook.CreateWebhook(**common, url="https://example.org/a", kinds=("task",), position=here),
            webhook.CreateWebhook(**common, url="https://example.org/a", kinds=("task",), position=here),
            webhook.UpdateWebhook(**common, url=random.choice((None, "https://example.org/b")), principal="agent:ada"),
            webhook.PauseWebhook(**common, reason="asked"),
            *((webhook.ResumeWebhook(**common),) * 3),
            webhook.RotateSecret(**common, generation=state.generation + 1),
            webhook.ReplayWebhook(**common, after=random.randint(0, here), position=here),
            *(delivered, delivered, delivered),
            webhook.NoteFailing(**common, **note, since=story.at - 1.0, error="answered 500"),
            webhook.GiveUpWebhook(**common, run=state.run, reason="answered 410"),
            *((webhook.DeleteWebhook(**common, reason="not needed"),) if random.random() < 0.2 else ()),
        )
    )
    story.tell(webhook, webhook.stream(tenant, name), command)


TELLERS: tuple[Callable[[Story, Random, str, int], None], ...] = (
    *(_agent, _submit, _task, _solve, _problem, _key, _projection, _journal, _journal_key, _subject, _action, _trail),
    *(_archive, _user, _session, _lockout, _webhook, _revocation, _coordination, _queue, _concurrency, _task_type),
)
WEIGHTS = (8, 4, 48, 12, 1, 4, 1, 1, 1, 1, 4, 2, 1, 5, 4, 8, 5, 1, 1, 1, 1, 1)


def from_disk(record: Recorded) -> Recorded:
    """The record as it comes back after its bytes were written and read."""
    body = codec.body(record.meta, codec.pack(record.event))
    meta, event = codec.open(record.kind, body)
    return Recorded(
        position=record.position,
        stream=record.stream,
        version=record.version,
        kind=record.kind,
        event=event,
        meta=meta,
    )
