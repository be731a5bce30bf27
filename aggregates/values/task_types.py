"""The kinds of work."""

from enum import StrEnum


class TaskType(StrEnum):
    """What kind of work it is; any agent with the skills may bid."""

    ANALYSIS = "analysis"
    TESTING = "testing"
    TRANSFORMATION = "transformation"
    BUG_FIX = "bug_fix"
    MONITORING = "monitoring"
    DEPLOYMENT = "deployment"
    SECURITY_SCAN = "security_scan"
    OPTIMIZATION = "optimization"
    VERIFICATION = "verification"
