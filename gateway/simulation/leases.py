"""What must hold of tasks and their leases, computed from the log anew, by other means than the rules that made it."""

from collections import defaultdict
from collections.abc import Sequence

from aggregates.agent import AgentCleared, AgentLost, AgentRegistered, AgentReturned, AgentSuspected, AgentUpdated
from aggregates.task import (
    BidCommitted,
    BidPlaced,
    BidRevealed,
    CancelTask,
    CommitBid,
    CompleteTask,
    DeclineOffer,
    FailTask,
    LeaseExpired,
    OfferDeclined,
    PlaceBid,
    ReportProgress,
    RevealBid,
    StartTask,
    SubmitTask,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskProgressed,
    TaskRebalanced,
    TaskStarted,
    TaskSubmitted,
)
from gateway.simulation.told import Told, is_person
from runtime.records import Recorded
from runtime.simulation import World

CLOCK_SLACK_SECONDS = 0.001
ENDS_A_LEASE = (TaskCompleted, LeaseExpired, TaskRebalanced, TaskFailed, TaskCancelled, TaskExpired, TaskDeadLettered)


def check_leases(world: World, records: Sequence[Recorded], told: Told) -> None:
    """No task is held twice, no token is used twice, nobody but the holder speaks for a task, nobody who was heard from is lost."""
    _check_suspicions(world, records, told)
    _check_holds(world, records)
    holder_by_task: dict[str, tuple[str, int]] = {}
    units_by_task: dict[str, float] = {}
    said_by_agent: dict[str, AgentRegistered | AgentUpdated] = {}
    token_by_task: defaultdict[str, int] = defaultdict(int)
    for record in records:
        event = record.event
        where = f"at {record.position}"
        match event:
            case AgentRegistered() | AgentUpdated():
                said_by_agent[event.agent_id] = event
            case TaskAwarded(task_id=task_id, agent_id=agent_id, token=token):
                world.holds("one_holder", task_id not in holder_by_task, f"{task_id} {where} is held already")
                world.holds("token_once", token == token_by_task[task_id] + 1, f"{task_id} {where}: token {token}")
                holder_by_task[task_id], token_by_task[task_id] = (agent_id, token), token
                held = sum(holder == agent_id for holder, _ in holder_by_task.values())
                world.holds("slots_kept", held <= said_by_agent[agent_id].slots, f"{agent_id} {where} holds {held}")
                units_by_task[task_id] = event.units
                units = sum(units_by_task[name] for name, (holder, _) in holder_by_task.items() if holder == agent_id)
                capacity = said_by_agent[agent_id].max_capacity
                world.holds("capacity_kept", units <= capacity, f"{agent_id} {where} holds {units:g} units")
            case TaskFailed(final=True):
                pass
            case TaskStarted() | TaskProgressed() | TaskCompleted() | LeaseExpired() | TaskRebalanced() | TaskFailed():
                _expect(world, holder_by_task.get(event.task_id), (event.agent_id, event.token), where)
        if isinstance(event, ENDS_A_LEASE):
            holder_by_task.pop(event.task_id, None)
        if isinstance(event, AgentLost | LeaseExpired) and not is_person(event.agent_id):
            _check_silence(world, record, event.agent_id, told)


def _expect(world: World, holder: tuple[str, int] | None, speaker: tuple[str, int], where: str) -> None:
    world.holds("holder_alone_speaks", holder == speaker, f"{where}: {speaker} spoke, {holder} holds")


def _check_silence(world: World, record: Recorded, agent_id: str, told: Told) -> None:
    """Who was heard from within a term, or could not be heard because the node was down or stood still, is not lost."""
    seconds = record.meta.at - told.silent_since(agent_id, record.position, record.meta.at)
    world.holds(
        "no_false_death",
        seconds >= told.lease_seconds - CLOCK_SLACK_SECONDS,
        f"{agent_id} at {record.position}: heard of, or listened for, {seconds:.3f} s before",
    )


def _check_suspicions(world: World, records: Sequence[Recorded], told: Told) -> None:
    """Nobody is suspected who was heard in time, nobody is lost, or loses a task, who was not suspected before."""
    suspects: set[str] = set()
    for record in records:
        event, where = record.event, f"at {record.position}"
        match event:
            case AgentSuspected() | AgentLost() if is_person(event.agent_id):
                world.holds("people_are_never_lost", False, f"{event.agent_id} {where}")
            case LeaseExpired() if is_person(event.agent_id):
                pass
            case AgentSuspected(agent_id=agent_id):
                seconds = record.meta.at - told.silent_since(agent_id, record.position, record.meta.at)
                heard = f"{agent_id} {where}: heard of, or listened for, {seconds:.3f} s before"
                world.holds("no_false_suspicion", seconds >= told.suspect_seconds - CLOCK_SLACK_SECONDS, heard)
                suspects.add(agent_id)
            case AgentCleared() | AgentRegistered() | AgentReturned():
                suspects.discard(event.agent_id)
            case AgentLost() | LeaseExpired():
                world.holds("suspected_first", event.agent_id in suspects, f"{event.agent_id} {where} was no suspect")


def _check_holds(world: World, records: Sequence[Recorded]) -> None:
    """What a person has stays with them as long as was said, from the last word of it on."""
    word_by_task: dict[str, float] = {}
    hold_by_task: dict[str, float] = {}
    for record in records:
        match event := record.event:
            case TaskAwarded(is_person=True):
                word_by_task[event.task_id], hold_by_task[event.task_id] = event.awarded_at, event.lease_seconds
            case TaskStarted():
                word_by_task[event.task_id] = event.started_at
            case TaskProgressed():
                word_by_task[event.task_id] = event.progressed_at
            case LeaseExpired() if is_person(event.agent_id):
                seconds, hold = record.meta.at - word_by_task[event.task_id], hold_by_task[event.task_id]
                told = (
                    f"{event.task_id} at {record.position}: {seconds:.3f} s after the last word, and {hold:g} were said"
                )
                world.holds("people_keep_their_time", seconds >= hold - CLOCK_SLACK_SECONDS, told)


def check_told(world: World, records: Sequence[Recorded], told: Told) -> None:
    """What clients were told stands in the log."""
    events = [record.event for record in records]
    submitted = {event.task_id for event in events if isinstance(event, TaskSubmitted)}
    cancelled = {event.task_id for event in events if isinstance(event, TaskCancelled)}
    bids = {(event.task_id, event.agent_id, event.price) for event in events if isinstance(event, BidPlaced)}
    committed = {
        (event.task_id, event.agent_id, event.commitment) for event in events if isinstance(event, BidCommitted)
    }
    revealed = {(event.task_id, event.agent_id, event.salt) for event in events if isinstance(event, BidRevealed)}
    started = {(event.task_id, event.agent_id, event.token) for event in events if isinstance(event, TaskStarted)}
    completed = {(event.task_id, event.agent_id, event.token) for event in events if isinstance(event, TaskCompleted)}
    progressed = {(event.task_id, event.agent_id, event.share) for event in events if isinstance(event, TaskProgressed)}
    declined = {(event.task_id, event.agent_id) for event in events if isinstance(event, OfferDeclined)}
    failed = {(event.task_id, event.agent_id, event.token) for event in events if isinstance(event, TaskFailed)}
    for command in told.answers:
        match command:
            case SubmitTask(task_id=task_id):
                stands = task_id in submitted
            case CancelTask(task_id=task_id):
                stands = task_id in cancelled
            case PlaceBid(task_id=task_id, agent_id=agent_id, price=price):
                stands = (task_id, agent_id, price) in bids
            case CommitBid(task_id=task_id, agent_id=agent_id, commitment=commitment):
                stands = (task_id, agent_id, commitment) in committed
            case RevealBid(task_id=task_id, agent_id=agent_id, salt=salt):
                stands = (task_id, agent_id, salt) in revealed
            case StartTask(task_id=task_id, agent_id=agent_id, token=token):
                stands = (task_id, agent_id, token) in started
            case CompleteTask(task_id=task_id, agent_id=agent_id, token=token):
                stands = (task_id, agent_id, token) in completed
            case FailTask(task_id=task_id, agent_id=agent_id, token=token):
                stands = (task_id, agent_id, token) in failed
            case ReportProgress(task_id=task_id, agent_id=agent_id, share=share):
                stands = (task_id, agent_id, share) in progressed
            case DeclineOffer(task_id=task_id, agent_id=agent_id):
                stands = (task_id, agent_id) in declined
            case _:
                continue
        world.holds("nothing_acknowledged_lost", stands, f"{command} was acknowledged and is not in the log")
