"""Who may do what, as data: permissions, and the roles that have them.

A permission is `<what>:<verb>`, and so is a scope of a key: a key with scopes has of its role's permissions those alone. A route
names one permission. That a tenant's callers meet nothing of other tenants is no matter of roles: the tenant is part of every look-up.
"""

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What a principal is."""

    ADMIN = "admin"
    """Everything; one of the tenant that looks after the node, the node's own affairs too."""
    TENANT_ADMIN = "tenant_admin"
    """Everything within the tenant: keys, users, persons' data."""
    OPERATOR = "operator"
    """Keeps the work going."""
    DEVELOPER = "developer"
    """Builds on it: submits work and enrolls agents; ends only what they have begun."""
    AUDITOR = "auditor"
    """Reads everything, the log included; changes nothing."""
    WORKER = "worker"
    """A person who does tasks out of an inbox, and sees the work; begins nothing."""
    READ_ONLY = "read_only"
    """Sees the work and how the node is; neither trail nor proofs."""
    AGENT = "agent"
    """Enrolls agents and submits tasks."""
    AGENT_OWN = "agent_own"
    """One agent's own: its socket, bids and results, and what its tenant may read."""


class Permission(StrEnum):
    """What one needs for a route."""

    AGENTS_READ = "agents:read"
    AGENTS_ENROLL = "agents:enroll"
    AGENTS_MANAGE = "agents:manage"
    """Update, drain, deregister: any agent; with an agent's own key that one."""
    AGENTS_CONNECT = "agents:connect"
    """Open an agent's socket: with its own key, or with one that enrolls it there."""
    AGENTS_ACT = "agents:act"
    """Be an agent: heartbeats, bids, results."""
    TASKS_READ = "tasks:read"
    TASKS_SUBMIT = "tasks:submit"
    """Submit, and cancel what one has submitted."""
    INBOX_WORK = "inbox:work"
    """Take tasks as a person who is signed in, ask about them and finish them."""
    TASKS_MANAGE = "tasks:manage"
    """Amend, cancel and offer again whatever anybody has submitted; stop giving work out, and start."""
    SCHEMAS_MANAGE = "schemas:manage"
    """Set what payloads and results of a task type have to fit."""
    SOLVES_READ = "solves:read"
    SOLVES_SUBMIT = "solves:submit"
    BLOBS_READ = "blobs:read"
    BLOBS_WRITE = "blobs:write"
    BLOBS_COLLECT = "blobs:collect"
    LOG_READ = "log:read"
    STATUS_READ = "status:read"
    SESSIONS_OPEN = "sessions:open"
    """Sign a browser in."""
    SELF_MANAGE = "self:manage"
    """Sign out, replace one's own key, set one's own password."""
    REQUESTS_BATCH = "requests:batch"
    """Send many requests in one: each of them takes what it takes alone."""
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_MANAGE = "webhooks:manage"
    NODE_READ = "node:read"
    """How the node is inside: actors, read models, metrics."""
    ACTORS_MANAGE = "actors:manage"
    """The tenant's actors: what they write into the log, and messages that reached none."""
    NODE_MANAGE = "node:manage"
    """Read models, which all tenants of a journal share."""
    AUDIT_READ = "audit:read"
    """Proofs, the trail, why something happened, whose personal data is recorded."""
    AUDIT_NOTE = "audit:note"
    """Put on the trail what was done outside the node."""
    AUDIT_ROTATE = "audit:rotate"
    """Replace the journal's signing key."""
    KEYS_MANAGE = "keys:manage"
    USERS_MANAGE = "users:manage"
    SUBJECTS_MANAGE = "subjects:manage"
    """Export and erase persons' data."""
    JOURNALS_MANAGE = "journals:manage"


P = Permission
_WORK = frozenset(
    {
        P.AGENTS_READ,
        P.TASKS_READ,
        P.SOLVES_READ,
        P.BLOBS_READ,
        P.LOG_READ,
        P.STATUS_READ,
        P.SELF_MANAGE,
        P.REQUESTS_BATCH,
    }
)
_PEOPLE = _WORK | {P.SESSIONS_OPEN, P.NODE_READ}
_AUDITOR = _PEOPLE | {P.AUDIT_READ, P.WEBHOOKS_READ}
_SUBMITTER = _WORK | {P.TASKS_SUBMIT, P.SOLVES_SUBMIT, P.BLOBS_WRITE}
_OPERATOR = (
    _AUDITOR
    | _SUBMITTER
    | {
        P.AGENTS_ENROLL,
        P.AGENTS_MANAGE,
        P.TASKS_MANAGE,
        P.INBOX_WORK,
        P.SCHEMAS_MANAGE,
        P.BLOBS_COLLECT,
        P.AUDIT_NOTE,
        P.WEBHOOKS_MANAGE,
        P.ACTORS_MANAGE,
        P.NODE_MANAGE,
    }
)
_ENROLLER = frozenset({P.AGENTS_ENROLL, P.AGENTS_CONNECT})
_IDENTITIES = frozenset({P.KEYS_MANAGE, P.USERS_MANAGE, P.SUBJECTS_MANAGE})

PERMISSIONS_BY_ROLE: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission) - {P.AGENTS_ACT},
    Role.TENANT_ADMIN: _OPERATOR | _ENROLLER | _IDENTITIES,
    Role.OPERATOR: _OPERATOR,
    Role.DEVELOPER: _PEOPLE | _SUBMITTER | _ENROLLER | {P.WEBHOOKS_READ, P.SCHEMAS_MANAGE, P.INBOX_WORK},
    Role.WORKER: _PEOPLE | {P.INBOX_WORK},
    Role.AUDITOR: _AUDITOR,
    Role.READ_ONLY: _PEOPLE,
    Role.AGENT: _SUBMITTER | _ENROLLER,
    Role.AGENT_OWN: _WORK | {P.AGENTS_CONNECT, P.AGENTS_ACT, P.AGENTS_MANAGE, P.BLOBS_WRITE},
}

NODE_WIDE = frozenset({P.NODE_MANAGE, P.AUDIT_ROTATE, P.JOURNALS_MANAGE})
"""What concerns a whole journal, and so all tenants that share it: good for those alone whose tenant looks after it."""

MACHINES = frozenset({Role.AGENT, Role.AGENT_OWN})
"""Roles of programs: what they do is their work, and no administrative action."""


def granted(role: Role, scopes: tuple[Permission, ...]) -> frozenset[Permission]:
    """What a principal of this role may do; with scopes, those alone."""
    permissions = PERMISSIONS_BY_ROLE[role]
    return permissions & frozenset(scopes) if scopes else permissions


def roles_with(permission: Permission) -> frozenset[Role]:
    """The roles that have a permission."""
    return frozenset(role for role, has in PERMISSIONS_BY_ROLE.items() if permission in has)


class Principal(Struct, frozen=True, kw_only=True):
    """Who is asking; `name` is how the log calls it: `agent:<id>` for an agent's own key, `user:<id>` for a person, `service:<id>` for
    whoever an identity provider vouches for, else `<role>:<key id>`."""

    name: str
    tenant: str
    role: Role
    key_id: str
    agent_id: str = ""
    user_id: str = ""
    scopes: tuple[Permission, ...] = ()

    @property
    def permissions(self) -> frozenset[Permission]:
        """What it may do."""
        return granted(self.role, self.scopes)
