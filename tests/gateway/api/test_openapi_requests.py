"""Requests made up from the API document, right and wrong: each is answered as documented, none brings the node down."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import msgspec
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregates.values.roles import Role
from tests.gateway import documented
from tests.gateway.clients import Client, open_client, settings_of

ENDLESS = {"/v1/feed"}
EXAMPLES = 100
WHOSE = [0, 0, 0, 0, 1, 1, 2, 3]  # the admin most, since whom nobody knows gets nowhere
NAMES = ["a1", "none", "default", "house-solver", "0" * 64]

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema means; a pattern's text is one of a few that it may be."""
    if "$ref" in schema:
        return fitting(documented.document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([fitting(one) for one in schema["anyOf"]])
    match schema.get("type"):
        case "object":
            return _object(schema)
        case "array":
            return st.lists(fitting(schema.get("items", {})), max_size=3)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            low, high = schema.get("minimum", schema.get("exclusiveMinimum", -1e6)), schema.get("maximum", 1e6)
            return st.floats(low, high, exclude_min="exclusiveMinimum" in schema)
        case "string" if "pattern" in schema:
            return st.sampled_from(NAMES)
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=min(20, schema.get("maxLength", 20)))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    return anything


def _object(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=5), anything, max_size=3)
    parts = {name: fitting(part) for name, part in schema["properties"].items()}
    needed = {name: parts.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(needed, optional=parts)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, str], bytes, int]:
    """A method, a path with its query, headers, a body, and whose key."""
    paths = documented.document()["paths"]
    path = draw(st.sampled_from(sorted(paths.keys() - ENDLESS)))
    method = draw(st.sampled_from(sorted(paths[path])))
    operation = paths[path][method]
    query = {}
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path":
            name = draw(st.sampled_from(NAMES) | st.text(min_size=1, max_size=20))
            path = path.replace(f"{{{parameter['name']}}}", quote(name, safe=""))
        elif parameter.get("in") == "query" and draw(st.booleans()):
            query[parameter["name"]] = draw(fitting(parameter["schema"]) | st.text(max_size=20))
    content, kind = draw(_bodies(operation.get("requestBody")))
    headers = {"Content-Type": kind} if kind else {}
    if draw(st.booleans()):
        headers["Idempotency-Key"] = draw(st.sampled_from(["k1", "k2"]))
    return method.upper(), f"{path}?{urlencode(query)}", headers, content, draw(st.sampled_from(WHOSE))


@st.composite
def _bodies(draw: st.DrawFn, described: Any) -> tuple[bytes, str]:
    if described is None or draw(st.integers(0, 9)) == 0:
        return draw(
            st.sampled_from(
                [(b"", ""), (b"{", "application/json"), (b"\xc1", "application/msgpack"), (b"x", "text/plain")]
            )
        )
    body = draw(fitting(next(iter(described["content"].values()))["schema"]))
    if isinstance(body, dict) and draw(st.booleans()):
        body[draw(st.sampled_from([*body, "else"]))] = draw(anything)
    if draw(st.booleans()):
        return msgspec.json.encode(body), "application/json"
    return _as_msgpack(body), "application/msgpack"


def _as_msgpack(body: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(body)
    except OverflowError:  # an integer that only JSON can write
        return b"\xcf"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Client]]:
    """An admin, an agent, an enroller and somebody without a key, of one node that runs in a thread of its own."""
    ready, folder = threading.Event(), tmp_path_factory.mktemp("node")
    made: list[Client] = []
    stop = trio.Event()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve(folder: Path) -> None:
        async with open_client(settings_of(folder), guard_seconds=600) as admin:
            made.extend([admin, await admin.register("a1"), await admin.with_role(Role.AGENT)])
            made.append(Client(admin.node, admin.http, "gvl_none"))
            tokens.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()

    node = threading.Thread(target=trio.run, args=(serve, folder))
    node.start()
    try:
        assert ready.wait(60)
        yield made
    finally:
        trio.from_thread.run_sync(stop.set, trio_token=tokens[0])
        node.join()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """One client for all: an answer that ended the connection unsaid would cost the next request."""
    with httpx2.Client(timeout=120) as client:
        yield client


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(request=requests())
def test_whatever_is_asked_is_answered_as_documented(clients: list[Client], http: httpx2.Client, request: Any) -> None:
    method, path, headers, content, whose = request
    client = clients[whose]
    headers = headers | {"Authorization": f"Bearer {client.key}"}
    answer = http.request(method, client.node.url + path, headers=headers, content=content)
    documented.check(answer)
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert http.get(f"{client.node.url}/livez").status_code == 200
    counts = client.node.counts
    assert (counts.faults, counts.handler_faults) == (0, 0)
