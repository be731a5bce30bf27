"""The golden journal: lives with every command and every event, kept as bytes so that later rules are held against them.

`python -m tests.aggregates.golden` writes it anew. It refuses while something in the kept one is decided otherwise under the same number:
whoever changes what is decided raises `RULES` of that aggregate first.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from aggregates import (
    action,
    agent,
    archive,
    concurrency,
    coordination,
    journal,
    journal_key,
    key,
    lockout,
    projection,
    qubo_problem,
    queue,
    revocation,
    session,
    solve_job,
    subject,
    task,
    task_type,
    trail,
    user,
    webhook,
)
from aggregates.catalog import AGGREGATES
from aggregates.values.no_bids import NoBidPolicy, NoWinner
from aggregates.values.ranking import AwardPolicy
from aggregates.values.solving import Backend, Baseline, Known, WarmStart
from runtime.codec import Codec
from runtime.errors import Failure
from runtime.records import Aggregate, Command, CommandRecord, Event
from tests.examples import AT, BATCH_SHARE, BIDDERS, CANDIDATES, command_by_type

FILE = Path(__file__).parent / "golden" / "journal.msgpack"
CODEC = Codec(AGGREGATES)
Life = Sequence[Command[Any]]


class Step(msgspec.Struct, frozen=True):
    """A command of the golden journal and the events that it decided, as they stand on disk."""

    stream: str
    command: CommandRecord
    events: list[tuple[str, msgspec.Raw]]


def load() -> list[Step]:
    """The kept steps."""
    return msgspec.msgpack.decode(FILE.read_bytes(), type=list[Step])


def differing(kept: Sequence[Step]) -> list[str]:
    """What is decided otherwise, upon the kept events before it, although the rules have the same number."""
    states: dict[str, Any] = {}
    faults: list[str] = []
    for step in kept:
        aggregate = CODEC.aggregate_of(step.stream)
        state = states.get(step.stream, aggregate.initial)
        events = [CODEC.event(kind, data) for kind, data in step.events]
        now = _decided(aggregate, state, step.command)
        if now != events and step.command.rules == aggregate.RULES:
            faults.append(f"{step.stream}: {step.command.name} decided {events}, now {now}; raise RULES")
        states[step.stream] = reduce(aggregate.evolve, events, state)
    return faults


def _decided(aggregate: Aggregate, state: Any, command: CommandRecord) -> list[Event] | Failure:
    try:
        return list(aggregate.decide(state, CODEC.command(command)))
    except Failure as failure:
        return failure


def make() -> list[Step]:
    """The lives below, as the rules of today decide them."""
    steps: list[Step] = []
    for stream, life in _lives():
        aggregate = CODEC.aggregate_of(stream)
        state = aggregate.initial
        for command in life:
            events = list(aggregate.decide(state, command))
            assert events, f"{stream}: {command} decides nothing"
            kept = [(CODEC.kind(event), msgspec.Raw(CODEC.pack(event))) for event in events]
            steps.append(Step(stream, CODEC.command_record(command), kept))
            for event in events:
                state = aggregate.evolve(state, event)
    return steps


def _example(kind: type[Command[Any]], **changes: Any) -> Command[Any]:
    command: Command[Any] = replace(command_by_type[kind], **changes)
    return command


def _lives() -> Iterator[tuple[str, Life]]:
    """Each stream's commands; every one of them decides something."""
    yield (
        "agent-acme:ann",
        [
            *(_example(kind) for kind in (agent.RegisterAgent, agent.UpdateAgent, agent.LoseAgent, agent.ReturnAgent)),
            *(_example(kind) for kind in (agent.SuspectAgent, agent.ClearAgent)),
            *(_example(kind) for kind in (agent.DrainAgent, agent.DeregisterAgent, agent.RegisterAgent)),
        ],
    )
    yield "archive-log", [_example(archive.ArchiveStreams), _example(archive.ArchiveStreams, number=2)]
    yield "journal-acme", [_example(journal.OpenJournal)]
    yield (
        "journal_key-signing",
        [_example(journal_key.RotateKey), _example(journal_key.RotateKey, old="NEW", new="NEWER")],
    )
    yield "key-k1", [_example(key.IssueKey), _example(key.RevokeKey)]
    yield "key-k3", [_example(key.IssueKey), _example(key.ReplaceKey), _example(key.RevokeKey)]
    yield (
        "lockout-acme:account:u1",
        [
            *[_example(lockout.NoteFailure)] * 5,
            _example(lockout.NoteFailure, at=AT + 60.0),
            _example(lockout.NoteSuccess),
        ],
    )
    yield "lockout-acme:account:u2", [_example(lockout.NoteFailure), _example(lockout.Unlock)]
    yield (
        f"revocation-acme:{'ab' * 16}",
        [_example(revocation.RevokeTokens), _example(revocation.RevokeTokens, issued_before=AT + 60.0)],
    )
    yield "session-s1", [_example(session.OpenSession), _example(session.EndSession)]
    yield (
        "user-u1",
        [
            _example(user.RegisterUser),
            _example(user.ChangeUser),
            _example(user.SetPassword),
            _example(user.DisableUser),
            _example(user.EnableUser),
            _example(user.RemoveUser),
        ],
    )
    yield "concurrency-acme:deploy", [_example(concurrency.SetConcurrency), _example(concurrency.DropConcurrency)]
    yield "queue-acme:reports", [_example(queue.PauseQueue), _example(queue.ResumeQueue)]
    yield "task_type-acme:analysis", [_example(task_type.SetSchemas), _example(task_type.DropSchemas)]
    yield (
        "coordination-acme",
        [
            _example(coordination.StopCoordination),
            _example(coordination.StartCoordination),
            _example(coordination.AssignBatch),
        ],
    )
    yield "projection-tasks/1", [_example(projection.SkipEvent), _example(projection.SkipEvent, position=4712)]
    yield "subject-acme:p17", [_example(subject.EraseSubject)]
    yield "qubo_problem-p1", [_example(qubo_problem.RegisterProblem)]
    yield from _jobs()
    yield from _tasks()
    yield "action-a1", [_example(action.BeginAction), _example(action.EndAction)]
    yield "trail-acme:19675:agent:ann", [_example(trail.NoteRefusals)]
    yield "trail-acme:19675:0a1b2c3d4e5f", [_example(trail.NoteStrangers)]
    yield "trail-acme:suspect:0a1b2c3d4e5f", [_example(trail.SuspectIntruder)]
    yield "webhook-acme:w1", _webhook()
    yield trail.SETTINGS, [_example(trail.NoteSettings), _example(trail.NoteSettings, settings={"bind": "[::1]:80"})]


def _webhook() -> Life:
    told = (webhook.CreateWebhook, webhook.UpdateWebhook, webhook.NoteDelivered, webhook.NoteFailing)
    ended = (webhook.RotateSecret, webhook.ReplayWebhook, webhook.PauseWebhook, webhook.DeleteWebhook)
    return [_example(kind) for kind in (*told, webhook.GiveUpWebhook, webhook.ResumeWebhook, *ended)]


def _jobs() -> Iterator[tuple[str, Life]]:
    queue, start = _example(solve_job.QueueSolve), _example(solve_job.StartSolve)
    report, end = _example(solve_job.ReportSolve), _example(solve_job.CompleteSolve)
    again = [_example(solve_job.StartSolve, node=f"n{number}") for number in range(2, 5)]
    plan = _example(solve_job.PlanSolve)
    yield "solve_job-j1", [queue, start, plan, report, _example(solve_job.StartSolve, node="n2"), plan, report, end]
    yield "solve_job-j2", [_example(solve_job.QueueSolve, seed=None), _example(solve_job.FailSolve)]
    yield "solve_job-j3", [queue, _example(solve_job.CancelSolve)]
    yield "solve_job-j4", [queue, start, *again]
    known = {"warm_start": WarmStart(job_id="j1"), "known": Known(assignment="gA==", position=9)}
    bounds = {"work_max": 9_000, "stagnation_work": 900, "tolerance": 1e-6, "baseline": Baseline(seconds=2.0)}
    elsewhere = {"backend": Backend.DYNEX, "strategy": "qaoa", "fallback": True}
    yield "solve_job-j5", [_example(solve_job.QueueSolve, **known, **bounds, **elsewhere)]


def _tasks() -> Iterator[tuple[str, Life]]:
    submit, call, bid = _example(task.SubmitTask), _example(task.OpenBook), _example(task.PlaceBid)
    refuse, award, start = _example(task.RefuseBid), _example(task.AwardTask), _example(task.StartTask)
    won = [submit, call, bid, refuse, award]
    running = task.DependencyFact(task_id="t0", stage=task.Stage.RUNNING, position=5)
    waits = _example(task.SubmitTask, dependencies=("t0",), independent_of=("t0",), dependency_facts=(running,))
    anew = [_example(task.OpenBook, round=2), replace(bid, round=2), _example(task.RefuseBid, round=2)]
    yield "task-done", [*won, start, _example(task.CompleteTask)]
    joint = _example(task.SubmitTask, award_policy=AwardPolicy.BATCH_OPTIMAL)
    left = replace(BATCH_SHARE, agent_id="", prices={"ann": 9.0})
    yield "task-joint", [joint, call, bid, refuse, _example(task.AwardTask, batch=BATCH_SHARE)]
    yield "task-left", [joint, call, bid, refuse, _example(task.AwardTask, batch=left)]
    yield "task-waits", [waits, _example(task.UnblockTask), _example(task.NoteStall), call]
    yield "task-forsaken", [waits, _example(task.FailDependent)]
    for policy in (task.DependencyPolicy.SKIP, task.DependencyPolicy.RUN):
        yield f"task-{policy.value}", [replace(waits, dependency_policy=policy), _example(task.FailDependent)]
    yield "task-open", [_example(task.SubmitTask, budget_seconds=None, bidding_seconds=None, attempts_max=None)]
    yield "task-failed", [*won, _example(task.FailTask), *anew, _example(task.AwardTask, round=2), _failed_again()]
    yield "task-expired", [*won, _example(task.ExpireLease), *[_example(task.NoteLateReport)] * 2]
    yield "task-rebalanced", [*won, _example(task.RebalanceTask), *anew]
    asked = [_example(task.AskQuestion), _example(task.AnswerQuestion)]
    yield "task-asked", [*won, start, *asked, _example(task.CompleteTask)]
    yield "task-progressed", [*won, _example(task.ReportProgress), _example(task.CompleteTask)]
    person = replace(BIDDERS[0], is_person=True)
    taken = [submit, _example(task.DeclineOffer), call, bid, refuse, _example(task.AwardTask, bidders=(person,))]
    yield "task-given-back", [*taken, _example(task.FailTask, declined=True)]
    yield "task-overrun", [*won, start, _example(task.EndOverrun)]
    yield "task-withdrawn", [submit, call, bid, _example(task.WithdrawBid), refuse, award]
    sealed = _example(task.SubmitTask, award_policy=AwardPolicy.SECOND_PRICE, price_max=4.0)
    shut = [_example(task.CommitBid), _example(task.RefuseBid), _example(task.OpenReveal)]
    yield "task-sealed", [sealed, call, *shut, _example(task.RevealBid), _example(task.AwardTask, at=AT + 4)]
    yield "task-tried", [_example(task.SubmitTask, dry_run=True), call, bid, refuse, award]
    yield "task-given", [_example(task.SubmitTask), _example(task.AssignTask), start, _example(task.CompleteTask)]
    widen = NoBidPolicy(then=NoWinner.WIDEN, rounds_max=2, call_max=1)
    nobody = [_example(task.AwardTask, round=number, bidders=(), at=AT + 90) for number in (1, 2)]
    yield (
        "task-widened",
        [_example(task.SubmitTask, no_bids=widen), call, nobody[0], _example(task.OpenBook, round=2), nobody[1]],
    )
    yield "task-cancelled", [submit, _example(task.CancelTask)]
    stop = _example(task.CancelTask, grace_seconds=30.0)
    yield "task-stopped", [*won, start, stop, _example(task.EndGrace)]
    yield "task-acknowledged", [*won, stop, _example(task.FailTask)]
    yield (
        "task-amended",
        [
            _example(task.SubmitTask, not_before=AT + 10),
            _example(task.AmendTask, not_before=AT + 20, estimated_duration=30.0, budget_seconds=90.0),
            *_without_winner(),
            _example(task.RequeueTask, deadline=AT + 9900, at=AT + 9000),
        ],
    )
    yield "task-late", [_example(task.SubmitTask, deadline=AT + 100), _example(task.ExpireTask)]
    yield "task-voided", [submit, *_without_winner()]


def _failed_again() -> Command[Any]:
    return _example(task.FailTask, token=2)


def _without_winner() -> Iterator[Command[Any]]:
    for number in range(1, task.VOIDS_MAX + 1):
        at = AT + 60 * number
        yield _example(task.OpenBook, round=number, candidates=CANDIDATES[:1], doers=(), at=at)
        yield _example(task.AwardTask, round=number, bidders=(), at=at + 3)


def main() -> int:
    """Writes the golden journal; refuses where that would hide a change of the rules."""
    faults = differing(load()) if FILE.exists() else []
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_bytes(CODEC.pack(make()))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
