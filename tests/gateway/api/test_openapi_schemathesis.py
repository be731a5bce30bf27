"""Schemathesis against a node: every operation of its document, requests right and wrong, by every role, and none answered otherwise
than the document says."""

import copy
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from aggregates.values.roles import Role
from gateway.api import calls, preferences
from gateway.api.openapi import IN_ALL
from gateway.api.parameters import IDEMPOTENCY
from gateway.api.preferences import WAIT
from gateway.api.queries import IF_MATCH, IF_NONE_MATCH, PAGE
from tests.gateway import documented
from tests.gateway.clients import Client
from tests.gateway.in_thread import node_in_thread

SEED = 20_261_121
EXAMPLES, EXAMPLES_SOAK = 1, 200
CHAINS = 2
SHARES = 4
"""Of the operations: the bounds of one share are tried on a commit, all under --soak."""

ENDLESS = ("/v1/feed",)
REFUSALS = [*map(str, (400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429, 431, 503, 507))]
"""How a node may answer what is wrong; what is right it may still refuse by a fact, as when a task is done already."""

INVALID = {"body_unreadable", "body_invalid", "query_invalid", "header_invalid"}
BY_CONTENT = {"put_blob", "register_problem", "append_to_upload"}
"""These call a body invalid for what its bytes are, which no schema can say."""

UNDER_ANOTHER = {"collection": "POST /v1/blobs/collection", "uploads": "POST /v1/blobs/uploads"}
"""Paths that are names of blobs to other methods: what is no name of one is not there (404) before its method is wrong (405)."""

Failures = dict[tuple[str, str, str], str]


@schemathesis.check
def what_the_schema_takes_is_not_called_invalid(ctx: Any, response: Any, case: Any) -> None:
    """A request as the schemas have it may be refused by a fact of the domain, but not as one that can't be read."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in (400, 422):
        return
    if any(str(value).endswith(".0") for value in case.query.values()):
        return  # 7.0 is an integer to JSON, but no way to write one in a query
    if {"sort", "after"} <= case.query.keys():
        return  # a cursor is good for the order that it was made for, which no schema can say
    sorted_by = [part.lstrip("-") for part in str(case.query.get("sort", "")).split(",")]
    if len(set(sorted_by)) < len(sorted_by):
        return  # nor that a column is named once
    code = response.json()["type"].rpartition(":")[2]
    operation = case.operation.definition.raw["operationId"]
    assert code not in INVALID or operation in BY_CONTENT, response.text


@schemathesis.serializer("application/msgpack")
def _as_msgpack(ctx: Any, value: Any) -> bytes:
    try:
        return bytes(msgpack.packb(value, default=str))
    except (OverflowError, ValueError):  # an integer that only JSON can write
        return b"\xc1"


@schemathesis.serializer("application/offset+octet-stream")
def _as_piece(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[Role, str]]]:
    """A node at which nobody waits long for what does not come."""
    with pytest.MonkeyPatch.context() as patient:
        patient.setattr(calls, "CATCH_UP_SECONDS_MAX", 0.02)
        patient.setattr(preferences, "WAIT_SECONDS_MAX", 0)
        with node_in_thread(tmp_path_factory.mktemp("node")) as served:
            yield served


def configuration(examples: int, *phases: str) -> SchemathesisConfig:
    relaxed = {
        "negative_data_rejection": {"expected-statuses": REFUSALS},
        "positive_data_acceptance": {"expected-statuses": ["2xx", "3xx", *REFUSALS]},
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "507"]},
    }
    every = ("examples", "coverage", "fuzzing", "stateful")
    told: dict[str, Any] = {
        "seed": SEED,
        "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
        "phases": {phase: {"enabled": phase in phases} for phase in every},
        "checks": relaxed,
    }
    return SchemathesisConfig.from_dict(told)


def share_of(document: dict[str, Any], share: int) -> dict[str, Any]:
    """The document with every so manieth path alone."""
    kept = sorted(document["paths"])[share::SHARES]
    return {**document, "paths": {path: document["paths"][path] for path in kept}}


def without_twins(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what would be covered alike many times: msgpack, and the parameters and headers that many operations share, but
    for tasks."""
    alone: dict[str, Any] = copy.deepcopy(document)
    shared = {parameter.name for parameter in PAGE}
    shared |= {"fields", "sort", *(header.name for header in (WAIT, IF_MATCH, IF_NONE_MATCH))}
    in_all = [f"#/components/parameters/{header.name}" for header in (IDEMPOTENCY, *IN_ALL)]
    for item in alone["paths"].values():
        for operation in item.values():
            operation.get("requestBody", {}).get("content", {}).pop("application/msgpack", None)
            if operation["tags"] != ["tasks"]:
                asked = operation["parameters"]
                operation["parameters"] = [
                    one for one in asked if one.get("$ref") not in in_all and one.get("name") not in shared
                ]
    return alone


def failures(
    client: Client, key: str, config: SchemathesisConfig, document: dict[str, Any] | None = None
) -> tuple[Failures, int]:
    """What is wrong by the checks' judgement, each with a command to see it again; and how many requests were sent."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    config.projects.default.update(headers=headers, base_url=client.node.url)
    # A copy: into what it is given, Schemathesis writes the links that it finds.
    given = copy.deepcopy(document or documented.document())
    schema = schemathesis.openapi.from_dict(given, config=config).exclude(path=list(ENDLESS))
    found: Failures = {}
    count = 0
    for event in from_schema(schema).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            raise AssertionError(f"{event}")
        if isinstance(event, events.ScenarioFinished):
            count += len(event.recorder.interactions)
            for case_id, checks in event.recorder.checks.items():
                told = event.recorder.interactions[case_id].response
                for check in checks:
                    if check.failure_info is not None:
                        failure = check.failure_info.failure
                        status = told.status_code if told is not None else "unanswered"
                        found.setdefault(
                            (event.recorder.label, check.name, f"{status}: {failure.message}"[:200]),
                            check.failure_info.code_sample,
                        )
    return {name: sample for name, sample in found.items() if not _is_known(name)}, count


def _is_known(name: tuple[str, str, str]) -> bool:
    label, check, message = name
    if check == "unsupported_method":
        return label in UNDER_ANOTHER.values()
    return (
        check == "negative_data_rejection" and "in header - object with unexpected properties" in message
    )  # HTTP allows any


def test_what_is_asked_is_answered_as_documented(
    node: tuple[Client, dict[Role, str]], request: pytest.FixtureRequest
) -> None:
    admin, _ = node
    examples = EXAMPLES_SOAK if request.config.getoption("--soak") else EXAMPLES
    found, _ = failures(admin, admin.key, configuration(examples, "examples", "fuzzing"))
    assert found == {}


@pytest.mark.rotate(keep=1)
@pytest.mark.parametrize("share", range(SHARES))
def test_every_bound_of_every_value_is_kept(node: tuple[Client, dict[Role, str]], share: int) -> None:
    """What lies on a bound is taken and what lies past it is not; what is left out, doubled or of another method is refused."""
    admin, _ = node
    document = share_of(without_twins(documented.document()), share)
    found, count = failures(admin, admin.key, configuration(1, "coverage"), document)
    assert found == {}
    assert count > 1_000 // SHARES


def test_what_was_made_is_found_changed_and_gone(
    node: tuple[Client, dict[Role, str]], request: pytest.FixtureRequest
) -> None:
    """Chains of requests, each with what the answers before it told: also what was deleted is asked for."""
    admin, _ = node
    examples = EXAMPLES_SOAK if request.config.getoption("--soak") else CHAINS
    found, _ = failures(admin, admin.key, configuration(examples, "stateful"))
    assert found == {}


@pytest.mark.rotate(keep=2)
@pytest.mark.parametrize("role", [None, *sorted(frozenset(Role) - {Role.ADMIN})])
def test_no_role_meets_an_answer_that_is_not_documented(
    node: tuple[Client, dict[Role, str]], role: Role | None, request: pytest.FixtureRequest
) -> None:
    admin, keys = node
    phases = ("examples", "fuzzing") if request.config.getoption("--soak") else ("examples",)
    config = configuration(1, *phases)
    found, _ = failures(admin, "" if role is None else keys[role], config)
    assert found == {}


def test_the_node_has_survived(node: tuple[Client, dict[Role, str]]) -> None:
    counts = node[0].node.counts
    assert (counts.faults, counts.handler_faults) == (0, 0)
