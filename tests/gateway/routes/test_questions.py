"""Questions over HTTP and the websocket: the task says that it waits, the submitter answers, the holder is told."""

from typing import Any

from aggregates.values.roles import Role
from tests.gateway.clients import BID, AgentClient, Client, recorded


async def held(admin: Client, agent: AgentClient, submitter: Client, **changed: Any) -> str:
    task_id = await submitter.submit(capabilities=["cutting"], **changed)
    await recorded(admin, "task.BookOpened", f"task-{task_id}")
    assert (await agent.ask("POST", f"/v1/tasks/{task_id}/bids", BID)).status_code == 201
    await recorded(admin, "task.TaskAwarded", f"task-{task_id}")
    return task_id


async def test_a_question_is_asked_shown_answered_and_told(admin: Client) -> None:
    developer, other = [await admin.with_role(Role.DEVELOPER) for _ in range(2)]
    agent = await admin.register("ann")
    task_id = await held(admin, agent, developer)
    path = f"/v1/tasks/{task_id}"
    async with agent.socket() as socket:
        await socket.next("welcome")
        await socket.next("award")
        ask = {"type": "ask", "task_id": task_id, "token": 1}
        assert (await socket.ask(**ask, question="wool or silk?"))["type"] == "ack"
        assert (await socket.ask(**ask, question="which length?"))["code"] == "question_open"
        row = await developer.get(path)
        assert (row["questions"], row["question"], row["answer"]) == (1, "wool or silk?", None)
        assert row["waits_for_input_since"] > 0
        (wait,) = (await developer.get(f"{path}/explain"))["waits_for"]
        assert (wait["reason"], wait["since"]) == ("input", row["waits_for_input_since"])
        body = {"answer": "silk"}
        assert (await other.ask("PUT", f"{path}/questions/1/answer", body)).status_code == 403
        assert (await developer.ask("PUT", f"{path}/questions/2/answer", body)).status_code == 404
        assert (await developer.ask("PUT", f"{path}/questions/1/answer", body)).status_code == 200
        told = await socket.next("answer")
        assert (told["task_id"], told["number"], told["answer"]) == (task_id, 1, "silk")
        assert told["answered_by"].startswith("developer:")
        assert (await developer.ask("PUT", f"{path}/questions/1/answer", body)).status_code == 200
        odd = await developer.ask("PUT", f"{path}/questions/1/answer", {"answer": "wool"})
        assert odd.json()["type"] == "urn:gavel:problem:question_closed"
    row = await developer.get(path)
    assert (row["answer"], row["waits_for_input_since"]) == ("silk", None)


async def test_it_is_a_persons_data_where_the_task_is(admin: Client) -> None:
    agent = await admin.register("ann")
    task_id = await held(admin, agent, admin, data_subject="p17")
    asked = await agent.ask("POST", f"/v1/tasks/{task_id}/questions", {"token": 1, "question": "is Ann Lee at home?"})
    assert asked.status_code == 201
    assert (await admin.ask("PUT", f"/v1/tasks/{task_id}/questions/1/answer", {"answer": "no"})).status_code == 200
    journal = b"".join(path.read_bytes() for path in admin.node.folder.path.glob("journal.db*"))
    assert b"task.QuestionAsked" in journal
    assert b"Ann Lee" not in journal
    assert (await admin.ask("DELETE", "/v1/subjects/p17")).status_code == 200
    row = await admin.get(f"/v1/tasks/{task_id}")
    assert (row["question"], row["answer"]) == (None, None)
