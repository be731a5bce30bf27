"""Queues of tasks: how each stands, and how one is paused and goes on."""

from collections.abc import Sequence
from heapq import nsmallest

from msgspec.structs import replace

from agents.coordinating.entries import Pause
from agents.coordinating.open_tasks import OpenTasks
from aggregates import queue as queues
from aggregates.queue import PauseQueue, QueuesStand, QueueStands, ResumeQueue
from aggregates.task import Stage
from runtime.actor import Effect, Reply, reply
from runtime.errors import Refused
from runtime.records import Recorded

PAUSED_MAX = 1_000
"""How many queues of a tenant may be paused: each is remembered until it goes on."""
QUEUES_TOLD_MAX = 1_000

COUNT_BY_STAGE = {Stage.SUBMITTED: "waiting", Stage.BIDDING: "bidding", Stage.BLOCKED: "blocked"}
"""Under which name an open task is counted; else it is held."""


def all_queues(memory: OpenTasks) -> QueuesStand:
    """Those that have open tasks or are paused, by name."""
    counts = _counts(memory)
    names = counts.keys() | memory.paused.keys()
    told = nsmallest(QUEUES_TOLD_MAX, names)
    return QueuesStand(
        queues=tuple(_stands(name, counts.get(name, {}), memory.paused.get(name)) for name in told),
        left_out=len(names) - len(told),
    )


def pause_or_resume(memory: OpenTasks, tenant: str, command: PauseQueue | ResumeQueue) -> Effect:
    """Raises Refused where too many queues are paused already."""
    if isinstance(command, PauseQueue) and command.queue not in memory.paused and len(memory.paused) >= PAUSED_MAX:
        raise Refused("queues_too_many", f"{PAUSED_MAX} queues are paused")
    counts, stood = _counts(memory).get(command.queue, {}), memory.paused.get(command.queue)

    def answer(recorded: Sequence[Recorded]) -> Reply:
        pause = stood
        if recorded:
            event, at = recorded[0].event, recorded[0].meta.at
            pause = Pause(at, event.reason, event.paused_by) if isinstance(event, queues.QueuePaused) else None
        return reply(command, _stands(command.queue, counts, pause))

    return Effect([(queues.stream(tenant, command.queue), command)], answer)


def _counts(memory: OpenTasks) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for task in memory.tasks.values():
        of_queue, name = counts.setdefault(task.queue, {}), COUNT_BY_STAGE.get(task.stage, "held")
        of_queue[name] = of_queue.get(name, 0) + 1
    return counts


def _stands(name: str, counts: dict[str, int], pause: Pause | None) -> QueueStands:
    stands = QueueStands(
        name=name,
        waiting=counts.get("waiting", 0),
        bidding=counts.get("bidding", 0),
        held=counts.get("held", 0),
        blocked=counts.get("blocked", 0),
    )
    if pause is None:
        return stands
    return replace(stands, paused=True, since=pause.since, paused_by=pause.paused_by, reason=pause.reason)
