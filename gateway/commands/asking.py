"""Asking a node by its address, as an auditor does: with the key in GAVEL_KEY, the authorities in GAVEL_TLS_CA, and never redirected."""

import os
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request

import msgspec

from gateway.connecting import Trust, opener_to
from gateway.verdicts import Wrong

T = TypeVar("T")

ANSWER_SECONDS_MAX = 600.0
ANSWER_BYTES_MAX = 64 * 2**20
DETAIL_BYTES_MAX = 100_000


class _NoRedirection(HTTPRedirectHandler):
    """A redirection would carry the credentials elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def is_address(target: str | None) -> bool:
    """Whether a node is named, and not a file, a database, or nothing."""
    return target is not None and target.startswith(("http://", "https://"))


def ask_node(url: str, path: str, query: Mapping[str, object], kind: type[T]) -> T:
    """The JSON that a node answers with; parameters of None are left out. Raises Wrong."""
    given = urlencode({name: value for name, value in query.items() if value is not None})
    try:
        authorities = os.environ.get("GAVEL_TLS_CA")
        base, opener = opener_to(url.rstrip("/"), Trust(Path(authorities) if authorities else None), _NoRedirection)
        request = Request(f"{base}{path}{'?' if given else ''}{given}")
        if credentials := os.environ.get("GAVEL_KEY"):
            request.add_header("Authorization", f"Bearer {credentials}")
        with opener.open(request, timeout=ANSWER_SECONDS_MAX) as answer:
            raw = cast(bytes, answer.read(ANSWER_BYTES_MAX))
        return msgspec.json.decode(raw, type=kind)
    except HTTPError as error:
        with error:
            detail = error.read(DETAIL_BYTES_MAX).decode("utf-8", "replace").strip()
        raise Wrong(f"{url} answers {error.code} {error.reason}: {detail}") from error
    except msgspec.MsgspecError as error:
        raise Wrong(f"{url} does not answer with a {kind.__name__.lower()}: {error}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise Wrong(f"{url} does not answer: {error}") from error


def argument_text(argument: str | None, *, characters_max: int) -> str | None:
    """The argument itself, or what the file of that name holds. Raises Wrong where it can't be read."""
    if argument is None or "\n" in argument:
        return argument
    try:
        path = Path(argument)
        if not path.is_file():
            return argument
        with path.open(encoding="utf-8") as file:
            return file.read(characters_max)
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{argument} can't be read: {error}") from error
