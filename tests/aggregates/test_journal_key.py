"""The key that signs a journal: a rotation decides, was already so, or is refused."""

import pytest
from msgspec.structs import replace

from aggregates import journal_key
from aggregates.journal_key import RotateKey
from runtime import rotation
from runtime.errors import Refused
from runtime.records import noun
from tests.aggregates.outcomes import Outcome, check
from tests.examples import command_by_type

ROTATE: RotateKey = command_by_type[RotateKey]


def test_a_key_follows_on_the_one_before_it() -> None:
    stranger = replace(ROTATE, old="OTHER", new="NEWER")
    check(journal_key, Outcome(ROTATE, ["KeyRotated"], [], [ROTATE], "key_not_current", [stranger]))
    again = replace(ROTATE, old="NEW", new="NEWER")
    check(
        journal_key,
        Outcome(again, ["KeyRotated"], [ROTATE], [ROTATE, again], "key_not_current", [replace(stranger, new="Z")]),
    )


def test_a_key_does_not_follow_on_itself() -> None:
    with pytest.raises(Refused, match="key_is_the_same"):
        journal_key.decide(journal_key.initial, replace(ROTATE, new=ROTATE.old))


def test_who_verifies_without_this_program_finds_stream_and_kind_by_these_names() -> None:
    assert journal_key.stream() == rotation.STREAM
    assert f"{noun(journal_key)}.{journal_key.KeyRotated.__name__}" == rotation.KIND
    assert {"old", "new", "signed_by_old", "signed_by_new"} <= set(journal_key.KeyRotated.__struct_fields__)
