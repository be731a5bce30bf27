"""The master key: what wraps the key under which all keys of a keyring stand. It is brought from outside, and never stored beside them.

From a file or a text it is 32 bytes as hexadecimal digits. From a command (a hook to a key management service) it is not known here at
all: the command is run as `COMMAND wrap` or `COMMAND unwrap`, reads base64 from its standard input and writes base64 to its output.
"""

import base64
import binascii
import os
import shlex
import subprocess
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
COMMAND_SECONDS_MAX = 30.0


class NoMaster(Exception):
    """The master key can't be had, or is another one; the text says why."""


class Master(Protocol):
    """What wraps a key of 32 bytes and gets it back. Both raise NoMaster."""

    def wrap(self, key: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes) -> bytes: ...


class MasterKey:
    """A master key that is known here."""

    def __init__(self, digits: str, source: str, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """`source` says in messages where the key came from."""
        try:
            raw = bytes.fromhex(digits.strip())
        except ValueError:
            raw = b""
        if len(raw) != KEY_BYTES:
            raise NoMaster(f"{source} does not hold {KEY_BYTES} bytes as hexadecimal digits")
        self._cipher = AESGCM(raw)
        self._source = source
        self._entropy = entropy

    def wrap(self, key: bytes) -> bytes:
        nonce = self._entropy(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, None)

    def unwrap(self, wrapped: bytes) -> bytes:
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise NoMaster(f"the keys are wrapped by another master key than that of {self._source}") from None


class MasterCommand:
    """A master key that a command keeps to itself."""

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)

    def wrap(self, key: bytes) -> bytes:
        return self._run("wrap", key)

    def unwrap(self, wrapped: bytes) -> bytes:
        return self._run("unwrap", wrapped)

    def _run(self, action: str, content: bytes) -> bytes:
        name = self._words[0] if self._words else "the command"
        try:
            done = subprocess.run(
                [*self._words, action],
                input=base64.b64encode(content),
                capture_output=True,
                timeout=COMMAND_SECONDS_MAX,
                check=True,
            )
            return base64.b64decode(done.stdout.strip(), validate=True)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip()[-500:]
            raise NoMaster(f"{name} {action} ended with {error.returncode}: {said}") from None
        except (OSError, IndexError, subprocess.TimeoutExpired, binascii.Error) as error:
            raise NoMaster(f"{name} {action} brought no key: {error}") from None
