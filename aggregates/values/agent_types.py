"""The kinds of agents."""

from enum import StrEnum


class AgentType(StrEnum):
    """The eight kinds of agents; the kind says what an agent is for, its skills say what it can do."""

    DECISION_ENGINE = "decision_engine"
    QA_AUTOMATION = "qa_automation"
    TRANSFORMATION = "transformation"
    BUG_FIXING = "bug_fixing"
    MONITORING = "monitoring"
    OPERATIONS = "operations"
    SECURITY = "security"
    PERFORMANCE = "performance"
