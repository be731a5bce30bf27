"""Task types: the schemas that payloads and results have to fit are set, looked at, and dropped."""

from typing import Any

import msgspec
from starlette.responses import Response

from aggregates.task_type import DropSchemas, SchemasStand, SetSchemas, TaskType, stream
from aggregates.values.roles import Permission
from gateway.api import rows
from gateway.api.bodies import body_type, to_command
from gateway.api.calls import Call, Endpoint, found
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.queries import READ, REASON, choice, integer
from gateway.api.sorting import listing
from projections import task_types


class SchemasPage(msgspec.Struct, frozen=True):
    """Versions of schemas, the last set first; `next` is the `after` of the next page."""

    task_types: list[rows.TaskTypeSchemas]
    next: int | str | None


async def put(call: Call) -> Response:
    """What is submitted of this type from now on has to fit these schemas."""
    body: Any = await call.body(Schemas)
    task_type = _task_type(call)
    await call.begin(stream(call.tenant, task_type))
    return call.reply(await call.ask(to_command(SetSchemas, body, task_type=task_type)))


async def find(call: Call) -> Response:
    """The schemas of a type that are in force, or those of an earlier version."""
    task_type, version = _task_type(call), call.asked(VERSION)
    row = await call.look(task_types.find, call.tenant, task_type.value, version, only=call.only)
    name = f"for {task_type.value}" + (f", version {version}" if version is not None else "")
    return call.reply(found(row, "schema", name))


async def drop(call: Call) -> Response:
    """What is submitted of this type from now on is taken as it is."""
    task_type = _task_type(call)
    await call.begin(stream(call.tenant, task_type))
    return call.reply(await call.ask(DropSchemas(task_type=task_type, reason=call.reason)))


async def page(call: Call) -> Response:
    """All versions of all types' schemas."""
    narrowed = {one.name: call.asked(one) for one in FILTERS}
    return call.page("task_types", await call.read(task_types.page, call.tenant, **narrowed, **call.wish()))


def _task_type(call: Call) -> TaskType:
    return TaskType(call.path["task_type"])


Schemas = body_type(SetSchemas)
SCHEMAS = "/v1/task-types/{task_type}/schemas"
VERSION = integer("version", "This version; without, the one in force.", None)
FILTERS = (
    choice("task_type", "Only versions of this type's schemas.", TaskType),
    choice("status", "Only versions that stand so.", task_types.Status),
)
STREAM = stream("{tenant}", "{task_type}")
PAGE = listing(task_types.SORTS, rows.TaskTypeSchemas)
routes = (
    Endpoint("PUT", SCHEMAS, put, Permission.SCHEMAS_MANAGE, Schemas, SchemasStand, acts=True, asks_once=True),
    Endpoint(
        "GET",
        SCHEMAS,
        find,
        Permission.TASKS_READ,
        reply=rows.TaskTypeSchemas,
        query=(*READ, VERSION, choosing(rows.TaskTypeSchemas)),
        rests_on=(STREAM,),
        also=(some_of(rows.TaskTypeSchemas),),
    ),
    Endpoint(
        "DELETE",
        SCHEMAS,
        drop,
        Permission.SCHEMAS_MANAGE,
        reply=SchemasStand,
        query=(REASON,),
        acts=True,
        asks_once=True,
    ),
    Endpoint(
        "GET",
        "/v1/task-types",
        page,
        Permission.TASKS_READ,
        reply=SchemasPage,
        query=(*PAGE, *FILTERS),
        rests_on=(stream("{tenant}", ""),),
        also=(some_page(SchemasPage, "task_types", rows.TaskTypeSchemas),),
    ),
)
