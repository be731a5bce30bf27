"""A client that a generator makes of the document: whole, well named, typed, and good for a walk from registration to result."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType

from aggregates.values.roles import Role
from gateway.app import api_document
from tests.gateway import documented
from tests.gateway.clients import Client
from tests.gateway.in_thread import node_in_thread

PACKAGE = "gavel_client"
SETTLED = re.compile(r"Unsupported content type application/msgpack")
"""The generator reads no msgpack, says so, and goes on with JSON."""

OTHERS = (
    "application/offset+octet-stream",
    "text/plain",
    "text/javascript",
    "text/css",
    "text/x.tlog.size",
    "image/svg+xml",
)
"""Bytes, to the generator."""


class Generated:
    """The generated package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "openapi.json").write_bytes(api_document())
        told = ConfigFile(
            project_name_override=PACKAGE,
            package_name_override=PACKAGE,
            post_hooks=[],
            content_type_overrides={
                "application/offset+octet-stream": "application/octet-stream",
                "text/plain": "application/octet-stream",
            },
        )
        config = Config.from_sources(told, MetaType.NONE, folder / "openapi.json", "utf-8", True, folder / PACKAGE)
        self.warnings = [f"{error.header}: {error.detail}" for error in generate(config=config)]

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(f"{PACKAGE}.models"), name)

    def call(self, tag: str, operation: str) -> ModuleType:
        """The module of an operation."""
        return importlib.import_module(f"{PACKAGE}.api.{tag}.{operation}")

    def ask(self, client: Any, tag: str, operation: str, *path: str, **more: Any) -> Any:
        """What the operation answers, parsed; the status is kept beside it."""
        answer = self.call(tag, operation).sync_detailed(*path, client=client, **more)
        self.status = answer.status_code
        self.headers = answer.headers
        return answer.parsed


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    folder = tmp_path_factory.mktemp("client")
    with pytest.MonkeyPatch.context() as found:
        found.syspath_prepend(str(folder))
        yield Generated(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[Role, str]]]:
    with node_in_thread(tmp_path_factory.mktemp("node")) as served:
        yield served


def test_the_whole_document_becomes_a_client(generated: Generated) -> None:
    assert [warning for warning in generated.warnings if not SETTLED.search(warning)] == []
    for path, item in documented.document()["paths"].items():
        for operation in item.values():
            module = generated.call(operation["tags"][0], operation["operationId"])
            assert callable(module.sync_detailed), path


def test_no_name_is_made_up(generated: Generated) -> None:
    """A class that the generator has to name itself is called by its place: `ListTasksStage`, `TaskType0`."""
    models = {path.stem for path in (generated.folder / PACKAGE / "models").glob("*.py")}
    ours = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in documented.document()["components"]["schemas"]}
    made_up = {name.rstrip("_") for name in models - {"__init__"}} - ours
    inline = re.compile(
        "_(asked|state|counts|recent|agents|tasks|ended|payload|blobs|requirements|attributes|prices|result|headers|method|on_error"
        "|status|level|lost|began|successors|type_0|response_200)$"
    )
    assert {name for name in made_up if not inline.search(name)} == set()
    assert not {name for name in made_up if re.search(r"^(list|read|get)_(?!.*response_200|bids_state)", name)}


def test_a_walk_from_registration_to_result(generated: Generated, node: tuple[Client, dict[Role, str]]) -> None:
    admin, keys = node
    client_of = importlib.import_module(PACKAGE).AuthenticatedClient
    with client_of(base_url=admin.node.url, token=keys[Role.OPERATOR]) as operator:
        kind = generated.AgentType.PERFORMANCE
        body = generated.RegisterAgentBody(id="ann", name="Ann", agent_type=kind, capabilities=["spelling"])
        with client_of(base_url=admin.node.url, token=admin.key) as registrar:
            registered = generated.ask(registrar, "agents", "register_agent", body=body)
        assert (generated.status, registered.agent_id) == (201, "ann")
        submission = generated.SubmitTaskBody(task_type=generated.TaskType.ANALYSIS, capabilities=["spelling"])
        submitted = generated.ask(operator, "tasks", "submit_task", body=submission, idempotency_key="k1")
        again = generated.ask(operator, "tasks", "submit_task", body=submission, idempotency_key="k1")
        assert (generated.status, again) == (202, submitted)
        with client_of(base_url=admin.node.url, token=registered.key) as ann:
            _work(generated, ann, submitted.task_id)
        position = int(generated.headers["gavel-position"])
        task = generated.ask(operator, "tasks", "get_task", submitted.task_id, after_position=position)
        assert (task.stage, task.agent_id, task.result.to_dict()) == (
            generated.TaskStage.COMPLETED,
            "ann",
            {"mistakes": 3},
        )
        page = generated.ask(operator, "tasks", "list_tasks", stage=generated.TaskStage.COMPLETED, limit=5)
        assert [row.task_id for row in page.tasks] == [task.task_id]


def _work(generated: Generated, ann: Any, task_id: str) -> None:
    """Bids until the call is out, then does the task."""
    bid = generated.PlaceBidBody(price=0.5, eta_seconds=20.0)
    placed = generated.ask(ann, "bids", "place_bid", task_id, body=bid)
    while generated.status == 409:
        placed = generated.ask(ann, "bids", "place_bid", task_id, body=bid)
    assert placed.task_id == task_id
    done = generated.TaskStatus.from_dict({"status": "completed", "token": 1, "result": {"mistakes": 3}})
    accepted = generated.ask(ann, "tasks", "report_task", task_id, body=done)
    while generated.status == 422 and accepted.type_.endswith("token_unknown"):  # not yet awarded
        accepted = generated.ask(ann, "tasks", "report_task", task_id, body=done)
    assert accepted.task_id == task_id


def test_failures_are_problem_documents(generated: Generated, node: tuple[Client, dict[Role, str]]) -> None:
    admin, keys = node
    client_of = importlib.import_module(PACKAGE).AuthenticatedClient
    with client_of(base_url=admin.node.url, token=keys[Role.AUDITOR]) as auditor:
        missing = generated.ask(auditor, "tasks", "get_task", "none")
        assert isinstance(missing, generated.ProblemDocument)
        assert (missing.status, missing.type_) == (404, "urn:gavel:problem:not_found")
        wrong = generated.ask(auditor, "tasks", "list_tasks", limit=0)
        assert [fault.to_dict() for fault in wrong.errors] == [
            {"parameter": "limit", "detail": "must be an integer from 1 to 500"}
        ]
        body = generated.SubmitTaskBody(task_type=generated.TaskType.ANALYSIS)
        assert generated.ask(auditor, "tasks", "submit_task", body=body).status == 403
    with client_of(base_url=admin.node.url, token="none") as stranger:
        assert generated.ask(stranger, "tasks", "list_tasks").status == 401


def test_its_types_hold(generated: Generated, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("types of a whole package take a minute; --soak has it")
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--config-file=", "-p", PACKAGE]
    checked = subprocess.run(command, cwd=generated.folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
