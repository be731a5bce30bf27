"""Awards and batches: whether the bidders stood as they were said to, and none was left out."""

from collections.abc import Iterable, Sequence

import msgspec

from aggregates.coordination import AssignBatch, BatchAssigned
from aggregates.task import SPECIALISTS, AwardTask, Task
from aggregates.values.batches import BatchBook, BatchShare
from aggregates.values.ranking import BidderFacts
from gateway.audit.judging.findings import NOBODY, RULES_WITH_OFFERS, Findings
from gateway.audit.judging.shown import as_bidder, as_offer, capacity_of, kind_of, meets, told_of_bidder, views
from gateway.audit.ledger import Books, Work


def check_award(findings: Findings, command: AwardTask, books: Books) -> None:
    """The bidders, what they offer now, and the batch, where there was one."""
    task = findings.told.before
    if not isinstance(task, Task):
        findings.counts.unknown += 1
        return
    topics = (task.task_type.value, *task.capabilities)
    _bidders(findings, command.bidders, topics, [bid.agent_id for bid in task.bids], books, findings.counts_units)
    for said in command.bidders:
        _offer_now(findings, said, task, books)
    if command.batch is not None:
        _share(findings, command.task_id, command.batch, books.batch)


def _bidders(
    findings: Findings,
    bidders: Sequence[BidderFacts],
    topics: tuple[str, ...],
    names: Iterable[str],
    books: Books,
    counts_units: bool,
) -> None:
    """Those of whom facts are told, and that nobody is left out who has bid and is active."""
    for said in bidders:
        kind = (said.agent_type,) if counts_units else ()
        capacity = (said.max_capacity, said.used) if counts_units else ()
        told = (*told_of_bidder(said, topics), *capacity, *kind)
        has_recent = said.recent is not None
        were = [
            (
                *as_bidder(one, topics, has_recent=has_recent),
                *capacity_of(one, counts_units),
                *kind_of(one, counts_units),
            )
            for one in views(books, said.agent_id)
        ]
        findings.check_one_of(f"bidder {said.agent_id}", told, were)
    named = {one.agent_id for one in bidders}
    standings = [(name, books.standing(name)) for name in names if name not in named]
    left_out = [name for name, one in standings if one is not None and one.is_active]
    findings.check("bidders left out", [], left_out)


def _offer_now(findings: Findings, said: BidderFacts, task: Task, books: Books) -> None:
    """Where nothing is said to have changed since the call, the agent still offers what the task needs."""
    record = findings.told.meta.command
    if record is None or record.rules < RULES_WITH_OFFERS:
        return
    stood, fact = views(books, said.agent_id), f"offer of {said.agent_id}"
    if said.changed is None:
        needs = frozenset(task.capabilities)
        served = [needs <= {*one.profile.capabilities} and meets(one, task) for one in stood]
        findings.check_one_of(fact, True, served)
    else:
        now = said.changed
        told = (frozenset(now.capabilities).intersection(task.capabilities), now.skills, now.region)
        findings.check_one_of(fact, told, [as_offer(one, task) for one in stood])


def _share(findings: Findings, task_id: str, said: BatchShare, batch: BatchAssigned | None) -> None:
    """What an award tells of the batch that it was settled in: what the batch's own record says."""
    if batch is None:
        findings.say("batch", said, None)
        return
    agents_by_task = {pair.task_id: pair.agent_id for pair in batch.pairs}
    was = (batch.number, agents_by_task.get(task_id, "" if task_id in batch.left else NOBODY))
    findings.check("batch", (said.number, said.agent_id), was)
    prices = {one.agent_id: one.price for one in batch.prices}
    findings.check("prices of the batch", said.prices, {name: prices.get(name) for name in said.prices})


def check_batch(findings: Findings, command: AssignBatch, books: Books) -> None:
    """The books with their bids, and the bidders."""
    for said in command.books:
        stood, work = findings.stood(said.task_id), books.work.get(said.task_id)
        findings.check(
            f"book of {said.task_id}",
            msgspec.structs.replace(said, changed={}),
            _as_book(stood, work, said.task_id),
        )
        if stood is None:
            continue
        for name, now in said.changed.items():
            told = (frozenset(now.capabilities), now.skills, now.region)
            findings.check_one_of(f"offer of {name}", told, [as_offer(one, stood[1]) for one in views(books, name)])
    topics = tuple(sorted({topic for book in command.books for topic in book.topics}))
    names = sorted({bid.agent_id for book in command.books for bid in book.bids})
    _bidders(findings, command.bidders, topics, names, books, counts_units=True)


def _as_book(stood: tuple[int, Task] | None, work: Work | None, task_id: str) -> BatchBook | str:
    """A book as a batch tells it."""
    if stood is None or work is None:
        return NOBODY
    position, task = stood
    return BatchBook(
        task_id=task_id,
        round=task.round,
        priority=task.priority,
        waits_since=work.waits_since,
        budget_seconds=task.budget_seconds,
        topics=(task.task_type.value, *task.capabilities),
        units=task.units,
        price_max=task.price_max,
        specialist_type=SPECIALISTS[task.task_type],
        skills=task.skills,
        regions=task.regions,
        bids=task.bids,
        position=position,
    )
