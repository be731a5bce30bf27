"""The keys of an identity provider: kept for a while, fetched anew when the while is over or a token names a key that is not there.

Whoever calls can name keys that nobody has: between two fetches stands a pause, whoever asks. Where the provider is away the keys that
there were go on for a day; the token of a key that nobody knows is not taken then.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from gateway.identity.fetching import BYTES_MAX, Fetcher, NotFetched
from gateway.identity.issuers import EC, KEY_BY_ALGORITHM, OKP, RSA, is_url
from runtime.errors import Unreachable
from runtime.threads import run_blocking

FRESH_SECONDS = 600.0
"""A key that its provider publishes no more opens something for so long at most."""
STALE_SECONDS_MAX = 86_400.0
PAUSE_SECONDS = 10.0
KEYS_MAX = 100
KEY_NAME_CHARACTERS_MAX = 256
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192

PublicKey = RSAKey | ECKey | OKPKey

log = structlog.get_logger("gateway.identity")


class KeySet:
    """The keys at one place, which is a URL or a file."""

    def __init__(self, place: str, fetcher: Fetcher, now: Callable[[], float]) -> None:
        self.place = place
        self._fetcher = fetcher
        self._now = now
        self._keys: tuple[PublicKey, ...] = ()
        self._fetched_at = -STALE_SECONDS_MAX
        self._tried_at = -PAUSE_SECONDS
        self._fetching = trio.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether these are the provider's keys, as far as anybody has to know."""
        return self._now() < self._fetched_at + FRESH_SECONDS

    async def find(self, name: str | None, algorithm: str) -> list[PublicKey]:
        """The keys by which a token of this algorithm can be signed, by the name that it gives; of a token that gives none all that
        fit. Raises Unreachable where nobody can say."""
        if not self.is_fresh:
            await self._fetch(self._fetched_at, waits=not self._keys)
        found = self._fitting(name, algorithm)
        if not found and name is not None:
            await self._fetch(self._fetched_at, waits=True)
            found = self._fitting(name, algorithm)
        if self._now() >= self._fetched_at + STALE_SECONDS_MAX:
            raise Unreachable("the keys of an identity provider can't be had at the moment")
        return found

    def _fitting(self, name: str | None, algorithm: str) -> list[PublicKey]:
        kind, curve = KEY_BY_ALGORITHM[algorithm]
        return [
            key
            for key in self._keys
            if (name is None or key.get("kid") == name)
            and key.key_type == kind
            and key.get("alg", algorithm) == algorithm
            and (not curve or key.get("crv") == curve)
        ]

    async def _fetch(self, seen: float, *, waits: bool) -> None:
        """Fetches the keys unless somebody has since `seen`, or has tried just now, or does so and this one need not wait."""
        if self._fetching.locked() and not waits:
            return
        async with self._fetching:
            if self._fetched_at != seen or self._now() < self._tried_at + PAUSE_SECONDS:
                return
            self._tried_at = self._now()
            try:
                self._keys = keys_in(await self._document())
                self._fetched_at = self._now()
            except (NotFetched, OSError) as error:
                log.warning("keys_not_fetched", place=self.place, reason=str(error))

    async def _document(self) -> dict[str, Any]:
        if is_url(self.place):
            return await self._fetcher.get(self.place)
        return await run_blocking(_read, Path(self.place))


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotFetched(f"{path} holds no JSON, or more than {BYTES_MAX} bytes") from error
    if not isinstance(found, dict):
        raise NotFetched(f"{path} holds no JSON object")
    return found


def keys_in(document: dict[str, Any]) -> tuple[PublicKey, ...]:
    """The keys of a JWK set (RFC 7517) that sign tokens which are taken; others are passed over. Raises NotFetched where it is none."""
    found = document.get("keys")
    if not isinstance(found, list):
        raise NotFetched("it is no set of keys")
    if len(found) > KEYS_MAX:
        raise NotFetched(f"it holds more than {KEYS_MAX} keys")
    return tuple(key for one in found if isinstance(one, dict) and (key := _key(one)) is not None)


def _key(given: dict[str, Any]) -> PublicKey | None:
    operations = given.get("key_ops", ["verify"])
    if (
        given.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or "d" in given  # who publishes a private key has none
        or len(str(given.get("kid", ""))) > KEY_NAME_CHARACTERS_MAX
        or given.get("kty") not in {RSA, EC, OKP}
        or (given["kty"] == RSA and not RSA_BITS_MIN <= _bits(given.get("n")) <= RSA_BITS_MAX)
    ):
        return None
    named: dict[str, Any] = {
        name: given[name] for name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y") if name in given
    }
    try:
        key = import_key(named)
        return key if isinstance(key, RSAKey | ECKey | OKPKey) and key.public_key is not None else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(modulus: object) -> int:
    """About how long a number in base64url is: to look is cheaper than to take it in."""
    return (len(modulus) * 6 // 8) * 8 if isinstance(modulus, str) else 0
