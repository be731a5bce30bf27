"""Reads a file of settings, TOML or YAML, with the line in which each key of a YAML file stands."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class FileFaulty(Exception):
    """The file can't be read, or is none."""


class Content(NamedTuple):
    """What stands in a file; `lines` are by dotted key (none of a TOML file), `faults` are keys that stand there twice."""

    values: dict[Any, Any]
    lines: dict[str, int]
    faults: tuple[str, ...] = ()


def read_file(path: Path) -> Content:
    """Raises FileFaulty."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            return Content(tomllib.loads(text), {})
        values, root = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise FileFaulty(error.strerror) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise FileFaulty(" ".join(str(error).split())) from error
    if not isinstance(values, dict | None):
        raise FileFaulty(f"a mapping is expected, not a {type(values).__name__}")
    lines: dict[str, int] = {}
    faults = []
    for key, line in _keys(root):
        if key in lines:  # YAML forbids it; the library takes the last one and says nothing
            faults.append(f"line {line}: {key}: stands in line {lines[key]} too")
        lines.setdefault(key, line)
    return Content(values or {}, lines, tuple(faults))


def _keys(node: yaml.Node | None, above: str = "") -> Iterator[tuple[str, int]]:
    """Every key of a mapping and of those in it, dotted, with its line."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        dotted = f"{above}{key.value}"
        yield dotted, key.start_mark.line + 1
        yield from _keys(value, f"{dotted}.")
