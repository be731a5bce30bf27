"""The talk in `docs/bidding.md` is played against a node: what it says for the agent is sent, what it says for the node comes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aggregates.values.roles import Role
from gateway.feeds.frames import FRAME_BY_TYPE
from tests.gateway.clients import Socket, open_client, open_socket, settings_of

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "bidding.md").read_text()
LINES_MAX = 150
LEFT_OPEN = "…"
OWN = ("position", "closes_in", "seconds_left", "id")
"""What depends on the node and the clock, or on who asks."""
SUBMITTED = ("task_type", "capabilities", "priority", "budget_seconds", "payload")


def frames() -> Iterator[dict[str, Any]]:
    """Every frame of the page, in order; one may stand on several lines."""
    decoder = json.JSONDecoder()
    for block in re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        rest = block.lstrip()
        while rest:
            frame, end = decoder.raw_decode(rest)
            yield frame
            rest = rest[end:].lstrip()


def said(kind: str) -> dict[str, Any]:
    return next(frame for frame in frames() if frame["type"] == kind)


class Talk:
    """The agent's side of the page."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.task_id = ""

    async def hears(self, kind: str) -> None:
        """The next frame is the page's, but for what it leaves open; positions and clocks are the node's own."""
        frame = await self.socket.receive()
        self.task_id = frame.get("task_id", self.task_id)
        told = said(kind)
        assert told.keys() <= frame.keys()
        fixed = [name for name, value in told.items() if value != LEFT_OPEN and name not in OWN]
        assert [frame[name] for name in fixed] == [told[name] for name in fixed]

    async def says(self, kind: str, **changed: Any) -> dict[str, Any]:
        """Says it as the page does, of the task that was heard of last."""
        frame = said(kind) | {"task_id": self.task_id} | changed
        return await self.socket.ask(**{name: value for name, value in frame.items() if name != "id"})


async def test_the_talk_goes_as_it_is_told(tmp_path: Path) -> None:
    async with open_client(settings_of(tmp_path)) as admin:
        enrolled = await admin.with_role(Role.AGENT)
        asked = {name: said("call")[name] for name in SUBMITTED}
        (path,) = re.findall(r"`GET (/v1/agents/ann/ws\S+)`", PAGE)
        async with open_socket(admin.node, path, enrolled.key) as socket:
            talk = Talk(socket)
            await talk.hears("welcome")
            await admin.submit(**asked)
            await talk.hears("call")
            answer = await talk.says("bid")
            assert {"id", *answer} == said("ack").keys()
            await talk.hears("award")
            await talk.says("start")
            await talk.says("complete")
            assert (await admin.get(f"/v1/tasks/{talk.task_id}"))["result"] == said("complete")["result"]
            await admin.submit(**asked)
            await talk.hears("call")
            await talk.says("refuse")


def test_every_frame_of_the_agent_is_one_and_every_code_is_told() -> None:
    for frame in frames():
        if frame["type"] in FRAME_BY_TYPE:
            assert set(frame) - {"type"} <= set(FRAME_BY_TYPE[frame["type"]].__struct_fields__), frame
    codes = (DOCS / "problem-codes.md").read_text()
    rows = re.findall(r"^\| (`(?!code`).*?) \|", PAGE.partition("## When something is refused")[2], re.MULTILINE)
    told = [code for row in rows for code in re.findall(r"`(\w+)`", row)]
    assert len(told) > 8
    assert [code for code in told if f"`{code}`" not in codes] == []


def test_it_is_two_pages() -> None:
    assert len(PAGE.splitlines()) <= LINES_MAX
    assert "```mermaid\nsequenceDiagram\n" in PAGE
