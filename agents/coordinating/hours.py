"""Who is off duty when: working hours as moments, and a rota that is turned as time goes on.

The rules of time zones stand outside the journal and may differ between machines and years. So they are asked here alone; what a decision
rests on are the moments, which its command carries.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.coordinating.entries import AgentEntry
from agents.coordinating.supply import Supply
from aggregates.task import Duty
from aggregates.values.working_hours import Shift, Weekday, WorkingHours

DAYS_BEFORE, DAYS_AHEAD = 2, 9
"""Around a moment, in which its interval, or the next one, begins: a week, and what time zones and a leap over a day may add."""
ZONES_KEPT_MAX = 64
WEEKDAYS = tuple(Weekday)


class Interval(NamedTuple):
    """From when to when somebody is on duty, in seconds since the epoch; `until` is 0 where it is always."""

    since: float = 0.0
    until: float = 0.0

    def is_off(self, at: float) -> bool:
        return self.until > 0 and not self.since <= at < self.until


ALL_THE_TIME = Interval()


@lru_cache(ZONES_KEPT_MAX)
def zone_of(name: str) -> ZoneInfo | None:
    """The time zone of that name; None where this machine knows none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones is no zone
        return None


def duty_at(hours: WorkingHours, at: float) -> Interval:
    """The interval on duty that holds this moment, or else the next one. Shifts that meet are one interval.

    A time that the clocks leap over is that of the leap. An hour that they go through twice is worked twice where a shift holds all of it:
    a beginning is the first of the two, an end the second.
    """
    zone = zone_of(hours.time_zone)
    if not hours.shifts or zone is None:
        return ALL_THE_TIME
    today = datetime.fromtimestamp(at, UTC).astimezone(zone).date()
    spans: list[tuple[float, float]] = []
    for days in range(-DAYS_BEFORE, DAYS_AHEAD + 1):
        day = today + timedelta(days=days)
        spans += [_span(day, shift, zone) for shift in hours.shifts if WEEKDAYS[day.weekday()] in shift.days]
    since = until = 0.0
    for begin, end in sorted(spans):
        if begin > until:
            if until > at:
                break
            since = begin
        until = max(until, end)
    return Interval(since, until) if until > at else ALL_THE_TIME


def _span(day: date, shift: Shift, zone: ZoneInfo) -> tuple[float, float]:
    begin = datetime.combine(day, time.fromisoformat(shift.start), zone)
    if shift.end == "24:00":
        end = datetime.combine(day + timedelta(days=1), time(0), zone)
    else:
        end = datetime.combine(day, time.fromisoformat(shift.end), zone)
    return begin.timestamp(), end.replace(fold=1).timestamp()


class Rota:
    """Which agents with working hours are off duty now; the supply knows of it."""

    def __init__(self, agents: Mapping[str, AgentEntry], supply: Supply) -> None:
        self._agents, self._supply = agents, supply
        self._duty_by_agent: dict[str, Interval] = {}
        self._changes: list[tuple[float, str]] = []
        """When somebody's duty begins or ends, the soonest first; of those that have other hours now, too."""

    def duty(self, name: str) -> Interval:
        """The interval of an agent that holds the moment up to which the rota is turned, or the next one."""
        return self._duty_by_agent.get(name, ALL_THE_TIME)

    def duties(self, names: Iterable[str]) -> tuple[Duty, ...]:
        """Of those of the agents that have working hours."""
        if not self._duty_by_agent:
            return ()
        known = [(name, self._duty_by_agent[name]) for name in sorted(names) if name in self._duty_by_agent]
        return tuple(Duty(agent_id=name, since=one.since, until=one.until) for name, one in known)

    def next_change(self) -> float | None:
        """When the next agent comes or goes."""
        return self._changes[0][0] if self._changes else None

    def reset(self, at: float) -> None:
        """Looks at all agents anew."""
        self._changes.clear()
        for name in [*self._duty_by_agent, *(name for name, one in self._agents.items() if one.working_hours.shifts)]:
            self.look(name, at)

    def look(self, name: str, at: float) -> None:
        """An agent's hours may be others now, or have begun or ended."""
        agent = self._agents.get(name)
        duty = duty_at(agent.working_hours, at) if agent is not None else ALL_THE_TIME
        if duty == ALL_THE_TIME:
            self._duty_by_agent.pop(name, None)
        else:
            self._duty_by_agent[name] = duty
            heappush(self._changes, (duty.since if duty.is_off(at) else duty.until, name))
        self._supply.set_off_duty(name, agent, is_off=duty.is_off(at))

    def turn(self, at: float) -> None:
        """Sends home those whose hours have ended by then, and calls in those whose hours have begun."""
        while self._changes and self._changes[0][0] <= at:
            self.look(heappop(self._changes)[1], at)
