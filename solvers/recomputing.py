"""Values of assignments straight from the documents that aren't lines of terms: our JSON, dimod's files, LP, arrays.

Like `verify`, it shares nothing with the readers: it walks each file anew, slowly and plainly, over Python's own numbers.
"""

import io
import json
import math
import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Number = int | float
POWER = r"(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"


def total_of(weights: Iterable[Number]) -> Number:
    """The exact sum of whole numbers, the correctly rounded sum of others."""
    listed = list(weights)
    return sum(listed) if all(isinstance(weight, int) for weight in listed) else math.fsum(listed)


def number(text: str) -> Number:
    try:
        return int(text)
    except ValueError:
        return float(text)


def check_length(variables: int, x: list[int]) -> None:
    if variables != len(x):
        raise ValueError(f"the problem has {variables} variables, the assignment {len(x)}")


def _json_value(data: bytes, x: list[int]) -> Number:
    document = json.loads(data)
    check_length(document["variables"], x)
    linear = [weight for i, weight in document.get("linear", []) if x[i]]
    quadratic = [weight for i, j, weight in document.get("quadratic", []) if x[i] and x[j]]
    return total_of([document.get("offset", 0), *linear, *quadratic])


def _coo_value(data: bytes, x: list[int]) -> Number:
    text = data.decode("ascii")
    spins = [2 * bit - 1 for bit in x] if re.search("vartype[:=][ \t]*SPIN", text) else x
    weights: list[Number] = []
    variables = 0
    for line in text.split("\n"):
        fields = line.split()
        if fields and fields[0][0] not in "c#":
            i, j, weight = int(fields[0]), int(fields[1]), number(fields[2])
            variables = max(variables, i + 1, j + 1)
            weights.append(weight * (spins[i] if i == j else spins[i] * spins[j]) if variables <= len(x) else 0)
    check_length(variables, x)
    return total_of(weights)


def _bqm_value(data: bytes, x: list[int]) -> Number:
    (size,) = struct.unpack_from("<I", data, 10)
    header = json.loads(data[14 : 14 + size])
    variables, couplings = header["shape"]
    check_length(variables, x)
    kinds = {"float64": "d", "float32": "f", "int8": "b", "int16": "h", "int32": "i", "int64": "q"}
    kinds |= {"uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q"}
    bias, index, start = (kinds[header[key]] for key in ("dtype", "itype", "ntype"))
    spins = [2 * bit - 1 for bit in x] if header["vartype"] == "SPIN" else x
    position = 14 + size
    weights = [struct.unpack_from(f"<{bias}", data, position)[0]]
    position += struct.calcsize(bias)
    ends: list[int] = []
    for i in range(variables):
        begin, weight = struct.unpack_from(f"<{start}{bias}", data, position)
        position += struct.calcsize(f"<{start}{bias}")
        ends += [i - 1] * (begin - len(ends))
        weights.append(weight * spins[i])
    ends += [variables - 1] * (2 * couplings - len(ends))
    for i in ends:
        j, weight = struct.unpack_from(f"<{index}{bias}", data, position)
        position += struct.calcsize(f"<{index}{bias}")
        weights.append(weight / 2 * spins[i] * spins[j])
    value = float(total_of(weights))
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _lp_value(data: bytes, x: list[int]) -> Number:
    """The objective with 0 and 1 in place of names, as sums of products."""
    text = re.sub(r"\\[^\n]*", "", data.decode("ascii"))
    sections = re.split(r"(?im)^\s*(subject to|such that|s\.?t\.?|bounds?|binar(?:y|ies)|bin|generals?|end)\b", text)
    objective = re.sub(r"^\s*\w+(\s+[^\s:]+\s*:)?", "", sections[0])
    listed = [
        section for word, section in zip(sections[1::2], sections[2::2], strict=True) if word.lower()[:3] == "bin"
    ]
    names = list(dict.fromkeys(name for section in listed for name in section.split()))
    check_length(len(names), x)
    bit_by_name = dict(zip(names, x, strict=True))
    weights: list[Number] = []
    for sign, factor, inside, half in re.findall(rf"([+-]?)\s*({POWER}?)\s*\[([^]]*)\]\s*(/\s*2)?", objective):
        scale = (-1 if sign == "-" else 1) * number(factor or "1")
        found = [weight * scale for weight in _lp_terms(inside, bit_by_name)]
        weights += map(_half, found) if half else found
    rest = re.sub(rf"[+-]?\s*{POWER}?\s*\[[^]]*\]\s*(/\s*2)?", " ", objective)
    return total_of([*weights, *_lp_terms(rest, bit_by_name)])


def _half(weight: Number) -> Number:
    return weight // 2 if isinstance(weight, int) and weight % 2 == 0 else weight / 2


def _lp_terms(text: str, bit_by_name: dict[str, int]) -> Iterable[Number]:
    plain = re.sub(r"\s*\^\s*2", "", text)
    term = rf"([+-]?)\s*({POWER})?\s*([^\s\d.+*-][^\s*+-]*(?:\s*\*\s*[^\s*+-]+)?)?"
    for sign, factor, product in re.findall(term, plain):
        if factor or product:
            bits = [bit_by_name[name.strip()] for name in product.split("*")] if product else []
            yield (-1 if sign == "-" else 1) * number(factor or "1") * math.prod(bits)


def _array_value(data: bytes, x: list[int]) -> Number:
    if data.startswith(b"\x93NUMPY"):
        dense: Any = np.load(io.BytesIO(data), allow_pickle=False)
        check_length(len(dense), x)
        chosen = np.flatnonzero(x)
        return total_of(dense[np.ix_(chosen, chosen)].ravel().tolist())
    from scipy import sparse

    matrix = sparse.coo_array(sparse.load_npz(io.BytesIO(data)))
    check_length(matrix.shape[0], x)
    own = np.load(io.BytesIO(data), allow_pickle=False)
    terms = list(zip(matrix.coords[0].tolist(), matrix.coords[1].tolist(), matrix.data.tolist(), strict=True))
    if "gavel_sense" not in own.files:
        return total_of(weight for i, j, weight in terms if x[i] and x[j])
    convention, linear = own["gavel_convention"].item().decode(), own["gavel_linear"].tolist()
    spins = [2 * bit - 1 for bit in x] if convention == "spins" else x
    singles = [] if convention == "max-cut" else [weight * spin for weight, spin in zip(linear, spins, strict=True)]
    if convention == "max-cut":
        pairs = [weight for i, j, weight in terms if x[i] != x[j]]
    else:
        factor = 2 if convention == "counted-twice" else 1
        pairs = [factor * weight * spins[i] * spins[j] for i, j, weight in terms]
    return total_of([own["gavel_offset"].item(), *singles, *pairs])


VALUES: dict[str, Callable[[bytes, list[int]], Number]] = {
    "bqm": _bqm_value,
    "coo": _coo_value,
    "json": _json_value,
    "lp": _lp_value,
    "npz": _array_value,
}
