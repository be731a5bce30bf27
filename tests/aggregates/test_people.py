"""People as holders: what is theirs stays theirs for their time, whatever the budget says, and giving it back costs the task nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aggregates import agent, task
from aggregates.agent import RegisterAgent, person_of
from aggregates.task import DeclineOffer, Duty, EndOverrun, ExpireLease, ReportProgress, TaskAwarded, hold_until
from aggregates.task.terms import DECLINED_MAX, HOLD_OVER, INPUT_SECONDS_MAX, PROGRESS_MAX, RELEASES_MAX
from aggregates.values.working_hours import Shift, Weekday, WorkingHours
from runtime.errors import Refused
from runtime.records import Command
from tests.aggregates.outcomes import state
from tests.examples import AT, BIDDERS, TENANT, command_by_type

SUBMIT: task.SubmitTask = command_by_type[task.SubmitTask]
OPEN: task.OpenBook = command_by_type[task.OpenBook]
AWARD: task.AwardTask = replace(
    command_by_type[task.AwardTask], bidders=(replace(BIDDERS[0], is_person=True), *BIDDERS[1:])
)
CALLED = [SUBMIT, OPEN, *(command_by_type[one] for one in (task.PlaceBid, task.RefuseBid))]
HELD = [*CALLED, AWARD]
START: task.StartTask = command_by_type[task.StartTask]
ASK: task.AskQuestion = command_by_type[task.AskQuestion]
ANSWER: task.AnswerQuestion = command_by_type[task.AnswerQuestion]
REPORT: ReportProgress = command_by_type[ReportProgress]
DECLINE: DeclineOffer = command_by_type[DeclineOffer]
FAIL: task.FailTask = command_by_type[task.FailTask]
EXPIRE: ExpireLease = command_by_type[ExpireLease]
HOLD = BIDDERS[0].lease_seconds


def refusal(stood: Any, command: Command[Any], aggregate: Any = task) -> str:
    with pytest.raises(Refused) as caught:
        aggregate.decide(stood, command)
    return caught.value.code


def decided(stood: Any, command: Command[Any], aggregate: Any = task) -> list[Any]:
    return list(aggregate.decide(stood, command))


def names(stood: task.Task, command: Command[Any]) -> list[str]:
    return [type(event).__name__ for event in decided(stood, command)]


def taken_back(stood: task.Task, at: float) -> bool:
    try:
        return bool(decided(stood, replace(EXPIRE, last_heard_at=stood.held_since, at=at)))
    except Refused as refused:
        assert refused.code == "lease_held"
        return False


# ---- how long it is theirs


def test_a_budget_ends_no_attempt_of_a_person() -> None:
    held = state(task, *HELD)
    overrun = EndOverrun(task_id="t1", token=1, at=AT + 1e6, tenant=TENANT)
    assert refusal(held, overrun) == "within_budget"
    assert names(state(task, *CALLED, command_by_type[task.AwardTask]), overrun) == ["TaskFailed", "TaskReopened"]


def test_a_bid_of_a_person_may_be_longer_than_the_budget() -> None:
    slow = replace(command_by_type[task.PlaceBid], eta_seconds=1e5)
    (awarded,) = decided(state(task, SUBMIT, OPEN, slow, CALLED[3]), AWARD)
    assert isinstance(awarded, TaskAwarded)
    assert awarded.is_person
    (voided,) = decided(state(task, SUBMIT, OPEN, slow, CALLED[3]), command_by_type[task.AwardTask])
    assert voided.ranking[0].lost == "eta_over_budget"


@pytest.mark.parametrize(("said", "held"), [(None, HOLD), (HOLD / 2, HOLD), (HOLD * 3, HOLD * 3)])
def test_it_stays_no_shorter_than_it_is_said_to_take(said: float | None, held: float) -> None:
    (awarded,) = decided(state(task, replace(SUBMIT, estimated_duration=said), *CALLED[1:]), AWARD)
    assert awarded.lease_seconds == held


def test_it_is_taken_back_when_the_time_is_over_and_that_is_an_attempt() -> None:
    held = state(task, *HELD)
    until = AWARD.at + HOLD
    assert not taken_back(held, until - 0.001)
    expired, reopened = decided(held, replace(EXPIRE, at=until))
    assert (reopened.attempt, reopened.reason) == (2, HOLD_OVER)
    assert expired.last_heard_at == EXPIRE.last_heard_at


def test_who_is_gone_keeps_nothing() -> None:
    expired, reopened = decided(state(task, *HELD), replace(EXPIRE, at=AWARD.at, agent_gone_position=7))
    assert (type(expired).__name__, reopened.reason) == ("LeaseExpired", "lease_expired")


@pytest.mark.parametrize("sign", [START, REPORT])
def test_each_sign_of_life_gives_the_whole_time_again(sign: Command[Any]) -> None:
    stood = state(task, *HELD, replace(sign, at=AWARD.at + HOLD - 1))
    assert not taken_back(stood, AWARD.at + 2 * HOLD - 1.001)
    assert taken_back(stood, AWARD.at + 2 * HOLD - 1)


def test_the_time_stands_still_while_a_question_is_open() -> None:
    asked = state(task, *HELD, replace(ASK, at=AWARD.at + 5))
    assert not taken_back(asked, AWARD.at + HOLD + INPUT_SECONDS_MAX - 1)
    assert taken_back(asked, AWARD.at + HOLD + INPUT_SECONDS_MAX)
    answered = task.evolve(asked, decided(asked, replace(ANSWER, at=AWARD.at + 1005))[0])
    assert (taken_back(answered, AWARD.at + 999 + HOLD), taken_back(answered, AWARD.at + 1000 + HOLD)) == (False, True)


@given(st.lists(st.tuples(st.sampled_from(["report", "ask", "answer"]), st.floats(0.1, HOLD * 2)), max_size=12))
def test_the_time_is_what_it_was_less_what_was_used_without_a_word(steps: list[tuple[str, float]]) -> None:
    """Against a clock that ticks only while nobody is waited for, and is wound up by each report."""
    stood, at, asked = state(task, *HELD), AWARD.at, 0
    left, is_open = HOLD, False
    for what, seconds in steps:
        at += seconds
        left -= 0.0 if is_open else seconds
        said: Any = {
            "report": replace(REPORT, at=at),
            "ask": replace(ASK, at=at, question=f"{at}?"),
            "answer": replace(ANSWER, at=at, number=max(1, asked)),
        }[what]
        try:
            events = decided(stood, said)
        except Refused:
            continue
        for event in events:
            stood = task.evolve(stood, event)
        left = HOLD if what == "report" else left
        is_open = {"ask": True, "answer": False}.get(what, is_open)
        asked = stood.questions
        until = hold_until(stood.held_since, stood.lease_seconds, is_waiting=stood.question_at > 0)
        assert until - at == pytest.approx(left + (INPUT_SECONDS_MAX if is_open else 0.0), abs=1e-6)


# ---- giving it back, and never taking it


def test_what_a_person_gives_back_is_no_attempt_begun_or_not() -> None:
    for before in (HELD, [*HELD, START]):
        stood = state(task, *before)
        failed, reopened = decided(stood, replace(FAIL, declined=True, reason="not mine"))
        assert (failed.declined, failed.attempts_max, reopened.reason) == (True, stood.attempts_max + 1, "not mine")
        after = task.evolve(task.evolve(stood, failed), reopened)
        assert after.attempts_max - after.attempt == stood.attempts_max
        assert (after.stage, after.assignee) == (task.Stage.SUBMITTED, "")


def test_nobody_takes_and_gives_back_for_ever() -> None:
    stood = replace(state(task, *HELD), releases=RELEASES_MAX)
    failed, _ = decided(stood, replace(FAIL, declined=True))
    assert failed.attempts_max is None


def test_who_says_no_is_known_and_says_it_once() -> None:
    waits = state(task, SUBMIT)
    (declined,) = decided(waits, DECLINE)
    stood = task.evolve(waits, declined)
    assert decided(stood, DECLINE) == []
    assert (stood.stage, stood.declined) == (task.Stage.SUBMITTED, (DECLINE.agent_id,))
    assert refusal(state(task, *HELD), DECLINE) == "task_is_awarded"
    full = replace(stood, declined=tuple(f"p{n:03}" for n in range(DECLINED_MAX)))
    assert refusal(full, DECLINE) == "declined_too_often"


def test_progress_begins_the_work_and_is_the_holders_alone() -> None:
    held = state(task, *HELD)
    assert names(held, REPORT) == ["TaskStarted", "TaskProgressed"]
    assert names(state(task, *HELD, START), REPORT) == ["TaskProgressed"]
    assert refusal(held, replace(REPORT, agent_id="bob")) == "not_the_holder"
    assert refusal(held, replace(REPORT, token=2)) == "token_unknown"
    assert refusal(replace(held, progress=PROGRESS_MAX), REPORT) == "progress_too_often"


def test_who_comes_by_themselves_is_not_asked_after_their_hours() -> None:
    off = Duty(agent_id="ann", since=AT + 1e6, until=AT + 2e6)
    alone = replace(OPEN, candidates=OPEN.candidates[:1], duties=(off,))
    assert OPEN.candidates[0].agent_id == "ann"
    assert refusal(state(task, SUBMIT), alone) == "nobody_eligible"
    assert names(state(task, SUBMIT), replace(alone, taker="ann")) == ["BookOpened"]


# ---- who they are


PERSON = replace(
    command_by_type[RegisterAgent],
    agent_id=person_of("u1"),
    user_id="u1",
    data_subject="u1",
    key_id="",
    key_digest=b"",
    lease_seconds=3600.0,
    lease_seconds_min=60.0,
    lease_seconds_max=86400.0,
)


def test_the_ids_of_persons_are_theirs() -> None:
    squatter = replace(PERSON, user_id="", key_id="k9")
    assert refusal(agent.initial, squatter, agent) == "agent_id_reserved"
    assert decided(agent.initial, PERSON, agent)


def test_a_person_says_anew_what_they_can_do_and_keeps_what_they_hold() -> None:
    stood = state(agent, PERSON)
    assert decided(stood, PERSON, agent) == []
    (updated,) = decided(stood, replace(PERSON, slots=7), agent)
    assert (type(updated).__name__, updated.slots) == ("AgentUpdated", 7)
    (again,) = decided(stood, replace(PERSON, heartbeat_timeout=7200.0), agent)
    assert (type(again).__name__, again.lease_seconds, again.generation) == ("AgentRegistered", 7200.0, 2)


def test_who_was_leaving_comes_back_by_saying_so() -> None:
    leaving = state(agent, PERSON, agent.DrainAgent(agent_id=PERSON.agent_id, at=AT, tenant=TENANT))
    (again,) = decided(leaving, PERSON, agent)
    assert agent.evolve(leaving, again).stage is agent.Stage.ACTIVE


def test_the_time_has_bounds_and_its_faults_are_told_with_the_others() -> None:
    night = Shift(days=(Weekday.MONDAY,), start="22:00", end="06:00")
    wrong = replace(PERSON, heartbeat_timeout=1.0, working_hours=WorkingHours(shifts=(night,)))
    with pytest.raises(Refused) as caught:
        decided(agent.initial, wrong, agent)
    assert [fault.pointer for fault in caught.value.faults] == ["/working_hours/shifts/0/end", "/hold_seconds"]


def test_of_one_who_was_erased_nothing_is_recorded_under_their_name() -> None:
    stood = state(agent, PERSON)
    (left,) = decided(stood, agent.DeregisterAgent(agent_id=PERSON.agent_id, at=AT, tenant=TENANT), agent)
    assert left.data_subject == ""
    (told,) = decided(stood, agent.DeregisterAgent(agent_id=PERSON.agent_id, reason="off", at=AT, tenant=TENANT), agent)
    assert told.data_subject == "u1"
