"""Documents: what they may hold, and their bytes."""

from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.document import DOCUMENT_BYTES_MAX, encoded, faults

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_plain_json_has_no_fault_and_bytes_that_do_not_depend_on_order(document: dict[str, object]) -> None:
    assert faults("payload", document) == []
    assert encoded(dict(reversed(document.items()))) == encoded(document)


def test_the_bound_is_on_the_bytes_as_recorded() -> None:
    assert faults("payload", {"a": "x" * (DOCUMENT_BYTES_MAX - 6)}) == []
    assert faults("payload", {"a": "x" * DOCUMENT_BYTES_MAX})
