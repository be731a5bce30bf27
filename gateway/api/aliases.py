"""The older paths that people's programs know: which line of the table each leads to, or what to use while nothing answers it.

Data alone; `gateway/routes/older.py` makes lines of it, `python -m gateway.api.aliases_page` the page docs/aliases.md. There are three
families: `/phase2/…`, `/phase2.1/…`, and the unprefixed paths of three services that once had a port each.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from aggregates.values.roles import Permission
from gateway.api.deprecation import Deprecated

SINCE = datetime(2026, 11, 21, tzinfo=UTC)
SUNSET = datetime(2028, 6, 30, 23, 59, 59, tzinfo=UTC)
ABOUT = "/reference"


class Family(StrEnum):
    """Paths that came together."""

    PHASE_2 = "Phase 2"
    PHASE_2_1 = "Phase 2.1"
    SERVICES = "Services"


class Service(StrEnum):
    """Whose paths they are: an address of this name (`coordinator=127.0.0.1:8070`) answers of all older paths these alone."""

    PHASE_2 = "phase2"
    COORDINATOR = "coordinator"
    LEARNING = "learning"
    OPTIMIZER = "optimizer"


class Alias(NamedTuple):
    """An older path, and the line of the table that answers it as if it had been asked (`leads_to`), or, where it has a handler of its
    own, the line that tells the same in today's words (`like`). One with neither is not served yet: `instead` is the nearest to
    it, and `needs` what a caller must be allowed to hear so."""

    service: Service | None
    """None: at every address."""
    route: str
    how: str = ""
    """How parameters, body and answer compare."""
    leads_to: str = ""
    like: str = ""
    needs: Permission | None = None
    instead: str = ""

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.route.partition(" ")[2]

    @property
    def family(self) -> Family:
        """By how the path begins."""
        if self.path.startswith("/phase2.1/"):
            return Family.PHASE_2_1
        return Family.PHASE_2 if self.path.startswith("/phase2/") else Family.SERVICES

    @property
    def is_served(self) -> bool:
        """Whether something answers it."""
        return bool(self.leads_to or self.like)

    @property
    def deprecated(self) -> Deprecated | None:
        """What its answers say of today's path; nothing where there is none yet."""
        successor = (self.leads_to or self.like).partition(" ")[2]
        return Deprecated(SINCE, ABOUT, SUNSET, successor) if successor else None

    @property
    def sentence(self) -> str:
        """What a caller hears of a path that is not served."""
        hint = f"the nearest to it is {self.instead}" if self.instead else "nothing that is served comes near to it"
        return f"{self.route} has no handler yet; {hint}"


P, S = Permission, Service
SAME = "the same parameters, body and answer"

ALIASES: tuple[Alias, ...] = (
    Alias(
        None, "GET /health", "no key; `service` tells whose address was asked, `not_served` which of its paths answer 501",
        like="GET /readyz",
    ),
    Alias(
        S.COORDINATOR, "GET /coordination/status", "`active_agents`, `pending_tasks` and more counts of the caller's tenant",
        like="GET /v1/status",
    ),
    Alias(S.COORDINATOR, "POST /coordination/start", SAME, "POST /v1/coordination/start"),
    Alias(S.COORDINATOR, "POST /coordination/stop", SAME, "POST /v1/coordination/stop"),
    Alias(S.COORDINATOR, "GET /agents", SAME, "GET /v1/agents"),
    Alias(S.COORDINATOR, "POST /agents", SAME, "POST /v1/agents"),
    Alias(S.COORDINATOR, "DELETE /agents/{agent_id}", SAME, "DELETE /v1/agents/{agent_id}"),
    Alias(S.COORDINATOR, "GET /tasks", SAME, "GET /v1/tasks"),
    Alias(S.COORDINATOR, "POST /tasks", SAME, "POST /v1/tasks"),
    Alias(
        S.COORDINATOR, "PUT /tasks/{task_id}/status", f"{SAME}: `status` with the `token` of the award",
        "PUT /v1/tasks/{task_id}/status",
    ),
    Alias(S.COORDINATOR, "GET /tasks/{task_id}/bids", SAME, "GET /v1/tasks/{task_id}/bids"),
    Alias(S.COORDINATOR, "POST /tasks/{task_id}/bids", SAME, "POST /v1/tasks/{task_id}/bids"),
    Alias(
        S.COORDINATOR, "DELETE /tasks/{task_id}/bids/{agent_id}", SAME, "DELETE /v1/tasks/{task_id}/bids/{agent_id}",
    ),
    Alias(S.COORDINATOR, "GET /conflicts", needs=P.TASKS_READ),
    Alias(S.COORDINATOR, "POST /collaborations", needs=P.TASKS_SUBMIT),
    Alias(S.COORDINATOR, "POST /collaborations/{collaboration_id}/solutions", needs=P.TASKS_SUBMIT),
    Alias(S.LEARNING, "GET /learning/status", needs=P.STATUS_READ),
    Alias(S.LEARNING, "POST /learning/experiences", needs=P.TASKS_SUBMIT),
    Alias(S.LEARNING, "GET /learning/patterns", needs=P.STATUS_READ),
    Alias(S.LEARNING, "POST /learning/predict", needs=P.TASKS_SUBMIT),
    Alias(S.LEARNING, "POST /decisions", needs=P.TASKS_SUBMIT),
    Alias(S.LEARNING, "POST /strategic-plans", needs=P.TASKS_SUBMIT),
    Alias(S.LEARNING, "GET /learning/adaptation-rules", needs=P.STATUS_READ),
    Alias(S.LEARNING, "POST /learning/retrain", needs=P.ACTORS_MANAGE),
    Alias(S.OPTIMIZER, "GET /optimization/status", needs=P.STATUS_READ, instead="GET /v1/status"),
    Alias(S.OPTIMIZER, "POST /optimization/start", needs=P.ACTORS_MANAGE),
    Alias(S.OPTIMIZER, "POST /optimization/stop", needs=P.ACTORS_MANAGE),
    Alias(S.OPTIMIZER, "POST /optimization/force-cycle", needs=P.ACTORS_MANAGE),
    Alias(S.OPTIMIZER, "GET /performance/metrics", needs=P.NODE_READ, instead="GET /metrics"),
    Alias(S.OPTIMIZER, "GET /performance/analysis", needs=P.NODE_READ, instead="GET /v1/status"),
    Alias(S.OPTIMIZER, "GET /reliability/health", needs=P.NODE_READ, instead="GET /v1/tenant/health"),
    Alias(S.OPTIMIZER, "GET /reliability/enhancements", needs=P.NODE_READ, instead="GET /v1/tenant/health"),
    Alias(S.PHASE_2, "POST /phase2/advanced-qubo/create", needs=P.SOLVES_SUBMIT, instead="POST /v1/problems"),
    Alias(
        S.PHASE_2, "POST /phase2/advanced-qubo/optimize",
        "`matrix_id` is a problem's id, an iteration 64 sweeps; `objective_value`, `execution_time`, `quantum_advantage` once it has ended",
        like="POST /v1/solves",
    ),
    Alias(
        S.PHASE_2, "POST /phase2/advanced-qubo/{matrix_id}/constraints", needs=P.SOLVES_SUBMIT, instead="POST /v1/problems",
    ),
    Alias(S.PHASE_2, "POST /phase2/learning/register-algorithm", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2/learning/record-performance", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2/tenant/create", needs=P.JOURNALS_MANAGE, instead="POST /v1/journals"),
    Alias(S.PHASE_2, "POST /phase2/tenant/{tenant_id}/metrics", needs=P.TASKS_SUBMIT),
    Alias(
        S.PHASE_2, "GET /phase2/tenant/{tenant_id}/analytics", needs=P.NODE_READ, instead="GET /v1/tenant/health",
    ),
    Alias(S.PHASE_2, "GET /phase2/dashboard/summary", needs=P.NODE_READ, instead="GET /v1/status"),
    Alias(S.PHASE_2, "GET /phase2/dashboard/tenant/{tenant_id}", needs=P.NODE_READ, instead="GET /v1/tenant/health"),
    Alias(S.PHASE_2, "POST /phase2/dashboard/start", needs=P.ACTORS_MANAGE),
    Alias(S.PHASE_2, "POST /phase2/dashboard/stop", needs=P.ACTORS_MANAGE),
    Alias(S.PHASE_2, "GET /phase2/analytics/qubo", needs=P.SOLVES_READ, instead="GET /v1/solves"),
    Alias(S.PHASE_2, "GET /phase2/analytics/learning", needs=P.STATUS_READ),
    Alias(S.PHASE_2, "GET /phase2/analytics/tenant", needs=P.NODE_READ, instead="GET /v1/tenant/health"),
    Alias(S.PHASE_2, "POST /phase2.1/constraints/evolve", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2.1/constraints/predict-performance", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "GET /phase2.1/constraints/evolution-history", needs=P.SOLVES_READ),
    Alias(S.PHASE_2, "POST /phase2.1/scaling/predict-demand", needs=P.TASKS_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2.1/scaling/optimize-schedule", needs=P.TASKS_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2.1/scaling/apply-schedule", needs=P.ACTORS_MANAGE),
    Alias(
        S.PHASE_2, "POST /phase2.1/enterprise/authenticate", needs=P.SELF_MANAGE, instead="POST /session/password",
    ),
    Alias(S.PHASE_2, "POST /phase2.1/enterprise/compliance-check", needs=P.AUDIT_NOTE, instead="GET /v1/audit/verify"),
    Alias(S.PHASE_2, "POST /phase2.1/enterprise/audit-log", needs=P.AUDIT_NOTE, instead="POST /v1/audit/actions"),
    Alias(S.PHASE_2, "POST /phase2.1/community/submit-algorithm", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "GET /phase2.1/community/discover-algorithms", needs=P.SOLVES_READ),
    Alias(S.PHASE_2, "POST /phase2.1/community/purchase-algorithm", needs=P.SOLVES_SUBMIT),
    Alias(S.PHASE_2, "POST /phase2.1/community/create-tutorial", needs=P.SOLVES_SUBMIT),
)  # fmt: skip

ALIAS_BY_ROUTE = {alias.route: alias for alias in ALIASES}
