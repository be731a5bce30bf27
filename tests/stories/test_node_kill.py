"""A node that is killed at any moment loses nothing that it has acknowledged, takes nothing twice, and works on."""

import json
import random
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
import trio

from runtime.verification import verify
from solvers.formats import write_rudy
from solvers.generators import toroidal_grid
from tests.stories.ledger import check_replay, compare, gather
from tests.stories.nodes import run, serving
from tests.stories.traffic import DONE, SUBMITTERS, Agent, Door, Traffic, ask_again, keep_keys, pose_problems, submit

GUARD_SECONDS = 180
LEASE_SECONDS = 600.0
"""No lease runs out: what agents hold when the node dies is theirs when it is back."""
REPEATED = 20
LATE_SECONDS = 0.03
START_SECONDS = 0.4
"""About what a forked node takes to open its door: a kill within it meets settings, recovery, or the door's first moments."""


async def live_and_die(folder: Path, traffic: Traffic, agents: list[Agent], acknowledgements: int) -> None:
    """One life of a node, ended in the midst of everything; then its journal is whole, and goes on from what an auditor has kept."""
    chance = traffic.chance
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(serving(folder, lease_seconds=LEASE_SECONDS))
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=GUARD_SECONDS))
        door = Door(await node.open(), http, traffic)
        traffic.admin = node.admin_key()
        checkpoint = (await door.send("GET", "/v1/audit/checkpoint", traffic.admin)).text
        keyed = [told for told in traffic.told if told.asked.key]
        await agents[0].register(door)  # a task that asks for skills which nobody has ever offered is refused
        async with trio.open_nursery() as clients:
            clients.start_soon(ask_again, door, chance.sample(keyed, min(REPEATED, len(keyed))))
            for number in range(SUBMITTERS):
                clients.start_soon(submit, door, f"submitter {number}")
            clients.start_soon(keep_keys, door)
            clients.start_soon(pose_problems, door)
            for agent in agents:
                clients.start_soon(agent.work, door)
            await traffic.more(acknowledgements)
            await trio.sleep(chance.uniform(0, LATE_SECONDS))
            await node.kill()
    report = verify(folder / "data" / "journal.db", against=checkpoint)
    assert report.whole, report.faults


async def die_young(folder: Path, seconds: float) -> None:
    """A life that ends before anybody can have been served."""
    async with serving(folder) as node:
        await trio.sleep(seconds)
        await node.kill()


async def settle_accounts(folder: Path, traffic: Traffic) -> None:
    """Asks again for what was left unanswered, then compares every acknowledgement with what the node has kept."""
    async with serving(folder, lease_seconds=LEASE_SECONDS) as node, httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
        door = Door(await node.open(), http, traffic)
        await ask_again(door, [told for told in traffic.told if told.asked.key][:REPEATED])
        assert not traffic.unanswered
        evidence = await gather(door)
        assert await node.stop() == 0, node.said
    compare(traffic, evidence, folder / "data" / "journal.db")
    await check_replay(folder)


async def lose_nothing(folder: Path, seed: int, rounds: int, acknowledgements_max: int, *, young: bool) -> Traffic:
    """So many lives, and the reckoning. Every other agent speaks HTTP."""
    traffic = Traffic(random.Random(seed))
    agents = [Agent(f"agent-{number}", speaks_http=bool(number % 2)) for number in range(4)]
    for _ in range(rounds):
        while young and traffic.chance.random() < 0.5:
            await die_young(folder, traffic.chance.uniform(0, START_SECONDS))
        with trio.fail_after(GUARD_SECONDS):
            await live_and_die(folder, traffic, agents, traffic.chance.randrange(1, acknowledgements_max))
    await settle_accounts(folder, traffic)
    commands = {told.asked.key or str(told.asked.says) for told in traffic.told}
    print(
        f"{rounds} kills, {len(commands)} commands acknowledged, {traffic.repeats} of them again, {len(traffic.refused)} refused"
    )
    return traffic


async def call_off_problems(folder: Path, traffic: Traffic) -> None:
    """What the kills have left of problems nobody has taken: agents that solve one of these could not bid for the demo's."""
    async with serving(folder, lease_seconds=LEASE_SECONDS) as node, httpx2.AsyncClient(timeout=GUARD_SECONDS) as http:
        door = Door(await node.open(), http, traffic)
        for stage in ("submitted", "bidding"):
            page = await door.send("GET", f"/v1/tasks?task_type=optimization&stage={stage}", traffic.admin)
            for task in page.json()["tasks"]:
                answer = await door.send("DELETE", f"/v1/tasks/{task['task_id']}", traffic.admin)
                assert answer.status_code in {*DONE, 409}, answer.text  # the house's own solver may have been quicker
        assert await node.stop() == 0, node.said


async def work_on(folder: Path, traffic: Traffic) -> None:
    """The demo, with real agents, on the folder as the kills have left it."""
    await call_off_problems(folder, traffic)
    problems = folder / "problems"
    problems.mkdir()
    for side in (12, 14):  # the house's own solver takes one: the other is for the agent that the demo kills
        (problems / f"grid{side}.txt").write_bytes(write_rudy(toroidal_grid(side, side, 1)))
    demo = ["demo", "--problems", "problems", "--seconds", "3", "--agents", "4", "--exit", "--json"]
    done = await run(demo, folder)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert (told["replay_equal"], told["verified"]) == (True, True)
    assert told["completed"] == told["tasks"]
    assert told["reawarded"] >= 1
    assert all(problem["verified_by"] not in (None, problem["winner"]) for problem in told["problems"])


async def test_nothing_acknowledged_is_lost_and_the_work_goes_on(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    traffic = await lose_nothing(tmp_path, seed, 3, 400, young=False)
    assert {told.asked.kind for told in traffic.told} >= {
        "task.TaskSubmitted",
        "agent.AgentRegistered",
        "key.KeyIssued",
    }
    await work_on(tmp_path, traffic)


@pytest.mark.soak
async def test_nothing_acknowledged_is_lost_over_twenty_lives_and_kills_at_any_moment_of_a_start(
    tmp_path: Path, seed: int
) -> None:
    print(f"seed {seed}")
    traffic = await lose_nothing(tmp_path, seed, 20, 1000, young=True)
    await work_on(tmp_path, traffic)
