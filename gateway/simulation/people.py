"""A person among the simulated agents: nobody calls them. They look into their inbox now and then, take what stands there, and say how
far they are, finish it, ask something, give it back, or forget it."""

from collections import Counter
from typing import Any

import trio

from aggregates.agent import AgentType, RegisterAgent, person_of
from aggregates.task import (
    AnswerQuestion,
    AskQuestion,
    CompleteTask,
    DeclineOffer,
    FailTask,
    FindInbox,
    Holding,
    Inbox,
    ReportProgress,
    TakeTask,
)
from gateway.parts import Node
from gateway.simulation.clients import SKILLS, Client
from gateway.simulation.told import Told
from runtime.errors import Refused
from runtime.records import Command
from runtime.simulation import Machine, World

USER = "uma"
SLOTS = 2
LOOK_SECONDS = (2.0, 20.0)
"""How long they are away between two looks."""
DECLINED_SHARE = 0.15
"""Of what they are offered."""
SHARES = {"done": 0.35, "progress": 0.25, "question": 0.1, "given_back": 0.1, "failed": 0.05, "forgotten": 0.15}
"""What comes of a look at what they have, how often."""


class Person(Client):
    """Works out of an inbox until all is over."""

    def __init__(self, world: World, machine: Machine[Node], told: Told) -> None:
        super().__init__(world, machine, told, person_of(USER))
        self.is_over = trio.Event()
        self._forgotten: set[tuple[str, int]] = set()
        self._asked: Counter[str] = Counter()

    async def join(self) -> None:
        """Says what they can do: all that there is."""
        command = RegisterAgent(
            agent_id=self.name,
            user_id=USER,
            name=USER,
            agent_type=AgentType.DECISION_ENGINE,
            capabilities=SKILLS,
            slots=SLOTS,
        )
        await self.ask(command, key=f"join-{USER}")

    async def run(self) -> None:
        """Looks again and again; what somebody else has taken meanwhile, and what is over, they are told."""
        while not self.is_over.is_set():
            inbox = await self.ask(FindInbox(agent_id=self.name))
            assert inbox is not None, "who has joined has an inbox"
            for held in inbox.held:
                await self._work(held)
            if inbox.offers and len(inbox.held) < SLOTS:
                await self._choose(inbox)
            with trio.move_on_after(self.chance.uniform(*LOOK_SECONDS)):
                await self.is_over.wait()

    async def _choose(self, inbox: Inbox) -> None:
        task_id = self.chance.choice(inbox.offers).task_id
        if self.chance.random() < DECLINED_SHARE and not self._is_meant(task_id):
            await self._say(DeclineOffer(task_id=task_id, agent_id=self.name, reason="not for me"))
        else:
            await self._say(TakeTask(task_id=task_id, agent_id=self.name))

    def _is_meant(self, task_id: str) -> bool:
        """Whether nobody else may have it; of what its submitter has yet to be told, nobody knows."""
        asked = self.told.submitted.get(task_id)
        return asked is None or bool(asked.assign_to)

    async def _work(self, held: Holding) -> None:
        if (held.task_id, held.token) in self._forgotten:
            return
        what = self._meant(held)
        if what is None:
            self._forgotten.add((held.task_id, held.token))
        elif await self._say(what) and isinstance(what, AskQuestion):
            self._asked[held.task_id] += 1
            await trio.sleep(self.chance.uniform(*LOOK_SECONDS))
            number = self._asked[held.task_id]
            await self._say(AnswerQuestion(task_id=held.task_id, number=number, answer="the left", answered_by="sub0"))

    def _meant(self, held: Holding) -> Command[Any] | None:
        """What they say of a task that they have; None where they forget it."""
        said: dict[str, Any] = {"task_id": held.task_id, "agent_id": self.name, "token": held.token}
        match self.chance.choices(list(SHARES), list(SHARES.values()))[0]:
            case "progress":
                return ReportProgress(**said, share=round(self.chance.random(), 3))
            case "question":
                return AskQuestion(**said, question=f"question {self._asked[held.task_id] + 1}: which one?")
            case "given_back" | "failed" as how:
                return FailTask(**said, reason=how, declined=how == "given_back")
            case "forgotten":
                return None
        return CompleteTask(**said, result={"by": self.name, "token": held.token})

    async def _say(self, command: Command[Any]) -> bool:
        """Whether it was taken: what comes too late is refused, and that is an answer."""
        try:
            await self.ask(command, principal=f"agent:{self.name}")
        except Refused:
            return False
        return True
