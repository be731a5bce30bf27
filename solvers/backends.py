"""Where a solve runs: on this machine's own threads, or at a service of somebody else.

Light to import: a backend loads what it needs when it runs.

Every backend keeps one contract, which one suite of tests holds each of them to:

1. `standing` says whether it can run anything here and now, and if not, why; asked as often as anybody likes, it costs nothing.
2. One that is not ready computes nothing: `solve` raises `NotReady`. Nothing else ever takes its place; who wants that asks for it.
3. One that is ready takes a problem in any convention and gives a `Solution`, within the bounds that `solvers.portfolio.solve` tells of:
   it ends in time, when it is asked to stop, and before it takes more memory than allowed; wrong arguments are a ValueError.
4. What it claims is not believed: `run_on` computes the value anew from the problem.
5. With a seed and counted work, the same call gives the same solution, or the backend says in `is_repeatable` that it can't.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from solvers.portfolio import Solution
    from solvers.qubo import Qubo


class Readiness(StrEnum):
    """Whether a backend can run a solve."""

    READY = "ready"
    NOT_CONFIGURED = "not_configured"
    NOT_IMPLEMENTED = "not_implemented"


class Standing(NamedTuple):
    """How ready a backend is, and what it lacks."""

    readiness: Readiness
    reason: str = ""


class NotReady(Exception):
    """The backend can't run anything; `standing` says why."""

    def __init__(self, name: str, standing: Standing) -> None:
        super().__init__(f"{name} is {standing.readiness.value}: {standing.reason}")
        self.standing = standing


class WrongValue(Exception):
    """A backend's solution is not worth what it claims."""


class Backend(Protocol):
    """Something that solves problems. See the module for its contract."""

    @property
    def name(self) -> str: ...

    @property
    def is_repeatable(self) -> bool: ...

    @property
    def strategies(self) -> tuple[str, ...]:
        """The names that its `solve` takes as `strategy`."""
        ...

    def standing(self) -> Standing: ...

    def solve(self, qubo: "Qubo", **asked: Any) -> "Solution":
        """As `solvers.portfolio.solve`. Raises NotReady, and ValueError for what it does not take."""
        ...


class Local:
    """The portfolio, on this machine's own threads; quantum algorithms, too, which it simulates."""

    name = "local"
    is_repeatable = True

    @property
    def strategies(self) -> tuple[str, ...]:
        from solvers.strategies import STRATEGIES

        return tuple(strategy.name for strategy in STRATEGIES)

    def standing(self) -> Standing:
        return Standing(Readiness.READY)

    def solve(self, qubo: "Qubo", **asked: Any) -> "Solution":
        from solvers.portfolio import solve

        return solve(qubo, **asked)


class Dynex:
    """The service of that name, as far as it is there: it knows whether it was set up, and sends nothing.

    A client of it that was written without the service at hand could not be tested against it; so with credentials it says that it
    is not implemented, and not that it works.
    """

    name = "dynex"
    is_repeatable = False
    strategies: tuple[str, ...] = ()

    def __init__(self, *, is_named: bool = False, api_key: str = "", api_secret: str = "") -> None:
        missing = [
            name
            for name, value in (("GAVEL_DYNEX_API_KEY", api_key), ("GAVEL_DYNEX_API_SECRET", api_secret))
            if not value
        ]
        self._missing = missing if is_named else ["QUANTUM_BACKEND=dynex", *missing]

    def standing(self) -> Standing:
        if self._missing:
            return Standing(Readiness.NOT_CONFIGURED, f"set {', '.join(self._missing)}")
        return Standing(
            Readiness.NOT_IMPLEMENTED, "it has its credentials, but this build does not speak the service's protocol"
        )

    def solve(self, qubo: "Qubo", **asked: Any) -> "Solution":
        raise NotReady(self.name, self.standing())


LOCAL = Local()
BACKENDS: tuple[Backend, ...] = (LOCAL, Dynex())
"""Those of a machine that is set up for none but itself."""


def named(name: str, backends: tuple[Backend, ...] = BACKENDS) -> Backend:
    """The backend of that name, or a ValueError that lists those there are."""
    for backend in backends:
        if backend.name == name:
            return backend
    raise ValueError(f"no backend is called {name!r}; there are {', '.join(each.name for each in backends)}")


def run_on(backend: Backend, qubo: "Qubo", **asked: Any) -> "Solution":
    """The backend's solution, whose value was computed anew. Raises NotReady, ValueError and WrongValue."""
    from solvers.verify import same_value

    if (standing := backend.standing()).readiness is not Readiness.READY:
        raise NotReady(backend.name, standing)
    strategy = asked.get("strategy")
    if strategy is not None and strategy not in backend.strategies:
        raise ValueError(
            f"{backend.name} has no strategy called {strategy!r}; there are {', '.join(backend.strategies)}"
        )
    solution = backend.solve(qubo, **asked)
    value = qubo.value(solution.assignment)
    if not same_value(value, solution.value):
        raise WrongValue(f"{backend.name} claims {solution.value}; its assignment is worth {value}")
    return solution
