"""The W3C header as the outside sends it, right and wrong."""

import pytest

from runtime.trace import of_record, parsed

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header,read",
    [
        (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", f"00-{TRACE}-{PARENT}-01"),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        (f"00-{TRACE}-{PARENT}-01\n", None),
        ("", None),
    ],
)
def test_a_valid_header_is_read_and_any_other_is_none(header: str, read: str | None) -> None:
    assert parsed(header) == (None if read is None else (read, TRACE))


def test_what_follows_from_a_record_stays_in_its_trace() -> None:
    assert of_record(TRACE, 26) == f"00-{TRACE}-000000000000001a-01"
    assert of_record("0198c0de-0000-7000-8000-000000000000", 26) == ""
    assert parsed(of_record(TRACE, 26)) is not None
