"""Books that are settled together: the sum is the best there is within the bound, and the log proves it."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
from scipy.optimize import linear_sum_assignment
from structlog.testing import capture_logs

from agents.coordinating import batches as module
from agents.coordinating.coordinator import Coordinator
from agents.coordinating.terms import Terms
from aggregates.coordination import AssignBatch, BatchAssigned
from aggregates.task import BookOpened, BookVoided, CompleteTask, TaskAwarded
from aggregates.values.batches import worth_of
from aggregates.values.ranking import AwardPolicy
from gateway.audit.facts import Facts
from gateway.audit.look_ups import LookUps
from gateway.storage.journal_file import JournalFile, open_journal
from runtime.records import Recorded
from runtime.replay import Replay
from tests.agents.crew import Crew, open_crew
from tests.agents.virtual import play
from tests.examples import TENANT

TERMS = Terms(lease_seconds=1e4, lease_seconds_max=1e4)


async def batched(crew: Crew, name: str, **changes: Any) -> None:
    fields = {"award_policy": AwardPolicy.BATCH_OPTIMAL, "bidding_seconds": 1.0, "capabilities": ()}
    await crew.submit(name, **(fields | changes))


async def records(crew: Crew) -> list[Recorded]:
    return list(await crew.system.journal.read(0, 10_000))


async def batches(crew: Crew) -> list[tuple[BatchAssigned, AssignBatch]]:
    """The batches that were settled, with the commands that did it."""
    told = await records(crew)
    return [(one.event, command_of(crew, one)) for one in told if isinstance(one.event, BatchAssigned)]


def command_of(crew: Crew, record: Recorded) -> AssignBatch:
    assert record.meta.command is not None
    command = crew.system.journal.codec.command(record.meta.command)
    assert isinstance(command, AssignBatch)
    return command


def best_possible(command: AssignBatch) -> float:
    """The optimum by scipy, on a matrix with a column for each free slot."""
    worth = worth_of(
        command.books, command.bidders, at=command.aged_at, rate=command.aging_rate, weights=command.weights
    )
    columns = [one.agent_id for one in command.prices for _ in range(one.free)]
    values = np.array([[one.values.get(name, 0.0) for name in columns] for one in worth])
    rows, chosen = linear_sum_assignment(values, maximize=True)
    return float(values[rows, chosen].sum())


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_is_as_good_as_the_optimum_within_the_bound_that_it_tells(seed: int) -> None:
    chance = random.Random(seed)
    slots = {f"a{number}": chance.randrange(1, 4) for number in range(chance.randrange(2, 7))}
    tasks = {f"t{number:02}": chance.randrange(1, 6) for number in range(chance.randrange(2, 16))}
    settled: list[tuple[BatchAssigned, AssignBatch]] = []

    async def work(crew: Crew) -> None:
        for name, many in slots.items():
            await crew.register(name, slots=many, capabilities=(), skills=())
        for name, priority in tasks.items():
            await batched(crew, name, priority=priority)
        for _ in range(min(len(tasks), sum(slots.values()))):
            call = await crew.next(BookOpened)
            for name in sorted(slots):
                if chance.random() < 0.8:
                    offer = {"price": chance.uniform(0.1, 9.0), "eta_seconds": chance.uniform(1.0, 50.0)}
                    await crew.bid(call, name, confidence=chance.random(), **offer)
                else:
                    await crew.refuse(call, name)
        await trio.sleep(0.5)
        settled.extend(await batches(crew))

    play(work, TERMS, seed=seed)
    assert settled
    for event, command in settled:
        best = best_possible(command)
        books = len(command.books)
        assert best - books * event.epsilon - 1e-9 <= event.value <= best + 1e-9
        assert best <= event.dual_bound + 1e-9
        assert event.dual_bound - event.value <= books * event.epsilon + 1e-9
        assert {pair.task_id for pair in event.pairs} | set(event.left) == {book.task_id for book in command.books}


async def crowd(crew: Crew, **slots: int) -> None:
    for name, many in slots.items():
        await crew.register(name, slots=many, capabilities=(), skills=(), specializations=())


async def told_apart(crew: Crew) -> None:
    """Two tasks; ann is better at both, and much better at one: she gets that, and bob the other, for which he scores less."""
    await crowd(crew, ann=1, bob=1)
    for name in ("one", "two"):
        await batched(crew, name)
    for _ in range(2):
        call = await crew.next(BookOpened)
        await crew.bid(call, "ann", price=1.0, eta_seconds=1.0)
        await crew.bid(call, "bob", price=1.2 if call.task_id == "one" else 9.0, eta_seconds=2.0)


def test_the_best_agent_is_kept_for_where_it_is_worth_most_and_the_award_says_so() -> None:
    async def work(crew: Crew) -> None:
        await told_apart(crew)
        awards = {name: await crew.next(TaskAwarded, task_id=name) for name in ("one", "two")}
        assert {name: award.agent_id for name, award in awards.items()} == {"one": "bob", "two": "ann"}
        bob, ann = awards["one"].ranking
        assert (bob.agent_id, ann.agent_id, bob.score < ann.score) == ("bob", "ann", True)
        assert awards["one"].reason == (
            f"bob scored {bob.score:g}, settled in batch 1; worth more elsewhere: ann ({ann.score:g})"
        )
        share = awards["one"].batch
        assert share is not None
        assert (share.number, share.agent_id) == (1, "bob")
        assert share.urgency == pytest.approx(3.0, abs=0.01)
        margins = [one.score * share.urgency - share.prices[one.agent_id] for one in (ann, bob)]
        ((event, _),) = await batches(crew)
        assert margins[0] <= margins[1] + event.epsilon
        assert awards["two"].reason == f"ann scored {awards['two'].ranking[0].score:g}, settled in batch 1"

    play(work, TERMS)


def test_who_gets_nobody_is_void_and_waits_for_a_slot() -> None:
    async def work(crew: Crew) -> None:
        await crowd(crew, ann=2, bob=1)
        for name in ("one", "two"):
            await batched(crew, name, priority=5)
        await batched(crew, "last", priority=1)
        for _ in range(3):
            call = await crew.next(BookOpened)
            await crew.bid(call, "ann")
            await crew.refuse(call, "bob")
        void = await crew.next(BookVoided)
        assert (void.task_id, void.reason, void.voids, void.ranking[0].lost) == ("last", "outbid", 0, "")
        assert void.batch is not None
        assert void.batch.prices["ann"] >= void.ranking[0].score
        ((event, _),) = await batches(crew)
        assert event.left == ("last",)
        awards = [one.event for one in await records(crew) if isinstance(one.event, TaskAwarded)]
        await crew.ask(CompleteTask(task_id=awards[0].task_id, agent_id="ann", token=1))
        assert (await crew.next(BookOpened, task_id="last")).round == 2

    play(work, TERMS)


def test_a_book_waits_for_others_no_longer_than_it_should_and_not_at_all_where_there_are_none() -> None:
    async def work(crew: Crew) -> None:
        await crowd(crew, ann=3)
        await batched(crew, "alone", bidding_seconds=10.0)
        await crew.bid(await crew.next(BookOpened), "ann")
        alone = await crew.next_record(TaskAwarded, task_id="alone")
        ((_, command),) = await batches(crew)
        assert alone.meta.at - command.aged_at < 0.1
        for name in ("early", "late"):
            await batched(crew, name, bidding_seconds=10.0)
        early, _ = await crew.next(BookOpened), await crew.next(BookOpened)
        await crew.bid(early, "ann")
        bid_at = (await records(crew))[-1].meta.at
        award = await crew.next_record(TaskAwarded, task_id="early")
        assert TERMS.batch_seconds <= award.meta.at - bid_at < TERMS.batch_seconds + 0.1

    play(work, TERMS)


def test_units_are_enough_for_all_that_an_agent_gets() -> None:
    async def work(crew: Crew) -> None:
        await crew.register("ann", slots=4, max_capacity=10.0, capabilities=(), skills=())
        for number in range(4):
            units = {"requirements": {"resources": {"memory": 4.0}}} if number else {"requirements": {}}
            await batched(crew, f"t{number}", **units)
        called = [await crew.next(BookOpened) for _ in range(2)]
        for call in called:
            await crew.bid(call, "ann")
        await trio.sleep(3.0)
        for event, command in await batches(crew):
            got = {pair.task_id for pair in event.pairs}
            assert sum(book.units for book in command.books if book.task_id in got) <= 10.0

    play(work, TERMS)


def test_more_than_a_step_takes_is_settled_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOOKS_MAX", 2)

    async def work(crew: Crew) -> None:
        await crowd(crew, ann=5)
        for number in range(5):
            await batched(crew, f"t{number}", priority=1 + number)
        for _ in range(5):
            await crew.bid(await crew.next(BookOpened), "ann")
        await trio.sleep(1.0)
        told = await batches(crew)
        assert [len(event.pairs) for event, _ in told] == [2, 2, 1]
        assert [event.number for event, _ in told] == [1, 2, 3]
        assert [pair.task_id for event, _ in told for pair in event.pairs] == ["t4", "t3", "t2", "t1", "t0"]

    play(work, TERMS)


def test_a_proposal_that_does_not_hold_awards_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = module.propose

    def crossed(*arguments: Any) -> Any:
        agents, prices, epsilon = honest(*arguments)
        turned = dict(zip(agents, reversed(agents.values()), strict=True)) if len(agents) > 1 else {}
        return turned, prices, epsilon

    async def work(crew: Crew) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(module, "propose", crossed)
            await told_apart(crew)
            await trio.sleep(1.5)
            assert not await batches(crew)
        awards = {name: await crew.next(TaskAwarded, task_id=name) for name in ("one", "two")}
        assert {award.agent_id for award in awards.values()} == {"ann", "bob"}

    play(work, TERMS)


def test_a_book_that_nobody_can_settle_holds_up_no_other_and_is_tried_ever_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, tries = module.propose, list[float]()

    def fails_for_one(worth: Any, *arguments: Any) -> Any:
        agents, prices, epsilon = honest(worth, *arguments)
        return agents | {"bad": "nobody"} if "bad" in agents else agents, prices, epsilon

    async def work(crew: Crew) -> None:
        with monkeypatch.context() as patched, capture_logs() as lines:
            patched.setattr(module, "propose", fails_for_one)
            await crowd(crew, ann=7)
            for number, name in enumerate(("bad", "t1", "t2", "t3", "t4")):
                await batched(crew, name, priority=5 - number)
            for _ in range(5):
                await crew.bid(await crew.next(BookOpened), "ann")
            for name in ("t1", "t2", "t3", "t4"):
                await crew.next(TaskAwarded, task_id=name)
            await trio.sleep(1000.0)
            await batched(crew, "t5", priority=5)
            await crew.bid(await crew.next(BookOpened, task_id="t5"), "ann")
            await crew.next(TaskAwarded, task_id="t5")
            said = [line for line in lines if line["event"] == "batch_refused"]
            tries.extend(line["rests_seconds"] for line in said)
            assert {line["log_level"] for line in said} == {"warning"}
            assert [line["books"] for line in said if line["books"] > 1] == [5, 2]
            assert {line["task_id"] for line in said} == {"bad"}
            assert "batch_unproven" in said[0]["reason"]
        await crew.next(TaskAwarded, task_id="bad")
        actor = crew.system.cells["coordinator", TENANT].actor
        assert isinstance(actor, Coordinator)
        assert actor.batches.refusals == len(tries)

    play(work, TERMS)
    rests = [seconds for seconds in tries if seconds]
    assert rests[:4] == [2.0, 4.0, 8.0, 16.0]
    assert rests == sorted(rests)
    assert len(tries) < 20


def test_the_log_of_a_batch_is_decided_alike_and_its_facts_were_so() -> None:
    async def work(crew: Crew) -> None:
        await told_apart(crew)
        await crew.next(TaskAwarded, task_id="two")
        path = Path(crew.system.journal.store.place)
        with open_journal(path) as connection:
            log = JournalFile(connection, path)
            look_ups = LookUps(log)
            facts = Facts(look_ups)
            replay = Replay(look_ups, log.codec, last=log.newest_position(), witness=facts)
            assert list(replay.run()) == []
            assert (replay.equal, facts.false) == (replay.commands, [])

    play(work, TERMS)


async def test_ripe_books_are_settled_after_a_restart(tmp_path: Path) -> None:
    slow = TERMS._replace(batch_seconds=60.0)
    async with open_crew(tmp_path, slow) as crew:
        await crowd(crew, ann=2)
        for name in ("one", "two"):
            await batched(crew, name, bidding_seconds=30.0)
        await crew.bid(await crew.next(BookOpened), "ann")
        second = await crew.next(BookOpened)
    async with open_crew(tmp_path, TERMS) as crew:
        await crew.next(TaskAwarded, task_id="one")
        await crew.bid(second, "ann")
        await crew.next(TaskAwarded, task_id="two")
