"""What the page on the runtime says is so: each rule names tests that are there, and each example is run as it stands."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import trio.testing

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "runtime.md"
TEXT = PAGE.read_text()
RULES = re.findall(r"^\d+\. .*?(?=^\d+\. |^#)", TEXT.partition("## Rules")[2], re.DOTALL | re.MULTILINE)
EXAMPLE_BY_TITLE: dict[str, str] = dict(
    re.findall(r"^## ([^\n]*)\n(?:(?!^## ).)*?```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
)


def named(text: str) -> list[tuple[str, str]]:
    return re.findall(r"`(test_\w+)::(test_\w+)`", text)


def names_in(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / "runtime" / f"{name}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_rules_are_numbered_one_after_the_other():
    assert [int(rule.partition(".")[0]) for rule in RULES] == list(range(1, len(RULES) + 1))
    assert len(RULES) > 30


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.partition(".")[0])
def test_each_rule_names_tests_that_are_there(rule: str):
    tests = named(rule)
    assert tests
    assert [f"{file}::{test}" for file, test in tests if test not in names_in(file)] == []


def test_nothing_is_named_outside_the_rules_and_every_example_has_a_title():
    assert len(named(TEXT)) == sum(len(named(rule)) for rule in RULES)
    assert TEXT.count("```python") == len(EXAMPLE_BY_TITLE) == 5


@pytest.mark.parametrize("title", EXAMPLE_BY_TITLE)
async def test_the_example_does_what_it_says(title: str, autojump_clock: trio.testing.MockClock):
    code = compile(EXAMPLE_BY_TITLE[title], f"{PAGE.name}, {title}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    space: dict[str, Any] = {"__name__": "example"}
    waits = eval(code, space)
    assert inspect.iscoroutine(waits)
    await waits
