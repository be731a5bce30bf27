"""A signed token (JWS in its compact form, RFC 7515 and 8725): what it says, once somebody whose keys we know has signed it.

The key is chosen by us, from the keys of whoever the token has to be of: what a token says of keys (`jku`, `jwk`, `x5u`, `x5c`) is not
heard. The algorithm has to be one that the issuer is known to use, and the key of the one kind that fits it.
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from gateway.identity.issuers import KEY_BY_ALGORITHM
from gateway.identity.key_sets import KEY_NAME_CHARACTERS_MAX, KeySet

TOKEN_CHARACTERS_MAX = 8192
KEYS_TRIED_MAX = 4
"""Of a token that names no key."""
LEEWAY_SECONDS = 30.0
"""By so much may clocks differ."""
TIME_MAX = 2.0**40

SIGNED = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


class BadToken(Exception):
    """The token proves nothing; the text says why, and holds nothing of it."""


class Signed(NamedTuple):
    """A token as it was sent: nothing that it says is believed yet."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    content: bytes
    signature: bytes


def is_signed(text: str) -> bool:
    """Whether it looks like a signed token."""
    return text.count(".") == 2 and text.startswith("ey")


def parse(token: str) -> Signed:
    """The parts of a token. Raises BadToken."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise BadToken(f"it is longer than {TOKEN_CHARACTERS_MAX} characters")
    parts = SIGNED.fullmatch(token)
    if parts is None:
        raise BadToken("it is no signed token")
    header, claims = _object(parts[1]), _object(parts[2])
    content = f"{parts[1]}.{parts[2]}".encode()
    return Signed(header, claims, content, _decoded(parts[3]))


def check_header(signed: Signed, algorithms: Collection[str], types: Collection[str]) -> None:
    """Raises BadToken where it is of another kind than is taken here."""
    header = signed.header
    if header.get("alg") not in algorithms or header["alg"] not in KEY_BY_ALGORITHM:
        raise BadToken("its algorithm is not one that is taken")
    if "crit" in header or "b64" in header:
        raise BadToken("it demands extensions that nobody here knows")
    kind = header.get("typ", "JWT")
    taken = {one.lower() for one in types}
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in taken:
        raise BadToken("its type is not one that is taken")
    name = header.get("kid")
    if name is not None and not (isinstance(name, str) and len(name) <= KEY_NAME_CHARACTERS_MAX):
        raise BadToken("it names its key by what is no name")


async def check_signature(signed: Signed, keys: KeySet) -> None:
    """Raises BadToken where nobody of these has signed it, Unreachable where that can't be found out."""
    algorithm = signed.header["alg"]
    candidates = await keys.find(signed.header.get("kid"), algorithm)
    if not candidates:
        raise BadToken("no key of its issuer fits it")
    # Not by joserfc's deserializer, which hears `b64`, and warns at each EdDSA: by the algorithm itself, over the bytes that we have read.
    model = JWSRegistry.algorithms[algorithm]
    for key in candidates[:KEYS_TRIED_MAX]:
        try:
            model.check_key(key)
            if model.verify(signed.content, signed.signature, key):
                return
        except (JoseError, ValueError):
            continue
    raise BadToken("its signature is not that of its issuer")


def check_times(claims: Mapping[str, Any], now: float, *, lifetime_seconds_max: float) -> tuple[float, float]:
    """When it was issued and when it ends. Raises BadToken where it is not good now, or for longer than tokens are."""
    issued_at, ends_at = moment_in(claims, "iat"), moment_in(claims, "exp")
    begins_at = moment_in(claims, "nbf") if "nbf" in claims else issued_at
    if now >= ends_at + LEEWAY_SECONDS:
        raise BadToken("it has expired")
    if now < max(issued_at, begins_at) - LEEWAY_SECONDS:
        raise BadToken("it is not good yet")
    if ends_at - issued_at > lifetime_seconds_max:
        raise BadToken("it is good for longer than tokens of its issuer may be")
    return issued_at, ends_at


def moment_in(claims: Mapping[str, Any], name: str) -> float:
    """A claim that is a time. Raises BadToken."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= TIME_MAX:
        raise BadToken(f"it does not say {name} as a time")
    return float(found)


def text_in(claims: Mapping[str, Any], name: str, *, characters_max: int = 255) -> str:
    """A claim that is a text. Raises BadToken."""
    found = claims.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= characters_max:
        raise BadToken(f"it does not say {name} as a text of at most {characters_max} characters")
    return found


def audiences_in(claims: Mapping[str, Any]) -> frozenset[str]:
    """For whom it is."""
    found = claims.get("aud")
    given = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset(one for one in given if isinstance(one, str))


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(_decoded(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadToken("it is no signed token") from error
    if not isinstance(found, dict):
        raise BadToken("it is no signed token")
    return found


def _decoded(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError) as error:
        raise BadToken("it is no signed token") from error
