"""Patterns match what `re` says, and take as many steps as the text is long."""

import re
from random import Random

import pytest

from aggregates.values.patterns import PATTERN_CHARACTERS_MAX, Pattern, Unreadable


class Steps:
    """Counts the steps that a match says it takes."""

    def __init__(self) -> None:
        self.taken = 0

    def spend(self, steps: int) -> None:
        self.taken += steps


def matches(pattern: str, text: str) -> bool:
    return Pattern(pattern).matches(text, Steps().spend)


def written(random: Random, depth: int) -> str:
    """A pattern that both know how to read."""
    kind = random.random()
    if not depth or kind < 0.35:
        return random.choice(["a", "b", "1", "[ab]", "[^a]", "[a-b1]", ".", r"\w", r"\d", r"\S", r"\x61", r"\."])
    if kind < 0.6:
        return written(random, depth - 1) + written(random, depth - 1)
    if kind < 0.75:
        return f"(?:{written(random, depth - 1)}|{written(random, depth - 1)})"
    return f"({written(random, depth - 1)}){random.choice(['*', '+', '?', '{1,2}', '{2}', '{0,}', '*?'])}"


@pytest.mark.parametrize("seed", range(4))
def test_it_says_what_re_says(seed: int) -> None:
    random = Random(seed)
    for _ in range(1_000):
        pattern = random.choice(("", "^")) + written(random, 4) + random.choice(("", "$"))
        text = "".join(random.choice("abc1.\n") for _ in range(random.randrange(8)))
        slow = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
        assert matches(pattern, text) == bool(slow), (seed, pattern, text)


def test_what_would_take_for_ever_takes_as_long_as_the_text() -> None:
    for pattern in ("(a+)+$", "^(a|a)*$", "(.*a){20}$", "(a?){30}a{30}$"):
        steps = Steps()
        assert not Pattern(pattern).matches("a" * 1_000 + "b", steps.spend)
        assert steps.taken < 200_000, pattern


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("$", "a\n"), (r"^\d+$", "12"), (r"^[\]\-]+$", "]-"), (r"^\u0041\t$", "A\t"), (r"^[^\d\s]+$", "ab"), ("a||b", "")],
)
def test_what_ecma_262_says(pattern: str, text: str) -> None:
    assert matches(pattern, text)


@pytest.mark.parametrize(("pattern", "text"), [("^a$", "a\n"), (r"^\d$", "٣"), ("^.$", "\u2028"), ("[]", "a")])
def test_what_it_does_not_say(pattern: str, text: str) -> None:
    assert not matches(pattern, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)", "(?<!a)b", "(?P<x>a)", r"(a)\1", r"\bword\b", r"\p{L}", "(", ")", "a)", "[a", "[b-a]", r"[\d-z]", "*a", "a**", "a{2",
        "a{3,2}", "^*", "a{99999}", "\\", r"\x6", "(?:" * 40 + ")" * 40, "(?:[a-z]{500}){3}", "(?:(?:(?:){999}){999}){999}",
        "a" * (PATTERN_CHARACTERS_MAX + 1), "}", "]",
    ],
)  # fmt: skip
def test_what_is_none_or_not_taken_is_said_so(pattern: str) -> None:
    with pytest.raises(Unreadable):
        Pattern(pattern)
