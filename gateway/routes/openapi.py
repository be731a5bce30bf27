"""The API document, for programs and for people who write agents. It holds none of the node's data, so nobody needs a key."""

from typing import Any

from starlette.responses import Response

from gateway.calls import JSON, Call, Endpoint


async def find(call: Call) -> Response:
    """This document."""
    return Response(call.request.app.state.api_document(), media_type=JSON)


routes = (Endpoint("GET", "/openapi.json", find, None, reply=dict[str, Any]),)
