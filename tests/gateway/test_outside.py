"""Requests to the outside: which addresses are none of it, what a name may lead to, and how an answer is bounded."""

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID

from gateway import outside
from gateway.outside import Answer, Sender, check_url, is_public, retry_after
from runtime.errors import Refused
from tests.gateway.receivers import Heard, Says, open_receiver

INSIDE = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.9", "169.254.169.254", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.0.8"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::"),
    *("2002:a9fe:a9fe::1", "fec0::1"),
)
OUTSIDE = ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")
BODY = b"{}"


class Resolver(trio.abc.HostnameResolver):
    """A name server that answers as it likes, each time with the next of its lists."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_means_something_else_in_here_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_that_is_the_same_everywhere_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.org/", "url_not_https"),
        ("https://127.0.0.1/", "url_not_public"),
        ("https://[::1]:8443/", "url_not_public"),
        ("https://169.254.169.254/latest/meta-data", "url_not_public"),
        ("https://example.org:99999/", "url_unusable"),
        ("https://[::g]/", "url_unusable"),
    ],
)
def test_a_url_to_which_nothing_would_be_sent_is_refused_at_once(url: str, code: str) -> None:
    with pytest.raises(Refused, match=code):
        check_url(url, http=False, private=False)
    if code != "url_unusable":
        check_url(url, http=True, private=True)
    check_url("https://example.org/hook?x=1", http=False, private=False)


async def test_nothing_inside_is_connected_to_whatever_its_name() -> None:
    async with open_receiver() as receiver:
        for answers in (["127.0.0.1"], ["1.1.1.1", "127.0.0.1"]):
            trio.socket.set_custom_hostname_resolver(Resolver(answers))
            sender = Sender()
            answer = await sender.post(f"http://metadata.example:{receiver.port}/", (), BODY)
            assert answer == Answer(0, "the name leads to an address inside this network")
            await sender.close()
        assert (
            await Sender(http=False, private=True).post(receiver.url, (), BODY)
        ).error == "the URL is one without TLS"
        assert receiver.connections == 0


async def test_the_address_that_was_looked_at_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name changes its mind at once: public for who checks, inside for who connects."""
    looked_at: list[str] = []

    def look(address: str) -> bool:
        looked_at.append(address)
        return True

    monkeypatch.setattr(outside, "is_public", look)
    async with open_receiver() as receiver:
        resolver = Resolver(["127.0.0.1"], ["127.0.0.2"])
        trio.socket.set_custom_hostname_resolver(resolver)
        sender = Sender()
        assert (await sender.post(f"http://rebinding.example:{receiver.port}/", (), BODY)).status == 204
        assert (looked_at, resolver.asked, receiver.connections) == (["127.0.0.1"], 1, 1)
        assert receiver.heard[0].headers["host"] == f"rebinding.example:{receiver.port}"
        await sender.close()


async def test_no_redirect_is_followed_and_a_short_answer_leaves_the_connection_open() -> None:
    async def answering(heard: Heard) -> Says:
        return Says(302, (("Location", "http://127.0.0.1:1/"),), b"moved")

    async with open_receiver(answering) as receiver:
        sender = Sender(private=True)
        for _ in range(2):
            assert (await sender.post(receiver.url, (), BODY)).status == 302
        assert receiver.connections == 1
        await sender.close()


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    async def answering(heard: Heard) -> Says:
        return Says(200, (), b"x" * 2_000_000)

    async with open_receiver(answering) as receiver:
        sender = Sender(private=True)
        for _ in range(2):
            assert (await sender.post(receiver.url, (), BODY)).status == 200
        assert receiver.connections == 2
        await sender.close()


async def test_each_wait_has_an_end(autojump_clock: trio.testing.MockClock) -> None:
    async def dripping(*arguments: Any) -> None:
        await trio.sleep_forever()

    sender = Sender(private=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sender, "_post", dripping)
        started = trio.current_time()
        assert "no answer within 15 s" in (await sender.post("http://127.0.0.1:1/", (), BODY)).error
        assert trio.current_time() - started == outside.ATTEMPT_SECONDS_MAX


async def test_who_hangs_up_or_is_not_there_is_told_apart() -> None:
    async def hanging_up(heard: Heard) -> Says:
        return Says(0)

    async with open_receiver(hanging_up) as receiver:
        sender, url = Sender(private=True), receiver.url
        assert (await sender.post(url, (), BODY)).error == "the connection was lost, or what came was no HTTP"
    assert (await sender.post(url, (), BODY)).error == "no connection"
    assert (await sender.post("http://nobody.invalid/", (), BODY)).error == "no connection"
    await sender.close()


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, subject = generate_private_key(SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


async def test_a_certificate_is_verified_by_the_name_although_an_address_is_connected_to(tmp_path: Path) -> None:
    certificate, secret = _certificate(tmp_path, "hooks.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, secret)
    async with open_receiver(context=context) as receiver:
        trio.socket.set_custom_hostname_resolver(Resolver(["127.0.0.1"]))
        trusting = Sender(private=True, trust=lambda: ssl.create_default_context(cafile=str(certificate)))
        assert (await trusting.post(f"https://hooks.example:{receiver.port}/", (), BODY)).status == 204
        for sender, name in ((trusting, "other.example"), (Sender(private=True), "hooks.example")):
            answer = await sender.post(f"https://{name}:{receiver.port}/", (), BODY)
            assert answer == Answer(0, "its certificate can't be verified")
            await sender.close()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("1" * 40, 1111111111.0),
    ],
)
def test_when_to_come_back_is_read_from_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after(text, 100.0) == seconds
