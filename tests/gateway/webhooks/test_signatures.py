"""What signs a webhook's messages: verified by the specification's own library, and derived so that nobody has to keep it."""

import base64
import time

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.identity.auth import Tokens
from gateway.webhooks.signatures import Secrets

BODY = b'{"type":"task.TaskSubmitted"}'


def test_both_forms_of_signature_hold_and_only_for_what_was_signed() -> None:

    secrets, at = Secrets(b"s" * 32), int(time.time())
    signed = secrets.signatures("acme", "w1", [2, 1], "7-a", at, BODY)
    headers = {"webhook-id": "7-a", "webhook-timestamp": str(at), "webhook-signature": signed}
    for generation in (1, 2):
        assert Webhook(secrets.secret("acme", "w1", generation)).verify(BODY, headers) == {"type": "task.TaskSubmitted"}
        key = base64.b64decode(secrets.public_key("acme", "w1", generation).removeprefix("whpk_"))
        parts = [part.removeprefix("v1a,") for part in signed.split(" ") if part.startswith("v1a,")]
        Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(parts[2 - generation]), b"7-a.%d." % at + BODY)
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(parts[generation - 1]), b"7-a.1." + BODY)
    for wrong in (secrets.secret("other", "w1", 1), secrets.secret("acme", "w2", 1), secrets.secret("acme", "w1", 3)):
        with pytest.raises(WebhookVerificationError):
            Webhook(wrong).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets.secret("acme", "w1", 1)).verify(BODY + b" ", headers)


def test_a_secret_is_the_same_at_every_call_and_no_other_nodes_nor_any_keys_token() -> None:
    secret = Secrets(b"s" * 32).secret("acme", "w1", 1)
    assert secret == Secrets(b"s" * 32).secret("acme", "w1", 1)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert secret != Secrets(b"t" * 32).secret("acme", "w1", 1)
    assert secret.removeprefix("whsec_")[:20] not in Tokens(b"s" * 32).token("w1")
