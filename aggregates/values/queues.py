"""Queues: each task is in one, by the name that it gives, else by its type."""

from typing import Annotated

from msgspec import Meta

from aggregates.values.task_types import TaskType

Queue = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)")]
SomeQueue = Annotated[str, Meta(max_length=64, pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9._-]*)?$(?!\n)")]
"""Empty: that of the task's type."""


def queue_of(named: str, task_type: TaskType) -> str:
    """The queue of a task of this type that names this one, or none."""
    return named or task_type.value
