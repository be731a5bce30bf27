"""A large value is brought in pieces to a node that is killed in the middle, and goes on where it was."""

from hashlib import sha256
from pathlib import Path
from random import Random

import httpx2
import trio

from tests.stories.nodes import serving

GUARD_SECONDS = 120
CONTENT = Random(1).randbytes(6_000_000)
DIGEST = sha256(CONTENT).hexdigest()
PIECE_BYTES = 1_000_000


async def test_an_upload_goes_on_where_it_was_when_its_node_was_killed(tmp_path: Path) -> None:
    path, came_to = "", 0
    with trio.fail_after(GUARD_SECONDS):
        async with serving(tmp_path) as node:
            url, headers = await node.open(), {"Authorization": f"Bearer {node.admin_key()}"}
            async with httpx2.AsyncClient(base_url=url, headers=headers, verify=False) as http:
                body = {"length": len(CONTENT), "sha256": DIGEST}
                path = (await http.post("/v1/blobs/uploads", json=body)).headers["location"]
                came_to = await _send(http, path, 0)
            host, port = url.removeprefix("http://").split(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                await stream.send_all(_head(path, came_to, headers) + CONTENT[came_to : came_to + PIECE_BYTES])
                await node.kill()
        async with serving(tmp_path) as node:
            url = await node.open()
            async with httpx2.AsyncClient(base_url=url, headers=headers, verify=False) as http:
                asked = await http.head(path)
                assert came_to <= int(asked.headers["upload-offset"]) <= came_to + PIECE_BYTES
                assert (await http.get("/v1/blobs")).json()["bytes"] == len(CONTENT)  # reserved as before
                came_to = int(asked.headers["upload-offset"])
                while came_to < len(CONTENT):
                    came_to = await _send(http, path, came_to)
                assert (await http.get(path)).json()["sha256"] == DIGEST
                assert (await http.get(f"/v1/blobs/{DIGEST}")).content == CONTENT
            assert await node.stop() == 0, node.said


async def _send(http: httpx2.AsyncClient, path: str, came_to: int) -> int:
    headers = {"Upload-Offset": str(came_to), "Content-Type": "application/offset+octet-stream"}
    answer = await http.patch(path, content=CONTENT[came_to : came_to + PIECE_BYTES], headers=headers)
    assert answer.status_code in {201, 204}, answer.text
    return int(answer.headers["upload-offset"])


def _head(path: str, came_to: int, headers: dict[str, str]) -> bytes:
    more = {
        "Host": "h",
        "Content-Type": "application/offset+octet-stream",
        "Upload-Offset": str(came_to),
        "Content-Length": str(len(CONTENT) - came_to),
    }
    lines = [f"PATCH {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (headers | more).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
