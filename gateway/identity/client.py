"""The node as a client of the identity provider where its people sign in: what the provider knows it by, and what its claims mean here."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from aggregates.values.roles import MACHINES, Role
from gateway.identity.issuers import url_faults
from gateway.settings import GavelSettings
from gateway.storage.folder import FolderUnusable, read_private


class ClientFaulty(Exception):
    """The settings of the sign-in can't be used; the text names each fault."""


class Client(NamedTuple):
    """What is agreed with the provider. Without a secret the node is a public client, which PKCE alone protects."""

    issuer: str
    client_id: str
    secret: str
    scopes: str
    role_claim: str
    role_by_value: Mapping[str, Role]
    default_role: Role | None
    tenant: str
    redirect_url: str
    name: str


def client_of(settings: GavelSettings) -> Client | None:
    """The client that the settings describe; None where they describe none. Raises ClientFaulty."""
    if not (settings.oidc_issuer and settings.oidc_client_id):
        return None
    faults = [
        f"GAVEL_OIDC_ISSUER: {one}" for one in url_faults(settings.oidc_issuer, allow_http=settings.identity_insecure)
    ]
    role_by_value: dict[str, Role] = {}
    for pair in settings.oidc_roles:
        value, _, name = pair.rpartition("=")
        if not value or name not in set(Role) - MACHINES:
            faults.append(f"GAVEL_OIDC_ROLES: {pair!r} is not VALUE=ROLE with a role of people")
        else:
            role_by_value[value] = Role(name)
    secret = settings.oidc_client_secret
    if settings.oidc_client_secret_file is not None:
        try:
            secret = _secret(settings.oidc_client_secret_file)
        except (FolderUnusable, OSError) as error:
            faults.append(f"GAVEL_OIDC_CLIENT_SECRET_FILE: {error}")
    if faults:
        raise ClientFaulty("\n".join(faults))
    return Client(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret=secret,
        scopes=" ".join(dict.fromkeys(("openid", *settings.oidc_scopes))),
        role_claim=settings.oidc_role_claim,
        role_by_value=role_by_value,
        default_role=Role(settings.oidc_default_role) if settings.oidc_default_role else None,
        tenant=settings.oidc_tenant,
        redirect_url=settings.oidc_redirect_url,
        name=settings.oidc_name or urlsplit(settings.oidc_issuer).hostname or "",
    )


def _secret(path: Path) -> str:
    secret = read_private(path).strip()
    if not secret:
        raise FolderUnusable(f"{path} holds no secret")
    return secret
