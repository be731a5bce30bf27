"""Odd values of whatever type a body has: on its bounds, past what others can hold, and in no common script."""

import math
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from msgspec import inspect

TEXTS = (
    "", " ", "a", "0", "null", "-1", "\u0301", "\u202eabc\u202c", "\u05e9\u05dc\u05d5\u05dd", "\U0001f600",
    "\U0010ffff", "\ufffe", "\ufdd0", "\u2028", "\ufeff", "\x7f", "\x01", "\r\n", "__proto__", "constructor",
    "task-", "subject:", "agent:ann", "a/b", "a%2fb", "%00", "..", "~0~1", "$.a", "#/a", "'; --", '"', "\\",
    "\\u0000", "{}", "\u0130", "\u00df", "\ufb01", "x" * 64, "x" * 100, "\u20ac" * 500, "\U0001f600" * 2000,
    "9" * 30, "1e400", "actor:solver", "cutting", "UTC", "09:00", "24:00", "00:00", "23:59", ">=1,<2", "1.2.3",
    "999999999.0.0.0.0.0.0.1", "Europe/Berlin", "America", "Pacific/Apia", "leapseconds", "2026-01-31T12:00:00Z",
    "a@example.org", "task.TaskAwarded", "0" * 64,
)  # fmt: skip
WHOLES = (0, 1, -1, 2, 7, 100, 2**31 - 1, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1)
FLOATS = (
    *(0.0, -0.0, 0.1, 0.5, 1.0, 1 - 2**-53, 1 + 2**-52, 5e-324, 2.2250738585072014e-308, 1e-9, 1e300, 1e308),
    *(-1e308, 2.0**31, 2.0**53, 2.0**63, 2.0**64, 3e9, 60.0, 3600.0, 86400.0, 5.0),
)
MOMENTS = (
    *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2999-12-31T23:59:59Z", "1969-12-31T23:59:59Z"),
    *("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2100-02-28T23:59:59.999999999Z"),
)
DEEP = 29


class Odd:
    """Makes values by chance; `known` has the names of things that are there, by the field that names one."""

    def __init__(self, chance: Random, known: Mapping[str, Sequence[str]]) -> None:
        self.chance = chance
        self._known = known

    def value(self, kind: Any) -> Any:
        """A value of a type, as plain values; now and then one that the type does not take."""
        return self._make(inspect.type_info(kind), "")

    def _make(self, kind: Any, name: str) -> Any:
        chance = self.chance
        match kind:
            case inspect.Metadata():
                return self._make(kind.type, name)
            case inspect.StrType():
                return self._text(kind, name)
            case inspect.IntType():
                return self._number(kind, WHOLES)
            case inspect.FloatType():
                return self._number(kind, (*FLOATS, *WHOLES))
            case inspect.BoolType():
                return chance.random() < 0.5
            case inspect.NoneType():
                return None
            case inspect.EnumType():
                return chance.choice(list(kind.cls)).value
            case inspect.LiteralType():
                return chance.choice(kind.values)
            case inspect.DateTimeType():
                return chance.choice(MOMENTS)
            case inspect.UnionType():
                return self._make(chance.choice(kind.types), name)
            case inspect.StructType():
                return self._object(kind)
            case inspect.DictType():
                return self._mapping(kind, name)
            case inspect.AnyType():
                return self._anything(3)
        return [self._make(kind.item_type, name) for _ in range(self._count(kind))]

    def _object(self, kind: inspect.StructType) -> dict[str, Any]:
        fields = [field for field in kind.fields if field.required or self.chance.random() < 0.35]
        made = {field.encode_name: self._make(field.type, field.encode_name) for field in fields}
        return made if kind.tag_field is None else made | {kind.tag_field: kind.tag}

    def _mapping(self, kind: inspect.DictType, name: str) -> dict[str, Any]:
        if isinstance(kind.value_type, inspect.AnyType):
            return self._document()
        return {self._make(kind.key_type, name): self._make(kind.value_type, name) for _ in range(self._count(kind))}

    def _count(self, kind: Any) -> int:
        least, most = kind.min_length or 0, kind.max_length or 4
        return self.chance.choice([least, *(min(most, least + more) for more in (1, 2, 8))])

    def _number(self, kind: Any, among: Sequence[float]) -> float:
        bounds: list[float] = [one for one in (kind.gt, kind.ge, kind.lt, kind.le) if one is not None]
        beside = [*bounds, *(one + step for one in bounds for step in (-1, 1)), *among]
        if isinstance(kind, inspect.FloatType):
            beside += [math.nextafter(one, way) for one in bounds for way in (-math.inf, math.inf)]
        fit = [one for one in beside if _fits(kind, one)]
        return self.chance.choice(beside if self.chance.random() < 0.02 else fit)

    def _text(self, kind: inspect.StrType, name: str) -> str:
        there = self._known.get(name)
        if there and self.chance.random() < 0.8:
            return self.chance.choice(there)
        least, most = kind.min_length or 0, kind.max_length
        cut = (one[:most] for one in TEXTS)
        fit = [one for one in cut if len(one) >= least and (kind.pattern is None or re.search(kind.pattern, one))]
        return self.chance.choice(fit if fit and self.chance.random() > 0.02 else TEXTS)

    def _document(self) -> dict[str, Any]:
        chance = self.chance
        which = chance.random()
        if which < 0.1:
            deep: Any = chance.choice(WHOLES)
            for _ in range(DEEP):
                deep = {chance.choice(("a", "\0", "")): deep} if chance.random() < 0.5 else [deep]
            return {"deep": deep}
        if which < 0.2:
            return {"resources": {chance.choice(TEXTS): chance.choice((*FLOATS, *WHOLES)) for _ in range(2)}}
        return {chance.choice((*TEXTS, "\0")): self._anything(2) for _ in range(chance.randrange(4))}

    def _anything(self, levels: int) -> Any:
        chance = self.chance
        which = chance.randrange(6 if levels else 4)
        if which == 4:
            return [self._anything(levels - 1) for _ in range(chance.randrange(3))]
        if which == 5:
            return {chance.choice(TEXTS): self._anything(levels - 1) for _ in range(chance.randrange(3))}
        return chance.choice(((*TEXTS, "\0"), WHOLES, FLOATS, (None, True, False))[which])


def _fits(kind: Any, one: float) -> bool:
    return (
        (kind.gt is None or one > kind.gt)
        and (kind.ge is None or one >= kind.ge)
        and (kind.lt is None or one < kind.lt)
        and (kind.le is None or one <= kind.le)
    )
