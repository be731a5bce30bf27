"""Request bodies: the body type of a command is the command without what the house sets, and a bad body is told every fault.

The fast path is one typed decode by msgspec, which stops at the first fault. Only when it fails are all faults looked for, by
JSON schema over the same type, and then field by field by msgspec itself for what a schema can't say.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from functools import cache, reduce
from itertools import islice
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

import msgpack
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from aggregates.values.pointers import child
from gateway.api.faults import schema_faults
from gateway.api.problems import BadRequest, Fault
from gateway.door.bounds import WHOLE_BODY
from gateway.door.heads import said
from runtime.records import HOUSE, Command, is_marked, marked

SECRET: dict[str, Any] = {"format": "password", "writeOnly": True}
"""The JSON schema of a field whose value is nobody's business: not even a digest of it is kept."""

T = TypeVar("T")
C = TypeVar("C", bound=Command[Any])

JSON, MSGPACK = "application/json", "application/msgpack"
BODY_BYTES_MAX = 8 * 2**20
FAULTS_MAX = 100
NO_NUL = msgspec.Meta(pattern=r"^[^\x00]*$")
WHOLE_MAX = 2**53
"""Up to here, a float names one integer."""

STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
SMALL = 2**53
"""A number below it, which is finite, is not odd."""
MAY_BE_ODD = {
    JSON: re.compile(rb"[0-9]{19}"),
    MSGPACK: re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]|\xca[\x7f\xff][\x80-\xff]"),
}
"""What stands in every body that holds a number beyond 64 bits, or one that is none: in hardly any other."""

MAY_BE_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""What stands in every JSON text that holds half of a surrogate pair, which is no character: nothing that holds it can be written again."""

GLANCE_BYTES_MAX = 2048
GLANCE_LEVELS = 8
HOLDERS = frozenset({dict, list})
FIXMAP = 0x80
"""How an object of up to fifteen keys begins in msgpack, their number in the lower half."""


class _Taken(msgspec.Struct, frozen=True):
    """Base of all body types; `elsewhere` says who sets the fields that a body may not carry."""


@cache
def body_type(command_type: type[Command[Any]], *, path: tuple[str, ...] = ()) -> type[msgspec.Struct]:
    """The HTTP body of a command: without its house fields and those named in `path`, with unknown fields forbidden."""
    elsewhere: dict[str, str] = {}
    fields: list[Any] = []
    for field in msgspec.structs.fields(command_type):
        if is_marked(field.type, HOUSE):
            elsewhere[field.encode_name] = "the house"
        elif field.name in path:
            elsewhere[field.encode_name] = "the path"
        else:
            fields.append((field.name, without_nul(field.type), _default(field)))
    return msgspec.defstruct(
        f"{command_type.__name__}Body",
        fields,
        bases=(_Taken,),
        namespace={"elsewhere": elsewhere, "__doc__": command_type.__doc__},
        module=command_type.__module__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def without_nul(kind: Any) -> Any:
    """A type whose texts hold no NUL, unless it has a pattern of its own: PostgreSQL can't store one, and no text needs it."""
    arguments = get_args(kind)
    if kind is str:
        return Annotated[str, NO_NUL]
    if get_origin(kind) is Annotated:
        metas = [one for one in arguments[1:] if isinstance(one, msgspec.Meta)]
        has_pattern = any(one.pattern is not None for one in metas)
        return kind if has_pattern else Annotated[(without_nul(arguments[0]), *arguments[1:])]
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(without_nul, arguments))]  # noqa: UP007 — of as many as there are
    return kind


def to_command(command_type: type[C], body: msgspec.Struct, **others: Any) -> C:
    """The command made of a body and of what the house and the path add."""
    return command_type(**msgspec.structs.asdict(body), **others)


async def decode(request: Request, body: type[T], *, bytes_max: int = BODY_BYTES_MAX) -> T:
    """The request's body as a value of that type. Raises `BadRequest` (400, 422) or `HTTPException` (413, 415)."""
    media_type = _media_type(said(request.scope, b"content-type"), said(request.scope, b"content-encoding"))
    return parse(await read(request, bytes_max), body, media_type=media_type)


def parse(raw: bytes, body: type[T], *, media_type: str = JSON) -> T:
    """Decodes bytes (JSON or msgpack) into a value of that type, or raises `BadRequest` with every fault."""
    first: msgspec.ValidationError | None = None
    try:
        value: T = _decoder(cast(Any, body), media_type)(raw)
    except msgspec.ValidationError as error:
        first = error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error
    if first is None and is_plain(raw, media_type):
        return value
    tree, is_odd = _tree(raw, media_type)
    if first is None and not is_odd:
        return value
    if first is not None and not any(True for _ in _oddities(tree)):
        with suppress(msgspec.ValidationError, TypeError, RecursionError):
            return msgspec.convert(_whole(tree), body, str_keys=True)
    raise BadRequest(list(islice(_faults(tree, body, first, is_odd), FAULTS_MAX)), said=tree)


def glance(raw: bytes, body: type[T], *, media_type: str = JSON) -> T | None:
    """The value as it is to a reader who looks for nothing odd; None where something is wrong, which takes much longer to say."""
    try:
        value: T = _decoder(cast(Any, body), media_type)(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value


def parse_valid(raw: bytes, body: type[T], *, media_type: str = JSON) -> T | None:
    """As `parse`, where that has nothing to mend and nothing to say; else None."""
    value = glance(raw, body, media_type=media_type)
    if value is None or is_plain(raw, media_type):
        return value
    try:
        _, is_odd = _tree(raw, media_type)
    except BadRequest:
        return None
    return None if is_odd else value


def without_secrets(body: T) -> T:
    """The body, with what is secret in it left blank."""
    if not isinstance(body, msgspec.Struct):
        return body
    blank = {name: "" for name in marked(type(body), "writeOnly") if getattr(body, name)}
    return msgspec.structs.replace(body, **blank) if blank else body


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(name=field.encode_name, default_factory=field.default_factory)
    return msgspec.field(name=field.encode_name, default=field.default)


def _media_type(content_type: str | None, encoding: str | None) -> str:
    if content_type == JSON and encoding is None:
        return JSON
    media_type = (content_type or "").partition(";")[0].strip().lower()
    accepts = {"Accept": f"{JSON}, {MSGPACK}"}
    if media_type not in {JSON, MSGPACK}:
        raise HTTPException(415, f"the body must be {JSON} or {MSGPACK}, not {media_type or 'unnamed'}", accepts)
    if (encoding or "identity").strip().lower() != "identity":
        raise HTTPException(415, "the body must not be compressed", {**accepts, "Accept-Encoding": "identity"})
    return media_type


async def read(request: Request, bytes_max: int) -> bytes:
    """The body, as long as it may be. Raises HTTPException 413."""
    whole: bytes | None = request.scope.get("extensions", {}).get(WHOLE_BODY)
    if whole is not None and len(whole) <= bytes_max:
        return whole
    body = bytearray()
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            body += part
            if len(body) > bytes_max:
                raise HTTPException(413, f"at most {bytes_max} bytes are taken", {"Connection": "close"})
    return bytes(body)


@cache
def _decoder(body: Any, media_type: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(body).decode if media_type == JSON else msgspec.msgpack.Decoder(body).decode


def _unreadable(error: Exception) -> BadRequest:
    match error:
        case RecursionError() | msgpack.StackError():
            detail = "is nested too deeply"
        case UnicodeDecodeError():
            detail = f"is not UTF-8: {error.reason} at byte {error.start} of a text"
        case UnicodeEncodeError():
            detail = "holds half of a surrogate pair"
        case _:
            detail = f"can't be read: {error}"
    return BadRequest([Fault(pointer="", detail=detail)], status=400)


def is_plain(raw: bytes, media_type: str) -> bool:
    """Whether it is seen at a glance that nothing in a body is odd: of what was decoded once, a plain copy has as many keys as the bytes.

    To look closer, as `_tree` does, takes five times as long as to decode a small body.
    """
    if len(raw) > GLANCE_BYTES_MAX or MAY_BE_ODD[media_type].search(raw) is not None:
        return False
    try:
        if media_type == JSON:
            return _count_keys(msgspec.json.decode(raw), GLANCE_LEVELS) == raw.count(b":")
        tree = msgspec.msgpack.decode(raw) if raw[0] & 0xF0 == FIXMAP else {}
    except (ValueError, TypeError, RecursionError):
        return False
    return len(tree) == raw[0] & 0x0F and HOLDERS.isdisjoint(map(type, tree.values()))


def _count_keys(tree: Any, levels: int) -> int:
    """How many keys there are in all objects; more than in any body where it is nested deeper than so many levels."""
    if type(tree) not in HOLDERS:
        return 0
    if not levels:
        return GLANCE_BYTES_MAX + 1
    count, values = (len(tree), tree.values()) if type(tree) is dict else (0, tree)
    for value in values:
        if type(value) in HOLDERS:
            count += _count_keys(value, levels - 1)
    return count


class _Doubled(dict[str, Any]):
    """An object in which keys stand twice: two readers may each take another of the values."""

    keys_twice: tuple[str, ...] = ()


def _tree(raw: bytes, media_type: str) -> tuple[Any, bool]:
    """The body as plain values, and whether it holds what no type refuses: a key twice, a number beyond 64 bits or that is none."""
    odd: list[bool] = []

    def to_object(pairs: list[tuple[Any, Any]]) -> Mapping[str, Any]:
        made = _object(pairs)
        odd.extend([True] if isinstance(made, _Doubled) else [])
        return made

    try:
        if media_type == JSON:
            tree = json.loads(raw.decode(), object_pairs_hook=to_object)
            if MAY_BE_HALF.search(raw) is not None:
                json.dumps(tree, ensure_ascii=False).encode()
        else:
            tree = msgpack.unpackb(raw, object_pairs_hook=to_object, strict_map_key=False)
    except (ValueError, RecursionError, msgpack.StackError) as error:
        raise _unreadable(error) from error
    is_odd = bool(odd) or (MAY_BE_ODD[media_type].search(raw) is not None and any(True for _ in _oddities(tree)))
    return tree, is_odd


def _with_integers(tree: Any) -> Any:
    """Numbers without a fraction as integers: to JSON, 7.0 and 7 are one number. What is no JSON, or too deep, stays as it is."""
    try:
        return _whole(tree)
    except (TypeError, RecursionError):
        return tree


def _whole(tree: Any) -> Any:
    """Raises TypeError, or RecursionError."""
    match tree:
        case float() if tree.is_integer() and abs(tree) <= WHOLE_MAX:
            return int(tree)
        case dict():
            return {name: _whole(value) for name, value in tree.items()}
        case list():
            return [_whole(value) for value in tree]
        case None | bool() | int() | float() | str():
            return tree
    raise TypeError(type(tree).__name__)


def _object(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    try:
        made = dict(pairs)
    except TypeError as error:  # msgpack can write such a thing
        raise ValueError("a list or an object is no key") from error
    if len(made) == len(pairs):
        return made
    doubled = _Doubled(made)
    count_by_name = Counter(str(name) for name, _ in pairs)
    doubled.keys_twice = tuple(sorted(name for name, count in count_by_name.items() if count > 1))
    return doubled


_Place = tuple[Any, Any] | None
"""Where a value stands: the place of what holds it, and its name there."""


def _oddities(tree: Any) -> Iterator[Fault]:
    """What no type refuses. It is looked for in one loop: a call for each value of a megabyte would hold up everybody else."""
    waiting: list[tuple[Any, _Place]] = [(tree, None)]
    items: Iterable[tuple[Any, Any]]
    while waiting:
        value, place = waiting.pop()
        match value:
            case dict():
                for name in value.keys_twice if isinstance(value, _Doubled) else ():
                    yield Fault(pointer=child(_pointer(place), name), detail="stands twice")
                items = value.items()
            case list():
                items = enumerate(value)
            case float() if not math.isfinite(value):
                yield Fault(pointer=_pointer(place), detail="must be a finite number")
                continue
            case int() if not -(2**63) <= value < 2**64:
                yield Fault(pointer=_pointer(place), detail="must fit in 64 bits")
                continue
            case _:
                continue
        inner = [(one, (place, name)) for name, one in items if _is_worth_a_look(one)]
        waiting.extend(reversed(inner))


def _is_worth_a_look(value: Any) -> bool:
    kind = type(value)
    return kind in (dict, list, _Doubled) or (kind in (int, float) and not -SMALL < value < SMALL)


def _pointer(place: _Place) -> str:
    names: list[Any] = []
    while place is not None:
        place, name = place
        names.append(name)
    return reduce(child, reversed(names), "")


def _faults(tree: Any, body: Any, first: msgspec.ValidationError | None, is_odd: bool) -> Iterator[Fault]:
    found: list[Fault] = []
    for fault in _all_faults(tree, body, first, is_odd):
        if fault not in found:
            found.append(fault)
            yield fault
    if not found and first is not None:
        yield _from_msgspec(first, "")


def _all_faults(tree: Any, body: Any, first: msgspec.ValidationError | None, is_odd: bool) -> Iterator[Fault]:
    if is_odd:
        yield from _oddities(tree)
    if first is None:
        return
    named: list[str] = []
    for fault in schema_faults(tree, _schema(body), getattr(body, "elsewhere", {})):
        named.append(fault["pointer"])
        yield fault
    yield from _field_faults(tree, body, named)


def _field_faults(tree: Any, body: Any, named: Iterable[str]) -> Iterator[Fault]:
    """The first fault of each field of which the schema found none."""
    if not isinstance(tree, dict) or not isinstance(body, type) or not issubclass(body, msgspec.Struct):
        return
    done = {pointer.split("/")[1] for pointer in named if pointer}
    for field in msgspec.structs.fields(body):
        if field.encode_name in tree and field.encode_name not in done:
            try:
                msgspec.convert(_with_integers(tree[field.encode_name]), field.type, str_keys=True)
            except msgspec.ValidationError as error:
                yield _from_msgspec(error, child("", field.encode_name))


@cache
def _schema(body: Any) -> dict[str, Any]:
    return msgspec.json.schema(body)


def _from_msgspec(error: msgspec.ValidationError, pointer: str) -> Fault:
    """`Expected `int`, got `str` - at `$.items[0].count`` → /items/0/count; a step that msgspec doesn't name ends the pointer."""
    detail, _, place = str(error).partition(" - at `$")
    for step in STEP.finditer(place.rstrip("`")):
        name = step[1] or step[2]
        if name is None:
            break
        pointer = child(pointer, name)
    return Fault(pointer=pointer, detail=detail)
