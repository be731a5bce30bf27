"""Our own problem format: one JSON document, each term counted once.

`{"format": "gavel-qubo/1", "name": "…", "sense": "min" or "max", "variables": n, "linear": [[i, w], …],
"quadratic": [[i, j, w], …], "offset": w}`; indices count from 0, name, both lists and offset may be left out.
"""

import json
from typing import Any

import numpy as np

from solvers.formats.lines import FormatError
from solvers.qubo import Convention, Qubo, Sense, check_size

JSON_FORMAT = "gavel-qubo/1"
BYTES_PER_BYTE = 24  # an empty list of three characters takes 64 bytes, a term of ten 150


def write_json(qubo: Qubo) -> bytes:
    """Our own format. What is not counted once becomes so, with the same values; labels are left out."""
    once = qubo.counted_once()
    linear = once.linear
    terms = zip(*(part.tolist() for part in once.terms()), strict=True)
    document = {
        "format": JSON_FORMAT,
        "name": qubo.name,
        "sense": qubo.sense,
        "variables": qubo.variables,
        "linear": [[int(i), linear[i].item()] for i in np.flatnonzero(linear)],
        "quadratic": [list(term) for term in terms],
        "offset": once.offset,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def read_json(data: bytes, name: str, memory_bytes_max: int) -> list[Qubo]:
    if BYTES_PER_BYTE * len(data) > memory_bytes_max:
        raise FormatError(0, f"reading {len(data)} bytes of JSON takes more than the {memory_bytes_max} bytes allowed")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FormatError(error.lineno, error.msg) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise FormatError(0, f"not JSON: {error}") from None
    _check_document(document)
    variables = document["variables"]
    linear, quadratic = _json_terms(document, "linear", 2), _json_terms(document, "quadratic", 3)
    listed = [(i, i, w) for i, w in linear] + [(i, j, w) for i, j, w in quadratic]
    integer = all(isinstance(weight, int) for _, _, weight in listed)
    rows, columns = ([term[part] for term in listed] for part in (0, 1))
    sense: Sense = document["sense"]
    try:
        check_size(variables, len(listed), memory_bytes_max)
        weights = np.array([term[2] for term in listed], np.int64 if integer else np.float64)
        terms = (np.array(rows, np.int32), np.array(columns, np.int32), weights)
        offset, limit = document.get("offset", 0), memory_bytes_max
        called = document.get("name") or name
        once = Convention.COUNTED_ONCE
        return [
            Qubo.from_terms(
                variables, terms, convention=once, sense=sense, name=called, offset=offset, memory_bytes_max=limit
            )
        ]
    except (ValueError, OverflowError) as error:
        raise FormatError(0, str(error)) from None


def _refuse_constant(text: str) -> None:
    raise FormatError(0, f"a coefficient should be finite, not {text}")


def _check_document(document: Any) -> None:
    """Every field but the terms themselves."""
    if not isinstance(document, dict) or document.get("format") != JSON_FORMAT:
        raise FormatError(0, f'/format: should be "{JSON_FORMAT}"')
    unknown = sorted(set(document) - {"format", "name", "sense", "variables", "linear", "quadratic", "offset"})
    if unknown:
        raise FormatError(0, f"/{unknown[0]}: an unknown field")
    if document.get("sense") not in ("min", "max"):
        raise FormatError(0, '/sense: should be "min" or "max"')
    if not _is_whole(document.get("variables")) or document["variables"] < 0:
        raise FormatError(0, "/variables: should be a whole number, zero or more")
    if not isinstance(document.get("name", ""), str):
        raise FormatError(0, "/name: should be a string")
    if not _is_number(document.get("offset", 0)):
        raise FormatError(0, "/offset: should be a finite number")


def _json_terms(document: dict[str, Any], field: str, size: int) -> list[list[Any]]:
    """The list of [i, w] or [i, j, w], each checked, or an error that points at the wrong one."""
    terms = document.get(field, [])
    if not isinstance(terms, list):
        raise FormatError(0, f"/{field}: should be a list")
    variables = document["variables"]
    for number, term in enumerate(terms):
        if not isinstance(term, list) or len(term) != size or not _is_number(term[-1]):
            raise FormatError(0, f"/{field}/{number}: should be {size - 1} indices and a finite weight of 64 bits")
        for index in term[:-1]:
            if not _is_whole(index) or not 0 <= index < variables:
                raise FormatError(0, f"/{field}/{number}: index {index!r} is out of range 0 to {variables - 1}")
    return terms


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Finite, and within 64 bits where whole."""
    if isinstance(value, float):
        return abs(value) < float("inf")
    return _is_whole(value) and -(2**63) < value < 2**63
