"""Examples for the API documents: what a member is called tells what may stand there, and its schema whether it fits.

So a new record has an example as soon as it has a schema. Bodies of requests are written out: a test sends each to a node. All tell one
story: Ann's agent spells, and the node solves a triangle.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aggregates.values.sealed_bids import commitment_of, sealed_text

Schema = Mapping[str, Any]

MOMENT = 1_795_262_400.0
TASK_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c2e"
SALT = "000102030405060708090a0b0c0d0e0f"
SEALED = commitment_of(
    sealed_text(
        task_id=TASK_ID,
        round=1,
        agent_id="ann",
        price=0.5,
        eta_seconds=20.0,
        confidence=0.9,
        capacity_offer=0.0,
        salt=SALT,
    )
)
KEY_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c2f"
PROBLEM_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c30"
JOB_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c31"
USER_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c33"
WEBHOOK_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c34"
OPERATION_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c35"
ACTION_ID = "01a0b2c4-8d1e-7c3a-9f00-3b5d7f9a1c32"
TRIANGLE = b"3 3\n1 2 1\n1 3 1\n2 3 1\n"
TRIANGLE_DIGEST = "ff42b054010d32a45c2536c6eb9063ceb4c076f0ebc7be0128b8559b182aff96"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DEPTH_MAX = 6
"""How deep an example goes into records that hold their own kind."""

VALUES: dict[str, tuple[Any, ...]] = {
    "action": ("keys.issue",),
    "action_id": (ACTION_ID,),
    "actor": ("coordinator/default",),
    "address": ("192.0.2.7",),
    "agent_id": ("ann",),
    "agent_type": ("performance",),
    "agents": ({"active": 1},),
    "algorithm": ("tabu",),
    "assignment": ("YA==",),
    "award_reason": ("outscored",),
    "began_by": ("operator:" + KEY_ID,),
    "blob": (TRIANGLE_DIGEST,),
    "blobs": ({"photo": TRIANGLE_DIGEST},),
    "body": ("gqR0eXBl",),
    "capabilities": ("spelling",),
    "cause": ("@4711",),
    "checkpoint": ("gavel/default\n4711\n3q2+7w==\n",),
    "code": ("token_stale",),
    "command": ("task.SubmitTask",),
    "command_id": (ACTION_ID,),
    "commitment": (SEALED,),
    "salt": (SALT,),
    "correlation": (ACTION_ID,),
    "counts": ({"stopped": 1},),
    "data": ({"task_id": TASK_ID},),
    "data_subject": ("p17", ""),
    "description": ("Check the spelling of the second chapter.",),
    "detail": ("it was taken from the holder of token 1",),
    "digest": (TRIANGLE_DIGEST,),
    "eligible": ("ann",),
    "end": ("17:30",),
    "email": ("ann@example.org",),
    "error_id": ("9f86d081884c7d65",),
    "exit_code": (0,),
    "format": ("rudy",),
    "header": ("Idempotency-Key",),
    "id": ("ann",),
    "input_digest": (TRIANGLE_DIGEST,),
    "inputs": ({TASK_ID: {"text": "Once upon a time"}},),
    "job_id": (JOB_ID,),
    "journal": ("shared",),
    "headers": ({"gavel-position": "4711"}, {}),
    "key": ("gvl_01a0b2c48d1e7c3a9f003b5d7f9a1c2f_" + "s" * 32,),
    "key_id": (KEY_ID,),
    "kinds": ("task.TaskAwarded",),
    "kind": ("task.TaskSubmitted",),
    "label": ("Ann's laptop",),
    "leaf": ("9f" * 32,),
    "level": ("info",),
    "log_level": ("info",),
    "lost": ("",),
    "message": ("Heartbeat",),
    "message_id": ("4711-" + ACTION_ID,),
    "method": ("POST",),
    "name": ("acme", "Ann"),
    "new_root": ("9f" * 32,),
    "old_root": ("9e" * 32,),
    "operation_id": (OPERATION_ID,),
    "origin": ("gavel/acme",),
    "outcome": ("done",),
    "output": ('{"mistakes": 3}',),
    "parameter": ("limit",),
    "path": ("/session?ticket=t0ken", "9f" * 32),
    "payload": ({"text": "Once apon a time"},),
    "pointer": ("/price",),
    "position": (4711,),
    "principal": ("agent:ann",),
    "priority": (3,),
    "problem": ("triangle",),
    "problem_id": (PROBLEM_ID,),
    "projection": ("tasks/9",),
    "proof": ("9f" * 32,),
    "permissions": ("tasks:read",),
    "public_key": ("gavel/acme+1a2b3c4d+AYmF",),
    "reason": ("nobody needs it any more",),
    "request_id": ("r-17",),
    "requirements": ({"language": "en"},),
    "resource": ("disk",),
    "result": ({"mistakes": 3},),
    "role": ("operator",),
    "root": ("9f" * 32,),
    "scopes": ("tasks:read",),
    "secret": ("whsec_" + "c2VjcmV0" * 5 + "c2U=",),
    "sense": ("max",),
    "sha256": (TRIANGLE_DIGEST,),
    "specializations": ("proofreading",),
    "stage": ("completed",),
    "start": ("08:30",),
    "state": ("won", "idle", {"stage": "running"}),
    "status": ("active", "issued", "completed", 200),
    "stream": (f"task-{TASK_ID}",),
    "subject": (f"key-{KEY_ID}",),
    "submitted_by": ("operator:" + KEY_ID,),
    "target": ("9f" * 16,),
    "task_id": (TASK_ID,),
    "task_type": ("analysis",),
    "tasks": ({"completed": 1},),
    "tenant": ("default",),
    "tenant_id": ("default",),
    "title": ("Token stale",),
    "token": (1,),
    "traceparent": (TRACE,),
    "type": ("urn:gavel:problem:token_stale",),
    "schemas": ("/v1/task-types/analysis/schemas?version=3",),
    "session_id": (KEY_ID,),
    "url": ("https://example.org/gavel",),
    "user_id": (USER_ID,),
    "username": ("ann",),
    "upload_id": ("5f1d7a84db4c4f6c8d0e7a6f6f0d9b1a",),
    "user_agent": ("gavel",),
    "version": (3, "0.1.0"),
    "webhook_id": (WEBHOOK_ID,),
    "time_zone": ("Europe/Berlin",),
    "winner": ("ann",),
    "ws": ("/v1/agents/ann/ws",),
}
"""What may stand in a member of this name, or in a list of it; the first that its schema takes does."""

Named = dict[str, Any]

BODIES: dict[str, Named] = {
    "OpenJournalBody": {"tenant": {"name": "acme"}},
    "RegisterUserBody": {
        "user": {"username": "ann", "email": "ann@example.org", "role": "operator", "password": "correct horse battery"},
        "least": {"username": "bob", "email": "bob@example.org"},
    },
    "ChangeUserBody": {"role": {"role": "auditor"}, "address": {"email": "ann@example.com"}},
    "RevokeTokensBody": {
        "token": {"issuer": "https://id.example", "jti": "t-17", "reason": "it stood in a log"},
        "subject": {"issuer": "https://id.example", "subject": "build-7"},
        "principal": {"principal": "service:" + "9f" * 16},
    },
    "NewPassword": {"admin": {"password": "another horse battery"}},
    "Password": {"user": {"name": "ann", "password": "correct horse battery"}},
    "ReplaceKeyBody": {"hour": {"overlap_seconds": 3600}},
    "IssueKeyBody": {
        "operator": {"role": "operator", "label": "Ann's laptop"},
        "expiring": {"role": "auditor", "label": "For the year", "expires_at": 32_503_680_000},
    },
    "RegisterAgentBody": {
        "agent": {
            "id": "ann", "name": "Ann", "agent_type": "performance", "capabilities": ["spelling"], "slots": 2, "price": 0.5,
        },
        "least": {"name": "Bob", "agent_type": "operations", "capabilities": ["spelling"]},
    },
    "UpdateAgentBody": {
        "hours": {
            "working_hours": {
                "time_zone": "Europe/Berlin",
                "shifts": [{"days": ["monday", "tuesday", "friday"], "start": "08:30", "end": "17:30"}],
            },
        },
        "always": {"working_hours": {"shifts": []}},
        "price": {"price": 0.4}, "skills": {"capabilities": ["spelling", "grammar"], "slots": 3}},
    "DrainAgentBody": {"why": {"reason": "goes on holiday"}},
    "SubmitTaskBody": {
        "task": {
            "task_type": "analysis",
            "description": "Check the spelling of the second chapter.",
            "capabilities": ["spelling"],
            "payload": {"text": "Once apon a time"},
            "priority": 4,
            "budget_seconds": 60,
        },
        "deadline": {"task_type": "analysis", "capabilities": ["spelling"], "deadline": "2999-12-31T12:00:00Z"},
        "window": {
            "task_type": "deployment",
            "not_before": "2999-12-31T02:00:00Z",
            "estimated_duration": 1800,
            "deadline": "2999-12-31T04:00:00Z",
        },
        "widened": {"task_type": "monitoring", "no_bids": {"then": "widen", "call_max": 4, "rounds_max": 6}},
        "regardless": {"task_type": "monitoring", "dependency_policy": "run"},
        "cheapest": {"task_type": "analysis", "capabilities": ["spelling"], "award_policy": "lowest_cost"},
        "one at a time": {
            "task_type": "deployment", "concurrency": {"key": "deploy-prod", "limit": 1, "strategy": "cancel_newest"},
        },
        "tried": {"task_type": "analysis", "capabilities": ["spelling"], "dry_run": True},
        "queued": {"task_type": "analysis", "capabilities": ["spelling"], "queue": "reports"},
        "sealed": {
            "task_type": "analysis",
            "capabilities": ["spelling"],
            "award_policy": "second_price",
            "price_max": 5,
        },
        "least": {"task_type": "monitoring"},
    },
    "AssignmentMatrix": {
        "own": {
            "tasks": ["cut", "sew"],
            "agents": ["ann", "bob"],
            "scores": [[0.9, 0.4], [0.8, None]],
            "slots": [1, 2],
            "outside": 0.1,
        }
    },
    "SetConcurrencyBody": {"one": {"limit": 1}, "in turns": {"limit": 5, "strategy": "round_robin"}},
    "PauseQueueBody": {"upstream": {"reason": "The service that they ask is down."}},
    "AskQuestionBody": {"question": {"token": 1, "question": "British or American spelling?"}},
    "InboxProfile": {
        "person": {
            "capabilities": ["spelling"], "slots": 5, "hold_seconds": 14400.0,
            "working_hours": {
                "time_zone": "Europe/Berlin",
                "shifts": [{"days": ["monday", "tuesday", "friday"], "start": "08:30", "end": "17:30"}],
            },
        },
        "least": {"capabilities": ["spelling"]},
    },
    "TakeTaskBody": {"as_listed": {}, "otherwise": {"price": 0.4, "eta_seconds": 1800.0, "conditions": "by tonight"}},
    "DeclineOfferBody": {"why": {"reason": "I know the author"}},
    "ReportProgressBody": {"half": {"token": 1, "share": 0.5, "note": "chapter 3 of 6"}},
    "InboxStatus": {
        "started": {"status": "started", "token": 1},
        "released": {"status": "released", "token": 1, "reason": "not my field"},
        "completed": {"status": "completed", "token": 1, "result": {"mistakes": 3}},
        "failed": {"status": "failed", "token": 1, "reason": "the file is empty", "retryable": False},
    },
    "AnswerQuestionBody": {"answer": {"answer": "British."}},
    "SetSchemasBody": {
        "spelling": {
            "payload": {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]},
            "result": {"type": "object", "properties": {"mistakes": {"type": "integer", "minimum": 0}}, "required": ["mistakes"]},
        },
    },
    "StopCoordinationBody": {"maintenance": {"reason": "The machines are being moved."}},
    "AmendTaskBody": {
        "sooner": {"priority": 5, "deadline": "2999-12-31T12:00:00Z"},
        "later": {"not_before": "2999-12-31T02:00:00Z", "deadline": "2999-12-31T12:00:00Z", "budget_seconds": 60},
    },
    "RequeueTaskBody": {"again": {"attempts": 2, "reason": "the disk is mended"}},
    "SubmitTasksBody": {
        "in turn": {
            "tasks": [
                {"ref": "read", "task_type": "analysis", "capabilities": ["spelling"], "payload": {"text": "Once apon a time"}},
                {"ref": "check", "task_type": "verification", "dependencies": ["read"], "independent_of": ["read"]},
            ],
        },
        "least": {"tasks": [{"task_type": "monitoring"}]},
    },
    "AssignTaskBody": {"given": {"agent_id": "ann", "reason": "she knows the book"}},
    "TaskStatus": {
        "started": {"status": "started", "token": 1},
        "completed": {"status": "completed", "token": 1, "result": {"mistakes": 3}, "charged": 0.25},
        "failed": {"status": "failed", "token": 1, "reason": "the text is in Latin"},
        "declined": {"status": "declined", "token": 1, "reason": "the text is in Latin"},
    },
    "PlaceBidBody": {"bid": {"price": 0.5, "eta_seconds": 20, "confidence": 0.9}, "least": {"price": 0.5, "eta_seconds": 20}},
    "CommitBidBody": {"sealed": {"commitment": SEALED}},
    "RevealBidBody": {
        "opened": {"price": 0.5, "eta_seconds": 20, "confidence": 0.9, "salt": SALT}
    },
    "RefuseBidBody": {"why": {"reason": "no Latin"}},
    "ProblemBody": {"triangle": {"name": "triangle", "blob": TRIANGLE_DIGEST, "best_known": 2}},
    "QueueSolveBody": {
        "seeded": {"problem_id": PROBLEM_ID, "seconds": 2, "seed": 7},
        "measured": {
            "problem_id": PROBLEM_ID,
            "seconds": 60,
            "work_max": 200000,
            "stagnation_work": 100000,
            "tolerance": 1e-6,
            "strategy": "annealing",
            "baseline": {"seconds": 0.5, "strategy": "annealing"},
        },
    },
    "UploadBody": {"upload": {"length": 22, "sha256": TRIANGLE_DIGEST}, "unknown": {"length": 22}},
    "NoteAction": {"backup": {"action": "backup", "subject": "gavel.db", "reason": "every night"}},
    "EndOfAction": {"done": {"outcome": "done"}, "failed": {"outcome": "failed", "code": "disk_full"}},
    "CreateWebhookBody": {
        "awards": {"url": "https://example.org/gavel", "kinds": ["task.TaskAwarded"]},
        "everything": {"url": "https://example.org/all", "after": 0},
    },
    "UpdateWebhookBody": {"kinds": {"kinds": ["task", "agent.AgentRegistered"]}, "url": {"url": "https://example.org/new"}},
    "PauseWebhookBody": {"why": {"reason": "example.org moves"}},
    "ResumeWebhookBody": {"why": {"reason": "example.org has moved"}},
    "RotateSecretBody": {"hour": {"overlap_seconds": 3600}},
    "ReplayWebhookBody": {"all": {"after": 0}},
    "BatchBody": {
        "batch": {
            "requests": [
                {"method": "POST", "path": "/v1/tasks", "body": {"task_type": "monitoring"}, "idempotency_key": "t-17"},
                {"method": "GET", "path": "/v1/tasks?limit=1"},
            ],
            "on_error": "stop",
        },
    },
    "RotateKeyBody": {"yearly": {"reason": "every year"}},
    "RebuildProjections": {"some": {"projections": ["tasks"]}, "all": {"projections": []}},
    "SkipEventBody": {"skip": {"position": 4711, "reason": "it was written by a faulty version"}},
    "LogLevel": {"louder": {"level": "debug"}, "as the others": {"level": None}},
}  # fmt: skip
"""Bodies of requests by the names of their schemas, each by a name that says what it shows."""

TEXTS = {
    "feed.feed": 'retry: 1000\nid: 4711\nevent: position\ndata: 4711\n\nid: 4712\nevent: task.TaskStarted\ndata: {"position":4712}\n\n',
    "audit.checkpoint": "gavel/default\n4711\nn4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\n\n— gavel/default Gin8Kx4t\n",
    "status.metrics": "# TYPE gavel_position gauge\ngavel_position 4711\n",
    "witness.add_checkpoint": "— witness/example 5f1d7a84db4c4f6c\n",
    "witness.checkpoint": "gavel/default\n4711\nn4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=\n\n— gavel/default Gin8Kx4t\n",
}  # fmt: skip
"""Answers that are text, by their action."""


def example(schema: Schema, schemas: Mapping[str, Schema], name: str = "", depth: int = 0) -> Any:
    """A value of this schema, as it would be under this name; `schemas` holds those that are referred to by name."""
    if "$ref" in schema:
        return example(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for value in VALUES.get(name, ()):
        if _fits(value, schema):
            return value
    if "anyOf" in schema:
        return _of_union(schema["anyOf"], schemas, name, depth)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            parts = schema.get("properties", {}).items()
            return {each: example(part, schemas, each, depth + 1) for each, part in parts}
        case "array":
            return [] if depth > DEPTH_MAX else [example(schema.get("items", {}), schemas, name, depth + 1)]
        case kind:
            return _plain(kind, schema, name)


def _of_union(choices: Sequence[Schema], schemas: Mapping[str, Schema], name: str, depth: int) -> Any:
    """What fits by its name, a record, or null: what has not happened yet."""
    is_nullable = any(choice.get("type") == "null" for choice in choices)
    for choice in choices:
        known = [value for value in VALUES.get(name, ()) if _fits(value, choice)]
        if known:
            return known[0]
        if not is_nullable or (choice.get("type") != "null" and ("$ref" in choice or "items" in choice)):
            return None if is_nullable and depth > DEPTH_MAX else example(choice, schemas, name, depth + 1)
    return None


def _plain(kind: Any, schema: Schema, name: str) -> Any:
    match kind:
        case "string":
            return "text" if not name.endswith("_at") else ""
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "number":
            return MOMENT if name == "at" or name.endswith("_at") else min(1.5, schema.get("maximum", 1.5))
        case "boolean":
            return True
    return {}


def _fits(value: Any, schema: Schema) -> bool:
    """Whether a value is of the schema's own type; what it refers to decides for itself."""
    if "enum" in schema:
        return value in schema["enum"]
    match schema.get("type"):
        case "string":
            return isinstance(value, str) and not ("pattern" in schema and value == "")
        case "integer":
            return isinstance(value, int)
        case "number":
            return isinstance(value, (int, float))
        case "object":
            return isinstance(value, dict) and "properties" not in schema
        case None:
            return not schema.keys() & {"anyOf", "$ref"}
    return False


def bodies(name: str, schema: Schema, schemas: Mapping[str, Schema]) -> Named:
    """Examples of a request's body whose schema has this name."""
    return BODIES.get(name) or {"body": example(schema, schemas)}
