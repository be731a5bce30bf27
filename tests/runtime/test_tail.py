"""The newest records at hand: without a gap, up to the last one, within their bounds."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import tail
from runtime.records import Meta, Recorded
from runtime.tail import Tail
from tests.runtime.bank import Deposited

META = Meta(id="1", cause="", correlation="1", tenant="t", principal="p", at=1.0)
ONE = Recorded(
    position=1, stream="bank-a", version=1, kind="bank.Deposited", event=Deposited(account="a", cents=1), meta=META
)

commits = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 40)), max_size=12)


def records(first: int, count: int) -> list[Recorded]:
    return [msgspec.structs.replace(ONE, position=position) for position in range(first, first + count)]


@given(commits, st.integers(0, 3), st.integers(1, 12), st.integers(1, 100), st.data())
def test_it_holds_the_newest_commits_that_fit_and_tells_them_without_a_gap(
    brought: list[tuple[int, int]], start: int, records_max: int, bytes_max: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "RECORDS_MAX", records_max)
        patch.setattr(tail, "BYTES_MAX", bytes_max)
        kept, position = Tail(), start
        for count, size in brought:
            kept.add(records(position + 1, count), size)
            position += count
    fit = 0
    while fit < len(brought):
        newest = brought[len(brought) - fit - 1 :]
        if sum(count for count, _ in newest) > records_max or sum(size for _, size in newest) > bytes_max:
            break
        fit += 1
    held = sum(count for count, _ in brought[len(brought) - fit :])
    assert len(kept) == held
    after, limit = data.draw(st.integers(0, position)), data.draw(st.integers(1, 50))
    found = kept.after(after, limit)
    if held and after >= position - held:
        assert found is not None
        assert [one.position for one in found] == list(range(after + 1, min(position, after + limit) + 1))
    else:
        assert found is None


def test_what_is_forgotten_is_not_told() -> None:
    kept = Tail()
    kept.add(records(1, 3), 30)
    kept.clear()
    assert (len(kept), kept.after(0, 10)) == (0, None)
    kept.add(records(4, 1), 10)
    assert kept.after(2, 10) is None
    assert [one.position for one in kept.after(3, 10) or ()] == [4]
