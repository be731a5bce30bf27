"""Signs what webhooks send, as Standard Webhooks has it: `v1`, an HMAC under a secret that both sides know, and `v1a`, Ed25519.

Secrets and signing keys follow from the journal's own secret, the webhook's name and a number that a rotation raises: nothing of them is
recorded, and whoever reads log, read models or answers learns none of them. Within the overlap of a rotation both sign.
"""

import base64
import hmac
from collections.abc import Iterable
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_PREFIX, PUBLIC_PREFIX = "whsec_", "whpk_"
KEYS_AT_HAND = 1000


class Secrets:
    """The secrets of a journal's webhooks, numbered from 1; nobody without the journal's secret can make them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._signer = lru_cache(maxsize=KEYS_AT_HAND)(self._make_signer)

    def secret(self, tenant: str, webhook_id: str, generation: int) -> str:
        """The secret as both sides write it, the same at every call."""
        return SECRET_PREFIX + _text(self._derived("secret", tenant, webhook_id, generation))

    def public_key(self, tenant: str, webhook_id: str, generation: int) -> str:
        """By which the other signature is verified; it is no secret."""
        signer = self._signer(tenant, webhook_id, generation)
        return PUBLIC_PREFIX + _text(signer.public_key().public_bytes_raw())

    def signatures(
        self, tenant: str, webhook_id: str, generations: Iterable[int], message_id: str, at: int, body: bytes
    ) -> str:
        """The header `webhook-signature` of a message sent at a time in whole seconds."""
        signed = b".".join((message_id.encode(), b"%d" % at, body))
        parts: list[str] = []
        for generation in generations:
            mac = hmac.digest(self._derived("secret", tenant, webhook_id, generation), signed, "sha256")
            parts += ("v1," + _text(mac), "v1a," + _text(self._signer(tenant, webhook_id, generation).sign(signed)))
        return " ".join(parts)

    def _derived(self, purpose: str, tenant: str, webhook_id: str, generation: int) -> bytes:
        """Tokens of keys follow from an id alone, which has no such bytes in it: no token is a webhook's secret."""
        name = f"webhook\0{purpose}\0{tenant}\0{webhook_id}\0{generation}"
        return hmac.digest(self._secret, name.encode(), "sha256")

    def _make_signer(self, tenant: str, webhook_id: str, generation: int) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._derived("key", tenant, webhook_id, generation))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
