"""Ids are safe in streams, files and URLs."""

import msgspec
import pytest

from aggregates.values.ids import Digest, Id


@pytest.mark.parametrize("good", ["a", "agent_001", "0190-ab.c_D", "x" * 100])
def test_a_good_id_is_taken(good: str) -> None:
    assert msgspec.convert(good, Id) == good


@pytest.mark.parametrize("bad", ["", "-a", "a/b", "a b", "a\n", "é", "..", "x" * 101, "a:b"])
def test_a_bad_id_is_refused(bad: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Id)


@pytest.mark.parametrize("bad", ["0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_a_digest_has_64_hexadecimal_digits(bad: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Digest)
