"""The demo from beginning to end: a node, agents, problems, one agent killed, and the log replayed and verified.

Tasks and files go through the door, as a user's would; what happens is read from the log.
"""

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import trio

from aggregates.task import TaskType
from gateway.client import Client, Denied, NotReached
from gateway.demo.crew import Crew, Member, hire
from gateway.demo.outcome import Outcome, faults, findings
from gateway.demo.problems import Problem
from gateway.demo.stage import Stage
from gateway.demo.story import Chapter, Story
from gateway.node import TENANT
from gateway.parts import Node
from gateway.upkeep.log_replay import replay
from gateway.verdicts import Wrong
from projections import agents
from runtime.evidence import Unreadable

T = TypeVar("T")

HOUSE_SOLVER = "house-solver"
BIDDING_SECONDS = 1.5
SLACK_SECONDS = 15.0
"""What a solve's budget allows beside the solving: loading, a busy machine."""
CHECK_BUDGET_SECONDS = 120.0
REGISTER_SECONDS_MAX = 60.0
HOLD_SECONDS = 1.0
"""How long the agent that will be killed has held its task."""
ANALYSIS_SECONDS_MAX = 120.0


class Plan(NamedTuple):
    """What was asked for."""

    problems: list[Problem]
    agents: int
    seconds: float
    seed: int

    @property
    def budget_seconds(self) -> float:
        """What a solve may take."""
        return self.seconds + SLACK_SECONDS

    @property
    def patience_seconds(self) -> float:
        """After so long something is wrong: as if all problems were solved one after the other, and one of them twice."""
        return 60.0 + (len(self.problems) + 1) * (self.budget_seconds + CHECK_BUDGET_SECONDS / 4)


class Demo:
    """One performance on a running node."""

    def __init__(self, plan: Plan, node: Node, stage: Stage) -> None:
        self._plan = plan
        self._node = node
        self._stage = stage
        self._client = Client(node.url, node.admin_token)
        self._began_at = time.monotonic()
        self._crew: Crew
        self.story = Story(node.system.journal, stage.tell)

    async def perform(self, crew: Crew, members: list[Member]) -> tuple[Outcome, list[str]]:
        """Everything up to the figures: what came of it, and what did not hold."""
        self._crew = crew
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.story.follow)
            nursery.start_soon(self._stage.show_bars, self.story, self._plan.budget_seconds)
            await self._gather(members)
            await self._submit()
            nursery.start_soon(self._strike, [member.id for member in members if member.solves])
            chapters = self.story.chapters
            await self.story.until(lambda: all(one.ended for one in chapters.values()), self._plan.patience_seconds)
            await self._analyze()
            nursery.cancel_scope.cancel()
        return await self._prove()

    async def _gather(self, members: list[Member]) -> None:
        self._stage.head(f"{len(members)} agents start, each a process of its own, and register:")
        for member in members:
            self._crew.start(member)
        wanted = {member.id for member in members}
        if self._node.settings.house_solver and not await _is_known(self._node, HOUSE_SOLVER):
            wanted.add(HOUSE_SOLVER)
        if not await self.story.until(lambda: wanted <= self.story.agents, REGISTER_SECONDS_MAX):
            missing = sorted(wanted - self.story.agents)
            complaints = [self._crew.complaints(name).read_text() for name in missing if name in self._crew.gone()]
            raise Wrong(f"{', '.join(missing)} did not register: {' '.join(complaints).strip() or 'not a word'}")

    # ---- through the door

    async def _call(self, call: Callable[..., T], *arguments: object) -> T:
        """A call on a thread. Whoever is asked to end closes the door on it: then that is the reason, not the broken call."""
        try:
            return await trio.to_thread.run_sync(call, *arguments)
        except (Denied, NotReached):
            await trio.lowlevel.checkpoint_if_cancelled()
            raise

    async def _submit(self) -> None:
        """One solve for each problem, and a check of it by somebody else that waits for it."""
        count = len(self._plan.problems)
        what = "1 problem is" if count == 1 else f"{count} problems are"
        self._stage.head(
            f"{what} submitted. Agents bid; who wins one solves it, and somebody else checks the answer. "
            "One of them will be killed:"
        )
        for problem in self._plan.problems:
            digest = sha256(problem.content).hexdigest()
            await self._call(self._client.send, "PUT", f"/v1/blobs/{digest}", problem.content)
            body = {"name": problem.name, "format": problem.format, "blob": digest, "best_known": problem.best_known}
            row = await self._call(self._client.post, "/v1/problems", body)
            payload = {
                "problem": problem.name,
                "problem_id": row["problem_id"],
                "blob": digest,
                "format": problem.format,
                "sense": row["sense"],
                "seconds": self._plan.seconds,
            }
            solve = await self._task(
                TaskType.OPTIMIZATION,
                f"Solve {problem.name}",
                ["optimization", "qubo"],
                self._plan.budget_seconds,
                payload,
            )
            payload = {"problem": problem.name, "blob": digest, "format": problem.format, "of": solve}
            after = {"dependencies": [solve], "independent_of": [solve]}
            await self._task(
                TaskType.VERIFICATION,
                f"Check the answer to {problem.name}",
                ["verification", "qubo"],
                CHECK_BUDGET_SECONDS,
                payload,
                **after,
            )
        awaited = 2 * len(self._plan.problems)
        await self.story.until(lambda: len(self.story.chapters) >= awaited, self._plan.patience_seconds)

    async def _task(
        self,
        kind: TaskType,
        description: str,
        skills: list[str],
        budget: float,
        payload: dict[str, Any],
        **more: list[str],
    ) -> str:
        body: dict[str, Any] = {
            "task_type": kind.value,
            "description": description,
            "capabilities": skills,
            "payload": payload,
            "budget_seconds": budget,
        }
        body |= {"bidding_seconds": BIDDING_SECONDS, **more}
        answer = await self._call(self._client.post, "/v1/tasks", body)
        return str(answer["task_id"])

    # ---- the blow

    async def _strike(self, solvers: list[str]) -> None:
        """Kills one agent while it holds a task; that its task is finished by another shows in the log."""
        hold = min(HOLD_SECONDS, self._plan.seconds / 3)
        while True:
            await self.story.until(lambda: self._held(solvers) is not None, self._plan.patience_seconds)
            chapter = self._held(solvers)
            if chapter is None:
                return
            holder = chapter.holder
            await trio.sleep(hold)
            if chapter.holder == holder:
                process = self._crew.process_id(holder)
                self._crew.kill(holder)
                self._stage.tell(
                    f"{holder} (process {process}) is killed while it holds {chapter.title}: SIGKILL", "bold red"
                )
                return

    def _held(self, solvers: list[str]) -> Chapter | None:
        held = [chapter for chapter in self.story.of(TaskType.OPTIMIZATION) if chapter.holder in solvers]
        return max(held, key=lambda chapter: chapter.held_since, default=None)

    async def _analyze(self) -> None:
        """The analyst replays the log up to here."""
        self._stage.head("One more task: to make every decision in the log again, and see that it comes out the same.")
        payload = {"from": 1, "to": self._node.system.journal.position}
        what = f"Make all decisions up to position {payload['to']} again"
        name = await self._task(TaskType.ANALYSIS, what, ["analysis"], CHECK_BUDGET_SECONDS, payload)
        await self.story.until(
            lambda: name in self.story.chapters and self.story.chapters[name].ended, ANALYSIS_SECONDS_MAX
        )

    # ---- the proof

    async def _prove(self) -> tuple[Outcome, list[str]]:
        node, tell = self._node, self._stage.tell
        self._stage.head("The proof:")
        await node.projector.wait_for(node.system.journal.position)
        rebuilt = Path(node.folder.path) / f"rebuilt-{node.system.ids.new()}.db"
        try:
            again = await replay(
                await node.projector.digests(),
                node.system.journal.read,
                rebuilt,
                node.store.origin,
                node.projector.skips,
            )
        finally:
            for file in rebuilt.parent.glob(f"{rebuilt.name}*"):
                file.unlink()
        tell(f"{again.records} records replayed into fresh read models in {again.seconds:.2f} s: {_word(again.equal)}")
        try:
            report = await trio.to_thread.run_sync(node.store.judge)
            verified, root, events = report.whole, report.root, report.positions
            tell(f"{events} records verified against the signed root {root}: {'whole' if verified else 'ALTERED'}")
        except Unreadable as error:
            verified, root, events = False, None, node.system.journal.position
            tell(f"the log can't be verified: {error}")
        outcome = Outcome(
            problems=findings(self._plan.problems, self.story),
            tasks=len(self.story.chapters),
            completed=self.story.completed,
            reawarded=self.story.reawarded,
            events=events,
            root=root,
            replay_equal=again.equal,
            verified=verified,
            seconds=round(time.monotonic() - self._began_at, 3),
        )
        return outcome, faults(outcome, self.story)


def _word(equal: bool) -> str:
    return "equal to the live ones" if equal else "DIFFERENT from the live ones"


async def _is_known(node: Node, name: str) -> bool:
    """Whether an agent has registered before the demo began: a data folder may have a past."""
    return await node.projector.query(lambda connection: agents.find(connection, TENANT, name)) is not None


async def perform(plan: Plan, node: Node, stage: Stage, after: Any) -> tuple[Outcome, list[str]]:
    """Hires agents, performs, and does what comes `after` (with the outcome, while the agents still run)."""
    client = Client(node.url, node.admin_token)
    key = (await trio.to_thread.run_sync(client.post, "/v1/keys", {"role": "agent", "label": "demo"}))["key"]
    members = hire(plan.agents, plan.seconds, plan.seed)
    if any([await _is_known(node, member.id) for member in members]):
        members = hire(plan.agents, plan.seconds, plan.seed, f"-{node.system.ids.new()[-6:]}")
    with Crew(node.url, key, node.folder.path / "demo") as crew:
        outcome, wrong = await Demo(plan, node, stage).perform(crew, members)
        await after(outcome, wrong)
        return outcome, wrong
