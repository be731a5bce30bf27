"""Whoever calls with a token of an identity provider: verified once, remembered by its digest until it ends or its issuer's keys may be
other ones.

To verify one costs more than to refuse a request. So whoever lets callers in is asked before, but for a token that was good lately: an
address that floods the node with bad ones is turned away by its rate. A token that says it is of somebody who was let in lately counts
apart from what else comes from its address, so that a flood refuses nobody their next token.

What is recorded of such a caller is `service:<digits>`: a digest of tenant, issuer and subject, salted with the journal's name for ever,
so that neither a name nor an address stands in the log. Revocations name tokens and subjects by the same digits.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from aggregates.revocation import AdmitToken
from aggregates.values.ids import TENANT_NAME
from aggregates.values.roles import Permission, Principal, Role, granted
from gateway.identity.fetching import Fetcher
from gateway.identity.issuers import Issuer, claim_in, words_in
from gateway.identity.key_sets import KeySet
from gateway.identity.signed import (
    LEEWAY_SECONDS,
    BadToken,
    audiences_in,
    check_header,
    check_signature,
    check_times,
    parse,
    text_in,
)

REMEMBERED_MAX = 10_000
TARGET_DIGITS = 32
SERVICE = "service:"
OF_ID_TOKENS = ("nonce", "at_hash", "c_hash")
"""Claims that tell that somebody has signed in: such a token is for the page where they did, and no credential (RFC 8725, 3.12)."""


Check = Callable[[str], None]
"""Raises where a token is not to be looked at now. Is told digits of whom it names where that one was let in lately, else nothing."""


class Vouched(NamedTuple):
    """What an issuer says of a caller, verified."""

    issuer: str
    subject: str
    token_id: str
    tenant: str
    role: Role
    scopes: tuple[Permission, ...]
    issued_at: float
    ends_at: float

    def admission(self, origin: str) -> AdmitToken:
        """What the security actor is asked, in the journal of this name."""
        subject = target_of(origin, self.tenant, self.issuer, "sub", self.subject)
        token = target_of(origin, self.tenant, self.issuer, "jti", self.token_id) if self.token_id else ""
        name = SERVICE + subject
        principal = Principal(name=name, tenant=self.tenant, role=self.role, key_id=name, scopes=self.scopes)
        return AdmitToken(principal=principal, subject=subject, token=token, issued_at=self.issued_at)


def target_of(origin: str, tenant: str, issuer: str, claim: str, value: str) -> str:
    """What stands in the log for a token or a subject of an issuer."""
    named = msgspec.json.encode((origin, tenant, issuer, claim, value))
    return sha256(named).hexdigest()[:TARGET_DIGITS]


class Bearers:
    """Verifies the tokens of these issuers."""

    def __init__(self, issuers: Sequence[Issuer], fetcher: Fetcher, now: Callable[[], float]) -> None:
        self._now = now
        self._issuer_by_url = {issuer.url: issuer for issuer in issuers}
        self._keys_by_url = {issuer.url: KeySet(issuer.keys, fetcher, now) for issuer in issuers}
        self._vouched_by_digest: OrderedDict[bytes, Vouched] = OrderedDict()
        self._let_in: OrderedDict[str, None] = OrderedDict()
        """Digits of whoever was vouched for lately."""

    def issuer(self, url: str) -> Issuer | None:
        """The issuer of this URL, if its tokens are taken."""
        return self._issuer_by_url.get(url)

    @property
    def lifetime_seconds_max(self) -> float:
        """The longest that any of their tokens is good for."""
        return max((issuer.lifetime_seconds_max for issuer in self._issuer_by_url.values()), default=0.0)

    def roles(self, issuer: str, is_meant: Callable[[Vouched], bool]) -> frozenset[Role]:
        """As what the tokens that are meant were shown; of none, all roles that this issuer gives, or any where it is not named."""
        shown = frozenset(one.role for one in self._vouched_by_digest.values() if is_meant(one))
        asked = [one for url, one in self._issuer_by_url.items() if issuer in ("", url)]
        return shown or frozenset().union(*(one.roles_given for one in asked))

    async def vouched(self, token: str, check: Check) -> Vouched:
        """Whom a token vouches for. Raises BadToken where for nobody, Unreachable where the keys to tell can't be had, and what `check`
        raises."""
        digest = sha256(token.encode(errors="replace")).digest()
        found = self._vouched_by_digest.get(digest)
        if found is not None:
            if self._now() < found.ends_at + LEEWAY_SECONDS and self._keys_by_url[found.issuer].is_fresh:
                self._vouched_by_digest.move_to_end(digest)
                return found
            del self._vouched_by_digest[digest]
            check = _is_known
        found = await self._verify(token, check)
        while len(self._vouched_by_digest) >= REMEMBERED_MAX:
            self._vouched_by_digest.popitem(last=False)
        self._vouched_by_digest[digest] = found
        self._remember(_digits(found.issuer, found.subject))
        return found

    def _remember(self, digits: str) -> None:
        self._let_in[digits] = None
        self._let_in.move_to_end(digits)
        while len(self._let_in) > REMEMBERED_MAX:
            self._let_in.popitem(last=False)

    async def _verify(self, token: str, check: Check) -> Vouched:
        signed = parse(token)
        url = signed.claims.get("iss")
        issuer = self._issuer_by_url.get(url) if isinstance(url, str) else None
        if issuer is None:
            raise BadToken("its issuer is not one that is trusted here")
        check_header(signed, issuer.algorithms, issuer.types)
        digits = _digits(issuer.url, str(signed.claims.get("sub")))
        check(digits if digits in self._let_in else "")
        await check_signature(signed, self._keys_by_url[issuer.url])
        return self._said(signed.claims, issuer)

    def _said(self, claims: Mapping[str, Any], issuer: Issuer) -> Vouched:
        if not audiences_in(claims) & issuer.audiences:
            raise BadToken("it is for another audience")
        if any(claim in claims for claim in OF_ID_TOKENS):
            raise BadToken("it is an ID token, which is for signing in alone")
        issued_at, ends_at = check_times(claims, self._now(), lifetime_seconds_max=issuer.lifetime_seconds_max)
        role = issuer.role(claims)
        if role is None:
            raise BadToken(f"its claim {issuer.role_claim} names no role here")
        return Vouched(
            issuer=issuer.url,
            subject=text_in(claims, "sub"),
            token_id=text_in(claims, "jti") if "jti" in claims else "",
            tenant=_tenant(claims, issuer),
            role=role,
            scopes=_scopes(claims, issuer, role),
            issued_at=issued_at,
            ends_at=ends_at,
        )


def _is_known(_: str) -> None:
    """A token that was good lately is looked at in any case."""


def _digits(issuer: str, subject: str) -> str:
    return sha256(msgspec.json.encode((issuer, subject))).hexdigest()[:TARGET_DIGITS]


def _tenant(claims: Mapping[str, Any], issuer: Issuer) -> str:
    if not issuer.tenant_claim:
        return issuer.tenant
    found = claim_in(claims, issuer.tenant_claim)
    # Never the default where the claim is missing: that tenant's admins look after the whole node.
    if not isinstance(found, str) or not re.match(TENANT_NAME, found):
        raise BadToken(f"its claim {issuer.tenant_claim} names no tenant")
    if issuer.tenants and found not in issuer.tenants:
        raise BadToken(f"its claim {issuer.tenant_claim} names a tenant for which its issuer does not speak")
    return found


def _scopes(claims: Mapping[str, Any], issuer: Issuer, role: Role) -> tuple[Permission, ...]:
    """The permissions that a token is good for; none where it is not narrowed."""
    if not issuer.scope_claim:
        return ()
    words = set(words_in(claims, issuer.scope_claim))
    scopes = tuple(one for one in sorted(granted(role, ())) if issuer.scope_prefix + one in words)
    if not scopes:  # an empty tuple would be all that the role may do
        raise BadToken(f"its claim {issuer.scope_claim} names nothing that the role {role.value} may do")
    return scopes
