"""How a tenant stands with what it shares and what it may use, at one look: a score, what to see to, and what it takes up."""

from collections.abc import Iterator

import msgspec
from starlette.responses import Response

from aggregates.values.roles import Permission
from gateway.api.calls import Call, Endpoint
from gateway.parts import Compartment
from gateway.routes.status import counts_of
from runtime.uploads import OPEN_MAX

LOOKED_AT = ("journal", "disk", "blobs", "uploads")
"""What can be warned of, each once."""

NEARLY_FULL = 0.8
ROOM_TIMES = 2


class ResourceWarning(msgspec.Struct, frozen=True):
    """A resource that will soon refuse work, or does."""

    resource: str
    detail: str


class UsageMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What the tenant takes up, and what it may; agents by status, tasks by stage."""

    agents: dict[str, int]
    tasks: dict[str, int]
    blob_bytes: int
    blob_bytes_max: int
    uploads: int
    uploads_max: int


class TenantHealth(msgspec.Struct, frozen=True, kw_only=True):
    """`health_score` is the share, from 0 to 1, of the resources looked at that nothing is to be said of: the journal with its read
    models, the disk, the tenant's blobs, its uploads."""

    health_score: float
    resource_warnings: list[ResourceWarning]
    usage_metrics: UsageMetrics


async def health(call: Call) -> Response:
    """How the caller's tenant stands."""
    node = call.node
    counts = await node.projector.query(lambda connection: counts_of(connection, call.tenant))
    usage = UsageMetrics(
        agents=counts[0],
        tasks=counts[1],
        blob_bytes=await node.blobs.used(call.tenant),
        blob_bytes_max=node.blobs.tenant_bytes_max,
        uploads=sum(not one.is_done for one in node.uploads.of(call.tenant)),
        uploads_max=OPEN_MAX,
    )
    warnings = list(_warnings(node, usage))
    warned = {warning.resource for warning in warnings}
    score = round(1 - len(warned) / len(LOOKED_AT), 2)
    return call.reply(TenantHealth(health_score=score, resource_warnings=warnings, usage_metrics=usage))


def _warnings(node: Compartment, usage: UsageMetrics) -> Iterator[ResourceWarning]:
    disk = node.room.fault()
    for fault in node.faults():
        if not disk or disk not in fault:
            yield ResourceWarning("journal", fault)
    if node.room.bytes_min and node.room.left < ROOM_TIMES * node.room.bytes_min:
        yield ResourceWarning(
            "disk", disk or f"{node.room.left} bytes are free; no new work is taken below {node.room.bytes_min}"
        )
    if usage.blob_bytes > NEARLY_FULL * usage.blob_bytes_max:
        yield ResourceWarning("blobs", f"{usage.blob_bytes} of {usage.blob_bytes_max} bytes are used")
    if usage.uploads > NEARLY_FULL * usage.uploads_max:
        yield ResourceWarning("uploads", f"{usage.uploads} of {usage.uploads_max} are open")


routes = (Endpoint("GET", "/v1/tenant/health", health, Permission.NODE_READ, reply=TenantHealth),)
