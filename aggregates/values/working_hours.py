"""Working hours: when an agent is on duty, by the clock on its wall. What moments these are is worked out where time zones are known."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.document import Flaw

SHIFTS_MAX = 32
TIME = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)"
TIME_OR_END = r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$(?!\n)"
ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*$(?!\n)"

TimeZone = Annotated[str, Meta(max_length=64, pattern=ZONE)]
"""As in the IANA's list: `Europe/Berlin`."""


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class Shift(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From one time of the day to another, on each of these days. One that goes past midnight is two: to `24:00`, and from `00:00`."""

    days: Annotated[tuple[Weekday, ...], Meta(min_length=1, max_length=7)]
    start: Annotated[str, Meta(pattern=TIME)]
    end: Annotated[str, Meta(pattern=TIME_OR_END)]


class WorkingHours(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All shifts, by the clocks of a time zone. Without any, the agent is on duty always."""

    time_zone: TimeZone = "UTC"
    shifts: Annotated[tuple[Shift, ...], Meta(max_length=SHIFTS_MAX)] = ()


ALWAYS = WorkingHours()


def hours_flaws(hours: WorkingHours, *, zone_unknown: bool) -> Iterator[Flaw]:
    """All that is wrong with them beyond what a time looks like."""
    if zone_unknown:
        yield Flaw("/working_hours/time_zone", f"{hours.time_zone} is no time zone that this node knows")
    for index, shift in enumerate(hours.shifts):
        if shift.end <= shift.start:
            words = f"must be after {shift.start}; what goes past midnight is two shifts, to 24:00 and from 00:00"
            yield Flaw(f"/working_hours/shifts/{index}/end", words)
