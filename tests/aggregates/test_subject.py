"""A data subject's erasure: recorded with the keys that it takes, repeated without harm, and refused where there is nothing."""

import pytest

from aggregates import subject
from aggregates.subject import KEYS_MAX, EraseSubject, Subject, SubjectErased
from runtime.errors import Refused
from tests.examples import command_by_type

ERASE: EraseSubject = command_by_type[EraseSubject]


def test_an_erasure_names_the_keys_and_why() -> None:
    (event,) = subject.decide(subject.initial, ERASE)
    assert event == SubjectErased(data_subject="p17", keys=ERASE.keys, reason="asked for")
    assert subject.evolve(subject.initial, event) == Subject(erasures=1)


def test_who_is_erased_already_is_so_and_may_be_erased_again_after_coming_back() -> None:
    erased = Subject(erasures=1)
    assert subject.decide(erased, EraseSubject(data_subject="p17")) == []
    assert len(subject.decide(erased, ERASE)) == 1


def test_of_whom_nothing_is_recorded_nobody_can_be_erased() -> None:
    with pytest.raises(Refused, match="nothing is recorded of p17") as refused:
        subject.decide(subject.initial, EraseSubject(data_subject="p17"))
    assert refused.value.status == 404


def test_an_erasure_takes_so_many_keys_and_no_more() -> None:
    with pytest.raises(Refused, match="keys_too_many"):
        subject.decide(subject.initial, EraseSubject(data_subject="p17", keys=("00" * 16,) * (KEYS_MAX + 1)))
