"""Gavel's settings: one definition each; defaults, a TOML file, `--config` files and the environment give the values.

A setting marked `used=False` is read and checked, so that the files and environments that people have keep working, but
no part acts on it; the listing says so.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from msgspec import Meta, Struct, field, structs

from gateway.door.binds import FORM
from runtime.settings import Resolved, Row, about, environment_source, file_source, markdown, resolve
from runtime.settings import rows as rows_of

PREFIX = "GAVEL_"
SHARES_TOLERANCE = 1e-9  # of the sum of weights: 0.1 and its like have no exact binary form

TENANT_WEIGHT = r"^[A-Za-z0-9][A-Za-z0-9._-]*=(?=[\d.]*[1-9])\d{1,3}(?:\.\d{1,3})?$(?!\n)"  # from 0.001 to 999.999
Share = float  # a part of one, from 0 to 1
Weight = Annotated[float, Meta(ge=0, le=1)]


class _Weights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shares that have to add up to one."""

    def __post_init__(self) -> None:
        total = sum(structs.astuple(self))
        if abs(total - 1.0) > SHARES_TOLERANCE:
            raise ValueError(f"the weights add up to {total:g}, not to 1")


class PerformanceWeight(_Weights, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each measure of an agent counts when bids are ranked."""

    current_load: Weight = 0.3
    performance_score: Weight = 0.25
    success_rate: Weight = 0.25
    response_time: Weight = 0.2


class BidWeight(_Weights, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each part of a bid counts when bids are ranked."""

    price: Weight = 0.4
    speed: Weight = 0.4
    confidence: Weight = 0.2


class DecisionWeight(_Weights, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each objective counts when the learner decides."""

    performance: Weight = 0.3
    cost: Weight = 0.2
    reliability: Weight = 0.25
    risk: Weight = 0.25


class RedundancyLevels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many copies a part of each criticality gets."""

    critical: Annotated[int, about("copies of what is critical", ge=1)] = 3
    high: Annotated[int, about("copies of what matters much", ge=1)] = 2
    medium: Annotated[int, about("copies of what matters", ge=1)] = 1


def _data_folder() -> Path:
    return Path(platformdirs.user_data_dir("gavel", appauthor=False))


class GavelSettings(Struct, frozen=True, kw_only=True):
    """All settings of a node."""

    # The node and its door
    data: Annotated[
        Path,
        about(
            "folder of the journal, the read models, the blobs and the admin's key",
            default_shown="the platform's user data folder",
        ),
    ] = field(default_factory=_data_folder)
    journal: Annotated[
        str,
        about(
            "PostgreSQL database that holds the journal, postgresql://…; empty: a file in the data folder",
            secret=True,
            pattern=r"^(postgres(ql)?://.*)?$",
        ),
    ] = ""
    read_models: Annotated[
        str,
        about(
            "PostgreSQL database that holds the read models, postgresql://…, of this node alone; empty: a file in the data folder",
            secret=True,
            pattern=r"^(postgres(ql)?://.*)?$",
        ),
    ] = ""
    read_copies_bytes_max: Annotated[
        int, about("bytes of all copies of the read models, from which they are shown as of earlier positions", ge=0)
    ] = 4 << 30
    checkpoints: Annotated[
        Path | None,
        about(
            "folder of the signed checkpoints that are kept outside the journal, best on another disk",
            default_shown="checkpoints in the data folder",
        ),
    ] = None
    checkpoint_seconds: Annotated[
        float,
        about("how often the newest signed checkpoint is kept outside the journal, and witnesses are asked", gt=0),
    ] = 60.0
    witnesses: Annotated[
        tuple[str, ...],
        about("who is asked to cosign checkpoints, each `VKEY URL`, or `VKEY FOLDER` for requests by files"),
    ] = ()
    witness_logs: Annotated[
        tuple[str, ...],
        about("keys (vkeys) of the logs that this node cosigns as a witness; several may be of one log"),
    ] = ()
    bind: Annotated[
        tuple[Annotated[str, Meta(pattern=FORM)], ...],
        about(
            "addresses that the door listens on: HOST:PORT, `https://HOST:PORT`, `http://HOST:PORT`, `unix:/PATH`, `systemd`; see door.md"
        ),
    ] = ("127.0.0.1:8070",)
    extra_binds: Annotated[
        tuple[Annotated[str, Meta(pattern=FORM)], ...],
        about("further addresses, which routes can tell apart by `NAME=` before them, else by the address as written"),
    ] = ()
    open_loopback: Annotated[
        bool,
        about(
            "let callers on loopback use the services' older paths without a key, as the default tenant's operator; see aliases.md"
        ),
    ] = False
    unix_socket_mode: Annotated[Literal["0600", "0660"], about("who may use the door's unix sockets")] = "0600"
    insecure: Annotated[bool, about("allow to listen beyond loopback without TLS")] = False
    tls_certificate: Annotated[
        Path | None, about("file of the door's certificate with its chain, PEM; read again when it changes")
    ] = None
    tls_key: Annotated[Path | None, about("file of the certificate's key", default_shown="the certificate's file")] = (
        None
    )
    tls_key_password_file: Annotated[Path | None, about("file of the key's password")] = None
    tls_client_ca: Annotated[
        Path | None, about("file of the authorities that sign clients' certificates; clients are asked for theirs")
    ] = None
    tls_client_required: Annotated[bool, about("turn clients without a certificate away")] = True
    tls_ca: Annotated[
        Path | None,
        about("file of the authorities by which commands know a node", default_shown="the machine's own"),
    ] = None
    hsts_seconds: Annotated[
        int, about("how long browsers insist on TLS once they have seen it (HSTS); 0: not told", ge=0)
    ] = 365 * 24 * 3600
    drain_seconds: Annotated[
        float,
        about(
            "how long a node that was asked to stop serves on, calling itself not ready, before it closes its door",
            ge=0,
        ),
    ] = 0.0
    request_body_bytes_max: Annotated[int, about("longest body of a request, blobs aside", ge=1024)] = 1 << 20
    blob_bytes_max: Annotated[int, about("largest blob", ge=0)] = 1 << 30
    disk_free_bytes_min: Annotated[
        int, about("free bytes of the data folder's disk below which no new work is taken; 0: it is tried", ge=0)
    ] = 256 << 20
    blob_tenant_bytes_max: Annotated[int, about("bytes of all blobs of a tenant", ge=0)] = 64 << 30
    blob_grace_seconds: Annotated[
        float, about("how long a blob that nothing refers to is kept after it was brought or used last", ge=0)
    ] = 7 * 24 * 3600.0
    data_retention: Annotated[
        str,
        about(
            "how long personal data is kept after the last that was recorded of the person, such as 7_years or 90_days; empty: for ever",
            pattern=r"^([1-9][0-9]{0,3}_(day|week|month|year)s?)?$",
        ),
    ] = ""
    encrypt_at_rest: Annotated[
        bool,
        about("encrypt whole records, stored replies and blobs that are written from now on, not personal data alone"),
    ] = False
    master_key_file: Annotated[
        Path | None,
        about(
            "file with the master key that wraps the keys of personal data, 64 hexadecimal digits",
            default_shown="master-key in the data folder, made at the first start",
        ),
    ] = None
    master_key: Annotated[
        str, about("the master key itself, instead of a file", secret=True, pattern=r"^([0-9a-fA-F]{64})?$")
    ] = ""
    master_key_command: Annotated[
        str,
        about(
            "command that wraps and unwraps keys instead (a hook to a key management service), run with `wrap` or `unwrap`"
        ),
    ] = ""
    connections_max: Annotated[int, about("open connections at a time", ge=1)] = 1000
    connections_per_address_max: Annotated[
        int, about("connections of one address at a time, IPv6 by /64; loopback, unix sockets and proxies aside", ge=1)
    ] = 200
    requests_per_principal_max: Annotated[int, about("requests of one principal under way at a time", ge=1)] = 300
    sockets_per_principal_max: Annotated[int, about("websockets of one principal at a time", ge=1)] = 300
    requests_per_tenant_max: Annotated[
        int, about("requests of all principals of a tenant under way at a time; of all tenants 600 are", ge=1)
    ] = 500
    sockets_per_tenant_max: Annotated[
        int, about("websockets of all principals of a tenant at a time; of all tenants there are 600", ge=1)
    ] = 500
    proxies: Annotated[
        tuple[str, ...],
        about(
            "addresses of the proxies before the door, each exact, whose header says where requests come from; `unix`: peers by unix socket"
        ),
    ] = ()
    proxy_header: Annotated[
        Literal["X-Forwarded-For", "Forwarded"], about("the header in which the proxies say so")
    ] = "X-Forwarded-For"
    webhook_http: Annotated[bool, about("webhooks may be sent to URLs without TLS")] = False
    webhook_private: Annotated[bool, about("webhooks may be sent to addresses inside this network")] = False
    webhook_retry_seconds_max: Annotated[
        float, about("how long is waited at most before a delivery is tried again", ge=1)
    ] = 3600.0
    webhook_dead_seconds: Annotated[
        float, about("how long deliveries may fail before their webhook is paused", ge=0)
    ] = 3 * 24 * 3600.0
    refusals_recorded_max: Annotated[
        int, about("refusals of one principal that are recorded one by one in a minute; others are counted", ge=0)
    ] = 60
    log_format: Annotated[Literal["console", "json"], about("how log lines are written")] = "console"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], about("least severe log line that is written")
    ] = "info"

    # Actors and the journal
    mailbox_max: Annotated[int, about("messages that wait in front of one actor", ge=1)] = 1024
    ask_seconds_max: Annotated[float, about("longest wait for an actor's answer", gt=0)] = 30.0
    handler_warn_seconds: Annotated[
        float, about("time after which the log tells of a message that is still being handled; 0: never", ge=0)
    ] = 5.0
    handler_seconds_max: Annotated[
        float, about("time after which the node ends because one message holds up all others; 0: never", ge=0)
    ] = 60.0
    opentelemetry: Annotated[
        bool,
        about("make an OpenTelemetry span of each message; needs the extra `otel`, configured by its own environment"),
    ] = False
    batch_events_max: Annotated[int, about("events in one transaction of the journal", ge=1)] = 4096
    state_cache_bytes_max: Annotated[
        int, about("memory for the states of aggregates that are kept at hand; others are read when needed", ge=0)
    ] = 256 << 20
    pending_commands_max: Annotated[int, about("commands that wait for the journal", ge=1)] = 10_000

    # Agents, tasks and bids
    lease_seconds: Annotated[
        float, about("how long a task stays with a silent agent", "agents.heartbeat_timeout", gt=0)
    ] = 120.0
    lease_grace_share: Annotated[
        float, about("last part of that time, in which a silent agent is suspected and offered nothing", gt=0, le=0.9)
    ] = 0.25
    lease_seconds_min: Annotated[float, about("shortest lease that an agent may ask for as its own", gt=0)] = 1.0
    lease_seconds_max: Annotated[float, about("longest lease that an agent may ask for as its own", gt=0)] = 3600.0
    hold_seconds: Annotated[
        float, about("how long a task stays with a person without a word, where they ask for nothing else", gt=0)
    ] = 28800.0
    hold_seconds_max: Annotated[
        float, about("longest time that a person may ask to keep a task without a word", gt=0)
    ] = 604800.0
    bidding_seconds_max: Annotated[float, about("longest time that a task may ask to stay open for bids", gt=0)] = 60.0
    coordination_interval_seconds: Annotated[
        float,
        about(
            "time between two looks at what is overdue", "COORDINATION_INTERVAL", "coordination.interval_seconds", gt=0
        ),
    ] = 30.0
    batch_seconds: Annotated[
        float,
        about(
            "how long a book that is ripe waits for others of the policy `batch_optimal` to be settled with",
            ge=0,
            le=60,
        ),
    ] = 0.25
    rebalance_gain: Annotated[
        float,
        about(
            "take a task back that was awarded and not begun, and offer it again, where a free agent would be better by more than "
            "this (of 1); 0 never. Only where agents say that they start: who works without saying so loses that work",
            ge=0,
            le=1,
        ),
    ] = 0.0
    rebalance_seconds: Annotated[
        float, about("how long such a task stays where it is at least; twice as long after each time", ge=1)
    ] = 60.0
    task_retries_max: Annotated[
        int, about("times that a failed task is tried again", "MAX_TASK_RETRIES", "tasks.max_retries", ge=0, le=99)
    ] = 3
    task_timeout_seconds: Annotated[
        float, about("longest time budget that a task may ask for", "TASK_TIMEOUT", "tasks.default_timeout", gt=0)
    ] = 3600.0
    house_solver: Annotated[bool, about("let the node's own solver bid for optimization tasks")] = True
    solver_threads: Annotated[
        int,
        about(
            "threads of the node's own solver, for all its jobs together; 0: one fewer than there are cores",
            ge=0,
            le=64,
        ),
    ] = 0
    solver_memory_bytes_max: Annotated[
        int,
        about(
            "what all solves may take together: one that alone would take more is refused with the estimate, others wait",
            ge=2**20,
        ),
    ] = 2 * 2**30
    tasks_open_max: Annotated[
        int, about("tasks of one tenant that wait or are worked at; each takes some 3 KB of memory", ge=1)
    ] = 100_000
    tasks_running_max: Annotated[
        int,
        about(
            "tasks of all tenants that are called for or held at a time, shared fairly among them; 0: no bound",
            "GAVEL_MAX_CONCURRENT_TASKS",
            "coordination.max_concurrent_tasks",
            ge=0,
        ),
    ] = 0
    tasks_running_per_tenant_max: Annotated[
        int,
        about(
            "tasks of one tenant that are called for or held at a time; 0: no bound",
            "GAVEL_TENANT_CONCURRENT_TASKS_MAX",
            ge=0,
        ),
    ] = 0
    tenant_weights: Annotated[
        tuple[Annotated[str, Meta(pattern=TENANT_WEIGHT)], ...],
        about(
            "by how much a tenant's turn at these places is longer than another's, each `TENANT=WEIGHT`, 1 by default"
        ),
    ] = ()
    priority_aging_factor: Annotated[
        float,
        about(
            "what a waiting task's priority gains in each coordination interval; the lowest of five comes before the highest after four "
            "divided by this",
            "GAVEL_TASKS_AGING_FACTOR",
            "tasks.priority_aging_factor",
            ge=0,
        ),
    ] = 0.1
    agent_capacity: Annotated[
        float, about("capacity of an agent that names none", "agents.max_capacity_default", gt=0, le=1e9)
    ] = 100.0
    performance_weight: Annotated[
        PerformanceWeight, about("what counts of an agent when bids are scored", "agents.performance_weight")
    ] = PerformanceWeight()
    bid_weight: Annotated[BidWeight, about("what counts of the bid itself when bids are scored")] = BidWeight()
    score_agent_share: Annotated[
        Share, about("the agent's share in a score; what is left is the bid's own", ge=0, le=1)
    ] = 0.5
    consensus_threshold: Annotated[
        Share,
        about("share of votes that carries a proposal", "coordination.consensus_threshold", used=False, ge=0, le=1),
    ] = 0.7
    tenants_max: Annotated[int, about("tenants of this node", "MAX_TENANTS", used=False, ge=1)] = 1000

    # Learning and planning
    learning_rate: Annotated[float, about("step of an adaptation", "LEARNING_RATE", used=False, gt=0, le=1)] = 0.1
    adaptation_threshold: Annotated[
        Share, about("confidence from which an adaptation is made", "ADAPTATION_THRESHOLD", used=False, ge=0, le=1)
    ] = 0.8
    retraining_interval_hours: Annotated[
        float, about("time between two trainings of a model", "RETRAINING_INTERVAL", used=False, gt=0)
    ] = 24.0
    experiences_max: Annotated[
        int, about("experiences that the learner keeps", "learning.experience_buffer_size", used=False, ge=1)
    ] = 10_000
    pattern_experiences_min: Annotated[
        int,
        about(
            "experiences before patterns are looked for",
            "learning.pattern_recognition.min_experiences",
            used=False,
            ge=1,
        ),
    ] = 10
    pattern_algorithm: Annotated[
        Literal["kmeans"],
        about("how experiences are grouped", "learning.pattern_recognition.clustering_algorithm", used=False),
    ] = "kmeans"
    pattern_anomaly_share: Annotated[
        Share,
        about(
            "share of experiences taken for anomalies",
            "learning.pattern_recognition.anomaly_threshold",
            used=False,
            ge=0,
            le=1,
        ),
    ] = 0.1
    prediction_model: Annotated[
        Literal["random_forest"], about("model that predicts outcomes", "learning.prediction.model_type", used=False)
    ] = "random_forest"
    prediction_training_share: Annotated[
        Share,
        about(
            "share of experiences to train with, the rest tests",
            "learning.prediction.train_test_split",
            used=False,
            gt=0,
            le=1,
        ),
    ] = 0.8
    prediction_folds: Annotated[
        int, about("folds of the cross validation", "learning.prediction.cross_validation_folds", used=False, ge=2)
    ] = 5
    decision_weight: Annotated[
        DecisionWeight,
        about("what counts when the learner decides", "learning.decision_making.multi_objective_weights", used=False),
    ] = DecisionWeight()
    plan_days: Annotated[
        int, about("horizon of a plan", "strategic_planning.default_horizon_days", used=False, ge=1)
    ] = 90
    plan_phase_weeks: Annotated[
        int, about("length of a plan's phase", "strategic_planning.phase_duration_weeks", used=False, ge=1)
    ] = 4
    plan_risks: Annotated[
        bool, about("assess the risks of a plan", "strategic_planning.risk_assessment_enabled", used=False)
    ] = True

    # The optimizer of the node itself
    optimization_interval_seconds: Annotated[
        float, about("time between two optimizations", "OPTIMIZATION_INTERVAL", used=False, gt=0)
    ] = 300.0
    optimization_enabled: Annotated[
        bool, about("apply what the optimizer finds", "optimization.auto_optimization_enabled", used=False)
    ] = True
    optimization_risk_max: Annotated[
        Share, about("risk from which a change is not made", "optimization.max_risk_level", used=False, ge=0, le=1)
    ] = 0.3
    optimization_gain_min: Annotated[
        Share,
        about(
            "gain below which a change is not made", "optimization.min_improvement_threshold", used=False, ge=0, le=1
        ),
    ] = 0.1
    cpu_percent_max: Annotated[
        float,
        about(
            "load of the processors that calls for action",
            "optimization.performance.cpu_threshold",
            used=False,
            ge=0,
            le=100,
        ),
    ] = 80.0
    memory_percent_max: Annotated[
        float,
        about(
            "use of memory that calls for action", "optimization.performance.memory_threshold", used=False, ge=0, le=100
        ),
    ] = 85.0
    disk_percent_max: Annotated[
        float,
        about(
            "use of the disk that calls for action", "optimization.performance.disk_threshold", used=False, ge=0, le=100
        ),
    ] = 90.0
    monitoring_enabled: Annotated[bool, about("watch the node's performance", "MONITORING_ENABLED", used=False)] = True
    metrics_interval_seconds: Annotated[
        float, about("time between two measurements", "monitoring.metrics_collection_interval", used=False, gt=0)
    ] = 30.0
    anomaly_algorithm: Annotated[
        Literal["isolation_forest"],
        about("how odd measurements are found", "monitoring.anomaly_detection.algorithm", used=False),
    ] = "isolation_forest"
    anomaly_share: Annotated[
        Share,
        about(
            "share of measurements taken for odd",
            "monitoring.anomaly_detection.contamination",
            used=False,
            gt=0,
            le=0.5,
        ),
    ] = 0.1
    baseline_interval_seconds: Annotated[
        float, about("time between two new baselines", "monitoring.baseline_update_interval", used=False, gt=0)
    ] = 3600.0
    reliability_interval_seconds: Annotated[
        float, about("time between two checks of reliability", "RELIABILITY_CHECK_INTERVAL", used=False, gt=0)
    ] = 3600.0
    health_interval_seconds: Annotated[
        float, about("time between two checks of health", "reliability.health_check_interval", used=False, gt=0)
    ] = 300.0
    reliability_cost_max: Annotated[
        Share,
        about(
            "cost from which an enhancement is not made",
            "reliability.enhancement_cost_threshold",
            used=False,
            ge=0,
            le=1,
        ),
    ] = 0.3
    redundancy_levels: Annotated[
        RedundancyLevels, about("copies by criticality", "reliability.redundancy_levels", used=False)
    ] = RedundancyLevels()

    # Scaling, marketplace, sign-in, quantum services
    phase2_enabled: Annotated[
        bool, about("offer the paths below /phase2 and /phase2.1; without, they are not there", "PHASE2_ENABLED")
    ] = True
    quantum_backend: Annotated[
        str,
        about(
            "service that solves may be sent to, where they ask for it: dynex, with its credentials; empty: none",
            "QUANTUM_BACKEND",
        ),
    ] = ""
    dynex_api_key: Annotated[str, about("key of the account at that service", secret=True)] = ""
    dynex_api_secret: Annotated[str, about("the secret that goes with it", secret=True)] = ""
    scaling_models: Annotated[
        Path | None, about("folder of the models that predict load", "ML_MODEL_PATH", used=False)
    ] = None
    scaling_horizon_hours: Annotated[
        float, about("how far ahead load is predicted", "PREDICTION_HORIZON", used=False, gt=0)
    ] = 24.0
    scaling_algorithm: Annotated[
        str, about("how a scaling plan is searched", "SCALING_OPTIMIZATION_ALGORITHM", used=False)
    ] = "genetic"
    marketplace_enabled: Annotated[
        bool, about("offer the marketplace of algorithms", "MARKETPLACE_ENABLED", used=False)
    ] = True
    marketplace_files: Annotated[
        Path | None, about("folder of the marketplace's algorithms", "ALGORITHM_STORAGE_PATH", used=False)
    ] = None
    forum_enabled: Annotated[bool, about("offer the community's forum", "COMMUNITY_FORUM_ENABLED", used=False)] = True
    reads_per_second: Annotated[
        float, about("requests a second that read, of one principal; twice as many may come at once", gt=0)
    ] = 5_000.0
    writes_per_second: Annotated[
        float, about("requests and frames a second that write, of one principal; twice as many may come at once", gt=0)
    ] = 5_000.0
    heavy_per_minute: Annotated[
        float,
        about(
            "requests a minute that read a whole journal, make read models anew or preview assignments, of one principal",
            gt=0,
        ),
    ] = 60.0
    tenant_requests_per_second: Annotated[
        float, about("requests a second of all principals of a tenant; twice as many may come at once", gt=0)
    ] = 20_000.0
    sign_ins_per_minute: Annotated[
        float, about("passwords and tickets a minute that are looked at from one address", gt=0)
    ] = 60.0
    strangers_per_second: Annotated[
        float,
        about(
            "requests a second of one address that are refused to somebody without a good key; twice as many may come at once, "
            "and unix sockets have no such rate",
            gt=0,
        ),
    ] = 100.0
    oidc_issuer: Annotated[
        str, about("URL of the identity provider where people sign in; empty: they have passwords here")
    ] = ""
    oidc_client_id: Annotated[str, about("what that provider knows this node by")] = ""
    oidc_client_secret: Annotated[str, about("the secret that goes with it", secret=True)] = ""
    oidc_client_secret_file: Annotated[
        Path | None, about("file with that secret instead, readable by its owner alone")
    ] = None
    oidc_scopes: Annotated[tuple[str, ...], about("what the provider is asked for, beside openid")] = (
        "email",
        "profile",
    )
    oidc_role_claim: Annotated[str, about("claim that names roles, or the path to it, as realm_access.roles")] = "roles"
    oidc_roles: Annotated[
        tuple[str, ...], about("what values of that claim mean here, VALUE=ROLE; the first that fits counts")
    ] = ()
    oidc_default_role: Annotated[
        Literal["", "admin", "tenant_admin", "operator", "developer", "auditor", "read_only"],
        about("role of new users whom the claim gives none; empty: they are not let in"),
    ] = ""
    oidc_tenant: Annotated[str, about("tenant of all who sign in there", pattern=r"^[a-z][a-z0-9-]{0,30}$(?!\n)")] = (
        "default"
    )
    oidc_redirect_url: Annotated[
        str,
        about("where the provider sends browsers back, …/session/oidc/callback; empty: to where they have come from"),
    ] = ""
    oidc_name: Annotated[str, about("name of the provider on the sign-in page; empty: its host")] = ""
    token_issuers: Annotated[
        Path | None,
        about(
            "TOML file that names whose tokens (JWT) are taken as credentials, as docs/identity.md tells; none: nobody's"
        ),
    ] = None
    identity_ca_file: Annotated[
        Path | None,
        about(
            "file of the certificates by which identity providers are known, PEM",
            default_shown="those of the machine",
        ),
    ] = None
    identity_insecure: Annotated[
        bool, about("allow identity providers on loopback to be asked without TLS, for tests")
    ] = False
    sso_provider: Annotated[
        str, about("protocol of the single sign-on; empty: none", "ENTERPRISE_SSO_PROVIDER", "SSO_PROVIDER", used=False)
    ] = ""
    saml_certificate: Annotated[
        Path | None, about("file of the identity provider's certificate", "SAML_CERT_PATH", used=False)
    ] = None
    compliance_frameworks: Annotated[
        tuple[str, ...], about("frameworks that reports are made for", "COMPLIANCE_FRAMEWORKS", used=False)
    ] = ()

    # Servers beside the node
    postgres_host: Annotated[str, about("host of the PostgreSQL server", "POSTGRES_HOST", used=False)] = "localhost"
    postgres_port: Annotated[
        int, about("port of the PostgreSQL server", "POSTGRES_PORT", used=False, ge=1, le=65535)
    ] = 5432
    postgres_database: Annotated[str, about("database of the journal", "POSTGRES_DB", used=False)] = "gavel"
    postgres_user: Annotated[str, about("user of the database", "POSTGRES_USER", used=False)] = "gavel"
    postgres_password: Annotated[str, about("password of that user", "POSTGRES_PASSWORD", used=False, secret=True)] = ""
    redis_host: Annotated[str, about("host of the Redis server", "REDIS_HOST", used=False)] = "localhost"
    redis_port: Annotated[int, about("port of the Redis server", "REDIS_PORT", used=False, ge=1, le=65535)] = 6379


def resolved(
    environ: Mapping[str, str], toml_path: Path | None = None, config_paths: Sequence[Path] = ()
) -> Resolved[GavelSettings]:
    """Read all sources; `SettingsFaulty` names every fault. With no TOML file given, GAVEL_SETTINGS may name one; GAVEL_COORDINATION_CONFIG
    names one more file, as `--config` does."""
    if toml_path is None and environ.get(f"{PREFIX}SETTINGS"):
        toml_path = Path(environ[f"{PREFIX}SETTINGS"])
    coordination = environ.get(f"{PREFIX}COORDINATION_CONFIG")
    files = [
        path for path in (toml_path, Path(coordination) if coordination else None, *config_paths) if path is not None
    ]
    sources = [file_source(GavelSettings, path) for path in files]
    return resolve(GavelSettings, [*sources, environment_source(GavelSettings, environ, PREFIX)])


def load(environ: Mapping[str, str], toml_path: Path | None = None, config_paths: Sequence[Path] = ()) -> GavelSettings:
    """Read the settings that hold."""
    return resolved(environ, toml_path, config_paths).settings


def rows(environ: Mapping[str, str], toml_path: Path | None = None, config_paths: Sequence[Path] = ()) -> list[Row]:
    """List every setting with its type, default, meaning, other names, value and the source of the value."""
    return rows_of(resolved(environ, toml_path, config_paths), PREFIX)


def page() -> str:
    """Render docs/settings.md."""
    return f"{PAGE_HEAD}\n{markdown(rows({}))}"


PAGE_HEAD = """\
# Settings

Written by `python -m gateway.settings`; a test compares. `gavel settings` shows the same with the values that hold.

Later sources win: the defaults below, the TOML file that `GAVEL_SETTINGS` names, the file (YAML or TOML) that
`GAVEL_COORDINATION_CONFIG` names, each `--config FILE` in order, the environment. A node says at its start which
source won over which, and what it was told that no part acts on yet; `gavel settings` says so of each setting.

Files know a setting by its own name (`lease_seconds`) or by the dotted key in the last column. An environment name in
the last column is taken where the one in the first column is not set. An empty environment value counts as not set.
Unknown keys in files, wrong types and values out of bounds are refused, all at once, each with its file and, in YAML,
its line.
"""

if __name__ == "__main__":
    sys.stdout.write(page())
