"""A task: agents bid for it, one wins, and someone finishes it.

`terms` has the words, `commands` and `events` what may be asked and what happens, `state` how events add up; `submission`, `bidding`,
`lease` and `changes` decide. What follows from the facts in a command is computed there, so that a replay proves something.
"""

from collections.abc import Sequence

from aggregates.task.assigning import assign
from aggregates.task.bidding import (
    answer,
    award,
    note_stall,
    open_book,
)
from aggregates.task.canceling import cancel, end_grace
from aggregates.task.changes import (
    amend,
    requeue,
)
from aggregates.task.commands import (
    COMMANDS,
    AmendTask,
    AnswerQuestion,
    AskQuestion,
    AssignTask,
    AwardTask,
    CancelTask,
    CheckLease,
    CommitBid,
    CompleteTask,
    DeclineOffer,
    EndGrace,
    EndOverrun,
    ExpireLease,
    ExpireTask,
    FailDependent,
    FailTask,
    NoteLateReport,
    NoteStall,
    OpenBook,
    OpenReveal,
    PlaceBid,
    RebalanceTask,
    RefuseBid,
    ReportProgress,
    RequeueTask,
    RevealBid,
    StartTask,
    SubmitTask,
    SubmitTasks,
    TaskCommand,
    UnblockTask,
    WithdrawBid,
)
from aggregates.task.events import (
    EVENTS,
    BidCommitted,
    BidPlaced,
    BidRefused,
    BidRevealed,
    BidWithdrawn,
    BookOpened,
    BookVoided,
    CancelRequested,
    DependencyMet,
    DependencyUnmet,
    DryRunEnded,
    LateReported,
    LeaseExpired,
    OfferDeclined,
    QuestionAnswered,
    QuestionAsked,
    RevealOpened,
    TaskAmended,
    TaskAwarded,
    TaskCancelled,
    TaskCompleted,
    TaskDeadLettered,
    TaskEvent,
    TaskExpired,
    TaskFailed,
    TaskProgressed,
    TaskRebalanced,
    TaskReopened,
    TaskRequeued,
    TaskStalled,
    TaskStarted,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.task.inbox import FindInbox, Holding, Inbox, Offering, TakeTask, Taking
from aggregates.task.late import late_reports_due, note_late_report
from aggregates.task.lease import (
    check_lease,
    check_open,
    complete,
    completed_so,
    decline,
    end_overrun,
    expire,
    expire_lease,
    fail,
    start,
)
from aggregates.task.people import remark
from aggregates.task.questions import question
from aggregates.task.rebalancing import rebalance
from aggregates.task.sealing import SEALED, open_reveal
from aggregates.task.state import (
    Task,
    evolve,
    initial,
    is_taken,
)
from aggregates.task.submission import (
    asked_digest,
    documents_fit,
    fail_dependent,
    skills_needed,
    submission_faults,
    submit,
    unblock,
)
from aggregates.task.terms import (
    BIDDING_SECONDS,
    BUDGET_GRACE_SECONDS,
    ENDED,
    HELD,
    SPECIALISTS,
    TAKEN_MAX,
    VOID_SECONDS_MIN,
    VOIDS_MAX,
    Attempts,
    BidAccepted,
    BiddingSeconds,
    Candidate,
    Contender,
    DependencyFact,
    DependencyPolicy,
    Doer,
    Duty,
    LeaseStanding,
    Links,
    Round,
    SchemaFact,
    Seconds,
    Stage,
    StallReason,
    TaskAccepted,
    TaskFault,
    TasksAnswered,
    TaskType,
    VoidReason,
    held_after_answer,
    hold_until,
    over_at,
)
from runtime.errors import Refused

__all__ = [
    "BIDDING_SECONDS",
    "BUDGET_GRACE_SECONDS",
    "COMMANDS",
    "ENDED",
    "EVENTS",
    "HELD",
    "RULES",
    "SEALED",
    "SPECIALISTS",
    "TAKEN_MAX",
    "VOIDS_MAX",
    "VOID_SECONDS_MIN",
    "AmendTask",
    "AnswerQuestion",
    "AskQuestion",
    "AssignTask",
    "Attempts",
    "AwardTask",
    "BidAccepted",
    "BidCommitted",
    "BidPlaced",
    "BidRefused",
    "BidRevealed",
    "BidWithdrawn",
    "BiddingSeconds",
    "BookOpened",
    "BookVoided",
    "CancelRequested",
    "CancelTask",
    "Candidate",
    "CheckLease",
    "CommitBid",
    "CompleteTask",
    "Contender",
    "DeclineOffer",
    "DependencyFact",
    "DependencyMet",
    "DependencyPolicy",
    "DependencyUnmet",
    "Doer",
    "DryRunEnded",
    "Duty",
    "EndGrace",
    "EndOverrun",
    "ExpireLease",
    "ExpireTask",
    "FailDependent",
    "FailTask",
    "FindInbox",
    "Holding",
    "Inbox",
    "LateReported",
    "LeaseExpired",
    "LeaseStanding",
    "Links",
    "NoteLateReport",
    "NoteStall",
    "OfferDeclined",
    "Offering",
    "OpenBook",
    "OpenReveal",
    "PlaceBid",
    "QuestionAnswered",
    "QuestionAsked",
    "RebalanceTask",
    "RefuseBid",
    "ReportProgress",
    "RequeueTask",
    "RevealBid",
    "RevealOpened",
    "Round",
    "SchemaFact",
    "Seconds",
    "Stage",
    "StallReason",
    "StartTask",
    "SubmitTask",
    "SubmitTasks",
    "TakeTask",
    "Taking",
    "Task",
    "TaskAccepted",
    "TaskAmended",
    "TaskAwarded",
    "TaskCancelled",
    "TaskCommand",
    "TaskCompleted",
    "TaskDeadLettered",
    "TaskEvent",
    "TaskExpired",
    "TaskFailed",
    "TaskFault",
    "TaskProgressed",
    "TaskRebalanced",
    "TaskReopened",
    "TaskRequeued",
    "TaskStalled",
    "TaskStarted",
    "TaskSubmitted",
    "TaskType",
    "TaskUnblocked",
    "TasksAnswered",
    "UnblockTask",
    "VoidReason",
    "WithdrawBid",
    "decide",
    "evolve",
    "held_after_answer",
    "hold_until",
    "initial",
    "is_closed",
    "is_taken",
    "late_reports_due",
    "over_at",
    "skills_needed",
    "stream",
    "submission_faults",
]

RULES = 6


def stream(task_id: str) -> str:
    """The stream of a task."""
    return f"task-{task_id}"


def is_closed(task: Task) -> bool:
    """Whether its records may go to an archive: nothing follows any more, but a note of a late report while the node runs on."""
    return task.stage in ENDED


def decide(task: Task, command: TaskCommand) -> Sequence[TaskEvent]:
    stage = task.stage
    match command:
        case SubmitTask() if stage is Stage.UNKNOWN:
            return submit(command)
        case SubmitTask():
            if documents_fit(command) and task.digest == asked_digest(command):
                return []
            raise Refused("task_exists", f"{command.task_id} is another task, {stage.value}")
        case _ if stage is Stage.UNKNOWN:
            raise Refused("task_unknown", command.task_id, status=404)
        case PlaceBid() | CommitBid() | RevealBid() | WithdrawBid() | RefuseBid():
            if stage is Stage.BIDDING:
                return answer(task, command)
            raise Refused("book_closed", f"{command.task_id} is {stage.value}")
        case OpenBook():
            return open_book(task, command) if stage is Stage.SUBMITTED and command.round == task.round + 1 else []
        case AssignTask():
            return assign(task, command)
        case OpenReveal():
            return open_reveal(task, command) if stage is Stage.BIDDING and command.round == task.round else []
        case AwardTask():
            return award(task, command) if stage is Stage.BIDDING and command.round == task.round else []
        case StartTask():
            return start(task, command)
        case CompleteTask() if stage is Stage.COMPLETED and completed_so(task, command):
            return []
        case CompleteTask():
            check_lease(task, command)
            return complete(task, command)
        case FailTask():
            check_lease(task, command)
            return decline(task, command) if command.declined else fail(task, command, command.reason or "failed")
        case AskQuestion() | AnswerQuestion():
            return question(task, command)
        case ReportProgress() | DeclineOffer():
            return remark(task, command)
        case UnblockTask():
            return unblock(task, command)
        case FailDependent():
            return fail_dependent(task, command)
        case NoteStall():
            return note_stall(task, command) if stage is Stage.SUBMITTED else []
        case NoteLateReport():
            return note_late_report(task, command)
        case ExpireLease() | EndOverrun() | EndGrace() if stage not in HELD or command.token != task.attempt:
            return []
        case ExpireLease():
            return expire_lease(task, command)
        case RebalanceTask():
            return rebalance(task, command)
        case EndOverrun():
            return end_overrun(task, command)
        case EndGrace():
            return end_grace(task, command)
        case RequeueTask():
            return requeue(task, command)
        case AmendTask():
            check_open(stage, command.task_id)
            return amend(task, command)
        case CancelTask() if stage is Stage.CANCELLED:
            return []
        case ExpireTask() if stage is Stage.EXPIRED:
            return []
        case CancelTask():
            check_open(stage, command.task_id)
            return cancel(task, command)
        case ExpireTask():
            check_open(stage, command.task_id)
            return expire(task, command)
