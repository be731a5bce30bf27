"""What an agent's past adds up to: the way for what comes most, held against the one for everything."""

from hypothesis import given
from hypothesis import strategies as st

from agents.coordinating.figures import Figures, told
from aggregates.values.reputation import TICK_SECONDS

moments = st.floats(0.0, 50 * TICK_SECONDS)  # not always later than the last: a log's clock may stand still
happened = st.lists(
    st.one_of(
        st.tuples(moments, st.just("answer"), st.sampled_from([0.0, 0.25, 3.0])),
        st.tuples(moments, st.sampled_from(["failed", "no_shows"]), st.just(1.0)),
    ),
    max_size=12,
)


@given(happened, moments)
def test_an_answer_counts_as_any_gain_of_its_sums_would(past: list[tuple[float, str, float]], at: float) -> None:
    quick, plain = Figures(), Figures()
    for position, (moment, what, amount) in enumerate(past, 1):
        if what == "answer":
            quick.answer(moment, position, amount)
            plain.gain(moment, position, answers=1, answer_seconds=amount)
        else:
            quick.gain(moment, position, **{what: amount})
            plain.gain(moment, position, **{what: amount})
    assert (quick.recent, quick.counts) == (plain.recent, plain.counts)
    assert told("ann", quick, at) == told("ann", plain, at)
