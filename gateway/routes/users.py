"""Users: an admin registers, changes, disables and removes them; each sets their own password."""

from typing import Annotated, Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from aggregates.lockout import Scope, Tried, Unlock
from aggregates.user import (
    ChangeUser,
    DisableUser,
    EnableUser,
    RegisterUser,
    RemoveUser,
    SetPassword,
    Stage,
    UserAccepted,
    stream,
)
from aggregates.values.roles import Permission, Role
from gateway.api import rows
from gateway.api.bodies import SECRET, body_type, to_command
from gateway.api.calls import Call, Endpoint, found, tenant_in
from gateway.api.fields import choosing, some_of, some_page
from gateway.api.queries import READ, REASON, TENANT, choice
from gateway.api.sorting import listing
from gateway.identity.auth import check_grant
from gateway.identity.passwords import CHARACTERS_MAX, check_password
from gateway.identity.ranks import check_user
from gateway.identity.sign_in import by_password
from gateway.parts import Node
from projections import users

Secret = Annotated[str, msgspec.Meta(max_length=CHARACTERS_MAX, extra_json_schema=SECRET)]


class UserPage(msgspec.Struct, frozen=True):
    """Users, the last registered first; `next` is the `after` of the next page."""

    users: list[rows.User]
    next: int | str | None


RegisterUserBody = msgspec.defstruct(
    "RegisterUserBody",
    [("password", Secret, "")],
    bases=(body_type(RegisterUser),),
    namespace={
        "__doc__": "A person who may sign in; without a password once an admin or an identity provider lets them."
    },
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)


class NewPassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another password; who is no admin says the one there was."""

    password: Secret
    current: Secret = ""


async def register(call: Call) -> Response:
    """Registers a person in the caller's tenant; an admin of the node in another one, too."""
    tenant = tenant_in(call)
    body: Any = await call.body(RegisterUserBody)
    fields = msgspec.structs.asdict(body)
    check_grant(call.principal, body.role, ())
    password = fields.pop("password")
    password_hash = await _hashed(call, password, body.username, body.email) if password else ""
    user_id = call.node.system.ids.new()
    await call.begin(stream(user_id))
    command = RegisterUser(user_id=user_id, password_hash=password_hash, data_subject=user_id, **fields)
    accepted = await call.ask(command, tenant=tenant)
    return call.reply(accepted, 201, headers={"Location": f"/v1/users/{accepted.user_id}"})


async def _hashed(call: Call, password: str, *names: str) -> str:
    if call.node.settings.oidc_issuer:
        raise HTTPException(409, "this node's people sign in at their identity provider: there are no passwords here")
    check_password(password, *names)
    return await call.node.passwords.hash(call.tenant, password)


async def page(call: Call) -> Response:
    """The tenant's users."""
    narrowed = {"role": call.asked(ROLE), "status": call.asked(STATUS)}
    return call.page("users", await call.read(users.page, call.tenant, **narrowed, **call.wish()))


async def find(call: Call) -> Response:
    """One user."""
    user_id = call.path["user_id"]
    return call.reply(found(await call.look(users.find, call.tenant, user_id, only=call.only), "user", user_id))


async def change(call: Call) -> Response:
    """Changes what the body gives and leaves the rest; from the next request on the user may do what the role may."""
    body: Any = await call.body(body_type(ChangeUser))
    if body.role is not None:
        check_grant(call.principal, body.role, ())
    return await _done(call, to_command(ChangeUser, body, user_id=_known(call), data_subject=call.path["user_id"]))


async def set_password(call: Call) -> Response:
    """Sets a user's password, and ends all of the user's sessions. Who is no admin sets their own, and says the one there was."""
    user_id, given = call.path["user_id"], await call.body(NewPassword)
    row = await call.read(users.find, call.tenant, user_id)
    if Permission.USERS_MANAGE not in call.principal.permissions:
        if call.principal.user_id != user_id:
            raise HTTPException(403, "who is no admin sets their own password")
        await _check_current(call, found(row, "user", user_id)["username"], given.current)
    row = found(row, "user", user_id)
    check_user(call, row)
    password_hash = await _hashed(call, given.password, row["username"], row["email"])
    return await _done(call, SetPassword(user_id=user_id, password_hash=password_hash, data_subject=user_id))


async def _check_current(call: Call, username: str, password: str) -> None:
    node: Node = call.request.app.state.node
    await by_password(node, call.request, call.tenant, username, password)


async def disable(call: Call) -> Response:
    """The user is let in by nothing from now on, and their sessions are over."""
    return await _done(call, DisableUser(user_id=_known(call), reason=call.reason))


async def enable(call: Call) -> Response:
    """A disabled user is let in again."""
    return await _done(call, EnableUser(user_id=_known(call)))


async def remove(call: Call) -> Response:
    """The user leaves for good. What is recorded of them stays until it is erased: `DELETE /v1/subjects/{user_id}`."""
    return await _done(call, RemoveUser(user_id=_known(call), reason=call.reason))


async def unlock(call: Call) -> Response:
    """Looks at the user's passwords again, after too many wrong ones."""
    user_id = call.path["user_id"]
    check_user(call, found(await call.read(users.find, call.tenant, user_id), "user", user_id))
    await call.begin(stream(user_id))
    return call.reply(await call.ask(Unlock(scope=Scope.ACCOUNT, whose=user_id)))


def _known(call: Call) -> str:
    user_id = call.path["user_id"]
    if user_id == call.principal.user_id:
        raise HTTPException(409, "who is signed in can't do that to themselves; another admin can")
    return user_id


async def _done(call: Call, command: Any) -> Response:
    user_id = call.path["user_id"]
    row = found(await call.read(users.find, call.tenant, user_id), "user", user_id)
    check_user(call, row)
    await call.begin(stream(user_id))
    return call.reply(await call.ask(command))


USER = "/v1/users/{user_id}"
STREAM = stream("{user_id}")
SHOWN = (stream(""), "subject-")
ROLE = choice("role", "Only users of this role.", Role)
STATUS = choice("status", "Only users who stand here.", Stage)
MANAGE = Permission.USERS_MANAGE
PAGE = listing(users.SORTS, rows.User)
SOME_PAGE = some_page(UserPage, "users", rows.User)
routes = (
    Endpoint("POST", "/v1/users", register, MANAGE, RegisterUserBody, UserAccepted, 201, (TENANT,), acts=True),
    Endpoint(
        "GET",
        "/v1/users",
        page,
        MANAGE,
        reply=UserPage,
        query=(*PAGE, ROLE, STATUS),
        rests_on=SHOWN,
        also=(SOME_PAGE,),
    ),
    Endpoint(
        "GET",
        USER,
        find,
        MANAGE,
        reply=rows.User,
        query=(*READ, choosing(rows.User)),
        rests_on=(STREAM, "subject-"),
        guards=STREAM,
        also=(some_of(rows.User),),
    ),
    Endpoint("PATCH", USER, change, MANAGE, body_type(ChangeUser), UserAccepted, acts=True, guards=STREAM),
    Endpoint("DELETE", USER, remove, MANAGE, reply=UserAccepted, query=(REASON,), acts=True, guards=STREAM),
    Endpoint(
        "PUT",
        f"{USER}/password",
        set_password,
        Permission.SELF_MANAGE,
        NewPassword,
        UserAccepted,
        acts=True,
        guards=STREAM,
    ),
    Endpoint("POST", f"{USER}/disable", disable, MANAGE, reply=UserAccepted, query=(REASON,), acts=True, guards=STREAM),
    Endpoint("POST", f"{USER}/enable", enable, MANAGE, reply=UserAccepted, acts=True, guards=STREAM),
    Endpoint("POST", f"{USER}/unlock", unlock, MANAGE, reply=Tried, acts=True),
)
