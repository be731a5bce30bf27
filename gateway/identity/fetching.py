"""Fetches what identity providers publish: JSON of a bounded size, within a bounded time, from exactly the address that was named.

A connection for each: such documents are fetched every ten minutes. Nothing of the environment (proxies, .netrc) is heard.
"""

import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import trio

from gateway.identity.issuers import url_faults
from runtime.threads import run_blocking

SECONDS_MAX = 5.0
BYTES_MAX = 256 * 1024


class NotFetched(Exception):
    """The identity provider has not answered, or not with what was asked for."""


class Fetcher:
    """Asks identity providers. `ca_file` names the certificates by which they are known, none: the machine's."""

    def __init__(self, *, ca_file: Path | None = None, allow_http: bool = False) -> None:
        self._ca_file = ca_file
        self.allow_http = allow_http
        self._trusted: ssl.SSLContext | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at a URL. Raises NotFetched."""
        return await self._object("GET", url, headers or {}, None)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """The JSON object that answers a form. Raises NotFetched."""
        return await self._object("POST", url, headers, form)

    async def _object(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> dict[str, Any]:
        if faults := url_faults(url, allow_http=self.allow_http):
            raise NotFetched(faults[0])
        with trio.move_on_after(SECONDS_MAX) as scope:
            try:
                return _decoded(url, await self._content(method, url, headers, form))
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
                raise NotFetched(f"{url}: {type(error).__name__}: {error}") from error
        assert scope.cancelled_caught
        raise NotFetched(f"{url} has not answered within {SECONDS_MAX:g} s")

    async def _content(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> bytes:
        asked = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        client = httpx2.AsyncClient(
            verify=await self._verify(url), follow_redirects=False, trust_env=False, timeout=SECONDS_MAX
        )
        content = b""
        # Whoever leaves the loop over the parts leaves httpx2's own generators behind: it ends as they do, by a cancellation.
        with trio.CancelScope() as scope:
            async with client, client.stream(method, url, headers=asked, data=dict(form) if form else None) as answer:
                if answer.headers.get("content-encoding", "identity") != "identity":
                    raise NotFetched(f"{url} answers in a compressed form that nobody asked for")
                async for part in answer.aiter_raw():
                    content += part
                    if len(content) > BYTES_MAX:
                        scope.cancel()
        if len(content) > BYTES_MAX:
            raise NotFetched(f"{url} answers with more than {BYTES_MAX} bytes")
        if answer.status_code != HTTPStatus.OK:
            raise NotFetched(f"{url} answers {answer.status_code}{_said(content)}")
        return content

    async def _verify(self, url: str) -> ssl.SSLContext | bool:
        if not url.startswith("https:"):
            return False
        if self._trusted is None:
            try:
                self._trusted = await run_blocking(_trust, self._ca_file)
            except (OSError, ssl.SSLError) as error:
                raise NotFetched(f"{self._ca_file} holds no certificates: {error}") from error
        return self._trusted


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _decoded(url: str, content: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotFetched(f"{url} answers with what is no JSON") from error
    if not isinstance(found, dict):
        raise NotFetched(f"{url} answers with JSON that is no object")
    return found


def _said(content: bytes) -> str:
    """What an OAuth error says (RFC 6749, 5.2): its code alone, since the rest may tell of anything."""
    try:
        code = msgspec.json.decode(content).get("error")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, AttributeError):
        return ""
    return f" ({code[:50]})" if isinstance(code, str) and code.isprintable() else ""
