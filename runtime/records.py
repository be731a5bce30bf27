"""What is said and what is recorded: states, commands and events, each defined once for body, schema and disk.

The same class is the HTTP body (without its house fields), its JSON schema, its validation and its bytes on disk.
Write `frozen=True, kw_only=True` on every class line: neither mypy nor msgspec inherits them. States, commands, events and records are
trees, made by the thousand and kept for a while: the garbage collector need not walk them (`gc=False`, inherited), which was two
fifths of what a durable command costs the event loop.
"""

from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, get_args

import msgspec

R = TypeVar("R")
T = TypeVar("T")

HOUSE = "x-house"
"""The key in a field's JSON schema that marks it as set by the house."""

House = Annotated[T, msgspec.Meta(extra_json_schema={HOUSE: True})]
"""A field that the house sets from credentials or context; no body may carry it."""

PERSONAL = "x-personal"
"""The key in a field's JSON schema that marks it as personal data."""

Personal = Annotated[T, msgspec.Meta(extra_json_schema={PERSONAL: True})]
"""A field of a command or event that may tell of a person. It is written under the key of the data subject that the event names in its
field `data_subject`, and blank once that key is erased: a blank value of its type has to be a good one."""

UNTOLD = "x-untold"
"""The key in a field's JSON schema that marks it as nobody's to read."""

Untold = Annotated[T, msgspec.Meta(extra_json_schema={UNTOLD: True})]
"""A value of a command or event that decisions need and readers do not, as a password's hash: wherever the log is told, it is blank."""


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What decisions about one stream need to know, and no more."""


class Command(msgspec.Struct, Generic[R], frozen=True, kw_only=True, gc=False):
    """Something that is asked for; `R` is the type of its reply.

    `at` (seconds since the epoch, UTC) and `tenant` are stamped by the runtime when a handler begins; nobody else sets them.
    """

    is_new_work: ClassVar[bool] = False
    """Whether it begins something that has to be brought to an end: refused while the disk is short of room."""

    at: House[float] = 0.0
    tenant: House[str] = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened; never changed once released."""


class Retired(Event, frozen=True, kw_only=True):
    """An event of a kind that its aggregate lists in `RETIRED`: it changes no state any more, and what it said can still be read."""

    said: dict[str, Any]


class Upcast(NamedTuple):
    """How an event or command of an earlier shape is read today: a line of its aggregate's `UPCASTS`.

    `name` is its class's name then, `version` the number of the shape that is read, from 1. `change` takes what such a record says, as
    plain values, and returns what the next version would say; it is pure, and may change what it is given. `into` names what the record
    becomes where that is not the next version of the same name: one name, or several of which `change` picks one and returns it with
    what it says. `Name/2` is the second shape of a name.
    """

    name: str
    version: int
    change: Callable[[dict[str, Any]], Any]
    into: tuple[str, ...] = ()


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A command as it stands on disk, once, with the first event that it caused."""

    name: str
    rules: int
    data: msgspec.Raw
    key: str = ""


class Meta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who, when and why: the same for all events of one command, but for `command`, which only the first carries.

    `id` names the command; `cause` is the id of the command or `@position` of the event that led to it; `correlation` is the id
    of the first message of the chain. `at` is when the decision was made, `recorded_at` when its batch was handed to the disk
    (both in seconds since the epoch, UTC).
    """

    id: str
    cause: str
    correlation: str
    tenant: str
    principal: str
    at: float
    recorded_at: float = 0.0
    command: CommandRecord | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event with its place in the journal. `withheld`: it holds personal data that can't be read, since the key was erased, or is not
    at hand; those fields are blank."""

    position: int
    stream: str
    version: int
    kind: str
    event: Event
    meta: Meta
    withheld: bool = False


class Aggregate(Protocol):
    """What every module in `aggregates/` offers. Streams are named `<module>-<id>`, kinds `<module>.<Event>`.

    Two more tables are there where something has changed: `UPCASTS` says how earlier shapes are read, `RETIRED` names events that
    nothing depends on any more.
    """

    __name__: str
    initial: Any
    EVENTS: tuple[Any, ...]
    COMMANDS: tuple[Any, ...]
    RULES: int
    decide: Callable[[Any, Any], Sequence[Any]]
    evolve: Callable[[Any, Any], Any]


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a projection changes in a table: one row of it, or many that are alike."""

    table: Any
    values: dict[str, Any]


class Insert(Change, frozen=True, kw_only=True):
    """A new row; an existing row of the same primary key is replaced, so that a repeat does no harm."""


class InsertMany(Change, frozen=True, kw_only=True):
    """Many new rows, each as `Insert` makes it: `values` are the same in all; in the order of `columns`, each has its own. Cheaper than a
    change for each, where there are many. No two rows have the same key, nor do those of such changes that stand together."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class Update(Change, frozen=True, kw_only=True):
    """Sets `values` in the rows where the columns of `where` have these values."""

    where: dict[str, Any]


class Add(Change, frozen=True, kw_only=True):
    """Adds each number in `values` to its column in the rows where the columns of `where` have these values."""

    where: dict[str, Any]


class UpdateMany(Change, frozen=True, kw_only=True):
    """Many `Update`s, each of another row: its values in the order of `columns`, and then those of `where`, which names the whole key.
    `values` is empty."""

    columns: tuple[str, ...]
    where: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


class AddMany(UpdateMany, frozen=True, kw_only=True):
    """The same of `Add`s."""


class Delete(Change, frozen=True, kw_only=True):
    """Deletes the rows where the columns of `where` have these values (`values` is empty)."""

    where: dict[str, Any]


@cache
def marked(struct: type[msgspec.Struct], mark: str) -> tuple[str, ...]:
    """The fields of a struct that carry a mark, such as HOUSE, in their JSON schema."""
    return tuple(field.name for field in msgspec.structs.fields(struct) if is_marked(field.type, mark))


def is_personal(event: Event, name: str) -> bool:
    """Whether this field of an event holds what tells of a data subject."""
    return bool(getattr(event, "data_subject", "")) and name in marked(type(event), PERSONAL)


def is_marked(annotation: Any, mark: str) -> bool:
    """Whether a type carries a mark in its JSON schema."""
    metas = getattr(annotation, "__metadata__", ())
    return any(isinstance(meta, msgspec.Meta) and (meta.extra_json_schema or {}).get(mark) for meta in metas)


def evolved(evolve: Callable[[T, Any], T], state: T, event: Event) -> T:
    """The state after a recorded event, by an aggregate's `evolve`."""
    return state if type(event) is Retired else evolve(state, event)


def name_of(kind: str) -> str:
    """What a kind on disk, or a recorded command, is called, whatever its shape: `task.BidPlaced/2` is `task.BidPlaced`."""
    return kind.partition("/")[0]


def noun(aggregate: Aggregate | ModuleType) -> str:
    """The aggregate's name on disk: the last part of its module's name."""
    return aggregate.__name__.rpartition(".")[2]


def reply_type(command_type: type[Command[Any]]) -> Any:
    """The `R` of a command class `Command[R]`."""
    for base in getattr(command_type, "__orig_bases__", ()):
        if getattr(base, "__origin__", None) is Command:
            return get_args(base)[0]
    raise TypeError(f"{command_type.__qualname__} does not name its reply: derive it from Command[…]")
