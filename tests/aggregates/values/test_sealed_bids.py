"""Sealed bids: the bytes that anybody who seals or checks one has to come to."""

from hashlib import sha256
from pathlib import Path

from aggregates.values.sealed_bids import commitment_of, sealed_text

PAGE = Path(__file__).parents[3] / "docs" / "coordination.md"
VECTOR = (
    b"gavel sealed bid v1\n"
    b"01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c2e\n"
    b"1\n"
    b"ann\n"
    b"3fe0000000000000\n"
    b"4034000000000000\n"
    b"3feccccccccccccd\n"
    b"0000000000000000\n"
    b"000102030405060708090a0b0c0d0e0f\n"
)


def test_the_bytes_are_those_of_the_test_vector_in_the_documents() -> None:
    text = sealed_text(
        task_id="01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c2e",
        round=1,
        agent_id="ann",
        price=0.5,
        eta_seconds=20.0,
        confidence=0.9,
        capacity_offer=0.0,
        salt="000102030405060708090a0b0c0d0e0f",
    )
    assert text == VECTOR
    assert commitment_of(text) == sha256(VECTOR).hexdigest()
    assert commitment_of(text) in PAGE.read_text(encoding="utf-8")
