"""The operators' page: static files out of the installed package. What it shows it asks of the same routes as everybody else."""

from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.api.calls import Call, Endpoint

TYPE_BY_SUFFIX = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served at all; licences and notes beside the page are for readers of the source."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked for each time: a node that was updated is seen at once
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Page(NamedTuple):
    """A file of the console as it is sent."""

    content: bytes
    media_type: str
    etag: str


def _pages(folder: Traversable, prefix: str = "") -> dict[str, Page]:
    """The files below a folder of the package, by their path."""
    found: dict[str, Page] = {}
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            found |= _pages(entry, f"{path}/")
        elif (suffix := f".{entry.name.rpartition('.')[2]}") in TYPE_BY_SUFFIX:
            content = entry.read_bytes()
            found[path] = Page(content, TYPE_BY_SUFFIX[suffix], f'"{sha256(content).hexdigest()[:32]}"')
    return found


# Read once, about 60 kB: a request touches no disk, and no path that a client sends can name another file.
PAGE_BY_PATH = _pages(files("gateway") / "console")


async def page(call: Call) -> Response:
    """One file of the console; nobody needs a key for it, since it holds none of the node's data."""
    return _answer(call, call.path.get("path", "index.html"))


def _answer(call: Call, path: str) -> Response:
    found = PAGE_BY_PATH.get(path)
    if found is None:
        raise HTTPException(404, f"the console has no file {path}")
    headers = HEADERS | {"ETag": found.etag}
    if found.etag in _etags(call.request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


async def front(call: Call) -> Response:
    """The page that people begin with."""
    return await page(call)


async def reference(call: Call) -> Response:
    """The reference of the interface, for people: drawn from this document and that of the websockets."""
    return _answer(call, "reference.html")


def _etags(text: str) -> set[str]:
    """The tags of an If-None-Match header, weak or strong."""
    return {tag.strip().removeprefix("W/") for tag in text.split(",")}


routes = (
    Endpoint("GET", "/", front, None, media="text/html", others=(304,)),
    Endpoint("GET", "/reference", reference, None, media="text/html", others=(304,)),
    Endpoint("GET", "/console/{path:path}", page, None, media="*/*", others=(304,)),
)
