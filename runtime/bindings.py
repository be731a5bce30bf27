"""What a container makes of what: a table of bindings, each parameter's type looked up in it, and every fault named at once.

What is wanted is named by a type (a class, a Protocol, an alias as `Store[User]`, `Annotated[str, "address"]`) or by any other hashable
thing. A parameter takes what is bound to its type, else its default, else None where its type allows it. A binding of a generic class
serves all its aliases, each with instances of its own.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin


class Life(Enum):
    SINGLETON = "singleton"  # once for a container
    SCOPED = "scoped"  # once for each open scope
    TRANSIENT = "transient"  # anew each time it is wanted


@dataclass(frozen=True)
class Binding:
    """`factory` makes what is `wanted`; with `enter`, what it makes is a context manager and its value is what is wanted."""

    wanted: Hashable
    factory: Callable[..., Any]
    life: Life
    enter: bool


def _bind(wanted: Any, factory: Callable[..., Any] | None, life: Life, enter: bool | None) -> Binding:
    made_by = wanted if factory is None else factory
    return Binding(wanted, made_by, life, not isinstance(made_by, type) if enter is None else enter)


def singleton(wanted: Hashable, factory: Callable[..., Any] | None = None, *, enter: bool | None = None) -> Binding:
    """Made once, by `factory` or by itself; a context manager that a function (not a class) returns is entered, unless `enter` says."""
    return _bind(wanted, factory, Life.SINGLETON, enter)


def scoped(wanted: Hashable, factory: Callable[..., Any] | None = None, *, enter: bool | None = None) -> Binding:
    """Made once in each scope that wants it, and closed with the scope."""
    return _bind(wanted, factory, Life.SCOPED, enter)


def transient(wanted: Hashable, factory: Callable[..., Any] | None = None, *, enter: bool | None = None) -> Binding:
    """Made each time; one that is entered stays open as long as the scope or the singleton that it was made for."""
    return _bind(wanted, factory, Life.TRANSIENT, enter)


class Misbound(Exception):
    """The table can't be carried out: `faults` has a line for each reason, with the way that leads there."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True)
class Plan:
    """How one thing is made: the binding, and what each parameter gets. None: None; no entry: its default."""

    wanted: Hashable
    binding: Binding
    signature: inspect.Signature
    wanted_by_parameter: dict[str, Hashable]

    def make(self, given: dict[str, Any]) -> Any:
        bound = self.signature.bind_partial()
        bound.arguments.update(given)
        bound.apply_defaults()
        return self.binding.factory(*bound.args, **bound.kwargs)


Way = tuple[tuple[Hashable, str], ...]  # who wanted, by which parameter, from the first on


class Bindings:
    """The table, checked: `plan` answers for all that is bound in it. Raises `Misbound` with every fault of the table."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self._binding_by_wanted: dict[Hashable, Binding] = {}
        self._plan_by_wanted: dict[Hashable, Plan] = {}
        self._sound: set[tuple[Hashable, bool]] = set()
        faults = []
        for binding in bindings:
            if self._binding_by_wanted.setdefault(binding.wanted, binding) is not binding:
                faults.append(f"{_name(binding.wanted)} is bound twice")
            faults.extend(_faults_of(binding))
        walked: set[tuple[Hashable, bool]] = set()
        for wanted in [] if faults else self._binding_by_wanted:
            faults.extend(self._walk(wanted, (), False, walked))
        if faults:
            raise Misbound(faults)

    def plan(self, wanted: Hashable, *, held: bool) -> Plan:
        """How to make it; raises `Misbound` if it can't be. `held`: for what outlives every scope, which nothing scoped may be part of."""
        if (wanted, held) not in self._sound:
            if faults := list(self._walk(wanted, (), held, set(), whole=True)):
                raise Misbound(faults)
            self._sound.add((wanted, held))
        return self._plan_by_wanted[wanted]

    def _walk(
        self, wanted: Hashable, way: Way, held: bool, walked: set[tuple[Hashable, bool]], whole: bool = False
    ) -> Iterator[str]:
        """Yields the faults of all that `wanted` needs, each thing once; what a type variable stands for is open unless `whole`."""
        binding, before = self._binding_of(wanted), [name for name, _ in way]
        if wanted in before:
            yield f"{_told(way[before.index(wanted) :], wanted)}: a circle"
        elif binding is None:
            yield f"{_told(way, wanted)}: nothing is bound to {_name(wanted)}"
        elif held and binding.life is Life.SCOPED:
            yield f"{_told(way, wanted)}: {_name(wanted)} is scoped, and who wants it outlives every scope"
        elif (wanted, held := held or binding.life is Life.SINGLETON) not in walked:
            walked.add((wanted, held))
            try:
                needs = self._plan(wanted, binding).wanted_by_parameter
            except Misbound as error:
                yield from (f"{_told(way, wanted)}: {fault}" for fault in error.faults)
                return
            for parameter, needed in needs.items():
                if needed is not None and (whole or not _is_open(needed)):
                    yield from self._walk(needed, (*way, (wanted, parameter)), held, walked, whole)

    def _binding_of(self, wanted: Hashable) -> Binding | None:
        origin = get_origin(wanted)
        by_origin = None if origin is None else self._binding_by_wanted.get(origin)
        return self._binding_by_wanted.get(wanted, by_origin)

    def _plan(self, wanted: Hashable, binding: Binding) -> Plan:
        if wanted not in self._plan_by_wanted:
            self._plan_by_wanted[wanted] = self._make_plan(wanted, binding)
        return self._plan_by_wanted[wanted]

    def _make_plan(self, wanted: Hashable, binding: Binding) -> Plan:
        signature = _signature(binding.factory)
        variables = getattr(binding.factory, "__parameters__", ()) or getattr(get_origin(wanted), "__parameters__", ())
        type_by_variable = dict(zip(variables, get_args(wanted), strict=False))
        needs: dict[str, Hashable] = {}
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            candidates = list(_candidates(_filled_in(parameter.annotation, type_by_variable)))
            bound = next((one for one in candidates if self._binding_of(one) is not None), None)
            if bound is not None:
                needs[parameter.name] = bound
            elif parameter.default is parameter.empty:
                if parameter.annotation is parameter.empty:
                    raise Misbound([f"the parameter {parameter.name} has neither a type nor a default"])
                needs[parameter.name] = None if None in candidates else candidates[0]
        return Plan(wanted, binding, signature, needs)


def _faults_of(binding: Binding) -> Iterator[str]:
    name = _name(binding.wanted)
    factory: Any = binding.factory
    if not callable(factory):
        yield f"{name}: {factory!r} makes nothing, it can't be called"
    elif inspect.isabstract(factory) or getattr(factory, "_is_protocol", False):
        yield f"{name}: {_name(factory)} is abstract, bind it to what makes one"
    elif inspect.isgeneratorfunction(factory) or inspect.isasyncgenfunction(factory):
        yield f"{name}: {_name(factory)} is a generator, make it a context manager by contextlib"


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, ValueError, SyntaxError) as error:
        raise Misbound([f"the parameters of {_name(factory)} can't be read: {error}"]) from error


def _candidates(hint: Any) -> Iterator[Hashable]:
    """What a parameter of this type may be given, the first best: the type as it is written, without its notes, without None."""
    yield hint
    if get_origin(hint) is Annotated:
        yield from _candidates(get_args(hint)[0])
    elif get_origin(hint) in (Union, UnionType) and NoneType in (options := get_args(hint)):
        others = [option for option in options if option is not NoneType]
        if len(others) == 1:
            yield from _candidates(others[0])
        yield None


def _filled_in(hint: Any, type_by_variable: dict[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return type_by_variable.get(hint, hint)
    if _is_open(hint):
        return hint[tuple(type_by_variable.get(variable, variable) for variable in hint.__parameters__)]
    return hint


def _is_open(hint: Any) -> bool:
    """Whether a type variable stands in it, to be filled in by who wants it."""
    return isinstance(hint, TypeVar) or (get_origin(hint) is not None and bool(getattr(hint, "__parameters__", ())))


def _told(way: Way, wanted: Hashable) -> str:
    return " → ".join([*(f"{_name(who)}({parameter})" for who, parameter in way), _name(wanted)])


def _name(wanted: Any) -> str:
    return wanted.__qualname__ if hasattr(wanted, "__qualname__") and get_origin(wanted) is None else str(wanted)
