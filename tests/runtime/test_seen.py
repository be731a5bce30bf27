"""The filter of idempotency keys: it never denies a key that was used."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.seen import Filter, Seen, digest

KEYS = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=60)
SMALL = 1 << 10


@given(KEYS, KEYS)
def test_what_was_added_may_be_there_however_full_the_filter_is(old: list[tuple[str, str]], new: list[tuple[str, str]]):
    seen = Seen(10.0, SMALL)
    known = Filter(SMALL)
    known.update(old)
    seen.know(known)
    for number, (tenant, key) in enumerate(new):
        seen.add(tenant, key, number * 1.0)
        assert all(seen.may_hold(*earlier) for earlier in new[max(0, number - 10) : number + 1])
    if len(new) <= 10:
        assert all(seen.may_hold(*earlier) for earlier in old)


def test_of_keys_that_were_never_used_few_are_taken_for_used():
    keys = Filter(1 << 14)
    keys.update(("acme", f"key-{number}") for number in range(1000))
    taken = sum(digest("acme", f"other-{number}") in keys for number in range(10_000))
    assert taken < 500


def test_until_the_old_keys_are_known_any_key_may_have_been_used():
    seen = Seen(10.0, SMALL)
    assert seen.may_hold("acme", "new")
    seen.know(Filter(SMALL))
    assert not seen.may_hold("acme", "new")


def test_keys_of_two_spans_ago_are_forgotten():
    seen = Seen(10.0, SMALL)
    seen.know(Filter(SMALL))
    seen.add("acme", "first", 0.0)
    seen.add("acme", "second", 11.0)
    assert seen.may_hold("acme", "first")
    seen.add("acme", "third", 22.0)
    assert not seen.may_hold("acme", "first")
    assert seen.may_hold("acme", "second")
