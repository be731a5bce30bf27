"""The demo's problems: those of a folder, in any mix of formats, or published instances made on the spot."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from gateway.verdicts import Wrong
from solvers.formats import FILE_BYTES_MAX, FormatError, parse_all, recognise, write_bqp
from solvers.generators import demo_problems

PROBLEMS_MAX = 64
BEST_KNOWN = "best_known.json"


class Problem(NamedTuple):
    """A problem file: its name, its format, its bytes, and the best value known, in the file's own terms."""

    name: str
    format: str
    content: bytes
    best_known: float | None = None


class Skipped(NamedTuple):
    """A file that is no problem, and why."""

    name: str
    reason: str


def published() -> list[Problem]:
    """Instances of published generators, with their best known values where the literature has them."""
    made = demo_problems()
    return [Problem(one.name, one.format, one.content, one.best_known) for one in made]


def in_folder(folder: Path) -> tuple[list[Problem], list[Skipped]]:
    """The problems in a folder, and the files that no reader recognizes. Raises Wrong where there is no problem."""
    if not folder.is_dir():
        raise Wrong(f"{folder} is no folder")
    best_by_name = _best_known(folder / BEST_KNOWN)
    problems: list[Problem] = []
    skipped: list[Skipped] = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != BEST_KNOWN):
        try:
            problems += _read(path, best_by_name)
        except (FormatError, OSError) as error:
            skipped.append(Skipped(path.name, str(error)))
    if not problems:
        raise Wrong(
            f"{folder} holds no problem: {'; '.join(f'{name}: {reason}' for name, reason in skipped) or 'it is empty'}"
        )
    if len(problems) > PROBLEMS_MAX:
        raise Wrong(f"{folder} holds {len(problems)} problems; at most {PROBLEMS_MAX} are taken")
    return _with_names_of_their_own(problems), skipped


def _read(path: Path, best_by_name: dict[str, Any]) -> list[Problem]:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise FormatError(0, f"more than {FILE_BYTES_MAX} bytes")
    reader = recognise(path)
    if reader is None:
        raise FormatError(1, "no reader recognizes the file")
    content = path.read_bytes()
    qubos = parse_all(content, str(path), format=reader)
    contents = [content] if len(qubos) == 1 else [write_bqp(qubo) for qubo in qubos]
    return [
        Problem(
            qubo.name.replace("#", "."),
            reader,
            one,
            _in_own_terms(best_by_name.get(qubo.name.replace("#", ".")), qubo.sense, bool(qubo.offset)),
        )
        for qubo, one in zip(qubos, contents, strict=True)
    ]


def _best_known(path: Path) -> dict[str, Any]:
    """The best values by name; each is a number, or an object with a number called `best`."""
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{path}: {error}") from error
    if not isinstance(listed, dict):
        raise Wrong(f"{path} should hold an object that names the problems")
    return {name: best.get("best") if isinstance(best, dict) else best for name, best in listed.items()}


def _in_own_terms(best: object, sense: str, shifted: bool) -> float | None:
    """Lists of best values minimize or maximize as they please; where doing nothing is worth 0, the sign follows from the sense."""
    if isinstance(best, bool) or not isinstance(best, int | float):
        return None
    if shifted:
        return best
    return abs(best) if sense == "max" else -abs(best)


def _with_names_of_their_own(problems: list[Problem]) -> list[Problem]:
    """Two files may share a name but for the suffix."""
    named: dict[str, Problem] = {}
    for problem in problems:
        name, number = problem.name, 1
        while name in named:
            number += 1
            name = f"{problem.name}-{number}"
        named[name] = problem._replace(name=name)
    return list(named.values())
