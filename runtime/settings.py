"""Settings: a frozen struct says what there is; files and the environment say what holds; every fault is named at once.

One annotated field is the one definition of a setting: its type, bounds and default, its meaning, the other names that
it answers to, and whether any part acts on it. Later sources win: defaults, the files in their order, the environment.

An environment name that nobody knows is no fault, although an unknown key in a file is one: a cluster sets
`<SERVICE>_PORT` and the like for every service, so that a service of our name would keep us from starting.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, structs

from runtime.settings_files import FileFaulty, read_file

T = TypeVar("T", bound=Struct)


class SettingsFaulty(Exception):
    """Some settings cannot be used; `faults` names each with its source."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Given(Struct, frozen=True):
    """A value as it was given, under the name that was written, and in which line of a file, where that is known. `lines` are those of what
    stands within it."""

    label: str
    value: Any
    line: int = 0
    lines: dict[str, int] = {}


class Source(Struct, frozen=True, kw_only=True):
    """What one file or the environment gives, by setting. Text is read leniently: "8" is a number there."""

    name: str
    given_by_name: dict[str, Given] = {}
    faults: tuple[str, ...] = ()
    text: bool = False


class Row(Struct, frozen=True, kw_only=True):
    """One line of the listing: a setting, what it may be, what it is and why."""

    name: str
    type: str
    default: str
    meaning: str
    environment: tuple[str, ...]
    keys: tuple[str, ...]
    used: bool
    value: str
    source: str
    over: tuple[str, ...] = ()
    """Who had said something else, the last first."""


class Resolved(Struct, Generic[T], frozen=True, kw_only=True):
    """The settings, and for each field that is not at its default the source that set it, and those that it won over."""

    settings: T
    source_by_name: dict[str, str]
    over_by_name: dict[str, tuple[str, ...]] = {}


def about(
    meaning: str,
    *aliases: str,
    used: bool = True,
    secret: bool = False,
    default_shown: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
) -> Meta:
    """Describe a field. An alias in capitals is a name in the environment, any other a dotted key in a file."""
    bounds = {"ge": ge, "gt": gt, "le": le, "pattern": pattern}
    given: dict[str, Any] = {name: bound for name, bound in bounds.items() if bound is not None}
    extra = {"aliases": aliases, "used": used, "secret": secret, "default_shown": default_shown}
    return Meta(description=meaning, extra=extra, **given)


class _Field(Struct, frozen=True, kw_only=True):
    name: str
    annotation: Any
    default: Any
    meta: Meta

    @property
    def extra(self) -> dict[str, Any]:
        return self.meta.extra or {}

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(alias for alias in self.extra["aliases"] if not alias.isupper())

    def environment(self, prefix: str) -> tuple[str, ...]:
        """Its names in the environment, the own one first: it wins over the aliases."""
        return (prefix + self.name.upper(), *(alias for alias in self.extra["aliases"] if alias.isupper()))


def fields_of(table: type[T]) -> tuple[_Field, ...]:
    """Read the table's definition; two settings that answer to one name are a mistake of ours."""
    hints = get_type_hints(table, include_extras=True)
    fields = tuple(
        _Field(
            name=field.name,
            annotation=hints[field.name],
            default=field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
            meta=next(meta for meta in hints[field.name].__metadata__ if isinstance(meta, Meta)),
        )
        for field in structs.fields(table)
    )
    names = [name for field in fields for name in (field.name, *field.extra["aliases"])]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)
    return fields


def environment_source(table: type[T], environ: Mapping[str, str], prefix: str) -> Source:
    """Pick what the environment says. An empty value counts as none: compose files pass on unset variables so."""
    given = {}
    for field in fields_of(table):
        label = next((name for name in field.environment(prefix) if environ.get(name)), None)
        if label is not None:
            given[field.name] = Given(label, environ[label])
    return Source(name="environment", given_by_name=given, text=True)


def file_source(table: type[T], path: Path) -> Source:
    """Read a TOML or YAML file: own names, or the dotted keys that settings answer to."""
    try:
        content, lines, faults = read_file(path)
    except FileFaulty as error:
        return Source(name=str(path), faults=(f"{path}: {error}",))
    name_by_key = {key: field.name for field in fields_of(table) for key in (field.name, *field.keys)}
    leaves = dict(_leaves(content, name_by_key))
    return Source(
        name=str(path),
        given_by_name={
            name_by_key[key]: Given(key, value, lines.get(key, 0), lines)
            for key, value in leaves.items()
            if key in name_by_key
        },
        faults=(
            *(f"{path}: {fault}" for fault in faults),
            *(
                f"{_place(str(path), lines.get(key, 0))}: {key}: no such setting{_meant(key, name_by_key)}"
                for key in leaves
                if key not in name_by_key
            ),
        ),
    )


def _place(source: str, line: int) -> str:
    return f"{source}, line {line}" if line else source


def _leaves(content: Mapping[Any, Any], known: Mapping[str, str], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        dotted = f"{above}{key}"
        leads_on = any(name.startswith(f"{dotted}.") for name in known)
        if isinstance(value, Mapping) and dotted not in known and leads_on:
            yield from _leaves(value, known, f"{dotted}.")
        else:
            yield dotted, value


def _meant(key: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def resolve(table: type[T], sources: Sequence[Source]) -> Resolved[T]:
    """Lay the sources on top of each other; the last that names a setting wins. `SettingsFaulty` names every fault."""
    values: dict[str, Any] = {}
    said_by_name: dict[str, list[str]] = {}
    faults = [fault for source in sources for fault in source.faults]
    annotation_by_name = {field.name: field.annotation for field in fields_of(table)}
    for source in sources:
        for name, given in source.given_by_name.items():
            annotation = annotation_by_name[name]
            if found := _member_faults(source, given, annotation):
                faults += found
                continue
            try:
                values[name] = _convert(given.value, annotation, source.text)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                faults.append(f"{_place(source.name, given.line)}: {given.label}: {_shown_fault(error)}")
            else:
                said_by_name.setdefault(name, []).insert(0, f"{source.name} ({given.label})")
    if faults:
        raise SettingsFaulty(faults)
    return Resolved(
        settings=table(**values),
        source_by_name={name: said[0] for name, said in said_by_name.items()},
        over_by_name={name: tuple(said[1:]) for name, said in said_by_name.items() if len(said) > 1},
    )


def _member_faults(source: Source, given: Given, annotation: Any) -> list[str]:
    """What is wrong with each member of a mapping by itself."""
    plain = get_args(annotation)[0]
    if not (isinstance(plain, type) and issubclass(plain, Struct) and isinstance(given.value, Mapping)):
        return []
    hints, found = get_type_hints(plain, include_extras=True), []
    for key, value in given.value.items():
        dotted = f"{given.label}.{key}"
        where = f"{_place(source.name, given.lines.get(dotted, 0))}: {dotted}"
        if key not in hints:
            found.append(f"{where}: no such setting{_meant(str(key), hints)}")
            continue
        try:
            msgspec.convert(value, hints[key])
        except msgspec.ValidationError as error:
            found.append(f"{where}: {_shown_fault(error)}")
    return found


def _convert(value: Any, annotation: Any, text: bool) -> Any:
    plain = get_args(annotation)[0]
    if text and get_origin(plain) is tuple:
        value = [part.strip() for part in value.split(",")]
    elif text and isinstance(plain, type) and issubclass(plain, Struct):
        value = msgspec.json.decode(value)
    return msgspec.convert(value, annotation, strict=not text, dec_hook=_path)


def _path(expected: type, value: Any) -> Any:
    if expected is not Path or not isinstance(value, str):
        raise msgspec.ValidationError(f"Expected `{expected.__name__}`, got `{type(value).__name__}`")
    return Path(value).expanduser()


def _shown_fault(error: Exception) -> str:
    return str(error).replace(" - at `$.", " at `")


@cache
def secrets_of(table: type[T]) -> frozenset[str]:
    """The names of the settings whose values are nobody's business."""
    return frozenset(field.name for field in fields_of(table) if field.extra["secret"])


def rows(resolved: Resolved[T], prefix: str) -> list[Row]:
    """List every setting; a secret shows only whether it is set."""
    return [_row(field, resolved, prefix) for field in fields_of(type(resolved.settings))]


def _row(field: _Field, resolved: Resolved[T], prefix: str) -> Row:
    shown = field.extra["default_shown"]
    value = getattr(resolved.settings, field.name)
    return Row(
        name=field.name,
        type=_type_shown(field.annotation),
        default=_shown(field.default) if shown is None else shown,
        meaning=field.meta.description or "",
        environment=field.environment(prefix),
        keys=field.keys,
        used=field.extra["used"],
        value=("set" if value else "not set") if field.extra["secret"] else _shown(value),
        source=resolved.source_by_name.get(field.name, "default"),
        over=resolved.over_by_name.get(field.name, ()),
    )


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str | Path):
        return str(value or "")
    if isinstance(value, tuple):
        return ",".join(value)
    return msgspec.json.encode(value).decode()


NAME_BY_TYPE = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}


def _type_shown(annotation: Any) -> str:
    plain, meta = get_args(annotation)[0], get_args(annotation)[1]
    bounds = (">=", meta.ge), (">", meta.gt), ("<=", meta.le)
    limits = ", ".join(f"{sign} {limit}" for sign, limit in bounds if limit is not None)
    return f"{_plain_type_shown(plain)} {limits}".rstrip()


def _plain_type_shown(plain: Any) -> str:
    if get_origin(plain) is tuple:
        return "list of text"
    if get_origin(plain) is Literal:
        return " or ".join(get_args(plain))
    if get_args(plain):
        return _plain_type_shown(get_args(plain)[0])
    return NAME_BY_TYPE.get(plain, "mapping")


def markdown(listing: Sequence[Row]) -> str:
    """Render the listing as a table for people, without the values that hold on this machine."""
    lines = ["| setting | type | default | meaning | also answers to |", "| --- | --- | --- | --- | --- |"]
    for row in listing:
        meaning = row.meaning if row.used else f"{row.meaning} *(read; no part acts on it yet)*"
        aliases = ", ".join(f"`{alias}`" for alias in (*row.environment[1:], *row.keys))
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.environment[0]}` | {row.type} | {default} | {meaning} | {aliases} |")
    return "\n".join(lines) + "\n"
