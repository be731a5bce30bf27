"""Log levels of actors over HTTP: for operators, for what there is, from the next line on."""

from aggregates.key import Role
from tests.gateway.clients import Client


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
