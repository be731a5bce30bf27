"""Log levels and dead letters of actors over HTTP: for operators, for what there is and is theirs."""

from aggregates.values.roles import Role
from runtime.actor import Actor, Reply, reply
from runtime.actors import Here
from runtime.delivery import Context
from runtime.records import Command
from tests.gateway.clients import Client


class Hear(Command[int], frozen=True, kw_only=True):
    """Answers how many there were."""


class Heard(Actor[Hear, None]):
    takes = (Hear,)

    def __init__(self, here: Here) -> None:
        super().__init__(here)
        self.count = 0

    def handle(self, message: Hear) -> Reply:
        self.count += 1
        return reply(message, self.count)


async def test_an_operator_sets_levels_and_takes_them_back(admin: Client) -> None:
    await admin.submit()
    operator = await admin.with_role(Role.OPERATOR)
    levels = admin.node.system.log_levels
    for name in ("coordinator/default", "coordinator", "security/node"):
        answer = await operator.ask("PUT", f"/v1/actors/{name}/log-level", {"level": "debug"})
        assert (answer.status_code, answer.json()) == (200, {"level": "debug"})
        assert levels.has(name)
    rows = {row["path"]: row["log_level"] for row in (await admin.get("/v1/status"))["actors"]}
    assert (rows["coordinator/default"], rows["security/node"]) == ("debug", "debug")
    await operator.ask("PUT", "/v1/actors/coordinator/log-level", {"level": None})
    assert not levels.has("coordinator")


async def test_what_is_no_actor_or_no_level_is_refused(admin: Client) -> None:
    nobody = await admin.ask("PUT", "/v1/actors/coordinator/nobody/log-level", {"level": "debug"})
    assert nobody.status_code == 404
    for body in ({"level": "loud"}, {}, {"level": "info", "until": "tomorrow"}):
        answer = await admin.ask("PUT", "/v1/actors/coordinator/log-level", body)
        assert answer.status_code == 422, answer.text


async def test_other_tenants_actors_and_other_roles_are_out_of_reach(admin: Client) -> None:
    await admin.submit()
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    assert (
        await stranger.ask("PUT", "/v1/actors/coordinator/default/log-level", {"level": "debug"})
    ).status_code == 404
    for client in (await admin.with_role(Role.AUDITOR), await admin.with_role(Role.AGENT), await admin.register("a1")):
        answer = await client.ask("PUT", "/v1/actors/coordinator/log-level", {"level": "debug"})
        assert answer.status_code == 403


async def test_what_serves_other_tenants_too_is_for_who_looks_after_the_node(admin: Client) -> None:
    await admin.submit()
    operator = await admin.with_role(Role.OPERATOR, tenant="other")
    await operator.submit()
    levels, body = admin.node.system.log_levels, {"level": "debug"}
    for name in ("coordinator", "security", "security/node"):
        assert (await operator.ask("PUT", f"/v1/actors/{name}/log-level", body)).status_code == 403, name
        assert not levels.has(name)
    levels.set("coordinator/default", "debug")  # that it has one tells a stranger nothing
    for name in ("coordinator/default", "coordinator/other/below", "nobody"):
        assert (await operator.ask("PUT", f"/v1/actors/{name}/log-level", {"level": None})).status_code == 404, name
    assert levels.has("coordinator/default")
    assert (await operator.ask("PUT", "/v1/actors/coordinator/other/log-level", body)).status_code == 200
    assert levels.has("coordinator/other")


def _bury(admin: Client, count: int, tenant: str = "default") -> None:
    """Tells an actor that is gone so many messages, on a tenant's behalf."""
    system = admin.node.system
    ref = system.spawn(Heard, f"gone-{tenant}")
    ref.stop_soon("no longer needed")
    for _ in range(count):
        ref.tell(Hear(), context=Context(tenant=tenant, principal="ann"))


async def test_dead_letters_are_listed_and_sent_again(admin: Client) -> None:
    _bury(admin, 3)
    told = await admin.get("/v1/dead-letters?limit=2")
    newest = {"number": 3, "message": "Hear", "actor": "gone-default", "reason": "stopped"}
    assert told["dead_letters"][0] == newest | {"tenant": "default", "principal": "ann"}
    assert [letter["number"] for letter in told["dead_letters"]] == [3, 2]
    assert told["counts"] == {"stopped": 3}
    again = await admin.ask("POST", "/v1/dead-letters/2/send-again")
    assert (again.status_code, again.json()["number"]) == (200, 2)
    letters = (await admin.get("/v1/dead-letters"))["dead_letters"]
    assert [letter["number"] for letter in letters] == [4, 3, 1], "nobody was there again: a new one"
    for gone in ("2", "99", "nonsense", "²"):
        assert (await admin.ask("POST", f"/v1/dead-letters/{gone}/send-again")).status_code == 404


async def test_a_dead_letter_reaches_whoever_takes_it_by_now(admin: Client) -> None:
    system = admin.node.system
    system.router.tell(Hear())
    ref = system.spawn(Heard, "heard")
    system.router.add(ref)
    [letter] = (await admin.get("/v1/dead-letters"))["dead_letters"]
    await admin.ask("POST", f"/v1/dead-letters/{letter['number']}/send-again")
    assert await ref.ask(Hear()) == 2
    assert (await admin.get("/v1/dead-letters"))["dead_letters"] == []


async def test_dead_letters_of_no_tenant_are_for_who_looks_after_the_node(admin: Client) -> None:
    admin.node.system.router.tell(Hear())
    _bury(admin, 1, "node")
    _bury(admin, 1)
    for role, tenant, seen in (
        (Role.OPERATOR, "default", {"", "node", "default"}),
        (Role.READ_ONLY, "default", {"default"}),
        (Role.ADMIN, "other", set()),
    ):
        client = await admin.with_role(role, tenant=tenant)
        told = await client.get("/v1/dead-letters")
        assert {letter["tenant"] for letter in told["dead_letters"]} == seen
        assert sum(told["counts"].values()) == len(seen)
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    for number in (1, 2, 3):
        assert (await stranger.ask("POST", f"/v1/dead-letters/{number}/send-again")).status_code == 404


async def test_other_tenants_dead_letters_are_out_of_reach(admin: Client) -> None:
    _bury(admin, 1, "other")
    assert (await admin.get("/v1/dead-letters"))["dead_letters"] == []
    assert (await admin.ask("POST", "/v1/dead-letters/1/send-again")).status_code == 404
    stranger = await admin.with_role(Role.OPERATOR, tenant="other")
    assert len((await stranger.get("/v1/dead-letters"))["dead_letters"]) == 1
    auditor, agent = await admin.with_role(Role.AUDITOR), await admin.register("a1")
    assert (await auditor.ask("GET", "/v1/dead-letters")).status_code == 200
    assert (await auditor.ask("POST", "/v1/dead-letters/1/send-again")).status_code == 403
    assert (await agent.ask("GET", "/v1/dead-letters")).status_code == 403
