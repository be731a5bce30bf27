"""Who an identity provider sends: a user of ours, registered at first sight, in the role that the provider's claims give."""

from contextlib import suppress
from hashlib import sha256

from msgspec import ValidationError, convert

from aggregates.user import ChangeUser, Email, Federated, FindFederated, FindUser, RegisterUser, Username
from aggregates.values.roles import Principal, Role
from gateway.identity.client import Client
from gateway.identity.provider import Person
from runtime.delivery import Context
from runtime.errors import Refused
from runtime.system import System

NAME_CHARACTERS_MAX = 100
SUFFIX_DIGITS = 8


async def admitted(system: System, client: Client, person: Person) -> Principal:
    """As whom the person asks from now on. Raises Refused where nobody lets them in.

    Where claims mean roles, the provider decides of them at each sign-in: who is taken out of a group there has the default role. Where
    they mean none, admins decide here, and the default is for new users alone.
    """
    context = Context(tenant=client.tenant, principal="gateway")
    role = person.role or client.default_role
    if role is None:
        raise Refused("no_role", "the provider gives none that means something here", status=403)
    _check(person)
    known = await _found(system, client, person, context)
    if known is None:
        user_id = await _registered(system, client, person, role, context)
    else:
        user_id = known.user_id
        await _renewed(system, person, known, role if client.role_by_value else known.role, context)
    return await system.ask(FindUser(user_id=user_id), context)


def _check(person: Person) -> None:
    try:
        convert(person.email, Email)
    except ValidationError as error:
        raise Refused("no_email_address", "the provider tells none: ask for the scope email", status=403) from error


async def _found(system: System, client: Client, person: Person, context: Context) -> Federated | None:
    found = await system.ask(FindFederated(issuer=client.issuer, subject=person.subject), context)
    return found if found.user_id else None


async def _registered(system: System, client: Client, person: Person, role: Role, context: Context) -> str:
    """The id of the new user; where another sign-in of the same person was faster, of theirs."""
    user_id = system.ids.new()
    for name in _names(person):
        command = RegisterUser(
            user_id=user_id,
            username=name,
            email=person.email,
            role=role,
            name=person.name[:NAME_CHARACTERS_MAX],
            issuer=client.issuer,
            subject=person.subject,
            data_subject=user_id,
        )
        try:
            return (await system.ask(command, context)).user_id
        except Refused as refused:
            if refused.code == "user_exists" and (other := await _found(system, client, person, context)):
                return other.user_id
            if refused.code != "username_taken":
                raise
    raise Refused("username_taken", status=409)


def _names(person: Person) -> list[str]:
    """What the user may be called: as the provider says, or so that nobody else is."""
    suffix = sha256(person.subject.encode()).hexdigest()[:SUFFIX_DIGITS]
    names = [person.username, f"{person.username[:40]}-{suffix}", f"user-{suffix}"]
    return [name for name in names if _is_name(name)]


def _is_name(text: str) -> bool:
    try:
        convert(text, Username)
    except ValidationError:
        return False
    return True


async def _renewed(system: System, person: Person, known: Federated, role: Role, context: Context) -> None:
    """What the provider says by now."""
    user_id = known.user_id
    if role is not known.role:
        await system.ask(ChangeUser(user_id=user_id, role=role, data_subject=user_id), context)
    if person.email != known.email:
        with suppress(Refused):  # another user has it: nobody signs in by this one
            await system.ask(ChangeUser(user_id=user_id, email=person.email, data_subject=user_id), context)
