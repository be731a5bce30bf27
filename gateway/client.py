"""A client of a node's door, for commands and for the demo: plain blocking calls, and the node that runs on a data folder."""

import http.client
import os
from email.message import Message
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector, Request

import msgspec

from gateway.connecting import ANY, UNIX, Trust, opener_to
from gateway.storage.folder import DataFolder

CALL_SECONDS_MAX = 60.0
HEADER_BY_NAME = {"GAVEL_REASON": "Gavel-Reason", "GAVEL_ON_BEHALF_OF": "Gavel-On-Behalf-Of"}
PLACES = ("pointer", "parameter", "header")
"""Where a fault may be."""


class NotReached(Exception):
    """Nobody answers at the address."""


class Denied(Exception):
    """The node said no: its problem document in one line. `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Answer(NamedTuple):
    """What came back."""

    headers: Message
    content: bytes


class Client:
    """Calls the node at `url`, or `unix:PATH`, with one key."""

    def __init__(self, url: str, key: str, trust: Trust = ANY) -> None:
        self.url = url.rstrip("/")
        self.trust = trust
        self._opened: tuple[str, OpenerDirector] | None = None
        self.headers = {"Authorization": f"Bearer {key}"} | _why()

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return msgspec.json.decode(self.send("GET", path))

    def delete(self, path: str) -> Any:
        """The answer to a deletion."""
        return msgspec.json.decode(self.send("DELETE", path))

    def post(self, path: str, body: object, *, once: str = "") -> Any:
        """The answer to a JSON body; `once` is its idempotency key."""
        headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": once} if once else {})
        return msgspec.json.decode(self.send("POST", path, msgspec.json.encode(body), headers))

    def put(self, path: str, body: object) -> Any:
        """The answer to a JSON body."""
        return msgspec.json.decode(
            self.send("PUT", path, msgspec.json.encode(body), {"Content-Type": "application/json"})
        )

    def send(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        """The bytes of an answer. Raises Denied or NotReached."""
        return self.answer(method, path, body, headers).content

    def answer(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """An answer with its headers. Raises Denied or NotReached."""
        given = {**self.headers, **(headers or {})}
        try:
            base, opener = self._opened = self._opened or opener_to(self.url, self.trust)
            request = Request(base + path, data=body, method=method, headers=given)
            with opener.open(request, timeout=CALL_SECONDS_MAX) as answer:
                return Answer(answer.headers, answer.read())
        except HTTPError as error:
            with error:
                raise Denied(error.code, _reason(error)) from error
        except (URLError, http.client.HTTPException, OSError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise NotReached(f"no node answers at {self.url}: {reason}") from error


def _why() -> dict[str, str]:
    """Why the calls are made and on whose behalf, as the environment has it: for the node's trail."""
    said = {header: " ".join(os.environ.get(name, "").split()) for name, header in HEADER_BY_NAME.items()}
    return {header: words.encode("latin-1", "replace").decode("latin-1") for header, words in said.items() if words}


def _reason(error: HTTPError) -> str:
    try:
        problem = msgspec.json.decode(error.read())
        faults = [
            f"{next((fault[place] for place in PLACES if place in fault), '')} {fault.get('detail', '')}".strip()
            for fault in problem.get("errors", ())
        ]
        # What is told of each fault by itself stands in the detail, too.
        detail = "" if faults else problem.get("detail")
        title = detail or problem.get("title") or problem.get("code") or error.reason
        return "; ".join([f"{error.code} {title}", *faults])
    except (msgspec.DecodeError, AttributeError, OSError, http.client.HTTPException):
        return f"{error.code} {error.reason}"


def running_node(folder: DataFolder, keys: DataFolder | None = None, trust: Trust = ANY) -> Client | None:
    """A client of the node that runs on a data folder now, with the admin's key, or that of a journal's folder; None when none runs."""
    try:
        node = msgspec.json.decode(folder.node.read_bytes())
        os.kill(node["pid"], 0)
        url = UNIX + node["socket"] if "socket" in node else node["url"]
        return Client(url, read_admin_key(keys or folder), trust)
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return None


def read_admin_key(folder: DataFolder) -> str:
    """The admin's key of a data folder."""
    return folder.admin_key.read_text().strip()
