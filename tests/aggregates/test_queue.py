"""A queue is held back, or it is not: what is so already is decided once."""

import msgspec
import pytest

from aggregates import queue
from aggregates.queue import PauseQueue, QueuePaused, QueueResumed, ResumeQueue
from aggregates.values.queues import Queue, queue_of
from aggregates.values.task_types import TaskType
from tests.aggregates.outcomes import state
from tests.examples import command_by_type

PAUSE: PauseQueue = command_by_type[PauseQueue]
RESUME: ResumeQueue = command_by_type[ResumeQueue]


def test_it_is_paused_and_resumed_once() -> None:
    paused = QueuePaused(queue="reports", reason="their source is down", paused_by="operator:k1")
    assert list(queue.decide(queue.initial, PAUSE)) == [paused]
    assert queue.decide(state(queue, PAUSE), PAUSE) == []
    assert list(queue.decide(state(queue, PAUSE), RESUME)) == [QueueResumed(queue="reports")]
    assert queue.decide(state(queue, PAUSE, RESUME), RESUME) == []
    assert queue.decide(queue.initial, RESUME) == []


def test_queues_of_two_tenants_and_of_two_names_have_streams_of_their_own() -> None:
    names = {queue.stream(tenant, name) for tenant in ("a", "b") for name in ("x", "y")}
    assert len(names) == 4


def test_a_task_that_names_no_queue_is_in_that_of_its_type() -> None:
    assert queue_of("", TaskType.ANALYSIS) == "analysis"
    assert queue_of("reports", TaskType.ANALYSIS) == "reports"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\n", "-a", "a" * 65])
def test_what_can_name_no_queue(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Queue)
