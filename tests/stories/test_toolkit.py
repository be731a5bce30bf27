"""What the page on the toolkit shows is what happens: each of its examples is run as it stands."""

import ast
import inspect
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import trio.testing

PAGE = Path(__file__).parents[2] / "docs" / "toolkit.md"
EXAMPLE_BY_NAME: dict[str, str] = dict(
    re.findall(r"^## [^\n]*`(runtime/\w+\.py)`\n.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
)


def compiled(name: str) -> CodeType:
    code: CodeType = compile(
        EXAMPLE_BY_NAME[name], f"{PAGE.name}, {name}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    )
    return code


def test_each_part_of_the_page_has_an_example():
    assert list(EXAMPLE_BY_NAME) == [f"runtime/{name}.py" for name in ("container", "retry", "breaker", "bulkhead")]
    assert PAGE.read_text().count("```python") == len(EXAMPLE_BY_NAME)


@pytest.mark.parametrize("name", EXAMPLE_BY_NAME)
async def test_example_does_what_it_says(name: str, autojump_clock: trio.testing.MockClock):
    space: dict[str, Any] = {"__name__": "example"}
    waits = eval(compiled(name), space)
    assert inspect.iscoroutine(waits)
    await waits
