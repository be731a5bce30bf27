"""A working day as a journal holds it: tasks that are submitted, bid for, awarded, begun and completed, many at a time."""

from collections.abc import Iterator
from random import Random
from typing import Any

from aggregates import task
from aggregates.values.ranking import BidderFacts
from runtime.codec import Codec
from runtime.records import Command, Event, Meta
from runtime.store.contract import Batch, Draft
from runtime.store.store import Store

TENANT = "bench"
AT_A_TIME = 200
"""Tasks on their way at once: the events of one stand this far apart."""

AGENTS = ("ada", "ben", "cleo")
START = 1_700_000_000.0
BATCH_EVENTS = 1000


def fill(store: Store, codec: Codec, events: int) -> None:
    """Writes the day's first `events` events."""
    drafts: list[Draft] = []
    version_by_stream: dict[str, int] = {}
    day = _day(Random(7), codec)
    for position in range(1, events + 1):
        stream, event, meta = next(day)
        version = version_by_stream[stream] = version_by_stream.get(stream, 0) + 1
        drafts.append(Draft(position, stream, version, codec.kind(event), meta, codec.pack(event)))
        if len(drafts) == BATCH_EVENTS or position == events:
            store.append(Batch(drafts, [], [], meta.at))
            drafts = []


def _day(random: Random, codec: Codec) -> Iterator[tuple[str, Event, Meta]]:
    """Whichever task is next takes its next step; one that is done makes room for a new one."""
    going = [_task(number, codec) for number in range(AT_A_TIME)]
    number, commands = AT_A_TIME, 0
    while True:
        at = random.randrange(AT_A_TIME)
        step = next(going[at], None)
        if step is None:
            going[at] = _task(number, codec)
            number += 1
            continue
        stream, command, events = step
        commands += 1
        meta = Meta(
            id=f"command-{commands:012d}",
            cause=f"@{commands}",
            correlation=f"chain-{stream}",
            tenant=TENANT,
            principal="operator:one",
            at=command.at,
            command=codec.command_record(command),
        )
        for event in events:
            yield stream, event, meta


def _task(number: int, codec: Codec) -> Iterator[tuple[str, Command[Any], list[Any]]]:
    state = task.initial
    stream = task.stream(f"{number:032x}")
    for command in _commands(number):
        events = list(task.decide(state, command))
        for event in events:
            state = task.evolve(state, event)
        yield stream, command, events


def _commands(number: int) -> Iterator[task.TaskCommand]:
    at = START + number
    common: dict[str, Any] = {"task_id": f"{number:032x}", "tenant": TENANT}
    candidates = tuple(
        task.Candidate(agent_id=name, capabilities=("solve",), slots=9, running=0, position=1) for name in AGENTS
    )
    facts = tuple(BidderFacts(agent_id=name, slots=9, running=1, lease_seconds=60.0, position=1) for name in AGENTS)
    yield task.SubmitTask(
        **common,
        at=at,
        task_type=task.TaskType.OPTIMIZATION,
        description=f"Task {number}",
        capabilities=("solve",),
        requirements={"memory": 2},
        budget_seconds=60.0,
        payload={"problem": "G1", "seed": number},
        submitted_by="agent:ada",
    )
    yield task.OpenBook(**common, at=at + 1, round=1, candidates=candidates)
    for price, name in enumerate(AGENTS[:2], 1):
        yield task.PlaceBid(**common, at=at + 2, agent_id=name, price=float(price), eta_seconds=5.0)
    yield task.AwardTask(**common, at=at + 10, round=1, bidders=facts)
    yield task.StartTask(**common, at=at + 11, agent_id=AGENTS[0], token=1)
    yield task.CompleteTask(**common, at=at + 15, agent_id=AGENTS[0], token=1, result={"value": number, "by": "tabu"})
