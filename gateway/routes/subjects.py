"""Data subjects: whose personal data is recorded, all of it for one of them, and its erasure."""

from functools import partial

import msgspec
from starlette.responses import Response

from aggregates.subject import SubjectAccepted, stream
from aggregates.values.ids import DataSubject
from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.api.fields import choosing, picked, some_page
from gateway.api.operations import OperationRow, operate
from gateway.api.preferences import ASYNC
from gateway.api.queries import LIMIT, REASON, position, words
from gateway.feeds.live import Line, line
from gateway.identity.ranks import check_subject
from gateway.upkeep.erasure import erase
from projections import personal
from runtime.blobs import Claim
from runtime.errors import Refused
from runtime.records import Recorded
from runtime.store.store import Store
from runtime.threads import run_blocking

SUBJECT_CHARACTERS_MAX = 100

AFTER_SUBJECT = words(
    "after",
    "Only data subjects behind this one: the `next` of the page before.",
    "",
    characters_max=SUBJECT_CHARACTERS_MAX,
)
PAST = position("after", "Only records past this position: the `next` of the page before.", 0)


class SubjectRow(msgspec.Struct, frozen=True):
    """A data subject, with how many records tell of it, its erasures included, and where the first and the last stand."""

    data_subject: str
    records: int
    first_position: int
    last_position: int


class SubjectPage(msgspec.Struct, frozen=True):
    """Data subjects in the order of their ids."""

    subjects: list[SubjectRow]
    next: str | None


class PersonalRecord(msgspec.Struct, frozen=True):
    """A record that tells of a person, with the command that led to it. `withheld`: what was personal in it is erased."""

    record: Line
    withheld: bool


class PersonalBlob(msgspec.Struct, frozen=True):
    """A blob that was brought as this person's."""

    digest: str
    bytes: int


class PersonalData(msgspec.Struct, frozen=True):
    """All that is recorded of a data subject, in the order in which it was; `next` is the `after` of the next page, null at the end.
    Blobs come with the first page, by their digests: `GET /v1/blobs/…` has their bytes."""

    data_subject: str
    records: list[PersonalRecord]
    blobs: list[PersonalBlob]
    next: int | None


async def page(call: Call) -> Response:
    """Whose personal data is recorded."""
    rows = await call.read(personal.subjects, call.tenant, after=call.asked(AFTER_SUBJECT), limit=call.limit)
    last = rows[-1]["data_subject"] if len(rows) == call.limit else None
    shown = [picked(row, call.only) for row in rows]
    return call.reply({"subjects": shown, "next": last}, headers=call.link_to(last), is_page=True)


async def export(call: Call) -> Response:
    """All personal data of one person, for that person: what was recorded, and what was brought."""
    name, after = subject_in(call), call.asked(PAST)
    await call.begin(stream(call.tenant, name))
    rows = await call.read(personal.of_subject, call.tenant, name, after=after, limit=call.limit)
    journal = call.node.system.journal
    records = await journal.read_with(_records_at, journal.store, [row["position"] for row in rows])
    claims: list[Claim] = [] if after else await run_blocking(call.node.blobs.of_subject, call.tenant, name)
    shown = [PersonalRecord(line(record, commands=True), record.withheld) for record in records]
    last = rows[-1]["position"] if len(rows) == call.limit else None
    return call.reply(PersonalData(name, shown, [PersonalBlob(claim.digest, claim.bytes) for claim in claims], last))


async def erasure(call: Call) -> Response:
    """Erases a person's data: every record stays and every proof holds, and nobody can read what was personal in it. It ends when all
    copies are gone, too; where that is not possible yet, it answers 503, and is carried on by the next call or start. Of somebody who
    signs in here: for who may do all that they may."""
    name = subject_in(call)
    await check_subject(call, name)
    await call.begin(stream(call.tenant, name))
    return await operate(call, partial(erase, call.node, name, call.reason, call.context()))


def subject_in(call: Call) -> str:
    """The data subject that the path names. Raises Refused where that is no such id."""
    try:
        name = msgspec.convert(call.path["data_subject"], DataSubject)
    except msgspec.ValidationError as error:
        raise Refused("subject_unreadable", str(error), status=422) from None
    return name


def _records_at(store: Store, positions: list[int]) -> list[Recorded]:
    return [record for position in positions for record in store.read(position - 1, 1)]


SUBJECT = "/v1/subjects/{data_subject}"
routes = (
    Endpoint(
        "GET",
        "/v1/subjects",
        page,
        Permission.AUDIT_READ,
        reply=SubjectPage,
        query=(AFTER_SUBJECT, LIMIT, choosing(SubjectRow)),
        rests_on=("",),
        also=(some_page(SubjectPage, "subjects", SubjectRow),),
    ),
    Endpoint("GET", SUBJECT, export, Permission.SUBJECTS_MANAGE, reply=PersonalData, query=(PAST, LIMIT), acts=True),
    Endpoint(
        "DELETE",
        SUBJECT,
        erasure,
        Permission.SUBJECTS_MANAGE,
        reply=SubjectAccepted,
        query=(REASON,),
        acts=True,
        is_kept=True,
        others=(202,),
        also=(OperationRow,),
        headers=(ASYNC,),
    ),
)
