"""The door of one node, as its settings have it: where it listens, with what certificate, whom it believes."""

import ipaddress
import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import msgspec
import structlog
import trio

from gateway.api.loopback import OPERATOR
from gateway.app import make_app
from gateway.door.binds import Bind, Entrance, exposed, open_entrances, parse_all
from gateway.door.bounds import Bounds
from gateway.door.proxies import Proxies
from gateway.door.server import serve
from gateway.door.tls import BadCertificate, Certificates, TlsFiles
from gateway.parts import Node
from gateway.settings import GavelSettings
from gateway.storage.folder import write_private

FILES_BESIDE = 256
FILES_OF_JOURNAL = 8
"""Files that a node has open beside its connections: databases, blobs, threads' own; and those of each named journal."""

CONNECTIONS_SHARE = 4
"""Where files are fewer than all that, connections have one in so many at least: the rest is seldom open all at once."""

log = structlog.get_logger("gateway.node")


class Exposed(Exception):
    """The door would listen beyond this machine without TLS, and nobody has said that it may."""


class Door(NamedTuple):
    """What is settled before a node starts."""

    binds: list[Bind]
    certificates: Certificates | None
    proxies: Proxies


def plan_door(settings: GavelSettings) -> Door:
    """The door that the settings describe, the files of its certificate read. Raises `ValueError` for what can't be used, or Exposed."""
    try:
        certificates = _certificates(settings)
    except BadCertificate as error:
        raise ValueError(str(error)) from error
    if settings.open_loopback and settings.proxies:
        raise ValueError(
            "GAVEL_OPEN_LOOPBACK and GAVEL_PROXIES exclude each other: what a proxy passes on comes by loopback too"
        )
    texts = [*settings.bind, *settings.extra_binds]
    binds = parse_all(texts, has_certificate=certificates is not None)
    if not settings.insecure and (open_to_all := exposed(binds)):
        names = " and ".join(open_to_all)
        raise Exposed(f"{names} can be reached from other machines, and keys would travel in the clear")
    return Door(binds, certificates, Proxies(settings.proxies, settings.proxy_header))


def _certificates(settings: GavelSettings) -> Certificates | None:
    if settings.tls_certificate is None:
        if settings.tls_client_ca is not None:
            raise ValueError("clients can't be asked for certificates (GAVEL_TLS_CLIENT_CA) where the door has none")
        return None
    return Certificates(
        TlsFiles(
            settings.tls_certificate,
            settings.tls_key,
            settings.tls_key_password_file,
            settings.tls_client_ca,
            settings.tls_client_required,
        )
    )


@asynccontextmanager
async def open_door(node: Node, door: Door) -> AsyncIterator[None]:
    """Lets clients in; `node.url` is where. At the end the door is closed in time, whatever they do. Raises NotBound."""
    connections = allow_files(node)
    settings, shutdown = node.settings, trio.Event()
    entrances = await open_entrances(door.binds, mode=int(settings.unix_socket_mode, 8))
    bounds = Bounds(connections_max=connections, connections_per_address_max=settings.connections_per_address_max)
    serving = partial(
        serve,
        make_app(node),
        bind=entrances,
        shutdown=shutdown,
        bounds=bounds,
        counts=node.counts,
        certificates=door.certificates,
        proxies=door.proxies,
    )
    node.certificates = door.certificates
    if settings.open_loopback:
        log.warning("loopback_stands_open", principal=OPERATOR.name, tenant=OPERATOR.tenant)
    async with trio.open_nursery() as nursery:
        await nursery.start(serving)
        node.url = url_of(entrances)
        _tell_commands(node, entrances)
        try:
            yield
        finally:
            node.folder.node.unlink(missing_ok=True)
            shutdown.set()


def _tell_commands(node: Node, entrances: list[Entrance]) -> None:
    """Where commands find the node. By a unix socket they need no certificate, and no trust in ours."""
    told: dict[str, object] = {"url": node.url, "pid": os.getpid()}
    sockets = [one.address[0] for one in entrances if one.is_unix]
    if sockets:
        told["socket"] = sockets[0]
    write_private(node.folder.node, msgspec.json.encode(told).decode() + "\n")


def url_of(entrances: list[Entrance]) -> str:
    """The address under which this machine reaches the first entrance that has a port; where none has, the first socket."""
    for entrance in entrances:
        if not entrance.is_unix:
            host, port = entrance.address
            return f"{'https' if entrance.is_secure else 'http'}://{_reachable(host)}:{port}"
    return f"unix:{entrances[0].address[0]}"


def _reachable(host: str) -> str:
    """The address under which this machine reaches a door that listens on `host`."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def allow_files(node: Node) -> int:
    """Lets this process have as many files open as it needs, each connection being one, as far as the machine's limit goes. Tells how many
    connections there is room for then, `connections_max` at most."""
    wanted = node.settings.connections_max
    beside = FILES_BESIDE + FILES_OF_JOURNAL * len(list(node.isolated))
    files = wanted + beside
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < granted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted >= files:
        return wanted
    connections = min(wanted, max(granted - beside, granted // CONNECTIONS_SHARE))
    log.warning("few_files", wanted=files, granted=granted, connections_max=connections, instead_of=wanted)
    return connections
