"""Whose tokens are taken: a TOML file names each issuer, its keys, its audience, and what its claims mean here."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from aggregates.values.ids import TENANT_NAME
from aggregates.values.roles import Role

ISSUERS_MAX = 50
DAY_SECONDS = 86_400.0

RSA, EC, OKP = "RSA", "EC", "OKP"
KEY_BY_ALGORITHM = {
    **{f"{family}{bits}": (RSA, "") for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": (EC, "P-256"),
    "ES384": (EC, "P-384"),
    "ES512": (EC, "P-521"),
    "EdDSA": (OKP, "Ed25519"),
    "Ed25519": (OKP, "Ed25519"),
}
"""The algorithms that are taken, each with the one kind of key that it fits (RFC 7518, 8037, 9864). With a shared secret (HS…) whoever
can check a token could make one; `none` proves nothing."""

Text = Annotated[str, Meta(min_length=1, max_length=300)]


class IssuersFaulty(Exception):
    """The file of issuers can't be used; the text names what is wrong."""


class Issuer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody whose tokens are taken.

    `keys` is an https URL of a JWK set, or a file. `roles` gives for values of the claim `role_claim` a role here; of several the first
    in the file's order. Without `tenant_claim` all callers are of `tenant`; `tenants` are those that the claim may name, none: any.
    """

    url: Text
    audience: Text | tuple[Text, ...]
    keys: Text
    algorithms: tuple[str, ...] = ("RS256",)
    types: tuple[Text, ...] = ("JWT", "at+jwt")
    role_claim: Text = "roles"
    roles: dict[str, Role] = {}
    default_role: Role | None = None
    tenant: Annotated[str, Meta(pattern=TENANT_NAME)] = "default"
    tenant_claim: str = ""
    tenants: tuple[str, ...] = ()
    scope_claim: str = ""
    scope_prefix: str = ""
    lifetime_seconds_max: Annotated[float, Meta(gt=0, le=31 * DAY_SECONDS)] = DAY_SECONDS

    @property
    def audiences(self) -> frozenset[str]:
        """For whom its tokens have to be."""
        return frozenset([self.audience] if isinstance(self.audience, str) else self.audience)

    @property
    def roles_given(self) -> frozenset[Role]:
        """What its tokens can make somebody here."""
        return frozenset([*self.roles.values(), *([] if self.default_role is None else [self.default_role])])

    def role(self, claims: Mapping[str, Any]) -> Role | None:
        """What somebody with these claims is here; None: nobody."""
        return role_of(claims, self.role_claim, self.roles, self.default_role)


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    issuer: Annotated[tuple[Issuer, ...], Meta(min_length=1, max_length=ISSUERS_MAX)]


def read_issuers(path: Path, *, allow_http: bool) -> tuple[Issuer, ...]:
    """The issuers that a file names; files of keys are looked for beside it. Raises IssuersFaulty."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except OSError as error:
        raise IssuersFaulty(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise IssuersFaulty(f"{path}: {error}") from error
    faults = [f"{one.url}: {fault}" for one in found.issuer for fault in _faults(one, path.parent, allow_http)]
    urls = [one.url for one in found.issuer]
    faults += [f"{url}: named twice" for url in sorted({url for url in urls if urls.count(url) > 1})]
    if faults:
        raise IssuersFaulty("\n".join(f"{path}: {fault}" for fault in faults))
    return tuple(
        one if is_url(one.keys) else msgspec.structs.replace(one, keys=str(path.parent / one.keys))
        for one in found.issuer
    )


def _faults(issuer: Issuer, folder: Path, allow_http: bool) -> list[str]:
    faults = [f"the algorithm {name} is not taken" for name in issuer.algorithms if name not in KEY_BY_ALGORITHM]
    if not issuer.algorithms or not issuer.audiences:
        faults.append("it takes at least one algorithm and one audience")
    if is_url(issuer.keys):
        faults += url_faults(issuer.keys, allow_http=allow_http)
    elif not (folder / issuer.keys).is_file():
        faults.append(f"there is no file {folder / issuer.keys}")
    if Role.AGENT_OWN in {*issuer.roles.values(), issuer.default_role}:
        faults.append("an agent's own role comes with its registration alone")
    if not issuer.roles and issuer.default_role is None:
        faults.append("neither roles nor a default_role: its tokens would open nothing")
    if issuer.tenants and not issuer.tenant_claim:
        faults.append("tenants without a tenant_claim")
    return faults


def is_url(text: str) -> bool:
    """Whether it is a URL, not a file's name."""
    return "://" in text


def url_faults(url: str, *, allow_http: bool) -> list[str]:
    """Why this URL is not asked: without TLS anybody on the way could answer for an identity provider."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and not parts.username and not parts.fragment and (parts.port or 1) > 0
    except ValueError:
        return [f"{url!r} is no URL"]
    if not is_whole:
        return [f"{url!r} is no URL of a host"]
    if parts.scheme == "https" or (
        allow_http and parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    ):
        return []
    return [f"{url!r} is not https"]


def role_of(
    claims: Mapping[str, Any], claim: str, role_by_value: Mapping[str, Role], default: Role | None
) -> Role | None:
    """The role of the first value in the table that the claim has."""
    values = set(words_in(claims, claim))
    return next((role for value, role in role_by_value.items() if value in values), default)


def words_in(claims: Mapping[str, Any], claim: str) -> list[str]:
    """The words of a claim: a list of texts, or a text of words between spaces."""
    found = claim_in(claims, claim)
    if isinstance(found, str):
        return [found, *found.split()]
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def claim_in(claims: Mapping[str, Any], claim: str) -> Any:
    """A claim by its name, or by the path to it, as in `realm_access.roles`."""
    if claim in claims:
        return claims[claim]
    found: Any = claims
    for step in claim.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found
