"""Skills: what a task needs and an agent offers, by name."""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

Skill = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$(?!\n)")]
Region = Annotated[str, Meta(max_length=64, pattern=r"^(?:[A-Za-z0-9][A-Za-z0-9_.:-]*)?$(?!\n)")]
"""Where an agent is, in the operator's own words; empty where nobody says."""
Regions = Annotated[tuple[Skill, ...], Meta(max_length=16)]
Skills = Annotated[tuple[Skill, ...], Meta(max_length=64)]


def missing(needed: Iterable[str], offered: Iterable[str]) -> tuple[str, ...]:
    """The needed skills that are not offered, in the order of the alphabet."""
    return tuple(sorted(set(needed) - set(offered)))
