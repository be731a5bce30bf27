"""A QUBO problem: a file of couplings by its digest, and what is known of it."""

from collections.abc import Sequence

from msgspec import Struct

from aggregates.values.ids import Digest, ProblemId
from aggregates.values.numbers import Count
from aggregates.values.qubo import Finite, Format, Sense
from aggregates.values.text import Name
from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1


class Problem(State, frozen=True, kw_only=True):
    """What decisions about one problem need to know: whether it is there, and what it is."""

    registered: "ProblemRegistered | None" = None


initial = Problem()


class ProblemAccepted(Struct, frozen=True, kw_only=True):
    """The problem stands as asked."""

    problem_id: ProblemId


class RegisterProblem(Command[ProblemAccepted], frozen=True, kw_only=True):
    """A problem file becomes known by a name. Sent by whoever may submit tasks; the gateway reads the file and sets what it says."""

    is_new_work = True

    problem_id: House[ProblemId]
    name: Name
    format: Format
    blob: Digest
    best_known: Finite | None = None
    variables: House[Count]
    couplings: House[Count]
    sense: House[Sense]


class ProblemRegistered(Event, frozen=True, kw_only=True):
    problem_id: ProblemId
    name: str
    format: Format
    blob: str
    variables: int
    couplings: int
    sense: Sense
    best_known: float | None


ProblemCommand = RegisterProblem
ProblemEvent = ProblemRegistered
COMMANDS = (RegisterProblem,)
EVENTS = (ProblemRegistered,)


def stream(problem_id: str) -> str:
    """The stream of a problem."""
    return f"qubo_problem-{problem_id}"


def decide(problem: Problem, command: ProblemCommand) -> Sequence[ProblemEvent]:
    event = ProblemRegistered(
        problem_id=command.problem_id,
        name=command.name,
        format=command.format,
        blob=command.blob,
        variables=command.variables,
        couplings=command.couplings,
        sense=command.sense,
        best_known=command.best_known,
    )
    if problem.registered is None:
        return [event]
    if problem.registered == event:
        return []
    raise Refused("problem_exists", f"{command.problem_id} is another problem already")


def evolve(problem: Problem, event: ProblemEvent) -> Problem:
    return Problem(registered=event)
