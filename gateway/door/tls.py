"""TLS at the door: our certificate, whose certificates we take, and a stream that ends as a socket does.

A certificate is read again when its files change; connections that stand keep theirs, and one that can't be used is logged and left
aside. TLS 1.2 with forward secrecy is the least that is spoken, HTTP/1.1 alone is offered.
"""

import hashlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
import trio

from runtime.threads import run_blocking

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all good."""
PASSWORD_BYTES_MAX = 1024
LOOK_SECONDS = 5.0
"""How often the files are looked at."""
END_SECONDS_MAX = 1.0
"""How long a client has to take our word that nothing more comes."""
VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
RFC4514_NAMES = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
    "streetAddress": "STREET",
}

log = structlog.get_logger("gateway.door.tls")


class BadCertificate(Exception):
    """A certificate, key or list of authorities can't be used; the text names the file."""


class TlsFiles(NamedTuple):
    """Where the certificate (with its chain) is, its key and the key's password, and the authorities whose clients we take."""

    certificate: Path
    key: Path | None = None
    """By default it stands in the certificate's file."""
    key_password: Path | None = None
    client_ca: Path | None = None
    client_required: bool = True

    @property
    def present(self) -> list[Path]:
        """Those that are named."""
        return [path for path in self[:4] if isinstance(path, Path)]


class ClientCertificate(NamedTuple):
    """Of a client's certificate, which one of our authorities has signed: who it is for. `sha256` is its fingerprint."""

    subject: str
    """As RFC 4514 writes it, the most specific part first."""
    uris: tuple[str, ...]
    names: tuple[str, ...]
    emails: tuple[str, ...]
    sha256: str


class Certificates:
    """The certificate that holds now. Raises BadCertificate when it is made."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self.reloads = 0
        self.fault = ""
        """Why the newest files are not used."""
        self._stamp = _stamp(files)
        self.context = make_context(files)
        self.changed: Callable[[], None] = _nothing

    async def watch(self) -> None:
        """Looks at the files now and then."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            await self.reload()

    async def reload(self) -> bool:
        """Takes the files anew if they have changed; whether new ones hold now."""
        stamp = await run_blocking(_stamp, self.files)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.context = await run_blocking(make_context, self.files)
        except BadCertificate as error:
            self.fault = str(error)
            log.error("certificate_not_taken", reason=self.fault)
            return False
        self.fault = ""
        self.reloads += 1
        log.info("certificate_taken", file=str(self.files.certificate))
        self.changed()
        return True

    async def secure(self, stream: trio.SocketStream) -> "TlsStream":
        """Shakes hands. Raises `trio.BrokenResourceError` with the reason as its cause."""
        secured = TlsStream(stream, self.context)
        await secured.shake_hands()
        return secured


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """What connections are secured with. Raises BadCertificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # Without a password OpenSSL would ask at the terminal, and wait.
        context.load_cert_chain(files.certificate, files.key, password=_password(files.key_password))
    except (OSError, ValueError) as error:
        key = f" with the key {files.key}" if files.key else ""
        raise BadCertificate(f"the certificate {files.certificate}{key} can't be used: {_reason(error)}") from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except (OSError, ValueError) as error:
            raise BadCertificate(f"the authorities in {files.client_ca} can't be used: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED if files.client_required else ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _password(path: Path | None) -> bytes:
    if path is None:
        return b""
    with path.open("rb") as file:
        return file.read(PASSWORD_BYTES_MAX).strip()


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


def _stamp(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes whenever a file is written or replaced, be it behind a link."""
    return tuple(_stamp_of(path) for path in files.present)


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _nothing() -> None:
    pass


@dataclass
class _Transport(trio.abc.Stream):
    """The socket under TLS, of which closing only says that nothing more comes: the client may still be reading."""

    stream: trio.SocketStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.send_eof()


class TlsStream(trio.abc.HalfCloseableStream):
    """A client's stream under TLS, with the ends of a socket: `send_eof` tells the client that nothing more comes, waits for no answer,
    and lets the rest of what the client sends be read, though not understood."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._socket = stream
        self._tls: Any = trio.SSLStream(_Transport(stream), context, server_side=True)
        self._is_ended = False

    async def shake_hands(self) -> None:
        """Agrees on keys. Raises `trio.BrokenResourceError`."""
        await self._tls.do_handshake()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, or none at the client's end."""
        if not self._is_ended:
            try:
                received: bytes | bytearray = await self._tls.receive_some(max_bytes)
                return received
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                if not self._is_ended:
                    raise
        return await self._socket.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypts and sends."""
        await self._tls.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As a socket does."""
        await self._tls.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Says by TLS and by TCP that nothing more comes. Raises `trio.BrokenResourceError` where the client takes not even that."""
        self._is_ended = True
        with trio.move_on_after(END_SECONDS_MAX):
            await self._tls.aclose()
            return
        raise trio.BrokenResourceError("the client does not read")

    async def aclose(self) -> None:
        """Ends at once, without a word: whoever wants to be polite sends the end first."""
        await trio.aclose_forcefully(self._socket)

    @property
    def client_certificate(self) -> ClientCertificate | None:
        """Who the client is by its certificate; None where it has shown none."""
        encoded = self._tls.getpeercert(binary_form=True)
        if encoded is None:
            return None
        told = self._tls.getpeercert()
        alternatives = told.get("subjectAltName", ())

        def of_kind(kind: str) -> tuple[str, ...]:
            return tuple(value for key, value in alternatives if key == kind)

        return ClientCertificate(
            subject=_distinguished(told.get("subject", ())),
            uris=of_kind("URI"),
            names=of_kind("DNS"),
            emails=of_kind("email"),
            sha256=hashlib.sha256(encoded).hexdigest(),
        )

    def extension(self, certificate: ClientCertificate | None) -> dict[str, Any]:
        """What ASGI's TLS extension tells an app."""
        encoded = self._tls.getpeercert(binary_form=True)
        return {
            "server_cert": None,  # the app is not asked to choose by it
            "client_cert_chain": [ssl.DER_cert_to_PEM_cert(encoded)] if encoded else [],
            "client_cert_name": certificate.subject if certificate else None,
            "client_cert_error": None,  # whose certificate does not verify gets no further than the handshake
            "tls_version": VERSIONS.get(self._tls.version()),
            "cipher_suite": None,
        }


def _distinguished(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    """RFC 4514: the last part first, each special character behind a backslash."""
    parts = ["+".join(f"{RFC4514_NAMES.get(name, name)}={_escaped(value)}" for name, value in part) for part in subject]
    return ",".join(reversed(parts))


def _escaped(value: str) -> str:
    escaped = "".join(f"\\{one}" if one in ',+"\\<>;=' else "\\00" if one == "\0" else one for one in value)
    if escaped.startswith(("#", " ")):
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if escaped.endswith(" ") and len(escaped) > 1 else escaped
