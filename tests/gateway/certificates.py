"""Certificates for tests: an authority, and what it signs, as files."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass
class Authority:
    """Signs certificates for servers and clients."""

    folder: Path
    name: str = "authority"

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = _named(self.name)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        own = self._begun(self._issuer, self._key).add_extension(x509.BasicConstraints(True, 0), True)
        self.file = self.folder / f"{self.name}.pem"
        _write(self.file, own.add_extension(usage, True).sign(self._key, hashes.SHA256()))

    def issue(
        self, name: str, *, uris: Sequence[str] = (), client: bool = False, password: bytes = b"", days: int = 1
    ) -> tuple[Path, Path]:
        """A certificate's file and its key's; a server's is for 127.0.0.1 and gavel.example."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        if not client:
            alternatives += [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("gavel.example")]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        begun = self._begun(_named(name), key, days).add_extension(x509.ExtendedKeyUsage([usage]), False)
        begun = begun.add_extension(x509.BasicConstraints(False, None), True)
        if alternatives:
            begun = begun.add_extension(x509.SubjectAlternativeName(alternatives), False)
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        _write(certificate, begun.sign(self._key, hashes.SHA256()))
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden))
        return certificate, key_file

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: int = 1) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(own, False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False)
        )


def _named(name: str) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Gavel, tests"),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ]
    return x509.Name(parts)


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
