"""The contract net at work: calls, bids, awards, leases, dependencies, and what a restart leaves of them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from agents.coordinating import calls, opening
from agents.coordinating.alarms import Due
from agents.coordinating.calls import stalls
from agents.coordinating.coordinator import Coordinator
from agents.coordinating.open_tasks import OpenTasks
from agents.coordinating.terms import Aging, Terms
from aggregates.agent import (
    AgentCleared,
    AgentLost,
    AgentReturned,
    AgentSuspected,
    DeregisterAgent,
    DrainAgent,
    Heartbeat,
    ReturnAgent,
    UpdateAgent,
)
from aggregates.coordination import FindCoordination, StartCoordination, StopCoordination
from aggregates.key import Authenticate, KeyRevoked
from aggregates.task import (
    AmendTask,
    BidPlaced,
    BookOpened,
    BookVoided,
    CancelTask,
    CompleteTask,
    DependencyMet,
    FailTask,
    LateReported,
    LeaseExpired,
    RequeueTask,
    StartTask,
    SubmitTask,
    TaskAccepted,
    TaskAwarded,
    TaskCompleted,
    TaskDeadLettered,
    TaskExpired,
    TaskFailed,
    TaskReopened,
    TaskStalled,
    TaskSubmitted,
    TaskUnblocked,
)
from aggregates.values.concurrency import Concurrency
from aggregates.values.retrying import RetryPolicy
from runtime.delivery import Context
from runtime.errors import Refused, Unreachable
from tests.agents.crew import BRISK, CALM, Crew, kinds, open_crew
from tests.examples import AT, TENANT, command_by_type


async def test_a_task_is_called_bid_for_awarded_and_done(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        award = await crew.awarded("t1", "ann")
        assert (award.token, award.agent_id, award.ranking[0].agent_id) == (1, "ann", "ann")
        await crew.ask(StartTask(task_id="t1", agent_id="ann", token=1))
        done = CompleteTask(task_id="t1", agent_id="ann", token=1, result={"value": 1})
        assert await crew.ask(done) == TaskAccepted(task_id="t1")
        assert await crew.ask(done) == TaskAccepted(task_id="t1")
        assert kinds(await crew.events()) == [
            "AgentRegistered",
            "KeyIssued",
            "TaskSubmitted",
            "BookOpened",
            "BidPlaced",
            "TaskAwarded",
            "TaskStarted",
            "TaskCompleted",
        ]


async def test_the_book_closes_as_soon_as_all_have_answered(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        for name in ("ann", "bob", "eve"):
            await crew.register(name)
        await crew.submit("t1", bidding_seconds=60.0)
        call = await crew.next(BookOpened)
        assert call.eligible == ("ann", "bob", "eve")
        await crew.bid(call, "bob", price=3.0)
        await crew.refuse(call, "eve")
        await crew.bid(call, "ann", price=1.0)
        award = await crew.next(TaskAwarded)
        assert [ranked.agent_id for ranked in award.ranking] == ["ann", "bob"]


async def test_a_silent_agent_does_not_hold_the_book_open(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.register("bob")
        await crew.submit("t1", bidding_seconds=0.1)
        await crew.bid(await crew.next(BookOpened), "ann")
        assert (await crew.next(TaskAwarded)).agent_id == "ann"


async def test_a_late_bid_is_refused(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        with pytest.raises(Refused, match="book_closed"):
            await crew.bid(await _call(crew), "ann")


async def _call(crew: Crew) -> BookOpened:
    return next(event for event in await crew.events() if isinstance(event, BookOpened))


async def test_a_book_without_bids_is_void_and_opened_again_when_an_agent_appears(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.refuse(await crew.next(BookOpened), "ann")
        assert (await crew.next(BookVoided)).reason == "all_refused"
        await crew.register("bob")
        again = await crew.next(BookOpened)
        assert (again.round, again.eligible) == (2, ("ann", "bob"))


async def test_a_book_without_bids_is_opened_again_after_a_pause(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1", bidding_seconds=0.05)
        assert (await crew.next(BookVoided)).reason == "no_bids"
        assert (await crew.next(BookOpened)).round == 2


async def test_nobody_is_called_who_lacks_a_skill_or_has_no_free_slot(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", capabilities=("analysis",))
        await crew.register("bob", capabilities=("qubo",))
        await crew.submit("t1")
        assert (await crew.next(BookOpened)).eligible == ("bob",)
        await crew.bid(await _call(crew), "bob")
        await crew.next(TaskAwarded)
        await crew.submit("t2")
        await crew.register("eve", capabilities=("qubo",))
        assert (await crew.next(BookOpened, task_id="t2")).eligible == ("eve",)


async def test_no_agent_holds_more_tasks_than_it_has_slots(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=2)
        for number in range(5):
            await crew.submit(f"t{number}")
        for _ in range(2):
            await crew.bid(await crew.next(BookOpened), "ann")
        for _ in range(2):
            await crew.next(TaskAwarded)
        assert kinds(await crew.events()).count("BookOpened") == 2
        await crew.ask(CompleteTask(task_id="t0", agent_id="ann", token=1))
        assert (await crew.next(BookOpened)).task_id == "t2"


async def test_the_urgent_goes_first(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t0")
        await crew.awarded("t0", "ann")
        await crew.submit("low", priority=1)
        await crew.submit("high", priority=5)
        await crew.ask(CompleteTask(task_id="t0", agent_id="ann", token=1))
        assert (await crew.next(BookOpened)).task_id == "high"


async def test_a_lost_agent_loses_its_task_which_is_awarded_anew_and_the_old_token_is_stale(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        suspected = await crew.next_record(AgentSuspected)
        lost = await crew.next_record(AgentLost)
        expired = await crew.next_record(LeaseExpired)
        assert suspected.meta.at < lost.meta.at - BRISK.lease_seconds * BRISK.grace_share / 2
        assert isinstance(expired.event, LeaseExpired)
        assert expired.meta.at >= expired.event.last_heard_at + BRISK.lease_seconds
        assert lost.position < expired.position
        await crew.register("bob")
        award = await crew.awarded("t1", "bob")
        assert award.token == 2
        late = CompleteTask(task_id="t1", agent_id="ann", token=1, result={"value": 9})
        for _ in range(2):
            with pytest.raises(Refused, match="token_stale"):
                await crew.ask(late)
        await crew.ask(CompleteTask(task_id="t1", agent_id="bob", token=2, result={"value": 1}))
        for _ in range(7):
            with pytest.raises(Refused, match="token_stale"):  # under a key too: no answer is kept of what was refused
                await crew.system.ask(late, Context(tenant=TENANT, principal="test", key="once"))
        with pytest.raises(Refused, match="token_stale"):  # of whom it was not taken, nothing is noted
            await crew.ask(replace(late, agent_id="bob"))
        told = [event for event in await crew.events() if isinstance(event, LateReported)]
        assert [(one.agent_id, one.token, one.report, one.count, one.more) for one in told] == [
            ("ann", 1, "CompleteTask", count, more) for count, more in ((1, 1), (2, 1), (4, 2), (8, 4))
        ]


async def test_a_suspect_keeps_its_lease_is_called_for_nothing_and_is_cleared_by_whatever_it_says(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path, CALM._replace(lease_seconds=2.0, grace_share=0.95)) as crew:
        await crew.register("ann", slots=2)
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        suspected = await crew.next(AgentSuspected)
        assert 0.1 <= suspected.silent_seconds < suspected.lease_seconds == 2.0
        await crew.submit("t2")
        with pytest.raises(Refused, match="token_unknown"):
            await crew.ask(StartTask(task_id="t1", agent_id="ann", token=9))
        assert (await crew.next(AgentCleared)).heard_at > suspected.last_heard_at
        assert (await crew.next(BookOpened)).task_id == "t2"
        await crew.next(AgentSuspected)
        assert [lease.task_id for lease in (await crew.ask(Heartbeat(agent_id="ann"))).leases] == ["t1"]
        await crew.next(AgentCleared)
        assert not {"AgentLost", "LeaseExpired"} & {*kinds(await crew.events())}


async def test_heartbeats_keep_the_lease_and_record_nothing(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        position = crew.system.journal.position
        for _ in range(12):
            await trio.sleep(BRISK.lease_seconds / 6)  # the passing of time is what this is about
            ack = await crew.ask(Heartbeat(agent_id="ann"))
            assert [(lease.task_id, lease.token) for lease in ack.leases] == [("t1", 1)]
        assert crew.system.journal.position == position


async def test_a_lost_agent_that_is_heard_again_returns_in_a_new_generation(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        await crew.register("ann")
        await crew.next(AgentLost)
        await crew.ask(Heartbeat(agent_id="ann"))
        assert (await crew.next(AgentReturned)).generation == 2
        await crew.submit("t1")
        assert (await crew.next(BookOpened)).eligible == ("ann",)


async def test_a_deregistered_agent_loses_its_task_and_its_key_at_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.ask(DeregisterAgent(agent_id="ann", reason="enough"))
        assert (await crew.next(KeyRevoked)).key_id == "key-ann"
        assert (await crew.next(LeaseExpired)).token == 1
        assert (await crew.next(TaskReopened)).attempt == 2
        with pytest.raises(Refused, match="agent_unknown"):
            await crew.ask(Heartbeat(agent_id="ann"))
        assert (await crew.register("ann", key_id="key-ann-2", key_digest=b"x" * 32)).generation == 2


async def test_a_draining_agent_finishes_and_is_called_no_more(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=2)
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.ask(DrainAgent(agent_id="ann"))
        await crew.submit("t2")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.register("bob")
        assert (await crew.next(BookOpened, task_id="t2")).eligible == ("bob",)


async def test_a_dependent_waits_and_is_never_done_by_the_doer_that_it_must_be_independent_of(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=4)
        await crew.submit("t1")
        await crew.submit("t2", dependencies=("t1",), independent_of=("t1",))
        await crew.awarded("t1", "ann")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.next(TaskUnblocked, task_id="t2")
        await crew.register("bob")
        assert (await crew.next(BookOpened, task_id="t2")).eligible == ("bob",)


async def test_a_task_whose_every_agent_is_excluded_says_so_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path, CALM._replace(cycle_seconds=0.05)) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.submit("t2", dependencies=("t1",), independent_of=("t1",))
        assert (await crew.next(TaskStalled)).reason == "all_excluded"
        await crew.ask(DeregisterAgent(agent_id="ann"))
        assert (await crew.next(TaskStalled)).reason == "skills_missing"
        coordinator = the_coordinator(crew)
        assert stalls(coordinator.memory, AT) == []
        await crew.register("bob")
        assert (await crew.next(BookOpened)).eligible == ("bob",)
        assert coordinator.memory.tasks["t2"].stalled == ""


async def test_a_dead_letter_that_is_requeued_is_called_for_again_and_keeps_out_who_it_must_be_independent_of(
    tmp_path: Path,
) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.register("bob", slots=2)
        await crew.submit("t2", dependencies=("t1",), independent_of=("t1",), attempts_max=1)
        await crew.awarded("t2", "bob")
        await crew.ask(FailTask(task_id="t2", agent_id="bob", token=1))
        await crew.next(TaskDeadLettered, task_id="t2")
        with pytest.raises(Refused, match="attempts_too_many"):
            await crew.ask(RequeueTask(task_id="t2", attempts=99))
        await crew.ask(RequeueTask(task_id="t2", attempts=1))
        await crew.ask(RequeueTask(task_id="t2", attempts=1))
        assert (await crew.next(BookOpened, task_id="t2")).eligible == ("bob",)
        memory = the_coordinator(crew).memory
        assert "t2" in memory.tasks
        assert "t2" not in memory.ended
        assert memory.ended_order == ["t1"]


async def test_an_amended_task_is_called_for_in_its_new_place_and_expires_at_its_new_deadline(tmp_path: Path) -> None:
    async with open_crew(tmp_path, BRISK) as crew:
        now = crew.system.clock.now()
        for name in ("t1", "t2", "t3"):
            await crew.submit(name, priority=3, deadline=now + 50)
        await crew.ask(AmendTask(task_id="t3", priority=5))
        await crew.ask(AmendTask(task_id="t2", priority=1, deadline=crew.system.clock.now() + 0.3))
        assert (await crew.next(TaskExpired)).task_id == "t2"
        await crew.register("ann")
        assert (await crew.next(BookOpened)).task_id == "t3"


async def test_while_it_is_stopped_nobody_is_called_and_what_is_held_or_offered_goes_on(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", slots=9)
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await crew.submit("t2")
        call = await crew.next(BookOpened, task_id="t2")
        assert (await crew.ask(FindCoordination())).running
        stopped = await crew.ask(StopCoordination(reason="maintenance"))
        assert (stopped.running, stopped.reason) == (False, "maintenance")
        assert await crew.ask(StopCoordination(reason="again")) == stopped == await crew.ask(FindCoordination())
        await crew.submit("t3")
        await crew.bid(call, "ann")
        await crew.next(TaskAwarded, task_id="t2")
        await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))
        await crew.ask(FailTask(task_id="t2", agent_id="ann", token=1))
        await crew.next(TaskReopened, task_id="t2")
        assert kinds(await crew.events()).count("BookOpened") == 2
    async with open_crew(tmp_path) as crew:
        await crew.register("bob", slots=9)
        assert not (await crew.ask(FindCoordination())).running
        assert kinds(await crew.events()).count("BookOpened") == 2
        started = await crew.ask(StartCoordination())
        assert started.running
        assert started == await crew.ask(StartCoordination())
        called = {(await crew.next(BookOpened)).task_id for _ in range(4)}
        assert called >= {"t2", "t3"}


async def test_dependents_of_a_task_without_result_fail_with_it_down_the_line(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.submit("t1")
        await crew.submit("t2", dependencies=("t1",))
        await crew.submit("t3", dependencies=("t2",))
        await crew.ask(CancelTask(task_id="t1"))
        assert (await crew.next(TaskFailed, task_id="t2")).final
        assert "t2 is failed" in (await crew.next(TaskFailed, task_id="t3")).reason
        with pytest.raises(Refused, match="dependency_failed"):
            await crew.submit("t4", dependencies=("t3",))


@pytest.mark.parametrize("ends_well", [True, False])
async def test_a_crowd_of_dependents_is_told_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_well: bool
) -> None:
    monkeypatch.setattr(calls, "DEPENDENTS_MAX", 3)
    names = [f"d{number:02}" for number in range(20)]
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        for name in names:
            await crew.submit(name, dependencies=("t1",), capabilities=("analysis",))
        await crew.awarded("t1", "ann")
        done = CompleteTask(task_id="t1", agent_id="ann", token=1)
        await crew.ask(done if ends_well else CancelTask(task_id="t1"))
        for name in names:
            await crew.next(TaskUnblocked if ends_well else TaskFailed, task_id=name)
        told = [
            record for record in await crew.system.journal.read(0) if type(record.event) in (DependencyMet, TaskFailed)
        ]
        assert len(told) == len(names)
        assert max(Counter(record.meta.cause for record in told).values()) == 3
        assert the_coordinator(crew).memory.owing == {}


async def test_a_submission_is_told_all_its_faults_at_once(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        with pytest.raises(Refused) as caught:
            await crew.submit(
                "t1", dependencies=("nowhere",), capabilities=("juggling",), deadline=1.0, budget_seconds=101.0
            )
        assert caught.value.status == 422
        for code in ("dependency_unknown", "skill_unknown: no agent has ever offered juggling", "deadline_passed"):
            assert code in caught.value.detail
        assert "budget_too_long" in caught.value.detail


async def test_a_failing_task_is_tried_again_until_its_attempts_are_used_up(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1", attempts_max=2)
        for token in (1, 2):
            assert (await crew.awarded("t1", "ann")).token == token
            await crew.ask(FailTask(task_id="t1", agent_id="ann", token=token, reason="oops"))
        assert kinds(await crew.events())[-2:] == ["TaskFailed", "TaskDeadLettered"]


async def test_the_deadline_ends_a_task_wherever_it_stands(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1", deadline=crew.system.clock.now() + 0.3)
        call = await crew.next(BookOpened)
        await crew.bid(call, "ann", eta_seconds=0.01)
        await crew.next(TaskExpired)
        with pytest.raises(Refused, match="task_is_expired"):
            await crew.ask(CompleteTask(task_id="t1", agent_id="ann", token=1))


async def test_a_second_registration_is_refused_and_issues_no_key(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        assert (await crew.register("ann")).generation == 1
        with pytest.raises(Refused, match="agent_exists"):
            await crew.register("ann", key_id="another", key_digest=b"y" * 32)
        assert kinds(await crew.events()) == ["AgentRegistered", "KeyIssued"]


async def test_a_refused_registration_is_no_sign_of_life(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        actor = the_coordinator(crew)
        actor.hearing.by_agent.clear()
        with pytest.raises(Refused, match="agent_exists"):
            await crew.register("ann", key_id="another", key_digest=b"y" * 32)
        with pytest.raises(Refused, match="agent_id_reserved"):
            await crew.register("house-of-cards")
        assert actor.hearing.by_agent == {}


def the_coordinator(crew: Crew) -> Coordinator:
    actor = crew.system.cells["coordinator", TENANT].actor
    assert isinstance(actor, Coordinator)
    return actor


async def test_there_is_one_alarm_for_the_next_cycle_however_much_there_is_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        actor = the_coordinator(crew)
        monkeypatch.setattr(
            opening, "openings", lambda memory, at, aging, most: [("task-t1", CancelTask(task_id="t1"))]
        )
        at = actor.here.clock.now()
        for cycle in range(1, 5):
            while (due := actor.due()) is not None and due <= at + cycle * CALM.cycle_seconds:
                actor.wake(due)
        assert [alarm.due for alarm in actor.alarms].count(Due.CYCLE) == 1


async def test_nothing_is_looked_for_where_nothing_could_have_come_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def counted(memory: OpenTasks, at: float, aging: Aging, most: int) -> Sequence[calls.Decision]:
        looks.append(at)
        return calls.openings(memory, at, aging, most)

    monkeypatch.setattr(opening, "openings", counted)
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.register("bob")
        await crew.submit("t1", bidding_seconds=60.0)
        call = await crew.next(BookOpened)
        await crew.submit("t2", capabilities=("analysis",))
        await crew.next(BookOpened, task_id="t2")
        await crew.submit("t3")
        before = len(looks)
        for price in range(20):
            await crew.bid(call, "ann", price=float(price))
        assert len(looks) <= before + 1


async def test_registering_gives_a_key_that_is_good_for_that_agent(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann", key_digest=b"d" * 32)
        principal = await crew.ask(Authenticate(digest=b"d" * 32))
        assert (principal.name, principal.tenant, principal.agent_id) == ("agent:ann", TENANT, "ann")


async def test_an_id_of_the_house_is_not_for_others(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        with pytest.raises(Refused, match="agent_id_reserved"):
            await crew.register("house-solver")


async def test_what_the_coordinator_decides_by_itself_is_taken_from_nobody(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        with pytest.raises(Unreachable):
            await crew.ask(ReturnAgent(agent_id="ann"))


async def test_after_a_restart_every_lease_has_a_full_term_and_the_work_goes_on(tmp_path: Path) -> None:
    patient = Terms(lease_seconds=0.6, budget_seconds_max=100.0, cycle_seconds=30.0)
    async with open_crew(tmp_path, patient) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.awarded("t1", "ann")
        await trio.sleep(0.4)  # most of the term passes before the node ends
    async with open_crew(tmp_path, patient) as crew:
        began_at = crew.system.clock.now()
        record = await crew.next_record(LeaseExpired)
        assert record.meta.at >= began_at + 0.5
        assert kinds(await crew.events()).count("LeaseExpired") == 1


async def test_restarts_without_snapshots_add_no_event(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1")
        await crew.submit("t2", dependencies=("t1",))
        await crew.awarded("t1", "ann")
        before = await crew.events()
    for _ in range(2):
        async with open_crew(tmp_path, CALM) as crew:
            await crew.ask(Heartbeat(agent_id="ann"))
            assert await crew.events() == before


async def test_tenants_do_not_meet(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        submit: SubmitTask = command_by_type[SubmitTask]
        await crew.ask(replace(submit, payload={}), tenant="other")
        with pytest.raises(Refused, match="task_unknown"):
            await crew.ask(CancelTask(task_id="t1"))
        assert "BookOpened" not in kinds(await crew.events())
        assert [record.meta.tenant for record in await crew.system.journal.read(0)] == [TENANT, TENANT, "other"]


def test_the_coordinator_hears_all_that_it_must_remember() -> None:
    assert {TaskSubmitted, TaskCompleted, BidPlaced, AgentLost} <= set(Coordinator.hears)


async def test_a_task_that_failed_rests_as_it_asks_even_where_somebody_new_comes(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.submit("t1", retry=RetryPolicy(delay_seconds=0.4))
        await crew.awarded("t1", "ann")
        await crew.ask(FailTask(task_id="t1", agent_id="ann", token=1))
        reopened = await crew.next(TaskReopened, task_id="t1")
        await crew.register("bob")
        opened = await crew.next_record(BookOpened, task_id="t1")
        assert opened.meta.at >= (reopened.not_before or 0.0) > 0.0


async def test_who_gives_up_a_skill_after_its_bid_does_not_win(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.register("ann")
        await crew.register("bob")
        await crew.submit("t1")
        call = await crew.next(BookOpened)
        await crew.bid(call, "ann", price=0.1)
        await crew.ask(UpdateAgent(agent_id="ann", capabilities=("analysis",)))
        await crew.bid(call, "bob", price=9.0)
        award = await crew.next(TaskAwarded)
        assert [(one.agent_id, one.lost) for one in award.ranking] == [("bob", ""), ("ann", "skill_missing")]


async def test_nothing_follows_from_a_submission_that_waits_for_an_agent_alone(tmp_path: Path) -> None:
    async with open_crew(tmp_path) as crew:
        await crew.submit("t1")
        actor = the_coordinator(crew)
        await trio.testing.wait_all_tasks_blocked(0.01)  # it has looked for an agent, and found none
        submitted = [record for record in await crew.system.journal.read(0) if isinstance(record.event, TaskSubmitted)]
        assert not actor.concerns(submitted[0])
        for term in ({"deadline": AT * 2}, {"not_before": AT * 2}, {"concurrency": Concurrency(key="press")}):
            await crew.submit(f"with-{next(iter(term))}", **term)
            await trio.testing.wait_all_tasks_blocked(0.01)
            newest = (await crew.system.journal.read(0))[-1]
            assert actor.concerns(newest), term
