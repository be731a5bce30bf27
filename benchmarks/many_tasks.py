"""A data folder whose journal holds many tasks that were submitted and called off: what a node is asked for that has been used for long."""

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from aggregates import task
from aggregates.catalog import AGGREGATES
from gateway.settings import GavelSettings
from gateway.storage.folder import DataFolder
from gateway.storage.journals import open_store
from runtime.clock import SystemClock
from runtime.codec import Codec
from runtime.ids import Ids
from runtime.records import Meta
from runtime.store.contract import Batch, Draft

TASKS = 100_000
TENANT = "bench"
BATCH = 20_000
CODEC = Codec(AGGREGATES)


@cache
def folder_of_tasks(tasks: int = TASKS, place: Path | None = None) -> tuple[Path, Path]:
    """A data folder with so many tasks, made once, and a file with their ids."""
    folder = Path(tempfile.mkdtemp(prefix="gavel-tasks-", dir=place))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    print(f"writing a journal of {tasks:,} tasks …", file=sys.stderr)
    data, names = folder / "data", folder / "names"
    ids = Ids(SystemClock())
    task_ids = [ids.new() for _ in range(tasks)]
    names.write_text("\n".join(task_ids))
    settings, place_of_data = GavelSettings(data=data), DataFolder(data)
    place_of_data.make()
    store = open_store(settings, place_of_data, os.urandom)
    drafts = _drafts(task_ids, ids)
    while batch := list(islice(drafts, BATCH)):
        store.append(Batch(batch, [], [], batch[-1].meta.at))
    # As a node would have left it that was killed: its coordinator has reacted to everything.
    store.save([], [("coordinator", TENANT, store.position)])
    store.close()
    if store.keyring is not None:
        store.keyring.close()
    return data, names


def _drafts(task_ids: list[str], ids: Ids) -> Iterator[Draft]:
    clock, position = SystemClock(), 0
    for number, task_id in enumerate(task_ids):
        state, version = task.initial, 0
        for command in _commands(task_id, number, clock.now()):
            number_of_command = ids.new()
            meta = Meta(
                id=number_of_command,
                cause="",
                correlation=number_of_command,
                tenant=TENANT,
                principal="operator:one",
                at=command.at,
                command=CODEC.command_record(command),
            )
            for event in task.decide(state, command):
                state = task.evolve(state, event)
                position, version = position + 1, version + 1
                yield Draft(position, task.stream(task_id), version, CODEC.kind(event), meta, CODEC.pack(event))


def _commands(task_id: str, number: int, at: float) -> Iterator[Any]:
    common: dict[str, Any] = {"task_id": task_id, "tenant": TENANT, "at": at}
    yield task.SubmitTask(
        **common,
        task_type=task.TaskType.ANALYSIS,
        description=f"Task {number}",
        capabilities=("cutting",),
        payload={"problem": "G1", "seed": number},
        submitted_by="operator:one",
    )
    yield task.CancelTask(**common, reason="called off")
