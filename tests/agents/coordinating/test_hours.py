"""Working hours: what moments they are, and that nobody is called outside them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from agents.coordinating.hours import ALL_THE_TIME, Interval, duty_at
from aggregates.agent import UpdateAgent
from aggregates.task import AssignTask, BookOpened, TaskAwarded, TaskStalled
from aggregates.values.working_hours import Shift, Weekday, WorkingHours
from runtime.errors import Refused
from tests.agents.crew import CALM, Crew, open_crew

WEEK = tuple(Weekday)
BERLIN = "Europe/Berlin"


def hours(*times: str, days: tuple[Weekday, ...] = WEEK, zone: str = BERLIN) -> WorkingHours:
    """`8:00-12:30` on each of the days."""
    spans = [span.split("-") for span in times]
    return WorkingHours(time_zone=zone, shifts=tuple(Shift(days=days, start=a, end=b) for a, b in spans))


def moment(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def spoken(duty: Interval) -> tuple[str, str]:
    return tuple(datetime.fromtimestamp(at, UTC).strftime("%m-%dT%H:%M") for at in duty)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("asked", "at", "since", "until"),
    [
        (hours("08:00-12:00", "13:00-17:00"), "2026-06-01T09:00", "06-01T06:00", "06-01T10:00"),
        (hours("08:00-12:00", "13:00-17:00"), "2026-06-01T12:00", "06-01T11:00", "06-01T15:00"),
        (hours("08:00-12:00"), "2026-06-01T12:00", "06-02T06:00", "06-02T10:00"),
        (hours("08:00-12:00", days=(Weekday.MONDAY,)), "2026-06-01T12:00", "06-08T06:00", "06-08T10:00"),
        (hours("22:00-24:00", "00:00-06:00"), "2026-06-01T01:00", "05-31T20:00", "06-01T04:00"),
        (hours("08:00-10:00", "09:00-12:00"), "2026-06-01T08:30", "06-01T06:00", "06-01T10:00"),
        # The clocks go from 02:00 to 03:00: a shift from 02:30 begins with the leap's end, and a night is an hour shorter.
        (hours("02:30-05:00"), "2026-03-29T00:00", "03-29T01:30", "03-29T03:00"),
        (hours("00:00-06:00"), "2026-03-29T01:00", "03-28T23:00", "03-29T04:00"),
        # The clocks go from 03:00 back to 02:00: a night is an hour longer, and the hour that comes twice is worked twice.
        (hours("00:00-06:00"), "2026-10-25T01:00", "10-24T22:00", "10-25T05:00"),
        (hours("02:00-02:30"), "2026-10-25T01:00", "10-25T00:00", "10-25T01:30"),
    ],
)
def test_the_interval_is_the_one_that_holds_the_moment_or_the_next(
    asked: WorkingHours, at: str, since: str, until: str
) -> None:
    assert spoken(duty_at(asked, moment(at))) == (since, until)


def test_without_shifts_and_around_the_clock_it_is_always() -> None:
    assert duty_at(WorkingHours(), 0.0) == ALL_THE_TIME
    assert not duty_at(hours("00:00-24:00"), moment("2026-10-25T02:30")).is_off(moment("2026-10-25T02:30"))


@pytest.mark.parametrize(
    "zone", [BERLIN, "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe", "UTC"]
)
def test_it_says_what_a_clock_on_the_wall_says(zone: str) -> None:
    random = Random(zone)
    for _ in range(20):
        times = sorted(random.sample((0, 5, 8, 12, 17, 20, 24), 4))
        days = tuple(random.sample(WEEK, random.randrange(1, 8)))
        asked = hours(*(f"{a:02}:00-{b:02}:00" for a, b in (times[:2], times[2:])), days=days, zone=zone)
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * random.randrange(4 * 24 * 365))
        for _ in range(40):
            at += timedelta(minutes=15)
            wall = at.astimezone(ZoneInfo(zone))
            on = WEEK[wall.weekday()] in days and any(a <= wall.hour < b for a, b in (times[:2], times[2:]))
            duty = duty_at(asked, at.timestamp())
            assert duty.is_off(at.timestamp()) == (not on), (asked, wall)
            assert duty.until > at.timestamp()


async def refused(crew: Crew, command: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await crew.ask(command)
    return caught.value


async def test_nobody_is_called_off_duty_and_all_that_waits_is_offered_when_the_hours_begin(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM, begins_at=moment("2026-06-01T07:59:59")) as crew:
        await crew.register("ann", working_hours=hours("08:00-12:00"))
        await crew.submit("t1")
        assert not [event for event in await crew.events() if isinstance(event, BookOpened)]
        call = await crew.next(BookOpened, task_id="t1")
        assert call.closes_at - 60 < moment("2026-06-01T12:00")
        opened = [record for record in await crew.system.journal.read(0, 1000) if record.event == call]
        assert opened[0].meta.at >= moment("2026-06-01T08:00")


async def test_who_goes_home_keeps_what_it_holds_and_is_called_no_more(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM, begins_at=moment("2026-06-01T11:59:58")) as crew:
        await crew.register("ann", working_hours=hours("08:00-12:00"), slots=2)
        await crew.register("bob", skills=())
        await crew.submit("t1")
        call = await crew.next(BookOpened, task_id="t1")
        assert call.eligible == ("ann", "bob")
        await crew.bid(call, "ann")
        await crew.refuse(call, "bob")
        await crew.next(TaskAwarded, task_id="t1", agent_id="ann")
        await crew.system.journal.clock.sleep_until(moment("2026-06-01T12:00"))
        await crew.submit("t2")
        assert (await crew.next(BookOpened, task_id="t2")).eligible == ("bob",)


async def test_who_could_be_called_but_for_the_hours_stalls_the_task_until_they_begin(tmp_path: Path) -> None:
    terms = CALM._replace(cycle_seconds=0.05)
    async with open_crew(tmp_path, terms, begins_at=moment("2026-06-01T07:59:59")) as crew:
        await crew.register("ann", working_hours=hours("08:00-12:00"))
        await crew.register("cid", capabilities=(), skills=())
        await crew.submit("t1")
        await crew.submit("t2", requirements={"resources": {"memory": 1e6}})
        assert (await crew.next(TaskStalled, task_id="t1")).reason == "off_hours"
        assert (await crew.next(TaskStalled, task_id="t2")).reason == "capacity_missing"
        await crew.next(BookOpened, task_id="t1")
        stalled = [event for event in await crew.events() if isinstance(event, TaskStalled)]
        assert len(stalled) == 2


async def test_nobody_is_given_a_task_off_duty_unless_that_is_asked_for(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM, begins_at=moment("2026-06-01T07:59:58")) as crew:
        await crew.register("ann", working_hours=hours("08:00-12:00"), slots=3)
        for name in ("t1", "t2"):
            await crew.submit(name)
        given = AssignTask(task_id="t1", agent_id="ann", assigned_by="operator:o1")
        told = await refused(crew, given)
        assert (told.code, told.status) == ("off_hours", 409)
        assert "off duty until 2026-06-01 06:00:00 UTC" in told.detail
        await crew.ask(replace(given, override=True))
        award = await crew.next(TaskAwarded, task_id="t1")
        assert award.reason.endswith("although it is off duty")
        await crew.system.journal.clock.sleep_until(moment("2026-06-01T08:00"))
        call = await crew.next(BookOpened, task_id="t2")
        await crew.refuse(call, "ann")
        await crew.ask(replace(given, task_id="t2"))
        assert (await crew.next(TaskAwarded, task_id="t2")).reason == "ann was given it by operator:o1"


async def test_other_hours_hold_at_once_and_a_restart_knows_them(tmp_path: Path) -> None:
    at = moment("2026-06-01T09:00")
    async with open_crew(tmp_path, CALM, begins_at=at) as crew:
        await crew.register("ann", working_hours=hours("13:00-17:00"))
        await crew.submit("t1")
        await crew.ask(UpdateAgent(agent_id="ann", working_hours=hours("08:00-12:00")))
        call = await crew.next(BookOpened, task_id="t1")
        await crew.refuse(call, "ann")
        await crew.ask(UpdateAgent(agent_id="ann", working_hours=hours("13:00-17:00")))
    async with open_crew(tmp_path, CALM, begins_at=at + 60) as crew:
        await crew.submit("t2")
        await crew.ask(UpdateAgent(agent_id="ann", working_hours=WorkingHours()))
        assert (await crew.next(BookOpened, task_id="t2")).round == 1


async def test_hours_that_are_none_are_refused_with_every_fault(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        with pytest.raises(Refused) as caught:
            await crew.register("ann", working_hours=hours("12:00-08:00", "09:00-09:00", zone="Europe/Atlantis"))
        assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
            ("/working_hours/time_zone", "working_hours_unfit"),
            ("/working_hours/shifts/0/end", "working_hours_unfit"),
            ("/working_hours/shifts/1/end", "working_hours_unfit"),
        ]
        await crew.register("ann")
        odd = UpdateAgent(agent_id="ann", working_hours=hours("12:00-08:00"))
        assert (await refused(crew, odd)).code == "working_hours_unfit"
