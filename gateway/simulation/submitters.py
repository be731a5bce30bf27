"""Who wants work done of the simulated node, calls it off, or has persons erased."""

import trio

from aggregates.agent import person_of
from aggregates.task import (
    CancelTask,
    RequeueTask,
    SubmitTask,
    TaskType,
)
from aggregates.values.ranking import AwardPolicy
from gateway.parts import Node
from gateway.simulation.clients import PERSONS, SKILLS, TENANT, UNITS, Client
from gateway.simulation.people import USER
from gateway.simulation.told import UNITS_MAX, Told
from gateway.upkeep.erasure import erase
from runtime.delivery import Context
from runtime.errors import Failure, Refused
from runtime.simulation import Gone, Machine, NoAnswer, World
from runtime.simulation.world import STARTED_AT

ATTEMPTS = (1, 2, 4)
SEALED_SHARE = 0.25
"""Of tasks whose bids are sealed."""
MEANT_SHARE = 0.2
"""Of tasks that wait for no other, those that are meant for the person."""
IMPOSSIBLE_SHARE, DEADLINE_SHARE, LONG_SHARE, REQUEUE_SHARE = 0.04, 0.1, 0.1, 0.5


class Submitter(Client):
    """Submits tasks, some of which wait for others, and cancels a few."""

    def __init__(self, world: World, machine: Machine[Node], told: Told, name: str) -> None:
        super().__init__(world, machine, told, name)
        self._names: list[str] = []
        self._count = 0

    async def run(self, count: int, seconds: float) -> None:
        """Submits so many over so many seconds."""
        for _ in range(count):
            await trio.sleep(self.chance.expovariate(count / seconds))
            await self._submit()
            if self._names and self.chance.random() < 0.1:
                await self._cancel(self.chance.choice(self._names))
            if self._names and self.chance.random() < REQUEUE_SHARE:
                await self._requeue(self.chance.choice(self._names))

    async def _submit(self) -> None:
        chance, before, number = self.chance, self._names, self._count
        self._count += 1
        task_id = f"{self.name}-{number}"
        links = tuple(sorted({chance.choice(before)})) if before and chance.random() < 0.25 else ()
        person = chance.choice(("", "", *PERSONS))
        is_far, is_huge = (chance.random() < IMPOSSIBLE_SHARE for _ in range(2))
        has_deadline = chance.random() < DEADLINE_SHARE
        is_meant = not links and self.world.dice("meant", task_id).random() < MEANT_SHARE
        command = SubmitTask(
            task_id=task_id,
            task_type=chance.choice(list(TaskType)),
            description=planted(task_id) if person else f"{self.name}'s {number}",
            data_subject=person,
            capabilities=(chance.choice(SKILLS),),
            requirements={"resources": {"memory": UNITS_MAX + 1 if is_huge else UNITS[number % len(UNITS)]}},
            regions=("nowhere",) if is_far else (),
            priority=chance.randint(1, 5),
            dependencies=links,
            independent_of=links if chance.random() < 0.3 else (),
            attempts_max=chance.choice(ATTEMPTS),
            deadline=round(STARTED_AT + self.world.now + chance.uniform(5, 90), 3) if has_deadline else None,
            # In some books a bidder can fall silent, and be suspected, before they close.
            bidding_seconds=50.0 if chance.random() < LONG_SHARE else round(chance.uniform(0.5, 5.0), 3),
            payload={"seconds": round(chance.uniform(0.2, 15.0), 3)},
            submitted_by=self.name,
            award_policy=AwardPolicy.WEIGHTED_SCORE if is_meant else self._policy(task_id),  # people seal no bids
            assign_to=person_of(USER) if is_meant else None,
        )
        try:
            await self.ask(command, key=f"submit-{task_id}")
        except Refused as refused:
            known = {"dependency_failed", "request_erased" if person else "", "deadline_passed" if has_deadline else ""}
            may_be = {fault.code for fault in refused.faults} <= known and refused.code in known
            self.world.holds("submissions_stand", bool(may_be), f"{task_id}: {refused}")
        else:
            before.append(task_id)

    def _policy(self, task_id: str) -> AwardPolicy:
        is_sealed = self.world.dice("sealed", task_id).random() < SEALED_SHARE
        return AwardPolicy.SECOND_PRICE if is_sealed else AwardPolicy.WEIGHTED_SCORE

    async def _cancel(self, task_id: str) -> None:
        try:
            await self.ask(CancelTask(task_id=task_id, reason="no more"), key=f"cancel-{task_id}")
        except Refused:
            return  # it has ended, or was cancelled before

    async def _requeue(self, task_id: str) -> None:
        self._count += 1
        try:
            await self.ask(RequeueTask(task_id=task_id, attempts=1), key=f"requeue-{task_id}-{self._count}")
        except Refused:
            return  # it is no dead letter


class Officer(Client):
    """Erases persons now and then, and asks again until that is done."""

    async def run(self, count: int, seconds: float) -> None:
        """Erases so many times over so many seconds."""
        for _ in range(count):
            await trio.sleep(self.chance.expovariate(count / seconds))
            person, before = self.chance.choice(PERSONS), set(self.told.submitted)
            try:
                await self._erase(person)
            except Refused as refused:
                self.world.holds("erasures_stand", refused.code == "subject_unknown", f"{person}: {refused}")
            else:
                mine = [name for name in before if self.told.submitted[name].data_subject == person]
                self.told.erased.update(mine)

    async def _erase(self, person: str) -> None:
        context = Context(tenant=TENANT, principal=self.name)

        async def work(node: Node) -> None:
            await erase(node, person, "asked for", context)

        while True:
            try:
                return await self.machine.call(self.name, "Erase", work)
            except Refused:
                raise
            except (Gone, NoAnswer, Failure):
                await self._wait()


def planted(task_id: str) -> str:
    """What is told of a person in a task, and looked for in the files."""
    return f"planted-{task_id}-planted"
