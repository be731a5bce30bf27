"""Erases persons of whom nothing was recorded for so long that their data may not be kept any more, on record like any erasure."""

import re
from functools import partial

import structlog
import trio

from gateway.parts import Compartment
from gateway.upkeep.erasure import erase
from projections import personal
from runtime.delivery import Context
from runtime.errors import Failure

LOOK_SECONDS = 3600.0
AT_ONCE = 100
DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
"""Of a calendar nobody says which: a year is 365 days, a month 30."""

RETENTION = r"^(?P<count>[1-9][0-9]{0,3})_(?P<unit>day|week|month|year)s?$(?!\n)"

log = structlog.get_logger("gateway.upkeep.retention")


def retention_days(retention: str) -> int:
    """How many days `7_years`, `90_days` and the like are; 0 where there is no end. Raises ValueError."""
    if not retention:
        return 0
    parts = re.fullmatch(RETENTION, retention)
    if parts is None:
        raise ValueError(f"{retention!r} is no time to keep data: 90_days, 6_months, 7_years")
    return int(parts["count"]) * DAYS[parts["unit"]]


async def keep_retention(node: Compartment) -> None:
    """Looks now and then, until cancelled. Whatever could not be erased is tried again at the next look."""
    days = retention_days(node.settings.data_retention)
    while days:
        await look(node, days)
        await trio.sleep(LOOK_SECONDS)


async def look(node: Compartment, days: int) -> None:
    """Erases those who have been silent for so many days, AT_ONCE at a time."""
    before = node.system.clock.now() - days * 86400
    reason = f"nothing was recorded for {days} days"
    while due := await node.projector.query(partial(personal.silent_since, before=before, limit=AT_ONCE)):
        failures: list[Failure] = []
        async with trio.open_nursery() as nursery:
            for tenant, data_subject in due:
                nursery.start_soon(_erase, node, data_subject, reason, tenant, failures)
        if failures:
            log.warning("retention_not_kept", people=len(failures), reason=str(failures[0]))
            return


async def _erase(node: Compartment, data_subject: str, reason: str, tenant: str, failures: list[Failure]) -> None:
    try:
        await erase(node, data_subject, reason, Context(tenant=tenant, principal="node"))
    except Failure as failure:
        failures.append(failure)
