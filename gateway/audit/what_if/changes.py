"""What is to be otherwise: a command with other fields, without one, one more, another rule, another setting."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from aggregates.catalog import AGGREGATES
from aggregates.values import ranking
from aggregates.values.weights import Weights
from gateway.verdicts import Wrong
from runtime.codec import Codec
from runtime.records import Command, noun

CHANGES_MAX = 1_000
RULES_PARTS = ("decide", "evolve")


class Inserted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A command that nobody sent: its name on record, its fields, when, and on whose behalf."""

    command: str
    data: dict[str, Any]
    at: float
    tenant: str = "default"
    principal: str = "auditor"


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator sets; nothing that is not named changes. Times in seconds."""

    lease_seconds: float | None = None
    budget_seconds_max: float | None = None
    bidding_seconds_max: float | None = None
    attempts_max: int | None = None
    cycle_seconds: float | None = None
    aging_factor: float | None = None
    batch_seconds: float | None = None
    rebalance_gain: float | None = None
    rebalance_seconds: float | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is otherwise: `set` fields of the command at a position, or `drop` it; `insert` one; `settings`; `ranking` weights."""

    position: int = 0
    set: dict[str, Any] = {}
    drop: bool = False
    insert: Inserted | None = None
    settings: Setting | None = None
    ranking: dict[str, float] = {}


def read_changes(text: str) -> list[Change]:
    """Changes in JSON, one or a list, or from a file that holds them. Raises Wrong, naming the fault."""
    raw = text.encode()
    if not text.lstrip().startswith(("{", "[")):
        try:
            raw = Path(text).read_bytes()
        except OSError as error:
            raise Wrong(f"--change: {text} can't be read: {error.strerror or error}") from error
    try:
        plain = msgspec.json.decode(raw)
        changes = msgspec.convert(plain if isinstance(plain, list) else [plain], list[Change])
    except msgspec.MsgspecError as error:
        raise Wrong(f"--change: {error}") from error
    if len(changes) > CHANGES_MAX:
        raise Wrong(f"--change: {CHANGES_MAX} changes are the most")
    for change in changes:
        _check(change)
    return changes


def read_setting(text: str) -> Setting:
    """What the node was set to, in JSON. Raises Wrong."""
    try:
        return msgspec.json.decode(text, type=Setting)
    except msgspec.MsgspecError as error:
        raise Wrong(f"--assume: {error}") from error


def _check(change: Change) -> None:
    kinds = [change.position > 0, change.insert is not None, change.settings is not None, bool(change.ranking)]
    if sum(kinds) != 1:
        raise Wrong("--change: each names one of position, insert, settings and ranking")
    if change.position and bool(change.set) == change.drop:
        raise Wrong(f"--change: the command at position {change.position} is to have fields set, or to be dropped")
    if not change.position and (change.set or change.drop):
        raise Wrong("--change: set and drop need the position of a command")
    unknown = [name for name in change.ranking if not isinstance(getattr(ranking, name, None), float)]
    if unknown:
        weights = sorted(name for name in vars(ranking) if isinstance(getattr(ranking, name), float))
        raise Wrong(f"--change: ranking has no {', '.join(unknown)}; it has {', '.join(weights)}")


def changed(command: Command[Any], change: Change) -> Command[Any]:
    """A command with other fields. Raises Wrong where they are not its own, or make no sense."""
    if unknown := sorted({*change.set} - {*command.__struct_fields__}):
        raise Wrong(f"--change: {type(command).__name__} at position {change.position} has no {', '.join(unknown)}")
    plain = msgspec.to_builtins(command, builtin_types=(bytes,))
    try:
        other: Command[Any] = msgspec.convert({**plain, **change.set}, type(command))
    except msgspec.ValidationError as error:
        raise Wrong(f"--change: the command at position {change.position}: {error}") from error
    return other


def inserted(change: Inserted) -> Command[Any]:
    """The command that is inserted. Raises Wrong."""
    for aggregate in AGGREGATES:
        for kind in aggregate.COMMANDS:
            if f"{noun(aggregate)}.{kind.__name__}" == change.command:
                try:
                    made: Command[Any] = msgspec.convert(change.data, kind)
                except msgspec.ValidationError as error:
                    raise Wrong(f"--change: {change.command}: {error}") from error
                return made
    raise Wrong(f"--change: no aggregate has a command {change.command}")


# ---- rules


def read_rules(named: Sequence[str]) -> dict[str, ModuleType]:
    """Modules with other rules, by the aggregate that they are for: each text is NOUN=FILE. Raises Wrong."""
    rules: dict[str, ModuleType] = {}
    nouns = sorted(noun(aggregate) for aggregate in AGGREGATES)
    for text in named:
        name, _, file = text.partition("=")
        if name not in nouns or not file:
            raise Wrong(f"--rules takes NOUN=FILE, where NOUN is one of {', '.join(nouns)}; not {text}")
        rules[name] = _load(name, Path(file))
    return rules


def _load(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"what_if_{name}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise Wrong(f"--rules: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Wrong(f"--rules: {file} can't be loaded: {type(error).__name__}: {error}") from error
    if not any(callable(getattr(module, part, None)) for part in RULES_PARTS):
        raise Wrong(f"--rules: {file} has neither of {', '.join(RULES_PARTS)}")
    return module


def codec_with(rules: dict[str, ModuleType]) -> Codec:
    """A codec whose aggregates decide by these rules where there are some."""
    return Codec([_with(aggregate, rules.get(noun(aggregate))) for aggregate in AGGREGATES])


def _with(aggregate: ModuleType, rules: ModuleType | None) -> Any:
    if rules is None:
        return aggregate
    other = ModuleType(aggregate.__name__)
    other.__dict__.update(vars(aggregate))
    other.__dict__.update({part: getattr(rules, part) for part in RULES_PARTS if hasattr(rules, part)})
    return other


CONSTANTS = {
    "AGENT_SHARE": "agent_share",
    "LOAD_WEIGHT": "load",
    "PERFORMANCE_WEIGHT": "performance",
    "SUCCESS_WEIGHT": "success",
    "RESPONSE_WEIGHT": "response",
    "PRICE_WEIGHT": "price",
    "SPEED_WEIGHT": "speed",
    "CONFIDENCE_WEIGHT": "confidence",
}
"""The names by which changes know the weights that records tell."""


@contextmanager
def weighed(changes: Sequence[Change], recorded: Weights | None) -> Iterator[None]:
    """Ranks by other weights than those on record for as long as this lasts."""
    known = {} if recorded is None else {name: getattr(recorded, of) for name, of in CONSTANTS.items()}
    weights = known | {name: value for change in changes for name, value in change.ranking.items()}
    before = {name: getattr(ranking, name) for name in weights}
    for name, value in weights.items():
        setattr(ranking, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(ranking, name, value)
