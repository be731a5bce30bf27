"""How old a message is, by its number, compared with a stamp on each."""

from hypothesis import given
from hypothesis import strategies as st

from runtime import ages
from runtime.ages import Ages

steps = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60)


@given(steps)
def test_an_age_is_never_too_great_and_at_most_one_note_too_small(steps: list[tuple[int, bool]]) -> None:
    told, sent_at, noted = Ages(), [], [0]
    for second, (count, is_noted) in enumerate(steps, 1):
        sent_at += [second] * count
        if is_noted:
            told.note(len(sent_at), second)
            noted.append(second)
    now = len(steps) + 1
    for number, at in enumerate(sent_at, 1):
        later = [one for one in noted if one >= at]
        assert told.age(number, now) == (now - later[0] if later else 0)


def test_old_notes_grow_coarse_and_stay_few() -> None:
    told = Ages()
    for number in range(1, 5 * ages.NOTES_MAX):
        told.note(number, float(number))
    now = float(5 * ages.NOTES_MAX)
    assert len(told._numbers) <= ages.NOTES_MAX
    found = [told.age(number, now) for number in range(1, 5 * ages.NOTES_MAX)]
    assert found == sorted(found, reverse=True)
    assert all(age <= now - number for number, age in enumerate(found, 1))
    assert found[-1] == 1.0
