"""The documents of the interface, for programs and for people who write agents. They hold no data of the node: nobody needs a key."""

from typing import Any

from starlette.responses import Response

from gateway.api.calls import JSON, Call, Endpoint


async def find(call: Call) -> Response:
    """This document."""
    return Response(call.request.app.state.api_document(), media_type=JSON)


async def find_older(call: Call) -> Response:
    """The document of the older paths, as OpenAPI: names that lead to routes of this one, and what is not served yet."""
    return Response(call.request.app.state.older_document(), media_type=JSON)


async def find_asyncapi(call: Call) -> Response:
    """The document of the websockets and of the feed, as AsyncAPI."""
    return Response(call.request.app.state.asyncapi_document(), media_type=JSON)


routes = (
    Endpoint("GET", "/openapi.json", find, None, reply=dict[str, Any]),
    Endpoint("GET", "/openapi-older.json", find_older, None, reply=dict[str, Any]),
    Endpoint("GET", "/asyncapi.json", find_asyncapi, None, reply=dict[str, Any]),
)
