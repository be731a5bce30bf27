"""The inbox of a person: what calls for them, what they have, and what they say of it. For users who are signed in, each in their own name.

What waits and what is held is asked of the coordinator, so that what somebody has just taken is shown to nobody as free; what the tasks
are is read once for all of them.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from sqlalchemy import Connection
from starlette.responses import Response

from aggregates.agent import (
    AgentAccepted,
    AgentType,
    DeregisterAgent,
    DrainAgent,
    RegisterAgent,
    Slots,
    person_of,
)
from aggregates.agent import Stage as AgentStage
from aggregates.task import (
    AskQuestion,
    DeclineOffer,
    FindInbox,
    Holding,
    Inbox,
    Offering,
    ReportProgress,
    TakeTask,
    Taking,
    TaskAccepted,
)
from aggregates.task.inbox import OFFERINGS_MAX, Place
from aggregates.values.document import Document
from aggregates.values.numbers import NonNegative, Positive
from aggregates.values.price_list import Prices
from aggregates.values.roles import Permission
from aggregates.values.skill_terms import SkillOffers
from aggregates.values.skills import Region, Skills
from aggregates.values.text import Name, Note
from aggregates.values.working_hours import ALWAYS, WorkingHours
from gateway.api import rows
from gateway.api.bodies import NO_NUL, body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.queries import REASON, Parameter, integer
from gateway.routes.reports import Report, to_report
from projections import agents, task_types, tasks, users
from runtime.errors import Refused

OFFERS_DEFAULT = 50
QUESTIONS_SHOWN_MAX = 100
CURSOR = r"^-?[0-9.e+-]{1,32}:[0-9.e+-]{1,32}:[0-9]{1,18}$"
Words = Annotated[Note, NO_NUL]


class InboxProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person can do and asks for it, all of it: what is not said is as it is by default. `slots` is how many tasks they have at a
    time, `hold_seconds` how long one stays with them without a word, within what the operator allows. Without a `name` they are called
    as they are as a user."""

    name: Annotated[Name, NO_NUL] | None = None
    agent_type: AgentType = AgentType.DECISION_ENGINE
    capabilities: Skills = ()
    specializations: Skills = ()
    skills: SkillOffers = ()
    description: Words = ""
    slots: Slots = 3
    max_capacity: Positive | None = None
    price: NonNegative = 0.0
    prices: Prices = {}
    region: Region = ""
    working_hours: WorkingHours = ALWAYS
    hold_seconds: Positive | None = None


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """The schemas of a task's type that it goes by, of that version: what came in, and what has to come out; null where anything may."""

    form: str
    payload: Document | None
    result: Document | None


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A task that the person could take, at that price and in that time where they say nothing else, and `why` it is shown to them.
    `obstacle` is why not now; with `closes_at` they have bid, and others were asked until then. `form` names one of the `forms`."""

    task: rows.Task
    price: float
    eta_seconds: float
    why: str
    obstacle: str
    closes_at: float | None
    form: str | None


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A task that the person has: what they say of it carries the `token`. It goes back in `seconds_left` unless they say something."""

    task: rows.Task
    token: int
    seconds_left: float
    ends_soon: bool
    cancel_seconds_left: float | None
    form: str | None


class InboxPage(msgspec.Struct, frozen=True, kw_only=True):
    """What calls for a person, the most urgent first; what they have bid for and what they have; and the tasks whose holders ask
    something that they may answer. `next` is the `after` of the offers that follow."""

    agent_id: str
    status: AgentStage
    is_on_duty: bool
    slots: int
    offers: list[Offer]
    bids: list[Offer]
    held: list[Held]
    questions: list[rows.Task]
    forms: list[Form]
    next: str | None


class InboxTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task with all that is known of it, the form to fill in, and how it stands with the person: an `offer`, `held`, or neither."""

    task: rows.WholeTask
    offer: Offer | None
    held: Held | None
    form: Form | None


class InboxStatus(Report, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person says of a task that they have, with its token. What is `released` is offered to others as it was, begun or not, and
    that counts as no attempt; what has `failed` is one, and the last where it is not `retryable`."""

    status: Literal["started", "completed", "failed", "released"]


IN_PATH = ("task_id",)
Take = body_type(TakeTask)
Decline = body_type(DeclineOffer, path=IN_PATH)
Progress = body_type(ReportProgress, path=IN_PATH)
Question = body_type(AskQuestion, path=IN_PATH)


def _person(call: Call) -> str:
    """The agent that the caller is. Raises Refused for whoever is no user."""
    if not call.principal.user_id:
        raise Refused(
            "inbox_is_a_persons", "sign in as a user: what is done here is done in a person's name", status=403
        )
    return person_of(call.principal.user_id)


# ---- who they are


async def join(call: Call) -> Response:
    """Says what the caller can do: from now on what waits for that stands in their inbox. Said again, it replaces what was said."""
    agent_id, user_id = _person(call), call.principal.user_id
    body = await call.body(InboxProfile)
    row = found(await call.look(users.find, call.tenant, user_id), "user", user_id)
    fields = msgspec.structs.asdict(body)
    name, seconds = fields.pop("name") or row["name"] or row["username"], fields.pop("hold_seconds")
    registration = RegisterAgent(
        agent_id=agent_id, user_id=user_id, data_subject=user_id, name=name, heartbeat_timeout=seconds, **fields
    )
    return call.reply(await call.ask(registration))


async def profile(call: Call) -> Response:
    """What the caller has said of themselves, and what came of their work."""
    row = await call.look(agents.find, call.tenant, _person(call))
    if row is None or row["status"] == AgentStage.DEREGISTERED:
        raise _unknown()
    return call.reply(row)


async def pause(call: Call) -> Response:
    """The caller takes nothing new, and finishes what they have; they are there again when they say what they can do."""
    agent_id = _person(call)
    body: Any = await call.body_or(body_type(DrainAgent))
    return call.reply(await call.ask(to_command(DrainAgent, body, agent_id=agent_id)))


async def leave(call: Call) -> Response:
    """The caller has no inbox any more; what they had is offered to others."""
    return call.reply(await call.ask(DeregisterAgent(agent_id=_person(call), reason=call.reason)))


def _unknown() -> Refused:
    return Refused("inbox_unknown", "say first what you can do: PUT /v1/inbox/profile", status=404)


# ---- what calls for them


async def find(call: Call) -> Response:
    """What the caller could take, what they have, and what they are asked."""
    asked = FindInbox(agent_id=_person(call), after=call.asked(AFTER), most=call.asked(LIMIT))
    inbox = await _asked(call, asked)
    told = await call.read(_told, call.tenant, inbox, _submitter(call))
    following = None if inbox.next is None else ":".join(map(repr, inbox.next))
    return call.reply(told | {"next": following}, headers=call.link_to(following))


def _submitter(call: Call) -> str | None:
    """Whose questions are shown: the caller's own; of whoever may answer all of them, anybody's."""
    return None if Permission.TASKS_MANAGE in call.principal.permissions else call.principal.name


async def _asked(call: Call, question: FindInbox) -> Inbox:
    inbox = await call.ask(question)
    if inbox is None:
        raise _unknown()
    return inbox


def _told(connection: Connection, tenant: str, inbox: Inbox, submitter: str | None) -> dict[str, Any]:
    """The inbox with the rows of its tasks. One that is not in the read model yet is left to the next look."""
    asking = tasks.asking(connection, tenant, submitted_by=submitter, limit=QUESTIONS_SHOWN_MAX)
    entries: tuple[Offering | Holding, ...] = (*inbox.offers, *inbox.bids, *inbox.held)
    names = [*(one.task_id for one in entries), *asking]
    row_by_id = {row["task_id"]: row for row in tasks.of_ids(connection, tenant, names)}
    forms = _forms(connection, tenant, row_by_id.values())
    return {
        "agent_id": inbox.agent_id,
        "status": inbox.stage,
        "is_on_duty": inbox.is_on_duty,
        "slots": inbox.slots,
        "offers": [_offer(one, row_by_id[one.task_id]) for one in inbox.offers if one.task_id in row_by_id],
        "bids": [_offer(one, row_by_id[one.task_id]) for one in inbox.bids if one.task_id in row_by_id],
        "held": [_held(one, row_by_id[one.task_id]) for one in inbox.held if one.task_id in row_by_id],
        "questions": [row_by_id[name] for name in asking if name in row_by_id],
        "forms": forms,
    }


def _forms(connection: Connection, tenant: str, shown: Iterable[Mapping[str, Any]]) -> list[Form]:
    wanted = {(row["task_type"], row["schema_version"]) for row in shown if row["schema_version"]}
    versions = task_types.versions(connection, tenant, sorted(wanted))
    return [
        Form(form=f"{row['task_type']}/{row['version']}", payload=row["payload"], result=row["result"])
        for row in versions
    ]


def _form_of(row: Mapping[str, Any]) -> str | None:
    return f"{row['task_type']}/{row['schema_version']}" if row["schema_version"] else None


def _offer(one: Offering, row: dict[str, Any]) -> Offer:
    return Offer(
        task=row,  # type: ignore[arg-type]  # a row as the read model gives it
        price=one.price,
        eta_seconds=one.eta_seconds,
        why=_why(row),
        obstacle=one.obstacle,
        closes_at=one.closes_at,
        form=_form_of(row),
    )


def _why(row: Mapping[str, Any]) -> str:
    """What of the person's profile the task asks for."""
    told = f"you have {', '.join(row['capabilities'])}" if row["capabilities"] else "it asks for no skill"
    return f"{told}, and are in {' or '.join(row['regions'])}" if row["regions"] else told


def _held(one: Holding, row: dict[str, Any]) -> Held:
    return Held(
        task=row,  # type: ignore[arg-type]  # a row as the read model gives it
        token=one.token,
        seconds_left=one.seconds_left,
        ends_soon=one.ends_soon,
        cancel_seconds_left=one.cancel_seconds_left,
        form=_form_of(row),
    )


async def look(call: Call) -> Response:
    """One task as its page shows it: what came in, the form to fill in, and how it stands with the caller."""
    task_id = call.path["task_id"]
    inbox = await _asked(call, FindInbox(agent_id=_person(call), only=task_id))
    row, form = found(await call.read(_whole, call.tenant, task_id), "task", task_id)
    offers, held = (*inbox.offers, *inbox.bids), inbox.held
    told = {
        "task": row,
        "offer": _offer(offers[0], row) if offers else None,
        "held": _held(held[0], row) if held else None,
        "form": form,
    }
    return call.reply(told)


def _whole(connection: Connection, tenant: str, task_id: str) -> tuple[dict[str, Any], Form | None] | None:
    row = tasks.find(connection, tenant, task_id)
    if row is None:
        return None
    forms = _forms(connection, tenant, [row])
    return row | {"bids": []}, forms[0] if forms else None


# ---- what they do


async def take(call: Call) -> Response:
    """The caller will do a task that waits. The answer says whether it is theirs, or others were asked too and until when."""
    agent_id = _person(call)
    body: Any = await call.body_or(Take)
    return call.reply(await call.ask(to_command(TakeTask, body, task_id=call.path["task_id"], agent_id=agent_id)))


async def decline(call: Call) -> Response:
    """The caller will not take the task, which is shown to them no more. Who looks after the work sees why."""
    agent_id = _person(call)
    body: Any = await call.body_or(Decline)
    return call.reply(await call.ask(to_command(DeclineOffer, body, task_id=call.path["task_id"], agent_id=agent_id)))


async def progress(call: Call) -> Response:
    """How far the caller is with a task. It stays with them for the whole time again."""
    agent_id = _person(call)
    body: Any = await call.body(Progress)
    return call.reply(await call.ask(to_command(ReportProgress, body, task_id=call.path["task_id"], agent_id=agent_id)))


async def ask(call: Call) -> Response:
    """The caller needs to know something; until it is answered, their time stands still."""
    agent_id = _person(call)
    body: Any = await call.body(Question)
    question = to_command(AskQuestion, body, task_id=call.path["task_id"], agent_id=agent_id)
    return call.reply(await call.ask(question), 201)


async def report(call: Call) -> Response:
    """The caller begins, finishes, gives up or gives back a task that they have; a token that is not the newest is refused with 409."""
    agent_id, status = _person(call), await call.body(InboxStatus)
    return call.reply(await call.ask(to_report(status, call.path["task_id"], agent_id)))


def _read_cursor(text: str) -> Place:
    try:
        order, since, position = text.split(":")
        return float(order), float(since), int(position)
    except ValueError as error:
        raise Refused("query_invalid", "after must be the `next` of a page", status=422) from error


LIMIT = integer("limit", "How many offers the page may have.", OFFERS_DEFAULT, least=1, most=OFFERINGS_MAX)
AFTER: Parameter[Place | None] = Parameter(
    "after",
    "Where the offers go on: the `next` of the page before.",
    {"type": "string", "maxLength": 90, "pattern": CURSOR, "examples": ["5970321.1:1791096400.5:4711"]},
    _read_cursor,
    None,
)
INBOX = "/v1/inbox"
PROFILE = f"{INBOX}/profile"
TASK = f"{INBOX}/tasks/{{task_id}}"
WORK = Permission.INBOX_WORK
routes = (
    Endpoint("GET", INBOX, find, WORK, reply=InboxPage, query=(LIMIT, AFTER)),
    Endpoint("GET", PROFILE, profile, WORK, reply=rows.Agent),
    Endpoint("PUT", PROFILE, join, WORK, InboxProfile, AgentAccepted),
    Endpoint("DELETE", PROFILE, leave, WORK, reply=AgentAccepted, query=(REASON,), asks_once=True),
    Endpoint("POST", f"{PROFILE}/pause", pause, WORK, body_type(DrainAgent) | None, AgentAccepted, asks_once=True),
    Endpoint("GET", TASK, look, WORK, reply=InboxTask),
    Endpoint("POST", f"{TASK}/take", take, WORK, Take | None, Taking, asks_once=True),
    Endpoint("POST", f"{TASK}/decline", decline, WORK, Decline | None, TaskAccepted, asks_once=True),
    Endpoint("POST", f"{TASK}/progress", progress, WORK, Progress, TaskAccepted, asks_once=True),
    Endpoint("POST", f"{TASK}/questions", ask, WORK, Question, TaskAccepted, 201, asks_once=True),
    Endpoint("PUT", f"{TASK}/status", report, WORK, InboxStatus, TaskAccepted, asks_once=True),
)
