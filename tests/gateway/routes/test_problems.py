"""Problems: each format is read once, and a broken file is refused with its line and reason."""

import os
import resource
from hashlib import sha256
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from aggregates.values.qubo import Format
from aggregates.values.roles import Role
from gateway.api.problems import BadRequest
from gateway.routes.problems import ProblemBody, _read
from runtime.blobs import Blobs
from runtime.claims import Name
from solvers.formats import write_bqp, write_rudy
from solvers.formats.documents import write_json
from solvers.generators import palubeckis, toroidal_grid
from tests.gateway.clients import Client, told

GRID = toroidal_grid(4, 4, 1)
DENSE = palubeckis(20, 50, 7)
QBSOLV = b"c two\np qubo 0 2 2 1\n0 0 -1\n1 1 -1\n0 1 2\n"
JSON_HEAD = b'{"format": "gavel-qubo/1", "sense": "min", '

GOOD = {
    "rudy": (write_rudy(GRID), "max", 16),
    "bqp": (write_bqp(DENSE), "max", 20),
    "qbsolv": (QBSOLV, "min", 2),
    "json": (write_json(DENSE), "max", 20),
}
BROKEN = [
    ("rudy", b"3 1\n1 9 1\n", "line 2: index 9"),
    ("rudy", b"3 1\n0 1 1\n", "line 2: index 0"),
    ("rudy", b"3 3\n1 2 1\n", "3 lines of terms are announced"),
    ("rudy", b"3 1\n1 2 1\n1 3 1\n", "more lines than announced"),
    ("rudy", b"3 1\n1 2 nan\n", "line 2: a weight should be finite"),
    ("rudy", b"3 1\n1 2 inf\n", "line 2: a weight should be finite"),
    ("rudy", b"3 1\n1 2 x\n", "line 2: a weight should be a number"),
    ("rudy", b"", "line 1: the number of variables and of terms is missing"),
    ("rudy", b"9" * 5000, ""),
    ("rudy", b"999999999999 1\n1 2 1\n", ""),
    ("bqp", b"1\n2 1\n1 3 1\n", "line 3: index 3"),
    ("bqp", b"5\n2 1\n1 2 1\n", "line 4: 5 problems are announced, 1 are there"),
    ("qbsolv", b"p qubo 0 2 1 1\n0 0 -1\n1 1 -1\n", "line 3: 1 diagonal terms are announced"),
    ("qbsolv", b"p qubo 0 2 1 -1\n0 0 -1\n", "can't be negative"),
    ("json", JSON_HEAD + b'"variables": 2, "linear": [[2, 1]]}', "/linear/0: index 2"),
    ("json", JSON_HEAD + b'"variables": 2, "linear": [[1, NaN]]}', "finite"),
    ("json", JSON_HEAD + b'"variables": -1}', "/variables"),
    ("json", b"[" * 100_000, "JSON"),
    ("json", bytes(100_000), "no reader recognizes the file"),
    (None, bytes(100_000), "no reader recognizes the file"),
    (None, b"\xff\xfe\x01" * 1000, "no reader recognizes the file"),
    (None, b"hello world\n", "no reader recognizes the file"),
    (None, b"", "no reader recognizes the file"),
]


async def register(client: Client, content: bytes, **body: Any) -> Any:
    stored = (await client.upload(content)).json()
    return await client.ask("POST", "/v1/problems", {"name": "p", "blob": stored["sha256"]} | body)


async def test_a_file_of_each_format_is_read_whether_it_is_named_or_not(admin: Client) -> None:
    for format, (content, sense, variables) in GOOD.items():
        for named in ({}, {"format": format}):
            answer = await register(admin, content, best_known=1.5, **named)
            assert answer.status_code == 201, answer.text
            row = answer.json()
            assert (row["format"], row["sense"], row["variables"]) == (format, sense, variables)
            assert (row["best_known"], row["blob"]) == (1.5, sha256(content).hexdigest())
            assert (await admin.get(f"/v1/problems/{row['problem_id']}")) == row
    assert len((await admin.get("/v1/problems"))["problems"]) == 2 * len(GOOD)


async def test_a_broken_file_is_refused_with_its_line_and_reason(admin: Client) -> None:
    for format, content, reason in BROKEN:
        answer = await register(admin, content, **({} if format is None else {"format": format}))
        assert answer.status_code == 422, (format, content[:50], answer.text)
        (fault,) = answer.json()["errors"]
        assert (fault["pointer"], reason in fault["detail"]) == ("/blob", True), (format, content[:50], fault)
    assert (await admin.get("/v1/problems"))["problems"] == []


async def test_a_file_of_another_format_than_named_is_refused(admin: Client) -> None:
    assert (await register(admin, QBSOLV, format="rudy")).status_code == 422
    assert (await register(admin, QBSOLV, format="maxsat")).json()["errors"][0]["pointer"] == "/format"


async def test_two_gigabytes_of_zeros_are_refused_unread(admin: Client) -> None:
    stored = (await admin.upload(b"a problem")).json()
    await trio.to_thread.run_sync(os.truncate, admin.node.blobs.path(stored["sha256"]), 2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for format in ({}, {"format": "rudy"}):
        answer = await admin.ask("POST", "/v1/problems", {"name": "zeros", "blob": stored["sha256"]} | format)
        assert answer.status_code == 422
        assert "the file has 2147483648 bytes" in answer.json()["errors"][0]["detail"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


async def test_a_file_that_was_altered_is_no_problem_of_ours(admin: Client) -> None:
    stored = (await admin.upload(QBSOLV)).json()
    await trio.Path(admin.node.blobs.path(stored["sha256"])).write_bytes(QBSOLV + b"\n")
    answer = await admin.ask("POST", "/v1/problems", {"name": "altered", "blob": stored["sha256"]})
    assert (answer.status_code, "was altered" in answer.text) == (422, True)


async def test_a_blob_that_is_not_here_or_anothers_is_named(admin: Client) -> None:
    await admin.upload(QBSOLV)
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    foreign = await stranger.ask("POST", "/v1/problems", {"name": "p", "blob": sha256(QBSOLV).hexdigest()})
    absent = await stranger.ask("POST", "/v1/problems", {"name": "p", "blob": "0" * 64})
    assert (foreign.status_code, told(foreign)) == (422, told(absent))
    assert foreign.json()["errors"][0]["pointer"] == "/blob"


async def test_a_registration_that_is_sent_again_is_one_problem(admin: Client) -> None:
    await admin.upload(QBSOLV)
    body = {"name": "two", "blob": sha256(QBSOLV).hexdigest()}
    first, again = [await admin.ask("POST", "/v1/problems", body, Idempotency_Key="k") for _ in range(2)]
    assert (first.status_code, again.json()) == (201, first.json())


async def test_a_foreign_problem_and_an_absent_one_look_alike(admin: Client) -> None:
    problem_id = (await register(admin, QBSOLV)).json()["problem_id"]
    stranger = await admin.with_role(Role.ADMIN, tenant="other")
    foreign, absent = [await stranger.ask("GET", f"/v1/problems/{name}") for name in (problem_id, "none")]
    assert (foreign.status_code, told(foreign).replace(problem_id, "none")) == (404, told(absent))
    assert (await stranger.get("/v1/problems"))["problems"] == []
    assert (await (await admin.with_role(Role.AUDITOR)).ask("POST", "/v1/problems", {})).status_code == 403


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"), blob_bytes_max=1000)


WORDS = st.sampled_from(
    ["p", "qubo", "c", "#", "0", "1", "2", "3", "-1", "1.5", "nan", "1e999", "99999999999", "\n", " ", "_1"]
)


@given(
    content=st.binary(max_size=200) | st.lists(WORDS, max_size=40).map(lambda words: " ".join(words).encode()),
    format=st.none() | st.sampled_from(Format),
)
def test_whatever_a_file_holds_it_is_a_problem_or_a_reason(blobs: Blobs, content: bytes, format: Format | None) -> None:
    digest = sha256(content).hexdigest()
    file = blobs.new_path()
    file.write_bytes(content)
    blobs.keep("t", Name(digest), file)
    try:
        facts = _read(blobs, "t", ProblemBody(name="p", blob=digest, format=format))
    except BadRequest as refusal:
        assert [fault["pointer"] for fault in refusal.faults] == ["/blob"]
        assert refusal.faults[0]["detail"]
    else:
        assert facts["variables"] >= 0
