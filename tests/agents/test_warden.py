"""The warden keeps the trail, and says once who looks like an intruder by it; dropping what it remembers changes nothing."""

from pathlib import Path

import structlog
from msgspec.structs import replace

from agents import warden
from agents.warden import MOST, Warden
from aggregates.action import BeginAction, EndAction
from aggregates.trail import (
    Counted,
    IntruderSuspected,
    NoteRefusals,
    NoteSettings,
    NoteStrangers,
    Pattern,
    Refusal,
    stream,
    suspects_stream,
)
from runtime.records import Meta, Recorded
from tests.agents.crew import Crew, kinds, open_crew
from tests.examples import AT, EVENTS, TENANT, command_by_type


def strangers(count: int, address: str = "192.0.2.7") -> NoteStrangers:
    counted = Counted(since=AT, until=AT, count=count, count_by_code={"unauthorized": count})
    return NoteStrangers(address=address, counted=counted)


def in_vain(number: int) -> NoteRefusals:
    refusal = Refusal(at=AT, status=404, code="task_unknown", target=f"{number:016x}")
    return NoteRefusals(principal="agent:ann", refusals=(refusal,))


async def suspected(crew: Crew) -> list[IntruderSuspected]:
    return [event for event in await crew.events() if isinstance(event, IntruderSuspected)]


async def test_an_action_is_on_record_with_what_it_led_to_as_its_consequence(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        begun = await crew.ask(command_by_type[BeginAction])
        await crew.ask(command_by_type[EndAction])
        assert kinds(await crew.events()) == ["ActionBegun", "ActionEnded"]
        first, _ = await crew.system.journal.read(0)
        assert (begun.cause, first.stream) == (first.meta.id, "action-a1")


async def test_refusals_stand_in_the_stream_of_their_principal_and_day(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(command_by_type[NoteRefusals])
        await crew.ask(command_by_type[NoteSettings])
        records = await crew.system.journal.read(0)
        assert [record.stream for record in records] == [
            *[stream(TENANT, "agent:ann", records[0].meta.at)] * 2,
            "trail-settings",
        ]


async def test_streams_of_strangers_are_named_by_the_place_and_in_journals_from_before_by_the_address(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path) as crew:
        for place, named in (("0a1b", "0a1b"), ("", "2001:db8::7")):
            await crew.ask(replace(strangers(100, "2001:db8::7" if not place else "192.0.2.7"), place=place))
            await crew.next(IntruderSuspected)
            streams = [record.stream for record in (await crew.system.journal.read(0))[-2:]]
            assert [stream.split(":", 2)[2] for stream in streams] == [named] * 2
            assert streams[1] == suspects_stream(TENANT, named)


async def test_an_address_that_tries_many_keys_is_suspected_once_and_operators_are_told(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with open_crew(tmp_path) as crew:
            await crew.ask(strangers(MOST[Pattern.SIGN_INS] - 1))
            await crew.ask(strangers(1, "192.0.2.8"))
            assert await suspected(crew) == []
            await crew.ask(strangers(1))
            found = await crew.next(IntruderSuspected)
            await crew.ask(strangers(50))
            await crew.ask(in_vain(0))
            assert (found.source, found.pattern, found.count) == ("192.0.2.7", Pattern.SIGN_INS, 20)
            assert len(await suspected(crew)) == 1
    (line,) = [line for line in lines if line["event"] == "intruder_suspected"]
    assert (line["source"], line["pattern"], line["log_level"]) == ("192.0.2.7", "sign_ins", "warning")


async def test_whoever_asks_for_many_things_that_are_not_there_is_suspected_whoever_repeats_one_is_not(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path) as crew:
        for _ in range(MOST[Pattern.UNKNOWN_IDS] + 5):
            await crew.ask(in_vain(1))
        assert await suspected(crew) == []
        for number in range(2, MOST[Pattern.UNKNOWN_IDS] + 1):
            await crew.ask(in_vain(number))
        assert (await crew.next(IntruderSuspected)).source == "agent:ann"


async def test_a_restart_suspects_nobody_again(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.ask(strangers(MOST[Pattern.SIGN_INS]))
        await crew.next(IntruderSuspected)
        before = len(await crew.events())
    async with open_crew(tmp_path) as crew:
        await crew.ask(strangers(5))
        assert len(await crew.events()) == before + 1


def test_so_many_sources_are_remembered_and_the_oldest_makes_room(monkeypatch: object) -> None:
    (event,) = [event for event in EVENTS if type(event).__name__ == "StrangersRefused"]
    memory = Warden.fresh()
    for number in range(warden.SOURCES_MAX + 5):
        meta = Meta(id="c", cause="", correlation="c", tenant=TENANT, principal="gateway", at=AT + number * 0.1)
        told = replace(event, address=f"address {number}")
        record = Recorded(position=number + 1, stream="s", version=1, kind="trail", event=told, meta=meta)
        memory = Warden.remember(memory, record)
    assert len(memory.source_by_name) == warden.SOURCES_MAX
    assert f"{TENANT} address 4" not in memory.source_by_name
    assert f"{TENANT} address 5" in memory.source_by_name
