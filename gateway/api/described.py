"""What the API document tells of the operations beyond their lines in the table of routes: names, groups, refusals, headers.

An operation that is not listed here is described all the same, by its handler's name and by what all operations have in common.
What a refusal means stands in `gateway/api/problem_codes.py`; a test fails where a node answers with one that its operation does not name.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.api.calls import JOURNAL_HEADER, POSITION_HEADER, Endpoint
from gateway.api.parameters import IDEMPOTENCY
from gateway.api.problem_codes import CODES
from gateway.api.queries import AFTER_POSITION, AS_OF, IF_MATCH, IF_NONE_MATCH, LIMIT, Header
from gateway.identity.auth import SAFE_METHODS


class Tag(NamedTuple):
    """A group of operations."""

    name: str
    meaning: str
    modules: tuple[str, ...]
    """Whose routes are in the group."""


TAGS = (
    Tag(
        "tasks", "Work to be done: submitted, offered for bids, awarded, reported, or cancelled.",
        (
            "tasks", "task_batch", "explain", "leases", "coordination", "queues", "concurrency", "assignments", "task_types",
            "questions",
        ),
    ),
    Tag("inbox", "What a person takes, asks about and finishes, signed in as a user.", ("inbox",)),
    Tag("bids", "What agents answer to a task's calls.", ("bids",)),
    Tag("agents", "Who does the work: registers, gets a key of its own, is heard from, drains, leaves.", ("agents", "standing")),
    Tag("problems", "QUBO and Ising files that are known by a name.", ("problems",)),
    Tag("solves", "Runs of the node's own solver on registered problems.", ("solves",)),
    Tag("blobs", "Large values by the SHA-256 of their bytes, in one piece or as uploads.", ("blobs", "uploads")),
    Tag("webhooks", "What happens, sent to where it is wanted: signed, in order, at least once.", ("webhooks",)),
    Tag("log", "Everything that has happened: pages, a feed, what a stream had become, and why.", ("log", "feed", "log_state", "log_why")),
    Tag(
        "audit", "For auditors: who did what, proofs, verification, witnesses.",
        ("audit", "trail", "audit_proofs", "audit_rotations", "witness"),
    ),
    Tag("persons", "Data subjects: all that is recorded of a person, and its erasure.", ("subjects",)),
    Tag("keys", "Who may come in: keys, users, and the sessions of browsers.", ("keys", "users", "session", "provider", "revocations")),
    Tag(
        "node", "How the node is, and what operators can do about it.",
        ("health", "status", "tenant_health", "journals", "projections", "actors", "batch", "operations"),
    ),
    Tag("documents", "The console, this document, and its siblings for websockets and for older paths.", ("console", "openapi")),
    Tag("older", "Answers in older words, and paths that nothing answers yet.", ("older", "older_solves")),
)  # fmt: skip
"""In the order in which a reader should meet them."""

_TAG_BY_MODULE = {module: tag.name for tag in TAGS for module in tag.modules}


class Operation(NamedTuple):
    """An operation's name in clients that are generated, and what it alone refuses: `CODE`, or `STATUS CODE` where a code has several."""

    name: str
    refusals: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    """What its answers are, where they are of several types."""


_TASK_STAGES = ("completed", "failed", "cancelled", "expired", "dead_lettered", "dry_run_ended")
TASK_ENDED = tuple(f"task_is_{stage}" for stage in _TASK_STAGES)
NOT_TAKEN = ("task_unknown", "agent_not_eligible", "book_closed", "answers_too_many")
"""Why no answer to a call is taken, whatever it says."""
TASK_NOT_HELD = tuple(
    f"task_is_{stage}" for stage in ("submitted", "blocked", "bidding", "awarded", "running", *_TASK_STAGES)
)
JOB_ENDED = ("job_is_completed", "job_is_failed")
AGENT_GONE = ("agent_unknown", "agent_is_deregistered", "agent_is_lost")
KEY_UNFIT = ("role_needs_registration", "scopes_excessive", "tenant_unreadable")
USER_UNFIT = (
    "email_taken",
    "username_taken",
    "password_unfit",
    "password_elsewhere",
    "role_needs_key",
    "tenant_unreadable",
)
URL_UNFIT = ("url_not_https", "url_not_public", "url_unusable")
SIGN_IN = ("sign_in_locked", "sessions_too_many")
BLOB_UNKEPT = (
    "blob_erased",
    "blob_quota_reached",
    "insufficient_storage",
    "no_room",
    "request_entity_too_large",
    "no_keyring",
)

OPERATIONS: dict[str, Operation] = {
    "health.live": Operation("get_liveness"),
    "health.ready": Operation("get_readiness", ("not_ready",)),
    "console.front": Operation("open_console"),
    "console.reference": Operation("open_reference"),
    "console.page": Operation("get_console_file", media=("text/html", "text/javascript", "text/css", "image/svg+xml")),
    "session.sign_in": Operation("sign_in", ("unauthorized", "too_many_requests")),
    "session.make_link": Operation("create_sign_in_link"),
    "session.sign_out": Operation("sign_out", ("session_unknown",)),
    "session.with_password": Operation(
        "sign_in_with_password", ("unauthorized", "forbidden", "conflict", "overloaded", "too_many_requests", *SIGN_IN)
    ),
    "session.me": Operation("get_me"),
    "session.page": Operation("list_sessions"),
    "session.end": Operation("end_session", ("session_unknown", "session_elsewhere")),
    "provider.ways": Operation("list_sign_in_ways"),
    "provider.begin": Operation("begin_sign_in_at_provider", ("not_found", "bad_gateway")),
    "provider.sign_in": Operation(
        "sign_in_at_provider", ("not_found", "unauthorized", "overloaded", "too_many_requests", "sessions_too_many")
    ),
    "revocations.revoke": Operation(
        "revoke_tokens",
        (
            "revocation_unclear", "issuer_unknown", "revocation_over", "revocations_too_many", "tenant_isolated", "tenant_unreadable",
        ),
    ),
    "revocations.listed": Operation("list_revocations"),
    "users.register": Operation("register_user", ("user_exists", "users_too_many", *USER_UNFIT)),
    "users.page": Operation("list_users"),
    "users.find": Operation("get_user"),
    "users.change": Operation("change_user", ("user_unknown", *USER_UNFIT)),
    "users.set_password": Operation("set_password", ("user_unknown", "password_unfit", "password_elsewhere", *SIGN_IN)),
    "users.disable": Operation("disable_user", ("user_unknown",)),
    "users.enable": Operation("enable_user", ("user_unknown",)),
    "users.remove": Operation("remove_user", ("user_unknown",)),
    "users.unlock": Operation("unlock_user", ("user_unknown",)),
    "journals.isolate": Operation(
        "create_journal",
        (
            "journal_exists", "journal_not_empty", "journal_open", "journals_too_many", "journals_unavailable", "name_taken",
            "tenant_not_empty", "insufficient_storage",
        ),
    ),
    "journals.page": Operation("list_journals"),
    "keys.issue": Operation(
        "create_key", ("key_exists", "409 keys_too_many", "role_needs_registration", "expiry_passed", "tenant_isolated", *KEY_UNFIT)
    ),
    "keys.replace": Operation(
        "replace_key", ("404 key_unknown", "key_ended", "key_exists", "409 keys_too_many", "expiry_passed", *KEY_UNFIT)
    ),
    "keys.page": Operation("list_keys"),
    "keys.find": Operation("get_key"),
    "keys.revoke": Operation("revoke_key", ("404 key_unknown", "key_in_use")),
    "subjects.page": Operation("list_data_subjects"),
    "subjects.export": Operation("get_personal_data", ("subject_unreadable",)),
    "subjects.erasure": Operation(
        "erase_personal_data", ("subject_unreadable", "subject_unknown", "422 keys_too_many", "insufficient_storage")
    ),
    "agents.register": Operation(
        "register_agent", ("agent_exists", "agent_id_reserved", "agents_too_many", "409 keys_too_many",
         "skills_unlisted", "heartbeat_timeout_unfit", "prices_unlisted", "working_hours_unfit", "capacity_too_large")
    ),
    "agents.page": Operation("list_agents"),
    "agents.find": Operation("get_agent"),
    "standing.reputation": Operation("get_reputation"),
    "standing.timeline": Operation("list_agent_timeline"),
    "agents.update": Operation(
        "update_agent", (*AGENT_GONE, "skills_unlisted", "prices_unlisted", "working_hours_unfit", "capacity_too_large")
    ),
    "agents.drain": Operation("drain_agent", AGENT_GONE),
    "agents.deregister": Operation("deregister_agent", AGENT_GONE),
    "agents.heartbeat": Operation("send_heartbeat", AGENT_GONE),
    "tasks.submit": Operation(
        "submit_task",
        (
            "task_exists", "dependency_unknown", "dependency_failed", "independence_unclear", "skill_unknown", "assignee_unknown",
            "blob_unknown", "moment_out_of_range", "422 deadline_passed", "not_before_late", "deadline_infeasible",
            "budget_too_long", "bidding_too_long", "attempts_too_many", "dry_run_in_batch", "requirements_unfit", "resources_unfit",
            "range_unfit", "payload_unfit",
        ),
    ),
    "task_batch.submit": Operation("submit_tasks", ("tasks_unfit",)),
    "tasks.page": Operation("list_tasks"),
    "tasks.find": Operation("get_task"),
    "explain.find": Operation("explain_task"),
    "leases.check": Operation("check_lease"),
    "tasks.cancel": Operation("cancel_task", ("task_unknown", *TASK_ENDED)),
    "tasks.amend": Operation(
        "amend_task",
        (
            "task_unknown", "moment_out_of_range", "422 deadline_passed", "not_before_late", "deadline_infeasible", "budget_too_long",
            *TASK_ENDED,
        ),
    ),
    "tasks.assign": Operation(
        "assign_task",
        (
            "task_unknown", "agent_not_active", "skill_missing", "skill_unfit", "region_elsewhere", "excluded", "capacity_small",
            "off_hours", "slots_full", "capacity_full", "price_over_budget", "task_is_dry_run",
            *(f"task_is_{stage}" for stage in ("blocked", "bidding", "awarded", "running")), *TASK_ENDED,
        ),
    ),
    "tasks.requeue": Operation(
        "requeue_task",
        (
            "task_unknown", "not_a_dead_letter", "moment_out_of_range", "422 deadline_passed", "not_before_late", "deadline_infeasible",
            "attempts_too_many", "independence_unclear", "schema_gone",
        ),
    ),
    "assignments.preview": Operation("preview_assignments"),
    "questions.ask": Operation(
        "ask_question",
        ("task_unknown", "token_unknown", "token_stale", "not_the_holder", "question_open", "questions_too_many", *TASK_NOT_HELD),
    ),
    "inbox.find": Operation("get_inbox", ("inbox_is_a_persons", "inbox_unknown")),
    "inbox.profile": Operation("get_inbox_profile", ("inbox_is_a_persons", "inbox_unknown")),
    "inbox.join": Operation(
        "set_inbox_profile",
        (
            "inbox_is_a_persons", "skills_unlisted", "prices_unlisted", "working_hours_unfit", "hold_seconds_unfit", "capacity_too_large",
            "agents_too_many", "agent_exists",
        ),
    ),
    "inbox.pause": Operation("pause_inbox", ("inbox_is_a_persons", *AGENT_GONE)),
    "inbox.leave": Operation("leave_inbox", ("inbox_is_a_persons", "agent_unknown")),
    "inbox.look": Operation("get_inbox_task", ("inbox_is_a_persons", "inbox_unknown", "not_found")),
    "inbox.take": Operation(
        "take_task",
        (
            "inbox_is_a_persons", "inbox_unknown", "inbox_closed", "task_unknown", "task_taken", "others_are_asked", "not_for_people",
            "coordination_stopped", "queue_paused", "begins_later", "concurrency_full", "meant_for_another", "skill_missing", "skill_unfit",
            "region_elsewhere",
            "excluded", "capacity_small", "slots_full", "capacity_full", "price_over_budget", "eta_past_deadline", "task_is_blocked",
            *TASK_ENDED,
        ),
    ),
    "inbox.decline": Operation(
        "decline_task",
        (
            "inbox_is_a_persons", "inbox_unknown", "inbox_closed", "task_unknown", "declined_too_often", "task_is_awarded",
            "task_is_running", *TASK_ENDED,
        ),
    ),
    "inbox.progress": Operation(
        "report_task_progress",
        (
            "inbox_is_a_persons", "task_unknown", "token_unknown", "token_stale", "not_the_holder", "progress_too_often", *TASK_NOT_HELD,
        ),
    ),
    "inbox.ask": Operation(
        "ask_about_inbox_task",
        (
            "inbox_is_a_persons", "task_unknown", "token_unknown", "token_stale", "not_the_holder", "question_open", "questions_too_many",
            *TASK_NOT_HELD,
        ),
    ),
    "inbox.report": Operation(
        "report_inbox_task",
        (
            "inbox_is_a_persons", "task_unknown", "token_unknown", "token_stale", "not_the_holder", "result_unfit", "charge_too_high",
            "409 deadline_passed", *TASK_NOT_HELD,
        ),
    ),
    "questions.answer": Operation("answer_question", ("task_unknown", "question_unknown", "question_closed")),
    "task_types.put": Operation(
        "set_task_type_schemas", ("not_found", "schemas_missing", "schema_unfit", "schema_versions_too_many")
    ),
    "task_types.find": Operation("get_task_type_schemas"),
    "task_types.drop": Operation("drop_task_type_schemas", ("not_found",)),
    "task_types.page": Operation("list_task_type_schemas"),
    "coordination.find": Operation("get_coordination"),
    "coordination.figures": Operation("get_coordination_figures"),
    "coordination.start": Operation("start_coordination"),
    "coordination.stop": Operation("stop_coordination"),
    "concurrency.find": Operation("list_concurrency_keys"),
    "concurrency.put": Operation("set_concurrency", ("concurrency_keys_too_many",)),
    "concurrency.drop": Operation("drop_concurrency"),
    "queues.find": Operation("list_queues"),
    "queues.pause": Operation("pause_queue", ("queues_too_many",)),
    "queues.resume": Operation("resume_queue"),
    "tasks.report": Operation(
        "report_task",
        (
            "task_unknown", "token_unknown", "token_stale", "not_the_holder", "result_unfit", "charge_too_high",
            "409 deadline_passed", *TASK_NOT_HELD,
        ),
    ),
    "bids.page": Operation("list_bids"),
    "bids.place": Operation(
        "place_bid",
        (
            *NOT_TAKEN, "bids_are_sealed", "bid_expired", "bid_outlasts_task", "price_missing", "eta_past_deadline", *AGENT_GONE,
        ),
    ),
    "bids.commit": Operation("commit_bid", (*NOT_TAKEN, "bids_are_open", "bids_are_opened", *AGENT_GONE)),
    "bids.reveal": Operation(
        "reveal_bid",
        (
            *NOT_TAKEN, "bids_are_sealed", "commitment_unknown", "bid_is_opened", "eta_past_deadline", *AGENT_GONE,
        ),
    ),
    "bids.withdraw": Operation("withdraw_bid", (*NOT_TAKEN, "bid_unknown", "bids_are_opened")),
    "bids.refuse": Operation("refuse_bid", (*NOT_TAKEN, "bids_are_opened")),
    "problems.register": Operation("register_problem", ("problem_exists", "problems_too_many")),
    "problems.page": Operation("list_problems"),
    "problems.find": Operation("get_problem"),
    "solves.queue": Operation(
        "queue_solve",
        (
            *("problem_unknown", "job_exists", "problem_too_large", "strategy_unknown"),
            *("backend_not_configured", "backend_not_implemented"),
            *("warm_start_unfit", "threads_too_many"),
        ),
    ),
    "solves.page": Operation("list_solves"),
    "solves.find": Operation("get_solve"),
    "solves.cancel": Operation("cancel_solve", ("job_unknown", *JOB_ENDED)),
    "uploads.create": Operation("create_upload", ("too_many_uploads", *BLOB_UNKEPT)),
    "uploads.listing": Operation("list_uploads"),
    "uploads.show": Operation("get_upload"),
    "uploads.append": Operation(
        "append_to_upload", ("upload_offset_differs", "upload_busy", "unsupported_media_type", "body_invalid", *BLOB_UNKEPT)
    ),
    "uploads.discard": Operation("discard_upload", ("upload_busy",)),
    "blobs.usage": Operation("get_blob_usage"),
    "blobs.collection": Operation("collect_blobs"),
    "blobs.put": Operation("put_blob", ("body_invalid", *BLOB_UNKEPT)),
    "blobs.get": Operation("get_blob", ("blob_erased", "blob_altered", "requested_range_not_satisfiable")),
    "log.page": Operation("read_log", ("kind_unknown",)),
    "feed.feed": Operation("follow_log", ("position_ahead", "kind_unknown")),
    "webhooks.create": Operation("create_webhook", ("webhooks_too_many", "webhook_exists", "position_ahead", "kind_unknown", *URL_UNFIT)),
    "webhooks.page": Operation("list_webhooks"),
    "webhooks.find": Operation("get_webhook"),
    "webhooks.update": Operation("update_webhook", ("webhook_unknown", "kind_unknown", *URL_UNFIT)),
    "webhooks.delete": Operation("delete_webhook", ("webhook_unknown",)),
    "webhooks.pause": Operation("pause_webhook", ("webhook_unknown",)),
    "webhooks.resume": Operation("resume_webhook", ("webhook_unknown",)),
    "webhooks.rotate": Operation("rotate_webhook_secret", ("webhook_unknown", "secret_rotated")),
    "webhooks.replay": Operation("replay_webhook", ("webhook_unknown", "position_ahead")),
    "webhooks.test": Operation("test_webhook", ("webhook_unknown", *URL_UNFIT)),
    "webhooks.deliveries": Operation("list_deliveries"),
    "log_state.state": Operation("get_stream_state", ("not_found",)),
    "log_why.why": Operation("explain_event", ("not_found",)),
    "audit.verified": Operation("verify_journal", ("unprocessable_entity",)),
    "audit.checkpoint": Operation("get_checkpoint", ("not_found",)),
    "trail.page": Operation("read_trail", ("kind_unknown",)),
    "trail.begin": Operation("begin_action", ("action_exists",)),
    "trail.end": Operation("end_action", ("action_unknown", "action_not_yours", "action_ended")),
    "audit_proofs.proof": Operation("get_proof", ("internal_server_error",)),
    "audit_proofs.consistency": Operation("get_consistency_proof", ("not_found", "query_invalid", "internal_server_error")),
    "audit_rotations.rotation": Operation("rotate_signing_key", ("rotations_too_many", "insufficient_storage")),
    "witness.add_checkpoint": Operation(
        "add_checkpoint", ("not_found", "forbidden", "unprocessable_entity"), media=("text/plain", "text/x.tlog.size")
    ),
    "witness.checkpoint": Operation("get_witnessed_checkpoint"),
    "witness.show": Operation("get_witness"),
    "projections.listing": Operation("list_read_models"),
    "projections.rebuild": Operation("rebuild_read_models", ("not_found",)),
    "projections.retry": Operation("retry_read_model", ("projection_not_stopped_there",)),
    "projections.skip": Operation("skip_event", ("projection_not_stopped_there", "skips_too_many")),
    "status.status": Operation("get_status"),
    "status.metrics": Operation("get_metrics"),
    "tenant_health.health": Operation("get_tenant_health"),
    "actors.set_log_level": Operation("set_log_level"),
    "actors.dead_letters": Operation("list_dead_letters"),
    "actors.send_again": Operation("send_dead_letter_again"),
    "batch.batch": Operation("run_batch"),
    "operations.show": Operation("get_operation"),
    "openapi.find": Operation("get_openapi_document"),
    "openapi.find_older": Operation("get_older_paths_document"),
    "openapi.find_asyncapi": Operation("get_asyncapi_document"),
    "older.health": Operation("get_health", ("not_ready",)),
    "older.coordination": Operation("get_coordination_status"),
    "older_solves.optimize": Operation(
        "optimize_qubo",
        (
            *("problem_unknown", "problem_too_large", "strategy_unknown"),
            *("backend_not_configured", "backend_not_implemented"),
        ),
    ),
    "older.not_served": Operation("not_served", ("not_served",)),
}  # fmt: skip
"""By the action, as records name it."""


def operation_of(line: Endpoint) -> Operation:
    """What is told of a route's operation."""
    return OPERATIONS.get(line.action) or Operation(line.action.replace(".", "_"))


def tag_of(line: Endpoint) -> str:
    """The group that it is in."""
    module = line.action.partition(".")[0]
    return _TAG_BY_MODULE.get(module, module)


def refusals(line: Endpoint) -> dict[int, tuple[str, ...]]:
    """The statuses with which the operation fails, each with the codes that its problem documents may have."""
    found: dict[int, dict[str, None]] = {}
    for said in (*_common(line), *operation_of(line).refusals):
        status, _, name = said.rpartition(" ")
        found.setdefault(int(status or CODES[name].statuses[0]), {})[name] = None
    return {status: tuple(names) for status, names in sorted(found.items())}


def _common(line: Endpoint) -> Iterator[str]:
    """What operations of a kind refuse alike."""
    yield from ("bad_request", "crashed", "service_unavailable", "request_entity_too_large", "unreachable")
    yield from ("request_header_fields_too_large", "too_many_requests")
    if line.needs is not None:
        yield from (
            "unauthorized",
            "forbidden",
            "journal_differs",
            "tenant_differs",
            "overloaded",
            "not_answered",
            "journal_unreadable",
        )
    if "{" in line.path:
        yield "not_found"
    if line.guards:
        yield "resource_changed"
    if line.query or line.needs is not None:
        yield "query_invalid"
    if line.headers_read:
        yield "header_invalid"
    if AS_OF in line.query:
        yield "as_of_ahead"
    if AFTER_POSITION in line.query:
        yield from ("overloaded", "position_ahead")
    if line.body is not None:
        yield from ("body_unreadable", "body_incomplete", "request_timeout", "unsupported_media_type")
        yield from () if line.body is bytes else ("body_invalid",)
    elif line.method not in SAFE_METHODS and line.deprecated is None:
        yield "body_invalid"
    if line.needs is not None and line.method not in SAFE_METHODS:
        yield from ("conflict", "archived", "key_reused", "request_erased", "no_room", "no_keys")


class AnswerHeader(NamedTuple):
    """A header of answers: where they carry it, by the operation's action and the status; an empty `where`: where a rule below says."""

    name: str
    meaning: str
    schema: dict[str, Any]
    where: tuple[tuple[str, int], ...] = ()


TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}
IN_ALL = ("X-Request-Id", "traceparent")
RATES = ("RateLimit-Policy", "RateLimit")

ANSWER_HEADERS = (
    AnswerHeader(POSITION_HEADER, "The position of the log that the answer stands for, as `after_position` takes it.", NUMBER),
    AnswerHeader(JOURNAL_HEADER, "The journal that the position is of.", TEXT),
    AnswerHeader(
        "X-Request-Id", "What the request is called: the id that it came with, or one of the node's. The log and the trail have it too.",
        TEXT,
    ),
    AnswerHeader("traceparent", "The trace that the request belongs to (W3C trace context), where it came with one.", TEXT),
    AnswerHeader("RateLimit-Policy", "The rate that is nearest to its end: so many requests (`q`) in so many seconds (`w`).", TEXT),
    AnswerHeader(
        "RateLimit", "How many requests may come now by that rate (`r`), and in how many seconds all may come again (`t`).", TEXT
    ),
    AnswerHeader("Preference-Applied", "Which preference of the request was followed.", TEXT),
    AnswerHeader("Link", "Where the next page is (`rel=\"next\"`), if there is one.", TEXT),
    AnswerHeader("Deprecation", "Since when the operation is not to be used any more (RFC 9745).", TEXT),
    AnswerHeader("Sunset", "When it goes (RFC 8594).", TEXT),
    AnswerHeader("Retry-After", "After how many seconds to come again.", NUMBER),
    AnswerHeader("WWW-Authenticate", "How to say who calls.", TEXT),
    AnswerHeader(
        "Location", "Where what was made is found.", {"type": "string", "format": "uri-reference"},
        (("agents.register", 201), ("tasks.submit", 202), ("solves.queue", 202), ("uploads.create", 201), ("session.sign_in", 303),
         ("users.register", 201), ("blobs.collection", 202), ("audit.verified", 202), ("subjects.erasure", 202),
         ("journals.isolate", 202), ("problems.register", 202)),
    ),
    AnswerHeader(
        "ETag", "What `If-None-Match` takes to hear whether the same is still there.", TEXT,
        (("blobs.get", 200), ("blobs.get", 206), ("blobs.get", 304), ("console.page", 200), ("console.page", 304),
         ("console.front", 200), ("console.front", 304), ("console.reference", 200), ("console.reference", 304)),
    ),
    AnswerHeader("Content-Range", "Which part this is, of how many bytes.", TEXT, (("blobs.get", 206),)),
    AnswerHeader(
        "Upload-Offset", "How many bytes the upload has.", NUMBER,
        (("uploads.append", 200), ("uploads.append", 201), ("uploads.append", 204), ("uploads.show", 200), ("uploads.create", 201),
         ("uploads.append", 409)),
    ),
    AnswerHeader("Upload-Length", "How many bytes it is to have.", NUMBER, (("uploads.show", 200), ("uploads.create", 201))),
    AnswerHeader("Set-Cookie", "The session.", TEXT, (("session.sign_in", 303), ("session.with_password", 200))),
)  # fmt: skip


def answer_headers(line: Endpoint, status: int) -> tuple[str, ...]:
    """The headers of an answer with this status."""
    by_rule = {"WWW-Authenticate": status == 401, "Retry-After": status in (429, 503)}
    is_read = status < 300 and line.reply is not None and line.needs is not None and status != 204
    by_rule |= {POSITION_HEADER: is_read, JOURNAL_HEADER: is_read}
    by_rule |= {"ETag": (bool(line.rests_on) or IF_NONE_MATCH in line.headers) and status in (200, 304)}
    by_rule |= dict.fromkeys(IN_ALL, True)
    by_rule |= dict.fromkeys(RATES, status == 429 or (line.needs is not None and status != 401))
    prefers = any(header.name == "Prefer" for header in line.headers)
    by_rule |= {"Preference-Applied": prefers and status < 300, "Link": LIMIT in line.query and status == 200}
    by_rule |= dict.fromkeys(("Deprecation", "Sunset"), line.deprecated is not None)
    return tuple(
        header.name
        for header in ANSWER_HEADERS
        if by_rule.get(header.name, False) or (line.action, status) in header.where
    )


def request_headers(line: Endpoint) -> tuple[Header, ...]:
    """The headers that a request may carry, beside those that are told once for all."""
    is_read = line.method in SAFE_METHODS
    conditions = (IF_NONE_MATCH,) if line.rests_on and is_read else (IF_MATCH,) if line.guards and not is_read else ()
    return (*(header for header in line.headers_read if header is not IDEMPOTENCY), *conditions)


def is_once(line: Endpoint) -> bool:
    """Whether it takes an idempotency key."""
    return IDEMPOTENCY in line.headers_read
