"""What is missing is told in one order."""

from aggregates.values.skills import missing


def test_missing_skills_are_told_sorted_and_once() -> None:
    assert missing(["c", "a", "b", "a"], {"b"}) == ("a", "c")
    assert missing([], ["a"]) == ()
