"""A body that is made before it is known when it goes to the disk: with the time in it, it is what would have been made then."""

import struct
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from runtime.codec import UNDATED, Codec, dated
from runtime.records import CommandRecord, Meta
from tests.runtime import bank

CODEC = Codec([bank])  # type: ignore[list-item]

odd = st.sampled_from(
    ["", "«recorded_at\u02c0", "recorded_at\0\0\0\0\0\0\0\0", "\u00abrecorded_at\u02cb\0\0\0\0\0\0\0\0"]
)
texts = st.one_of(odd, st.text(max_size=40))
times = st.floats(allow_nan=False)
said = st.dictionaries(texts, st.one_of(texts, times, st.binary(max_size=40), st.just(UNDATED)), max_size=3)


@given(st.tuples(texts, texts, texts, texts, texts), times, times, st.none() | said, said)
def test_a_body_is_the_same_whether_its_time_was_known_or_is_put_in(
    names: tuple[str, ...], at: float, recorded_at: float, asked: Any, told: Any
) -> None:
    command = None
    if asked is not None:
        command = CommandRecord(name="bank.Deposit", rules=1, data=msgspec.Raw(CODEC.pack(asked)), key=names[0])
    identity, cause, correlation, tenant, principal = names
    meta = Meta(
        id=identity,
        cause=cause,
        correlation=correlation,
        tenant=tenant,
        principal=principal,
        at=at,
        command=command,
    )
    data = CODEC.pack(told)
    known = CODEC.body(replace(meta, recorded_at=recorded_at), data)
    assert dated(CODEC.body(meta, data), struct.pack(">d", recorded_at)) == known
