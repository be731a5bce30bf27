"""A life of a node in which every command of every aggregate decides something; all but a solve by time follows from a seed."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

import agents.solver
from aggregates import action, agent, key, lockout, revocation, session, task, trail, user, webhook
from aggregates.agent import AgentType
from aggregates.concurrency import DropConcurrency, SetConcurrency
from aggregates.coordination import StartCoordination, StopCoordination
from aggregates.journal import OpenJournal
from aggregates.projection import SkipEvent
from aggregates.qubo_problem import RegisterProblem
from aggregates.queue import PauseQueue, ResumeQueue
from aggregates.solve_job import CancelSolve, QueueSolve, SolveCompleted
from aggregates.task_type import DropSchemas, SetSchemas, TaskType
from aggregates.values.concurrency import Concurrency, Strategy
from aggregates.values.no_bids import NoBidPolicy, NoWinner
from aggregates.values.qubo import Format, Sense
from aggregates.values.ranking import AwardPolicy
from aggregates.values.roles import Role
from aggregates.values.sealed_bids import commitment_of, sealed_text
from aggregates.values.skill_terms import SkillNeed, SkillOffer
from aggregates.values.solving import Backend, Baseline, Known, WarmStart
from aggregates.values.working_hours import Shift, Weekday, WorkingHours
from gateway.node import Elements, open_node
from gateway.parts import Node
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder, write_private
from gateway.upkeep.erasure import erase
from gateway.upkeep.rotations import rotate
from runtime.blobs import Blobs
from runtime.claims import Claims, Name
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.records import Command, Recorded
from runtime.simulation import Machine, World, simulate
from runtime.store.copies import copy_database
from runtime.transparency import Signer
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.examples import command_by_type

R = TypeVar("R")

SEED = 7
LEASE_SECONDS = 10.0
BUDGET_SECONDS = 8.0
GRID = write_rudy(toroidal_grid(6, 6, 1))
"""A problem that the house solves; `TARGET` is reached before any time is up."""
TARGET = 20.0
LAST_SECONDS = 60.0
REPORT_SECONDS = 0.0001
"""Between two reports of a solve: it takes no simulated time, but to begin and to end."""


class Party:
    """Somebody who asks the node, and what they ask most."""

    def __init__(self, node: Node, tenant: str, name: str) -> None:
        self.node = node
        self.context = Context(tenant=tenant, principal=name)

    async def ask(self, command: Command[R]) -> R:
        return await self.node.system.ask(command, self.context)

    async def register(self, name: str, **changed: Any) -> None:
        """Offers somebody's services, with a key."""
        given: dict[str, Any] = {"capabilities": ("cutting",), "slots": 2, "agent_type": AgentType.OPERATIONS}
        digest = sha256(f"{name} {self.node.system.journal.position}".encode()).digest()
        key_id = f"key-{digest.hex()[:8]}"
        await self.ask(
            agent.RegisterAgent(agent_id=name, name=name, key_id=key_id, key_digest=digest, **(given | changed))
        )

    async def submit(self, name: str, **changed: Any) -> None:
        given: dict[str, Any] = {"task_type": task.TaskType.ANALYSIS, "capabilities": ("cutting",)}
        terms = {"bidding_seconds": 0.5, "budget_seconds": BUDGET_SECONDS}
        await self.ask(task.SubmitTask(task_id=name, **(given | terms | changed)))

    async def bid(self, name: str, agent_id: str, price: float = 2.0) -> None:
        await self.ask(task.PlaceBid(task_id=name, agent_id=agent_id, price=price, eta_seconds=1.5, confidence=0.75))

    async def seen(self, kind: str, name: str) -> Recorded:
        """Waits until an event of this kind about that stands in the log."""
        journal, position = self.node.system.journal, 0
        while True:
            for record in await journal.read(position):
                position = record.position
                if record.kind == kind and record.stream.endswith(name):
                    return record
            await journal.wait_past(position)


async def _live(node: Node, beating: "Beating") -> None:
    acme, other = Party(node, "acme", "operator:o1"), Party(node, "other", "admin:a2")
    await _keep_keys(acme)
    await acme.submit("nobody", capabilities=("singing",))  # nobody has ever offered anything
    for name in ("ann", "bob", "cid"):
        await acme.register(name)
        beating.names.add(name)
    await acme.ask(agent.UpdateAgent(agent_id="bob", capabilities=("cutting", "sewing"), slots=1))
    always = Shift(days=tuple(Weekday), start="00:00", end="24:00")
    await acme.ask(agent.UpdateAgent(agent_id="cid", working_hours=WorkingHours(time_zone="UTC", shifts=(always,))))
    await _win(acme)
    await _lose_and_fail(acme, beating)
    await _end_otherwise(acme)
    await _ask_for_more(acme)
    await _set_terms(acme)
    await _seal(acme)
    await _give(acme)
    await _settle_together(acme)
    await _drift(acme)
    await _solve(acme)
    await acme.ask(agent.DrainAgent(agent_id="bob", reason="enough"))
    await acme.ask(agent.DeregisterAgent(agent_id="bob", reason="gone"))
    await acme.register("bob", specializations=("cutting",), capabilities=("cutting",))
    await acme.submit("again")
    await acme.seen("task.BookOpened", "again")
    await acme.bid("again", "bob", 0.5)
    await other.register("ann")
    await other.submit("theirs")
    await acme.submit("theirs-alone", data_subject="p1", description="who was erased", payload={"who": "somebody"})
    await acme.ask(task.CancelTask(task_id="theirs-alone", reason="moved away"))
    await erase(acme.node, "p1", "asked to", acme.context)
    await acme.ask(OpenJournal(name="apart", origin="gavel/apart/00", public_key="apart+00"))
    await _leave_a_trail(acme)
    await _keep_a_webhook(acme)
    await rotate(acme.node, "as every year", acme.context)
    await acme.ask(SkipEvent(projection="tasks/1", position=1, reason="it was damaged", failure="ValueError"))


async def _leave_a_trail(party: Party) -> None:
    """Actions, refusals of somebody known, and so many of a stranger that it looks like an intruder."""
    for noted in (action.BeginAction, action.EndAction, trail.NoteRefusals):
        await party.ask(command_by_type[noted])
    strangers: Any = command_by_type[trail.NoteStrangers]
    await party.ask(replace(strangers, counted=replace(strangers.counted, count=10_000)))
    await party.seen("trail.IntruderSuspected", "")


async def _keep_a_webhook(party: Party) -> None:
    """One that is changed, fails, is given up and comes back; nobody delivers, since there is no door."""
    for said in (
        *(webhook.CreateWebhook, webhook.UpdateWebhook, webhook.NoteDelivered, webhook.NoteFailing),
        *(webhook.GiveUpWebhook, webhook.ResumeWebhook, webhook.PauseWebhook, webhook.RotateSecret),
        *(webhook.ReplayWebhook, webhook.DeleteWebhook),
    ):
        await party.ask(command_by_type[said])


async def _keep_keys(party: Party) -> None:
    digest = sha256(b"spare").digest()
    await party.ask(key.IssueKey(key_id="spare", role=Role.AUDITOR, digest=digest, label="spare"))
    new = sha256(b"newer").digest()
    await party.ask(key.ReplaceKey(key_id="spare", successor_id="newer", digest=new, overlap_seconds=60.0))
    await party.ask(key.RevokeKey(key_id="spare", reason="old"))
    await _keep_users(party)


async def _keep_users(party: Party) -> None:
    """A user who signs in, mistypes, is sent away, comes back and leaves; one whose password nobody finds."""
    for named in (user.RegisterUser, user.ChangeUser, user.SetPassword, session.OpenSession, session.EndSession):
        ends_at = party.node.system.clock.now() + 3600.0
        await party.ask(
            replace(command_by_type[named], **({"ends_at": ends_at} if named is session.OpenSession else {}))
        )
    for _ in range(5):
        await party.ask(command_by_type[lockout.NoteFailure])
    await party.ask(command_by_type[lockout.Unlock])
    await party.ask(command_by_type[lockout.NoteFailure])
    await party.ask(command_by_type[lockout.NoteSuccess])
    revoked: Any = command_by_type[revocation.RevokeTokens]
    await party.ask(replace(revoked, until=party.node.system.clock.now() + 86_400.0))
    for ending in (user.DisableUser, user.EnableUser, user.RemoveUser):
        await party.ask(command_by_type[ending])


async def _win(party: Party) -> None:
    """A task that is fought for and done; one that waits for it and must be independent; one nobody may do then."""
    await party.submit("first", priority=5, payload={"n": 1}, requirements={"resources": {"memory": 40.0}})
    await party.seen("task.BookOpened", "first")
    await party.submit("second", dependencies=("first",), independent_of=("first",))
    await party.bid("first", "ann", 3.0)
    await party.bid("first", "bob", 1.0)
    await party.ask(task.WithdrawBid(task_id="first", agent_id="bob"))
    await party.bid("first", "bob", 1.25)
    await party.ask(task.RefuseBid(task_id="first", agent_id="cid", reason="busy"))
    await party.seen("task.TaskAwarded", "first")
    await party.ask(task.StartTask(task_id="first", agent_id="bob", token=1))
    await party.ask(task.CompleteTask(task_id="first", agent_id="bob", token=1, result={"value": [1, 2]}))
    await party.seen("task.BookOpened", "second")
    await party.submit("sewn", capabilities=("sewing",), dependencies=("first",), independent_of=("first",))
    await party.seen("task.TaskStalled", "sewn")


async def _lose_and_fail(party: Party, beating: "Beating") -> None:
    """One is suspected, and heard in time; falls silent with a task, and comes back; one fails; one takes too long."""
    beating.names.discard("cid")
    await party.seen("agent.AgentSuspected", "cid")
    await party.ask(agent.Heartbeat(agent_id="cid"))
    beating.names.add("cid")
    await _award_to(party, "second", "cid", 1)
    beating.names.discard("cid")
    await party.seen("agent.AgentLost", "cid")
    await party.ask(agent.Heartbeat(agent_id="cid"))
    beating.names.add("cid")
    await party.seen("agent.AgentReturned", "cid")
    with suppress(Refused):
        await party.ask(task.CompleteTask(task_id="second", agent_id="cid", token=1))
    await party.seen("task.LateReported", "second")
    await _award_to(party, "second", "ann", 2)
    await party.ask(task.FailTask(task_id="second", agent_id="ann", token=2, reason="too hard"))
    await party.submit("overrun")
    await _award_to(party, "overrun", "ann", 1)
    await party.ask(task.StartTask(task_id="overrun", agent_id="ann", token=1))
    await party.seen("task.TaskFailed", "overrun")


async def _award_to(party: Party, name: str, agent_id: str, token: int) -> None:
    """Has an agent win a book, whichever of the task's it is: one that is open has everybody else's answer, or its time is up."""
    while True:
        records = party.node.store.read_stream(task.stream(name))
        if any(isinstance(one.event, task.TaskAwarded) and one.event.token == token for one in records):
            return
        with suppress(Refused):
            await party.bid(name, agent_id, 0.1)
        await trio.sleep(0.2)


async def _end_otherwise(party: Party) -> None:
    """Tasks that are cancelled, take down what waits for them, or are too late."""
    await party.submit("dropped", capabilities=("cutting",), bidding_seconds=5.0)
    await party.submit("waits", dependencies=("dropped",))
    await party.ask(task.CancelTask(task_id="dropped", reason="enough"))
    await party.seen("task.TaskFailed", "waits")
    await party.submit("pressing", capabilities=("cutting",), bidding_seconds=5.0, attempts_max=1)
    await party.ask(task.AmendTask(task_id="pressing", priority=5))
    await _award_to(party, "pressing", "ann", 1)
    await party.ask(task.AskQuestion(task_id="pressing", agent_id="ann", token=1, question="is there a lamp?"))
    await party.ask(task.AnswerQuestion(task_id="pressing", number=1, answer="no", answered_by="operator:o1"))
    await party.ask(task.ReportProgress(task_id="pressing", agent_id="ann", token=1, share=0.5, note="half a seam"))
    await party.ask(task.FailTask(task_id="pressing", agent_id="ann", token=1, reason="no light"))
    await party.ask(task.RequeueTask(task_id="pressing", attempts=1, reason="there is light again"))
    await party.ask(task.CancelTask(task_id="pressing", reason="too dark after all"))
    await party.ask(StopCoordination(reason="the lamps are changed"))
    await party.ask(StartCoordination())
    await party.ask(SetConcurrency(key="loom", limit=1, strategy=Strategy.CANCEL_NEWEST, set_by="the tailor"))
    one_loom = Concurrency(key="loom", limit=9, group="silk")
    await party.submit("warp", capabilities=("cutting",), not_before=None, bidding_seconds=50.0, concurrency=one_loom)
    await party.submit("weft", capabilities=("cutting",), concurrency=one_loom)
    await party.seen("task.TaskCancelled", "weft")
    await party.ask(DropConcurrency(key="loom"))
    await party.ask(task.CancelTask(task_id="warp", reason="the loom is broken"))
    await party.ask(PauseQueue(queue="sewing", reason="no thread", paused_by="the tailor"))
    await party.submit("seam", capabilities=("cutting",), queue="sewing")
    await party.ask(ResumeQueue(queue="sewing"))
    await party.ask(task.CancelTask(task_id="seam", reason="no thread after all"))
    await _ask_for_a_form(party)
    await _leave_it_to_a_person(party)
    await party.submit("late", capabilities=("cutting",), deadline=party.node.system.clock.now() + 2.0)
    await party.seen("task.TaskExpired", "late")


async def _leave_it_to_a_person(party: Party) -> None:
    """A person takes what waits, gives it back, and takes it again; another will not."""
    for name in ("uma", "vic"):
        person = agent.RegisterAgent(
            agent_id=agent.person_of(name),
            user_id=name,
            name=name,
            agent_type=agent.AgentType.DECISION_ENGINE,
            capabilities=("tasting",),
        )
        await party.ask(person)
    await party.submit("taste", capabilities=("tasting",))
    await party.ask(task.DeclineOffer(task_id="taste", agent_id="person-vic", reason="a cold"))
    for token in (1, 2):
        await party.ask(task.TakeTask(task_id="taste", agent_id="person-uma"))
        await party.ask(task.StartTask(task_id="taste", agent_id="person-uma", token=token))
        if token == 1:
            back = task.FailTask(task_id="taste", agent_id="person-uma", token=1, reason="lunch", declined=True)
            await party.ask(back)
            await trio.sleep(0.5)  # what is told at one moment may come in another order when it is played again
    await party.ask(task.CompleteTask(task_id="taste", agent_id="person-uma", token=2, result={"salt": "more"}))


async def _ask_for_a_form(party: Party) -> None:
    """A task goes by the schemas that were in force when it came."""
    hem = {"properties": {"hem": {"enum": ["flat", "felled"]}}}
    await party.ask(SetSchemas(task_type=TaskType.TESTING, payload=hem, result={"required": ["stitches"]}))
    await party.submit("hem", task_type=TaskType.TESTING, payload={"hem": "flat"})
    await party.ask(DropSchemas(task_type=TaskType.TESTING, reason="any hem will do"))
    await party.ask(task.CancelTask(task_id="hem", reason="it was a test"))


async def _ask_for_more(party: Party) -> None:
    """Tasks that ask for more than skills: units, versions and attributes, regions."""
    await party.submit("huge", requirements={"resources": {"cpu": 2.0, "memory": 98.5}})
    await party.seen("task.TaskStalled", "huge")
    await party.ask(task.CancelTask(task_id="huge", reason="too big"))
    fine = SkillNeed(name="cutting", version=">=2,<3", attributes={"cloth": ("silk", "wool")})
    await party.submit("fine", skills=(fine,))
    await party.seen("task.TaskStalled", "fine")
    offer = SkillOffer(name="cutting", version="2.1", attributes={"cloth": "silk", "table": 3})
    await party.ask(agent.UpdateAgent(agent_id="ann", skills=(offer,)))
    await party.seen("task.BookOpened", "fine")
    await party.ask(task.CancelTask(task_id="fine", reason="no silk left"))
    await party.submit("near", regions=("eu", "uk"))
    await party.seen("task.TaskStalled", "near")
    await party.ask(agent.UpdateAgent(agent_id="ann", region="eu", prices={"cutting": 2.5, "testing": 9.0}))
    await party.seen("task.BookOpened", "near")
    await party.ask(task.PlaceBid(task_id="near", agent_id="ann", eta_seconds=1.5))
    await party.seen("task.TaskAwarded", "near")
    await trio.sleep(0.5)  # what is told at one moment may come in another order when it is played again
    await party.ask(task.CancelTask(task_id="near", reason="moved away"))


async def _set_terms(party: Party) -> None:
    """Tasks that begin later, and that skip or run without what never came."""
    now = party.node.system.clock.now()
    await party.submit("nightly", not_before=now + 3600.0, deadline=now + 9000.0, estimated_duration=60.0)
    for name, policy in (("skipped", task.DependencyPolicy.SKIP), ("regardless", task.DependencyPolicy.RUN)):
        await party.submit(name, dependencies=("nightly",), independent_of=("nightly",), dependency_policy=policy)
    await party.ask(task.AmendTask(task_id="nightly", not_before=now + 1.0, budget_seconds=6.0))
    await party.seen("task.BookOpened", "nightly")
    await party.ask(task.CancelTask(task_id="nightly", reason="not tonight"))
    await party.seen("task.TaskCancelled", "skipped")
    await party.seen("task.BookOpened", "regardless")
    await party.ask(task.CancelTask(task_id="regardless", reason="nothing to do"))
    await party.submit("unwanted", no_bids=NoBidPolicy(then=NoWinner.WIDEN, call_max=1, rounds_max=2))
    await party.seen("task.TaskFailed", "unwanted")
    for name, grace_seconds in (("stopped", 1.0), ("yielded", 60.0)):
        await party.submit(name)
        await _award_to(party, name, "ann", 1)
        await party.ask(task.CancelTask(task_id=name, reason="no guests", grace_seconds=grace_seconds))
        if name == "yielded":
            await party.ask(task.FailTask(task_id=name, agent_id="ann", token=1, reason="stopped"))
        await party.seen("task.TaskCancelled", name)


async def _seal(party: Party) -> None:
    """A book of sealed bids: one is opened as it was committed to, one otherwise."""
    await party.submit("sealed", award_policy=AwardPolicy.SECOND_PRICE, price_max=9.0, bidding_seconds=5.0)
    await party.seen("task.BookOpened", "sealed")
    said: dict[str, Any] = {
        "price": 2.0,
        "eta_seconds": 1.5,
        "confidence": 0.75,
        "capacity_offer": 0.0,
        "salt": "5a" * 16,
    }
    for name in ("ann", "bob"):
        text = sealed_text(task_id="sealed", round=1, agent_id=name, **said)
        await party.ask(task.CommitBid(task_id="sealed", agent_id=name, commitment=commitment_of(text)))
    await party.ask(task.RefuseBid(task_id="sealed", agent_id="cid", reason="busy"))
    await party.seen("task.RevealOpened", "sealed")
    await party.ask(task.RevealBid(task_id="sealed", agent_id="bob", **{**said, "price": 1.0}))
    await party.ask(task.RevealBid(task_id="sealed", agent_id="ann", **said))
    await party.seen("task.TaskAwarded", "sealed")
    await party.ask(task.CompleteTask(task_id="sealed", agent_id="ann", token=1))


async def _give(party: Party) -> None:
    """A task that is given to somebody while nobody is called, and declined."""
    await party.ask(StopCoordination(reason="maintenance"))
    await party.submit("given")
    await party.ask(task.AssignTask(task_id="given", agent_id="ann", assigned_by="operator:o1"))
    await party.ask(task.FailTask(task_id="given", agent_id="ann", token=1, declined=True))
    await party.ask(task.CancelTask(task_id="given", reason="nobody wants it"))
    await party.ask(StartCoordination())
    await party.submit("tried", dry_run=True)
    await party.seen("task.DryRunEnded", "tried")


async def _settle_together(party: Party) -> None:
    """Two tasks for which both bid, settled at once; then as many, of which nobody is left for one."""
    together: dict[str, Any] = {"award_policy": AwardPolicy.BATCH_OPTIMAL, "bidding_seconds": 1.0}
    for name in ("joint", "beside"):
        await party.submit(name, **together)
    for name in ("joint", "beside"):
        await party.seen("task.BookOpened", name)
        for number, agent_id in enumerate(("ann", "bob", "cid")):
            with suppress(Refused):
                await party.bid(name, agent_id, 1.0 + number)
    for name in ("joint", "beside"):
        await party.seen("task.TaskAwarded", name)
        await trio.sleep(0.5)  # or the play, whose commits take other times, may cancel it first
        await party.ask(task.CancelTask(task_id=name, reason="both were tried on"))


async def _drift(party: Party) -> None:
    """Who is late with one task loses another that it has not begun."""
    for name in ("overdue", "drifted"):
        await party.submit(name, budget_seconds=60.0)
        await _award_to(party, name, "ann", 1)
        if name == "overdue":
            await party.ask(task.StartTask(task_id=name, agent_id="ann", token=1))
    await party.seen("task.TaskRebalanced", "drifted")
    await trio.sleep(0.5)
    for name in ("overdue", "drifted"):
        await party.ask(task.CancelTask(task_id=name, reason="the guests have left"))


async def _go_on(party: Party, done: Recorded) -> None:
    """A solve that uses all that one may ask for: it begins with another's result, elsewhere, and is measured against a baseline."""
    assert isinstance(done.event, SolveCompleted)
    queue = QueueSolve(
        job_id="j4",
        problem_id="grid",
        seconds=60.0,
        work_max=200_000,
        stagnation_work=150_000,
        tolerance=1e-6,
        seed=12,
        strategy="qaoa",
        backend=Backend.DYNEX,
        fallback=True,
        warm_start=WarmStart(job_id="j1"),
        known=Known(assignment=done.event.assignment, position=done.position),
        baseline=Baseline(seconds=0.05),
    )
    await party.ask(queue)
    await party.seen("solve_job.SolveCompleted", "j4")


async def _solve(party: Party) -> None:
    digest = sha256(GRID).hexdigest()
    problem = RegisterProblem(
        problem_id="grid",
        name="grid",
        format=Format.RUDY,
        blob=digest,
        variables=36,
        couplings=72,
        sense=Sense.MAX,
    )
    await party.ask(problem)
    queue = QueueSolve(job_id="j1", problem_id="grid", seconds=60.0, seed=11, target=TARGET)
    await party.ask(queue)
    done = await party.seen("solve_job.SolveCompleted", "j1")
    await party.ask(replace(problem, problem_id="gone", name="gone", blob="0" * 64))
    await party.ask(QueueSolve(job_id="j2", problem_id="gone", seconds=60.0))
    await party.seen("solve_job.SolveFailed", "j2")
    await party.ask(QueueSolve(job_id="j3", problem_id="grid", seconds=60.0, target=TARGET))
    await party.ask(CancelSolve(job_id="j3", reason="enough"))
    await _go_on(party, done)
    await party.submit(
        "optimize",
        task_type=task.TaskType.OPTIMIZATION,
        capabilities=("qubo",),
        payload={"problem_id": "grid", "seconds": 0.05, "seed": 5},
    )
    await party.seen("task.TaskCompleted", "optimize")


class Beating:
    """Says three times in a lease that these agents are there."""

    def __init__(self, node: Node) -> None:
        self.names: set[str] = set()
        self._node = node

    async def run(self) -> None:
        while True:
            for name in sorted(self.names):
                await Party(self._node, "acme", f"agent:{name}").ask(agent.Heartbeat(agent_id=name))
            await trio.sleep(LEASE_SECONDS / 3)


class Life:
    """The workload of a simulation; `journal` is where a copy of what it leaves is put, `blobs` what its problems are."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal

    async def __call__(self, world: World) -> None:
        machine = Machine(world, partial(_boot, world))
        async with trio.open_nursery() as nursery:
            await nursery.start(machine.run)
            node = await machine.up()
            beating = Beating(node)
            nursery.start_soon(beating.run)
            with world.within(3600.0, "life_ends", "the life hangs"):
                await _live(node, beating)
            beating.names.clear()
            await trio.sleep(LAST_SECONDS)
            await machine.stop()
            copy_database(machine.folder / "journal.db", self.journal)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _boot(world: World, folder: Path) -> AsyncIterator[Node]:
    settings = GavelSettings(
        data=folder,
        lease_seconds=LEASE_SECONDS,
        coordination_interval_seconds=LEASE_SECONDS / 2,
        rebalance_gain=0.2,
        rebalance_seconds=LEASE_SECONDS + 1,
        disk_free_bytes_min=0,
        handler_warn_seconds=0.0,
        handler_seconds_max=0.0,
    )
    _give_secrets(folder)
    elements = Elements(clock=world.clock(), entropy=world.chance("entropy").randbytes, chance=world.chance("node"))
    async with open_node(settings, door=False, elements=elements) as node:
        yield node


def _give_secrets(folder: Path) -> None:
    """A key that follows from these words, and protects nothing; and the problem's file."""
    data = DataFolder(folder)
    os.chmod(folder, 0o700)
    secret = sha256(b"a history that is kept for tests").digest()
    Signer(Ed25519PrivateKey.from_private_bytes(secret)).save(data.journal_key)
    write_private(data.node_secret, secret.hex())
    keep_blob(data.blobs)


def keep_blob(folder: Path) -> None:
    """Puts the problem's file where blobs lie."""
    path = Blobs(folder, blob_bytes_max=1 << 20).path(sha256(GRID).hexdigest())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(GRID)
    Claims(folder).add("acme", Name(sha256(GRID).hexdigest()))


def live(journal: Path) -> None:
    """Lives the life, and leaves its journal at a path."""
    before, agents.solver.REPORT_SECONDS_MIN = agents.solver.REPORT_SECONDS_MIN, REPORT_SECONDS
    try:
        outcome = simulate(Life(journal), SEED, faults=(), seconds=3600.0)
    finally:
        agents.solver.REPORT_SECONDS_MIN = before
    if not outcome.ok:
        raise AssertionError(f"{outcome.invariant}: {outcome.detail}")
