"""The two small pages of a sign-in at an identity provider: where it has led to, and why it has not.

The console's own page is reached from here and not by a redirect: the browser has come from another site, and a redirect would still
count as that site's, for which it sends no SameSite=Strict cookie.
"""

from html import escape

from starlette.exceptions import HTTPException
from starlette.responses import Response

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{head}<title>Gavel</title>
<link rel="icon" href="/console/icon.svg">
<link rel="stylesheet" href="/console/style.css">
</head>
<body>
<main class="alone">
<h1>{title}</h1>
<p>{text}</p>
<p><a href="{path}">{link}</a></p>
</main>
</body>
</html>
"""


class SignInRefused(HTTPException):
    """Somebody who came back from an identity provider is not let in; told as a page to a browser."""

    def __init__(self, why: str) -> None:
        super().__init__(401, why)


def landing(path: str) -> Response:
    """Leads on to a path of our own."""
    target = escape(path, quote=True)
    head = f'<meta http-equiv="refresh" content="0;url={target}">\n'
    return _page(200, head, "Signed in", "You are signed in.", target, "Go on to the console")


def refusal(refused: SignInRefused) -> Response:
    """Says why, and leads back to the sign-in."""
    return _page(refused.status_code, "", "Not signed in", escape(refused.detail), "/", "Back to the sign-in")


def _page(status: int, head: str, title: str, text: str, path: str, link: str) -> Response:
    content = PAGE.format(head=head, title=title, text=text, path=path, link=link)
    return Response(content, status, HEADERS, "text/html")
