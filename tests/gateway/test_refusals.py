"""What was refused is taken singly or counted, all of it, and never more than its bounds."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from aggregates.trail import CODES_MAX, REFUSALS_MAX, SAMPLES_MAX, Refusal
from gateway import refusals
from gateway.refusals import ADDRESSES_MAX, OTHERS, WINDOW_SECONDS, Batch, Refusals, Who

NOBODY = Who("default", OTHERS)


def refusal(at: float, code: str = "forbidden", target: str = "", status: int = 403) -> Refusal:
    return Refusal(at=at, status=status, code=code, target=target)


def codes(batches: list[Batch]) -> Counter[str]:
    """All that batches say was refused, by code."""
    told = Counter(one.code for batch in batches for one in batch.refusals)
    for batch in batches:
        told.update(batch.counted.count_by_code if batch.counted is not None else {})
    return told


steps = st.lists(
    st.tuples(
        st.sampled_from(["refused", "refused", "refused", "stranger", "take"]),
        st.integers(0, 5),
        st.sampled_from(["forbidden", "not_found", "conflict"]),
        st.floats(0, 40),
    ),
    max_size=200,
)


@given(steps, st.integers(0, 5), st.integers(1, 4), st.integers(1, 3))
def test_nothing_is_lost_singles_and_counts_are_all_that_was_refused(
    steps: list[tuple[str, int, str, float]], singles_max: int, principals_max: int, addresses_max: int
) -> None:
    refused, at, told = Counter[str](), 1_000.0, list[Batch]()
    bounds = {"PRINCIPALS_MAX": principals_max, "ADDRESSES_MAX": addresses_max, "SINGLES_MAX": 7, "PENDING_MAX": 5}
    before = {name: getattr(refusals, name) for name in bounds}
    vars(refusals).update(bounds)
    try:
        kept = Refusals(singles_max, "default")
        for step, who, code, seconds in steps:
            at += seconds
            if step == "take":
                told += kept.take(at)
                continue
            refused[code] += 1
            if step == "stranger":
                kept.note_stranger(Who("default", f"192.0.2.{who}", is_stranger=True), refusal(at, code))
            else:
                kept.note(Who("acme", f"agent:{who}"), refusal(at, code))
        told += kept.take(at, everything=True)
    finally:
        vars(refusals).update(before)
    assert codes(told) == refused
    assert kept.due is None
    assert list(kept.take(at + 3600, everything=True)) == []


def test_beyond_its_budget_a_principal_is_counted_until_its_window_is_over() -> None:
    kept, who = Refusals(2, "default"), Who("acme", "agent:ann")
    for number in range(5):
        kept.note(who, refusal(100.0 + number, code=f"code_{number % 2}"))
    (singly,) = kept.take(105.0)
    assert (len(singly.refusals), singly.counted) == (2, None)
    assert kept.due == 100.0 + WINDOW_SECONDS
    assert list(kept.take(159.0)) == []
    (over,) = kept.take(160.0)
    assert over.counted is not None
    assert (over.counted.since, over.counted.until, over.counted.count) == (100.0, 104.0, 3)
    assert over.counted.count_by_code == {"code_0": 2, "code_1": 1}
    assert len(over.counted.samples) == 3
    kept.note(who, refusal(161.0))
    (again,) = kept.take(161.0)
    assert len(again.refusals) == 1


def test_whoever_comes_when_there_is_no_room_is_counted_with_the_others() -> None:
    kept = Refusals(0, "default")
    for number in range(ADDRESSES_MAX + 50):
        kept.note_stranger(Who("default", f"address {number}", is_stranger=True), refusal(100.0), "k1")
    taken = list(kept.take(100.0, everything=True))
    assert len(taken) == ADDRESSES_MAX + 1
    others = next(batch for batch in taken if batch.who.name == OTHERS)
    assert others.counted is not None
    assert (others.counted.count, others.keys) == (50, ("k1",))


def test_codes_samples_and_batches_have_bounds() -> None:
    kept, who = Refusals(0, "default"), Who("acme", "agent:ann")
    for number in range(100):
        kept.note(who, refusal(100.0, code=f"code_{number}"))
    (batch,) = kept.take(100.0, everything=True)
    assert batch.counted is not None
    assert (batch.counted.count, len(batch.counted.count_by_code)) == (100, CODES_MAX)
    assert len(batch.counted.samples) == SAMPLES_MAX
    kept = Refusals(500, "default")
    for _ in range(2 * REFUSALS_MAX + 1):
        kept.note(who, refusal(100.0))
    assert [len(batch.refusals) for batch in kept.take(100.0)] == [REFUSALS_MAX, REFUSALS_MAX, 1]


def test_unknown_paths_are_counted_once_each() -> None:
    kept, who = Refusals(1, "default"), Who("acme", "agent:ann")
    for target in ("a", "a", "b", "c", "b"):
        kept.note(who, refusal(100.0, "not_found", target, status=404))
    (batch,) = kept.take(100.0, everything=True)
    assert batch.counted is not None
    assert batch.counted.targets == 2


def test_a_few_reads_in_vain_are_nothing_and_many_are_a_count() -> None:
    for reads, records in ((refusals.READS_MIN - 1, 0), (refusals.READS_MIN, 1)):
        kept = Refusals(60, "default")
        for number in range(reads):
            kept.note(Who("acme", "agent:ann"), refusal(100.0, target=str(number)), is_read=True)
        assert len(list(kept.take(100.0, everything=True))) == records
