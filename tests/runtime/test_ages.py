"""How old a message is, by its number, compared with a stamp on each."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from runtime import ages
from runtime.actors import open_actors
from runtime.ages import Ages
from tests.runtime.puppets import Do, Waiter, does, forever

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


async def test_nothing_beats_while_no_message_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    """With a clock that jumps to whatever is due next, a beat would be such a moment."""
    async with open_actors(ask_seconds_max=1e6) as actors:
        ref = actors.spawn(Waiter)
        assert [actors.ages.rests] == [True]
        ref.tell(does(forever))
        ref.tell(Do(what="this one waits"))
        assert [actors.ages.rests] == [False]
        await trio.sleep(10 * ages.NOTE_SECONDS)
        assert [actors.ages.rests] == [True]
        second = actors.messages
        await trio.sleep(100)
        assert actors.ages.age(second, trio.current_time()) > 100
        await ref.stop(seconds=0)
