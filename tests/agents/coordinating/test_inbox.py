"""The inbox as the coordinator keeps it: what waits is shown to those who could do it, one of them gets it, and hours pass in between."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from agents.coordinating import inbox as inboxes
from agents.coordinating.terms import Terms
from aggregates import task as tasks
from aggregates import user as users
from aggregates.agent import (
    AgentAccepted,
    AgentDeregistered,
    AgentSuspected,
    DeregisterAgent,
    DrainAgent,
    RegisterAgent,
    person_of,
)
from aggregates.coordination import StopCoordination
from aggregates.queue import PauseQueue
from aggregates.subject import EraseSubject
from aggregates.task import (
    AssignTask,
    BookOpened,
    CompleteTask,
    DeclineOffer,
    FailTask,
    FindInbox,
    Inbox,
    LeaseExpired,
    ReportProgress,
    StartTask,
    SubmitTask,
    TakeTask,
    Taking,
    TaskAwarded,
    TaskReopened,
)
from aggregates.task.terms import HOLD_OVER
from aggregates.user import ChangeUser, DisableUser, RegisterUser, RemoveUser
from aggregates.values.ranking import AwardPolicy
from aggregates.values.roles import Role
from aggregates.values.skill_terms import SkillOffer
from aggregates.values.working_hours import Shift, Weekday, WorkingHours
from gateway.audit.report import replay_journal
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.errors import Refused
from runtime.records import Command
from tests.agents.crew import CALM, Crew, kinds, open_crew
from tests.agents.virtual import play
from tests.examples import command_by_type

HOUR = 3600.0
DAY = Terms(lease_seconds=120.0, budget_seconds_max=HOUR, cycle_seconds=30.0, hold_seconds=8 * HOUR)
HOURS = WorkingHours(shifts=(Shift(days=(Weekday.SUNDAY,), start="00:00", end="00:01"),))
"""Nearly nobody's."""


async def join(crew: Crew, user_id: str, **changes: Any) -> AgentAccepted:
    known: RegisterAgent = command_by_type[RegisterAgent]
    fields = {"agent_id": person_of(user_id), "user_id": user_id, "key_id": "", "key_digest": b"", "slots": 3} | changes
    return await crew.ask(replace(known, **fields))


async def take(crew: Crew, task_id: str, user_id: str, **said: Any) -> Taking:
    return await crew.ask(TakeTask(task_id=task_id, agent_id=person_of(user_id), **said))


async def inbox(crew: Crew, user_id: str, **asked: Any) -> Inbox:
    found = await crew.ask(FindInbox(agent_id=person_of(user_id), **asked))
    assert found is not None
    return found


async def refused(asked: Awaitable[Any]) -> str:
    with pytest.raises(Refused) as caught:
        await asked
    return caught.value.code


def checks_out(folder: Path) -> None:
    """Every decision replays equal, and every fact was so."""
    with open_journal(folder / "journal.db") as connection:
        log = JournalFile(connection, folder / "journal.db")
        found, _ = replay_journal(log, 1, log.newest_position())
    assert (found.different, found.equal, found.false_facts) == (0, found.commands, [])


# ---- taking


async def test_a_task_waits_for_people_without_a_book_and_is_theirs_at_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann", price=2.0)
        await crew.submit("t1", estimated_duration=50.0)
        shown = await inbox(crew, "ann")
        assert [(one.task_id, one.price, one.eta_seconds, one.obstacle) for one in shown.offers] == [
            ("t1", 2.0, 50.0, "")
        ]
        taken = await take(crew, "t1", "ann")
        assert (taken.stage, taken.token, taken.price, taken.seconds_left) == ("awarded", 1, 2.0, CALM.hold_seconds)
        again = await take(crew, "t1", "ann")
        assert (again.stage, again.token, again.round) == ("awarded", 1, taken.round)
        shown = await inbox(crew, "ann")
        assert ([one.task_id for one in shown.held], shown.offers) == (["t1"], ())
        await crew.ask(CompleteTask(task_id="t1", agent_id=person_of("ann"), token=1))
        seen = kinds(await crew.events())
        assert seen[-5:] == ["TaskSubmitted", "BookOpened", "BidPlaced", "TaskAwarded", "TaskCompleted"]
    checks_out(tmp_path)


async def test_of_two_who_take_it_one_gets_it_and_the_other_is_told_who(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for name in ("ann", "bob"):
            await join(crew, name)
        await crew.submit("t1")
        answers: dict[str, str] = {}

        async def tries(name: str) -> None:
            try:
                answers[name] = (await take(crew, "t1", name)).stage
            except Refused as no:
                answers[name] = no.code

        async with trio.open_nursery() as nursery:
            for name in ("ann", "bob"):
                nursery.start_soon(tries, name)
        assert sorted(answers.values()) == ["awarded", "task_taken"]
    checks_out(tmp_path)


async def test_programs_that_are_free_are_asked_too_and_their_answer_ends_the_book(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann", price=1.0)
        await crew.register("bot", slots=1)
        await crew.submit("t1", bidding_seconds=0.1)
        call = await crew.next(BookOpened, task_id="t1")
        assert call.eligible == ("bot",)
        assert await refused(take(crew, "t1", "ann")) == "others_are_asked"
        await crew.next(tasks.BookVoided, task_id="t1")
        taken = await take(crew, "t1", "ann")
        assert (taken.stage, taken.token, taken.closes_at is not None) == ("bidding", 0, True)
        assert [one.task_id for one in (await inbox(crew, "ann")).bids] == ["t1"]
        call = await crew.next(BookOpened, task_id="t1")
        assert call.eligible == ("bot", person_of("ann"))
        await crew.refuse(call, "bot")
        award = await crew.next(TaskAwarded, task_id="t1")
        assert (award.agent_id, award.is_person, award.lease_seconds) == (person_of("ann"), True, CALM.hold_seconds)
    checks_out(tmp_path)


async def test_a_program_that_offers_more_wins_the_book_that_a_person_had_opened(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann", price=9.0)
        await crew.register("bot")
        await crew.submit("t1", bidding_seconds=0.1, award_policy=AwardPolicy.LOWEST_COST)
        await crew.next(tasks.BookVoided, task_id="t1")
        await take(crew, "t1", "ann")
        await crew.bid(await crew.next(BookOpened, task_id="t1"), "bot", price=1.0)
        assert (await crew.next(TaskAwarded, task_id="t1")).agent_id == "bot"
    checks_out(tmp_path)


@pytest.mark.parametrize("policy", [AwardPolicy.BATCH_OPTIMAL, AwardPolicy.SECOND_PRICE])
async def test_books_that_are_settled_together_are_taken_too_and_sealed_ones_not(
    tmp_path: Path, policy: AwardPolicy
) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann")
        await crew.submit("t1", award_policy=policy)
        shown = (await inbox(crew, "ann")).offers
        if policy is AwardPolicy.SECOND_PRICE:
            assert shown == ()
            assert await refused(take(crew, "t1", "ann")) == "not_for_people"
        else:
            assert len(shown) == 1
            assert (await take(crew, "t1", "ann")).stage == "bidding"
            assert (await crew.next(TaskAwarded, task_id="t1")).agent_id == person_of("ann")
    checks_out(tmp_path)


async def test_why_it_can_not_be_taken_is_said_before_and_when_it_is_tried(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann", slots=1, price=5.0, working_hours=HOURS, max_capacity=10.0)
        await join(crew, "eve", capabilities=("sewing",), specializations=(), skills=())
        await crew.submit("dear", price_max=4.0)
        await crew.submit("big", requirements={"resources": {"cpu": 11.0}})
        await crew.submit("blocked", dependencies=("dear",))
        await crew.submit("dry", dry_run=True)
        await crew.submit("held")
        await crew.ask(PauseQueue(queue="slow", reason="", paused_by="bob"))
        await crew.submit("paused", queue="slow")
        before = {one.task_id: one.obstacle for one in (await inbox(crew, "ann")).offers}
        assert before == {"dear": "price_over_budget", "held": "", "paused": "queue_paused"}
        assert (await inbox(crew, "eve")).offers == ()
        codes = {name: await refused(take(crew, name, "ann")) for name in ("dear", "big", "blocked", "dry", "paused")}
        assert codes == {
            "dear": "price_over_budget",
            "big": "capacity_small",
            "blocked": "task_is_blocked",
            "dry": "not_for_people",
            "paused": "queue_paused",
        }
        assert await refused(take(crew, "nothing", "ann")) == "task_unknown"
        assert await refused(take(crew, "held", "eve")) == "skill_missing"
        assert await refused(take(crew, "held", "nobody")) == "inbox_unknown"
        assert (await take(crew, "dear", "ann", price=4.0)).price == 4.0  # off duty, and nobody asked
        assert {one.obstacle for one in (await inbox(crew, "ann")).offers} == {"slots_full", "queue_paused"}
        assert await refused(take(crew, "held", "ann")) == "slots_full"
        await crew.ask(StopCoordination(reason="night"))
        assert await refused(take(crew, "held", "ann")) == "coordination_stopped"
    checks_out(tmp_path)


# ---- looking


async def test_what_is_meant_for_one_person_is_in_no_other_inbox(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM) as crew:
        for name in ("ida", "jon"):
            await join(crew, name)
        await crew.register("ann")
        await crew.submit("t1", assign_to=person_of("ida"))
        assert [one.task_id for one in (await inbox(crew, "ida")).offers] == ["t1"]
        assert (await inbox(crew, "jon")).offers == ()
        assert await refused(take(crew, "t1", "jon")) == "meant_for_another"
        assert (await take(crew, "t1", "ida")).stage is tasks.Stage.AWARDED  # no program was asked
    checks_out(tmp_path)


async def test_the_most_urgent_stand_first_and_pages_hold_each_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann", capabilities=("qubo", "sewing", "testing"))
        names = [f"t{number:02}" for number in range(23)]
        for number, name in enumerate(names):
            skills = (("qubo",), ("sewing",), ())[number % 3]
            await crew.submit(name, priority=1 + number % 5, capabilities=skills, skills=(), bidding_seconds=1.0)
        await crew.ask(DeclineOffer(task_id="t04", agent_id=person_of("ann"), reason="no time"))
        whole = [one.task_id for one in (await inbox(crew, "ann", most=100)).offers]
        assert whole == sorted(set(names) - {"t04"}, key=lambda name: (-(int(name[1:]) % 5), name))
        paged, after = [], None
        while True:
            page = await inbox(crew, "ann", most=5, after=after)
            paged += [one.task_id for one in page.offers]
            if (after := page.next) is None:
                break
        assert paged == whole
        assert [one.task_id for one in (await inbox(crew, "ann", only="t07")).offers] == ["t07"]
        assert (await crew.ask(FindInbox(agent_id=person_of("eve")))) is None


async def test_a_page_goes_on_after_those_that_were_declined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "LOOKS_MAX", 4)
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann")
        for number in range(12):
            await crew.submit(f"t{number:02}")
            if number < 9:
                await crew.ask(DeclineOffer(task_id=f"t{number:02}", agent_id=person_of("ann")))
        pages, after = [], None
        while True:
            page = await inbox(crew, "ann", most=2, after=after)
            pages.append([one.task_id for one in page.offers])
            if (after := page.next) is None:
                break
        assert pages == [[], [], ["t09", "t10"], ["t11"]]


# ---- time


def test_what_nobody_speaks_of_goes_back_and_a_program_s_limits_end_nothing() -> None:
    async def work(crew: Crew) -> None:
        await join(crew, "ann")
        await crew.submit("t1", attempts_max=3)
        await take(crew, "t1", "ann")
        await trio.sleep(7 * HOUR)  # longer than a lease, and than the budget
        (held,) = (await inbox(crew, "ann")).held
        assert (held.ends_soon, HOUR - 60 < held.seconds_left <= HOUR) == (True, True)
        await crew.ask(ReportProgress(task_id="t1", agent_id=person_of("ann"), token=1, share=0.5))
        assert not (await inbox(crew, "ann")).held[0].ends_soon
        await trio.sleep(8 * HOUR + 60)
        reopened = await crew.next(TaskReopened, task_id="t1")
        assert (reopened.attempt, reopened.reason) == (2, HOLD_OVER)
        done = CompleteTask(task_id="t1", agent_id=person_of("ann"), token=1)
        assert await refused(crew.ask(done)) == "token_stale"
        assert (await take(crew, "t1", "ann")).token == 2
        events = await crew.events()
        assert not [event for event in events if isinstance(event, AgentSuspected)]

    play(work, DAY, hang_seconds=24 * HOUR)


def test_a_deadline_ends_what_a_person_holds() -> None:
    async def work(crew: Crew) -> None:
        await join(crew, "ann")
        await crew.submit("t1", deadline=crew.system.clock.now() + 2 * HOUR)
        assert (await inbox(crew, "ann")).offers[0].eta_seconds <= 2 * HOUR
        await take(crew, "t1", "ann")
        await trio.sleep(2 * HOUR + 1)
        assert "TaskExpired" in kinds(await crew.events())
        assert (await inbox(crew, "ann")).held == ()

    play(work, DAY, hang_seconds=24 * HOUR)


# ---- coming and going


async def _given_by_an_operator(crew: Crew) -> None:
    await crew.ask(AssignTask(task_id="t1", agent_id=person_of("ann"), assigned_by="operator:o1"))


async def _taken(crew: Crew) -> None:
    await take(crew, "t1", "ann")


@pytest.mark.parametrize("had", [_given_by_an_operator, _taken])
@pytest.mark.parametrize("end", ["disabled", "removed", "erased", "another role", "left"])
async def test_who_is_gone_leaves_nothing_undone(
    tmp_path: Path, end: str, had: Callable[[Crew], Awaitable[None]]
) -> None:
    async with open_crew(tmp_path) as crew:
        known: RegisterUser = command_by_type[RegisterUser]
        await crew.ask(replace(known, user_id="ann", role=Role.WORKER, data_subject="", issuer="", subject=""))
        await join(crew, "ann")
        await join(crew, "bob")
        await crew.submit("t1")
        await had(crew)
        ends: dict[str, Command[Any]] = {
            "disabled": DisableUser(user_id="ann"),
            "removed": RemoveUser(user_id="ann"),
            "erased": EraseSubject(data_subject="ann", keys=("k1",)),
            "another role": ChangeUser(user_id="ann", role=Role.AUDITOR),
            "left": DeregisterAgent(agent_id=person_of("ann"), reason="on leave"),
        }
        await crew.ask(ends[end])
        left = await crew.next_record(AgentDeregistered)
        assert left.meta.principal == ("test" if end == "left" else "actor:coordinator")
        await crew.next(LeaseExpired, agent_id=person_of("ann"))
        await crew.next(TaskReopened, task_id="t1")
        assert await crew.ask(FindInbox(agent_id=person_of("ann"))) is None
        assert (await take(crew, "t1", "bob")).token == 2
    checks_out(tmp_path)


async def test_another_role_with_an_inbox_changes_nothing(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        known: RegisterUser = command_by_type[RegisterUser]
        await crew.ask(replace(known, user_id="ann", role=Role.WORKER, data_subject="", issuer="", subject=""))
        await join(crew, "ann")
        await crew.ask(ChangeUser(user_id="ann", role=Role.OPERATOR))
        await crew.ask(ChangeUser(user_id="ann", name="Ann"))
        await crew.submit("t1")
        assert (await take(crew, "t1", "ann")).stage == "awarded"


async def test_who_takes_nothing_new_finishes_what_they_have_and_comes_back(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await join(crew, "ann")
        for name in ("t1", "t2"):
            await crew.submit(name)
        await take(crew, "t1", "ann")
        await crew.ask(DrainAgent(agent_id=person_of("ann"), reason="lunch"))
        assert {one.obstacle for one in (await inbox(crew, "ann")).offers} == {"inbox_closed"}
        assert await refused(take(crew, "t2", "ann")) == "inbox_closed"
        await join(crew, "ann")
        assert (await take(crew, "t2", "ann")).stage == "awarded"
        assert [one.task_id for one in (await inbox(crew, "ann")).held] == ["t1", "t2"]
        await crew.ask(CompleteTask(task_id="t1", agent_id=person_of("ann"), token=1))


async def test_what_is_given_back_is_there_for_others_at_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for name in ("ann", "bob"):
            await join(crew, name)
        await crew.submit("t1", attempts_max=1)
        await take(crew, "t1", "ann")
        await crew.ask(StartTask(task_id="t1", agent_id=person_of("ann"), token=1))
        back = FailTask(task_id="t1", agent_id=person_of("ann"), token=1, declined=True, reason="not my field")
        await crew.ask(back)
        assert [one.task_id for one in (await inbox(crew, "bob")).offers] == ["t1"]
        assert (await take(crew, "t1", "bob")).token == 2
    checks_out(tmp_path)


async def test_a_person_is_awaited_by_no_book_and_a_task_that_a_person_could_do_is_not_stalled(tmp_path: Path) -> None:
    brisk = CALM._replace(cycle_seconds=0.05)
    async with open_crew(tmp_path, brisk) as crew:
        await join(crew, "ann", capabilities=("signing",), specializations=(), skills=())
        signing: SubmitTask = crew.submission("t1", capabilities=("signing",))
        await crew.ask(signing)
        await crew.register("bot")
        await crew.submit("t2")
        await crew.bid(await crew.next(BookOpened, task_id="t2"), "bot")
        await crew.next(TaskAwarded, task_id="t2")  # ann has no such skill, and nobody waits for her
        await trio.sleep(0.3)
        assert not {"TaskStalled", "BookVoided"} & set(kinds(await crew.events()))
        assert [one.task_id for one in (await inbox(crew, "ann")).offers] == ["t1"]


def test_a_user_has_one_agent_and_it_is_told_by_its_name() -> None:
    assert person_of("u1") == "person-u1"
    assert users.stream("u1") == "user-u1"


async def test_skills_with_versions_and_regions_are_asked_of_people_too(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        offer = SkillOffer(name="qubo", version="2.0")
        await join(crew, "ann", capabilities=("qubo",), specializations=(), skills=(offer,), region="eu")
        await join(crew, "bob", capabilities=("qubo",), specializations=(), skills=(offer,), region="us")
        await crew.submit("t1", regions=("eu",))
        assert (len((await inbox(crew, "ann")).offers), len((await inbox(crew, "bob")).offers)) == (1, 0)
        assert await refused(take(crew, "t1", "bob")) == "region_elsewhere"
