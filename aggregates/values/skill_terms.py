"""Skills beyond their names: the versions and attributes that agents offer and tasks ask for, and whether the one serves the other.

An offer serves a need of the same name when its version lies in the range that is asked for, and each attribute that is asked for has one
of the wanted values among the offered ones. An agent may offer a skill several times: one offer has to serve the whole need.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from aggregates.values.document import Flaw, encoded
from aggregates.values.skills import Skill, missing
from aggregates.values.versions import Version, VersionRange, contains, numbers, range_faults

AttributeValue = (
    Annotated[str, Meta(max_length=64, pattern=r"^[^\x00]*$")]
    | bool
    | Annotated[int, Meta(ge=-(2**53), le=2**53)]
    | Annotated[float, Meta(ge=-1e300, le=1e300)]
)
Attributes = Annotated[
    dict[Skill, AttributeValue | Annotated[tuple[AttributeValue, ...], Meta(min_length=1, max_length=8)]],
    Meta(max_length=8),
]
"""By their names: a value, or several."""
OVERHEAD = 48
"""About how many bytes a record takes for the names of an offer's fields."""


class SkillOffer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A skill that an agent has: its version, and what else there is to say of it."""

    name: Skill
    version: Version = ""
    attributes: Attributes = {}


class SkillNeed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A skill that a task needs: `version` is a range such as `>=2.1,<3`; of each attribute, any of the values will do."""

    name: Skill
    version: VersionRange = ""
    attributes: Attributes = {}


SkillOffers = Annotated[tuple[SkillOffer, ...], Meta(max_length=64)]
SkillNeeds = Annotated[tuple[SkillNeed, ...], Meta(max_length=16)]


def evidence(needs: Iterable[SkillNeed], offers: Sequence[SkillOffer]) -> tuple[SkillOffer, ...]:
    """What of an agent's offers shows that it serves these needs, and no more: for each that is served, the first offer that does."""
    found: list[SkillOffer] = []
    for need in needs:
        offer = next((one for one in offers if _serves(one, need)), None)
        if offer is not None:
            shown: Attributes = {key: _common(need, offer, key)[0] for key in sorted(need.attributes)}
            found.append(SkillOffer(name=need.name, version=offer.version if need.version else "", attributes=shown))
    return tuple(found)


def serve(offers: Sequence[SkillOffer], needs: Iterable[SkillNeed]) -> bool:
    """Whether each need is served by an offer."""
    return all(any(_serves(offer, need) for offer in offers) for need in needs)


def _serves(offer: SkillOffer, need: SkillNeed) -> bool:
    return (
        offer.name == need.name
        and contains(need.version, offer.version)
        and all(_common(need, offer, key) for key in need.attributes)
    )


def _common(need: SkillNeed, offer: SkillOffer, key: str) -> list[AttributeValue]:
    """The values of an attribute that are wanted and offered; 1 is no `true`."""
    wanted = [(type(one) is bool, one) for one in _values(need.attributes, key)]
    return [one for one in _values(offer.attributes, key) if (type(one) is bool, one) in wanted]


def _values(attributes: Attributes, key: str) -> tuple[AttributeValue, ...]:
    said = attributes.get(key, ())
    return said if isinstance(said, tuple) else (said,)


def offers_in_order(offers: Iterable[SkillOffer]) -> tuple[SkillOffer, ...]:
    """Each offer once, by name and version."""
    once = {encoded(one): one for one in offers}
    return tuple(once[text] for text in sorted(once, key=lambda text: (*_order(once[text]), text)))


def needs_in_order(needs: Sequence[SkillNeed]) -> tuple[SkillNeed, ...]:
    """Each need once, by name."""
    if not needs:
        return ()
    once = {encoded(one): one for one in needs}
    return tuple(once[text] for text in sorted(once, key=lambda text: (once[text].name, text)))


def _order(offer: SkillOffer) -> tuple[str, tuple[int, ...]]:
    return offer.name, numbers(offer.version) if offer.version else ()


def unlisted(offers: Iterable[SkillOffer], capabilities: Iterable[str]) -> tuple[str, ...]:
    """The offered skills whose names are none of the capabilities."""
    return missing((one.name for one in offers), capabilities)


def need_faults(needs: Sequence[SkillNeed]) -> list[Flaw]:
    """All that is wrong with the ranges that are asked for."""
    return [
        Flaw(f"/skills/{index}/version", fault)
        for index, need in enumerate(needs)
        for fault in range_faults(need.version)
    ]


def weight(needs: Iterable[SkillNeed]) -> int:
    """About how many bytes the evidence for these takes at most."""
    return sum(
        OVERHEAD
        + len(need.name)
        + (len(need.version) and OVERHEAD)
        + sum(len(key) + max(len(str(one)) for one in _values(need.attributes, key)) for key in need.attributes)
        for need in needs
    )
