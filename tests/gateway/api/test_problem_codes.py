"""The catalogue of problem codes: all that is raised is listed, all that is listed is raised, and the page says the same."""

import ast
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import get_args

from agents.coordinating.inbox import HeldBack
from aggregates.task.eligibility import Unfit
from gateway.api.described import refusals
from gateway.api.problem_codes import CODES, PARTS, UNSEEN, page
from gateway.api.problems import BadRequest
from gateway.routes.health import routes as health_routes
from tests.tidy import STOREYS

ROOT = Path(__file__).parents[3]
FIRST = {"Refused": 0, "problem": 1, "status_problem": 0, "HTTPException": 0, "BadRequest": 0, "FieldFault": 1}
"""Which argument of these calls names the failure, by a code or by a status."""


def code_of_status(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    yield name, node


def raised(source: str) -> Iterator[str]:
    """The codes that a module raises; of one that is put together, how it begins, and an asterisk."""
    for name, call in calls(ast.parse(source)):
        named = call.args[FIRST[name]] if name in FIRST and len(call.args) > FIRST[name] else None
        match named:
            case ast.Constant(value=str(code)):
                yield code
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                yield f"{start}*"
            case ast.Constant(value=int(status)):
                yield code_of_status(status)
        for keyword in call.keywords:
            match keyword:
                case ast.keyword(arg="code", value=ast.Constant(value=str(code))) if name in ("BadRequest", "Fault"):
                    yield code


def all_raised() -> set[str]:
    modules = [path for storey in STOREYS for path in (ROOT / storey).rglob("*.py")]
    return {code for path in modules for code in raised(path.read_text(encoding="utf-8"))}


def test_all_that_is_raised_is_in_the_catalogue() -> None:
    listed = CODES.keys() | UNSEEN
    for code in all_raised():
        if code.endswith("*"):
            assert any(name.startswith(code[:-1]) for name in listed), (
                f"nothing in gateway/api/problem_codes.py is {code}"
            )
        else:
            assert code in listed, f"{code} is not in gateway/api/problem_codes.py"


def test_a_code_that_is_not_listed_is_found() -> None:
    source = 'raise Refused("never_heard_of", "why")\nproblem(409, "nor_of_this", "Title")\nHTTPException(418, "tea")'
    assert list(raised(source)) == ["never_heard_of", "nor_of_this", "im_a_teapot"]


def test_all_that_is_listed_is_raised_or_names_a_status() -> None:
    found = all_raised()
    starts = tuple(code[:-1] for code in found if code.endswith("*"))
    pairs = {"requirements_unfit", "payload_unfit"}  # of the name of the field
    pairs |= {"email_taken", "username_taken"}  # of the name of what is taken
    pairs |= {
        *get_args(Unfit),
        *get_args(HeldBack),
    }  # of the name of what speaks against an agent, or holds a task back
    pairs |= {BadRequest([], status=status).code for status in (400, 422)}
    named = {code_of_status(status) for status in HTTPStatus} | {"failure"}
    for code in CODES.keys() | UNSEEN:
        assert code in found | pairs | named or code.startswith(starts), f"nothing raises {code}"


def test_each_code_says_what_it_means_and_what_to_do() -> None:
    assert len(CODES) == sum(len(part.codes) for part in PARTS)
    assert not CODES.keys() & UNSEEN
    for code in CODES.values():
        assert code.meaning.endswith("."), code
        assert code.remedy.endswith("."), code
        assert code.title, code
        assert all(400 <= status < 600 for status in code.statuses)


def test_a_code_of_a_status_is_that_of_the_status() -> None:
    by_phrase = {code_of_status(status): int(status) for status in HTTPStatus}
    for code in CODES.values():
        if code.name in by_phrase:
            assert code.statuses == (by_phrase[code.name],)


def test_the_page_is_what_the_catalogue_says() -> None:
    assert (ROOT / "docs" / "problem-codes.md").read_text(encoding="utf-8") == page()


def test_an_operation_names_its_own_refusals_beside_those_of_all() -> None:
    ready = next(line for line in health_routes if line.path == "/readyz")
    assert "not_ready" in refusals(ready)[503]
    assert "crashed" in refusals(ready)[500]
