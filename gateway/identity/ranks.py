"""Nobody acts on somebody who may do more: whoever ends, erases or locks out another may do all that the other may.

The permissions of a role are compared, not its name. What a token of an identity provider may do is known once it has been shown; until
then it counts as the most that its issuer gives.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aggregates.user import Stage
from aggregates.values.roles import Permission, Role
from gateway.identity.auth import check_grant
from projections import keys, users
from projections.schema import Row

if TYPE_CHECKING:
    from gateway.api.calls import Call
    from gateway.identity.bearers import Vouched


def check_key(call: "Call", row: Row) -> None:
    """Raises `HTTPException` 403 where the key may do what the caller may not."""
    check_grant(call.principal, Role(row["role"]), tuple(map(Permission, row["scopes"])))


def check_user(call: "Call", row: Row) -> None:
    """The same of a user."""
    check_grant(call.principal, Role(row["role"]), ())


async def check_session(call: "Call", row: Row) -> None:
    """The same of whom a session stands for; of a key or user that is gone, it opens nothing."""
    if row["user_id"]:
        user = await call.read(users.find, call.tenant, row["user_id"])
        if user is not None:
            check_user(call, user)
        return
    key = await call.read(keys.find, call.tenant, row["key_id"])
    if key is not None:
        check_key(call, key)


async def check_subject(call: "Call", data_subject: str) -> None:
    """The same of a person who may sign in: to be erased ends that for good."""
    user = await call.read(users.find, call.tenant, data_subject)
    if user is not None and user["status"] != Stage.REMOVED.value:
        check_user(call, user)


def check_tokens(call: "Call", issuer: str, is_meant: "Callable[[Vouched], bool]") -> None:
    """The same of whoever an identity provider vouches for by tokens that are meant; `issuer` is empty where it is not known."""
    for role in call.node.bearers.roles(issuer, is_meant):
        check_grant(call.principal, role, ())
