"""The demo's problems: what a folder holds, what is skipped, and which sign a best value has."""

import json
from pathlib import Path

import pytest

from gateway.demo.problems import in_folder, published
from gateway.verdicts import Wrong
from solvers.formats import write_bqp, write_rudy
from solvers.generators import palubeckis, toroidal_grid

GRID = write_rudy(toroidal_grid(4, 4, 1))
DENSE = write_bqp(palubeckis(20, 50, 7))
QUBO = b"p qubo 0 2 2 1\n0 0 -1\n1 1 -1\n0 1 2\n"


def test_any_mix_of_formats_is_taken_and_the_rest_skipped_by_name(tmp_path: Path):
    files = {"g.txt": GRID, "d.bqp": DENSE, "q.qubo": QUBO, "read.me": b"hello", "zeros.bin": b"\0" * 99}
    for name, content in (files | {"broken.txt": b"3 1\n1 9 1\n"}).items():
        (tmp_path / name).write_bytes(content)
    problems, skipped = in_folder(tmp_path)
    assert [(problem.name, problem.format) for problem in problems] == [("d", "bqp"), ("g", "rudy"), ("q", "qbsolv")]
    assert [file.name for file in skipped] == ["broken.txt", "read.me", "zeros.bin"]
    assert "line 2" in skipped[0].reason


@pytest.mark.parametrize("listed", [{"best": -9}, {"best": 9}, -9, 9], ids=str)
def test_a_best_value_takes_the_sign_of_the_problems_sense(tmp_path: Path, listed: object):
    (tmp_path / "g.txt").write_bytes(GRID)
    (tmp_path / "q.qubo").write_bytes(QUBO)
    (tmp_path / "best_known.json").write_text(json.dumps({"g": listed, "q": listed}))
    problems, skipped = in_folder(tmp_path)
    assert [problem.best_known for problem in problems] == [9, -9]
    assert skipped == []


def test_a_file_of_several_problems_is_taken_apart(tmp_path: Path):
    one = DENSE.split(b"\n", 1)[1]
    (tmp_path / "two.txt").write_bytes(b"2\n" + one + one)
    problems, _ = in_folder(tmp_path)
    assert [problem.name for problem in problems] == ["two.1", "two.2"]
    assert all(problem.content == DENSE for problem in problems)


def test_two_files_that_share_a_name_are_told_apart(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(GRID)
    (tmp_path / "a.bqp").write_bytes(DENSE)
    problems, _ = in_folder(tmp_path)
    assert [problem.name for problem in problems] == ["a", "a-2"]


def test_a_folder_without_a_problem_is_refused_with_each_reason(tmp_path: Path):
    (tmp_path / "read.me").write_bytes(b"hello")
    with pytest.raises(Wrong, match=r"read\.me: line 1: no reader recognizes the file"):
        in_folder(tmp_path)
    (tmp_path / "best_known.json").write_text("[")
    with pytest.raises(Wrong, match="best_known"):
        in_folder(tmp_path)


def test_published_instances_have_the_values_that_the_literature_has():
    assert published()[0].best_known == 3931583
