"""Questions: one at a time, by the holder alone, and the clock of the budget stands still while one is open."""

import pytest
from msgspec.structs import replace

from aggregates import task
from aggregates.task import AnswerQuestion, AskQuestion, EndOverrun, QuestionAnswered, QuestionAsked
from aggregates.task.terms import BUDGET_GRACE_SECONDS, INPUT_SECONDS_MAX, QUESTIONS_MAX
from runtime.errors import Refused
from tests.aggregates.outcomes import state
from tests.examples import command_by_type

WON = [command_by_type[one] for one in (task.SubmitTask, task.OpenBook, task.PlaceBid, task.RefuseBid, task.AwardTask)]
ASK: AskQuestion = command_by_type[AskQuestion]
ANSWER: AnswerQuestion = command_by_type[AnswerQuestion]


def refusal(stood: task.Task, command: AskQuestion | AnswerQuestion | EndOverrun) -> str:
    with pytest.raises(Refused) as caught:
        task.decide(stood, command)
    return caught.value.code


def test_the_holder_asks_one_question_at_a_time() -> None:
    held = state(task, *WON)
    (asked,) = task.decide(held, ASK)
    assert isinstance(asked, QuestionAsked)
    assert (asked.number, asked.question, asked.asked_at) == (1, "which language?", ASK.at)
    waiting = state(task, *WON, ASK)
    assert task.decide(waiting, ASK) == []
    assert refusal(waiting, replace(ASK, question="which paper?")) == "question_open"
    assert refusal(held, replace(ASK, agent_id="bob")) == "not_the_holder"
    assert refusal(held, replace(ASK, token=2)) == "token_unknown"
    assert refusal(state(task, *WON, ASK, ANSWER, command_by_type[task.FailTask]), ASK) == "token_stale"


def test_it_is_answered_once() -> None:
    waiting = state(task, *WON, ASK)
    (answered,) = task.decide(waiting, ANSWER)
    assert isinstance(answered, QuestionAnswered)
    assert (answered.agent_id, answered.number, answered.waited_seconds) == ("ann", 1, ANSWER.at - ASK.at)
    done = state(task, *WON, ASK, ANSWER)
    assert task.decide(done, ANSWER) == []
    assert refusal(done, replace(ANSWER, answer="Latin")) == "question_closed"
    assert refusal(done, replace(ANSWER, number=2)) == "question_unknown"
    assert refusal(state(task, *WON), ANSWER) == "question_unknown"
    ends = [command_by_type[one] for one in (task.FailTask, task.CompleteTask, task.CancelTask)]
    expiry = [replace(command_by_type[task.AmendTask], deadline=ANSWER.at), command_by_type[task.ExpireTask]]
    for end in (*([one] for one in ends), expiry):  # it ends with its lease, however that ends
        assert refusal(state(task, *WON, ASK, *end), ANSWER) == "question_closed", end


def test_there_is_a_most_of_them() -> None:
    stood = state(task, *WON)
    for number in range(1, QUESTIONS_MAX + 1):
        stood = task.evolve(stood, task.decide(stood, replace(ASK, question=f"and {number}?"))[0])
        stood = task.evolve(stood, task.decide(stood, replace(ANSWER, number=number))[0])
    assert refusal(stood, ASK) == "questions_too_many"


def test_the_clock_of_the_budget_stands_still_while_one_is_open() -> None:
    held = state(task, *WON)
    over = held.awarded_at + held.budget_seconds + BUDGET_GRACE_SECONDS
    end = EndOverrun(task_id="t1", token=1, at=over, tenant=ASK.tenant)
    assert len(task.decide(held, end)) == 2
    waiting = state(task, *WON, ASK)
    assert refusal(waiting, end) == "within_budget"
    assert len(task.decide(waiting, replace(end, at=over + INPUT_SECONDS_MAX))) == 2
    answered = state(task, *WON, ASK, ANSWER)
    assert refusal(answered, replace(end, at=over + 5.9)) == "within_budget"
    assert len(task.decide(answered, replace(end, at=over + 6.0))) == 2
