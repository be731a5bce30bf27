"""Heads read in one pass: never what h11 refuses, and what is taken as h11 takes it."""

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.door.heads import read_head

BYTES_MAX = 16_384
COMMON = b"GET /v1/tasks?limit=3 HTTP/1.1\r\nHost: gavel\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"

WORDS = (
    *(
        b"GET",
        b"POST",
        b"HEAD",
        b"get",
        b"PUT",
        b"CONNECT",
        b" ",
        b"  ",
        b"\t",
        b"/",
        b"/a%20b?c=d",
        b"*",
        b"http://a/b",
    ),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: a\r\n", b"host:\r\n"),
    *(
        b"Host : a\r\n",
        b"Content-Length: 5\r\n",
        b"content-length: +5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 05\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"X: \x00\r\n",
        b"X: \xff\r\n",
        b"X:\x0b1\r\n",
        b" folded\r\n",
        b"X: a  b \t\r\n",
        b": no name\r\n",
        b"no colon\r\n",
    ),
)
tokens = st.sampled_from(WORDS)
heads = st.one_of(
    st.lists(tokens, max_size=12).map(b"".join),
    st.lists(tokens, max_size=5).map(lambda parts: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(parts) + b"\r\n"),
    st.tuples(st.integers(0, len(COMMON)), st.integers(0, 3), st.binary(max_size=3)).map(
        lambda cut: COMMON[: cut[0]] + cut[2] + COMMON[cut[0] + cut[1] :]
    ),
)


@given(heads, st.binary(max_size=8))
@example(COMMON, b"")
@example(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", b"abc")
def test_what_is_read_in_one_pass_h11_reads_alike(head: bytes, rest: bytes):
    found = read_head(head + rest, BYTES_MAX)
    if found is None:
        return
    theirs = h11.Connection(h11.SERVER, max_incomplete_event_size=BYTES_MAX)
    theirs.receive_data(head + rest)
    request = theirs.next_event()
    assert isinstance(request, h11.Request)
    assert (found.method.encode(), found.target, found.headers) == (
        request.method,
        request.target,
        list(request.headers),
    )
    lengths = [int(value) for name, value in request.headers if name == b"content-length"]
    assert found.length == (lengths[0] if lengths else 0)
    assert theirs.trailing_data[0] == (head + rest)[found.size :]
    body = (head + rest)[found.size :][: found.length]
    if found.length and body:
        data = theirs.next_event()
        assert isinstance(data, h11.Data)
        assert bytes(data.data) == body
    if len(body) == found.length:
        assert isinstance(theirs.next_event(), h11.EndOfMessage)
        assert (theirs.their_state is h11.MUST_CLOSE) is found.closes
    assert not theirs.they_are_waiting_for_100_continue


def test_the_common_head_is_read():
    found = read_head(COMMON + b"GET", BYTES_MAX)
    assert found is not None
    assert (found.method, found.target, found.length, found.closes) == ("GET", b"/v1/tasks?limit=3", 0, False)
    assert found.size == len(COMMON)


UNCOMMON = [
    COMMON[:-1],
    COMMON.replace(b"1.1", b"1.0"),
    COMMON.replace(b"\r\n", b"\n"),
    COMMON.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
    COMMON.replace(b"Accept: */*", b"Expect: 100-continue"),
    COMMON.replace(b"Accept: */*", b"Upgrade: websocket"),
    COMMON.replace(b"Accept: */*", b"Host: another"),
    COMMON.replace(b"keep-alive", b"keep-alive, close"),
    COMMON.replace(b"*/*", b"\xe4"),
]


@pytest.mark.parametrize("head", UNCOMMON, ids=range(len(UNCOMMON)))
def test_what_is_not_common_is_left_to_h11(head: bytes):
    assert read_head(head, BYTES_MAX) is None


def test_a_head_past_the_bound_is_left_to_h11():
    assert read_head(COMMON, len(COMMON) - 5) is None
