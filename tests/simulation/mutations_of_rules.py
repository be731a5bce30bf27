"""Bugs that are planted in the rules of tasks and in who keeps them, to see whether a promise to agents and submitters notices."""

from typing import Any

from msgspec.structs import replace

import agents.coordinating.entries
import agents.coordinating.rebalancing
import aggregates.task
import aggregates.task.bidding
import aggregates.task.lease
import aggregates.task.rebalancing
import aggregates.task.sealing
from agents.coordinating.late import LateReports
from agents.coordinating.supply import EVERYBODY, Supply
from agents.coordinating.turns import Walk
from aggregates.task import TaskAccepted
from aggregates.task.state import sealed_by
from gateway.simulation.clients import AGENT_DAWDLES, AGENT_DIES, AGENT_FORGETS, AGENT_LIES
from runtime.actor import reply
from runtime.errors import Refused
from runtime.simulation import Kind
from tests.simulation.mutations import Mutation

Planted = tuple[tuple[Mutation, ...], tuple[Kind, ...]]
"""Bugs that hide each other, planted together, and under which faults they show."""


def any_token_is_good(check_lease: Any) -> Any:
    def wrong(task: Any, command: Any) -> None:
        """Takes everybody's word."""

    return wrong


def who_ends_a_task_may_end_it_again(check_open: Any) -> Any:
    def wrong(stage: Any, task_id: str) -> None:
        """Takes a cancellation of what has ended."""

    return wrong


def late_reports_are_thanked_for(answer: Any) -> Any:
    def wrong(late: LateReports, memory: Any, command: Any, since: float) -> Any:
        try:
            found = answer(late, memory, command, since)
        except Refused:
            found = True
        return reply(command, TaskAccepted(task_id=command.task_id)) if found is not None else None

    return wrong


def everybody_is_able(walk: Any) -> Any:
    def wrong(supply: Supply, line: Any, units: float, round_: Any) -> Any:
        return Walk(supply.free.get(EVERYBODY, ()), lambda name: True, round_)

    return wrong


def everybody_is_fit(fit: Any) -> Any:
    def wrong(candidates: Any, asked: Any) -> Any:
        return list(candidates)

    return wrong


def one_attempt_too_many(again: Any) -> Any:
    def wrong(task: Any, *about: Any) -> Any:
        return again(replace(task, attempts_max=task.attempts_max + 1), *about)

    return wrong


def one_attempt_too_few(again: Any) -> Any:
    def wrong(task: Any, *about: Any) -> Any:
        return again(replace(task, attempts_max=task.attempts_max - 1), *about)

    return wrong


def nobody_waits_for_dependencies(submit: Any) -> Any:
    def wrong(command: Any) -> Any:
        return [replace(event, waiting_for=()) for event in submit(command)]

    return wrong


def the_deadline_is_no_end(complete: Any) -> Any:
    def wrong(task: Any, command: Any) -> Any:
        return complete(replace(task, deadline=None), command)

    return wrong


def expiry_comes_late(expire: Any) -> Any:
    def wrong(task: Any, command: Any) -> Any:
        return expire(task, command) if command.at > task.deadline + LATE_SECONDS else []

    return wrong


def stalls_are_not_noted(note_stall: Any) -> Any:
    def wrong(task: Any, command: Any) -> Any:
        return []

    return wrong


def whatever_is_opened_was_committed_to(commitment: Any) -> Any:
    def wrong(task: Any, command: Any) -> Any:
        sealed = sealed_by(task, command.agent_id)
        assert sealed is not None
        return sealed.commitment

    return wrong


def the_winner_is_paid_what_it_asks(payment: Any) -> Any:
    def wrong(task: Any, ranking: Any) -> Any:
        return payment(task, ranking[:1])

    return wrong


def what_was_moved_is_moved_at_once_again(rest_until: Any) -> Any:
    def wrong(awarded_at: float, rest_seconds: float, moves: int) -> float:
        return awarded_at

    return wrong


def whoever_is_no_worse_is_better(better: Any) -> Any:
    def wrong(holder: Any, candidates: Any, gain: float, *about: Any) -> Any:
        return better(holder, candidates, -1.0, *about)

    return wrong


def what_a_person_has_is_taken_at_half_time(hold_until: Any) -> Any:
    def wrong(held_since: float, hold_seconds: float, *, is_waiting: bool) -> float:
        until: float = hold_until(held_since, hold_seconds / 2, is_waiting=is_waiting)
        return until

    return wrong


def who_gives_a_task_back_has_more_attempts(give_back: Any) -> Any:
    def wrong(task: Any, command: Any) -> Any:
        failed, *others = give_back(task, command)
        return [replace(failed, attempts_max=task.attempts_max + 2), *others]

    return wrong


LATE_SECONDS = 60.0
LYING = (AGENT_LIES._replace(often=40.0),)
DYING = (AGENT_DIES._replace(often=12.0), AGENT_DAWDLES._replace(often=6.0))

FORGETTING = (AGENT_FORGETS._replace(often=12.0),)

OF_THE_RULES: tuple[Planted, ...] = (
    ((Mutation(aggregates.task, "check_lease", any_token_is_good, ("done_once", "end_is_final")),), LYING),
    ((Mutation(aggregates.task, "check_open", who_ends_a_task_may_end_it_again, ("end_is_final",)),), ()),
    ((Mutation(LateReports, "answer", late_reports_are_thanked_for, ("stale_token_refused",)),), DYING),
    (
        (
            Mutation(Supply, "walk", everybody_is_able, ("only_the_eligible_are_called",)),
            Mutation(aggregates.task.bidding, "fit", everybody_is_fit, ("only_the_eligible_are_called",)),
        ),
        (),
    ),
    ((Mutation(aggregates.task.lease, "_again", one_attempt_too_many, ("dead_after_attempts_max",)),), DYING),
    ((Mutation(aggregates.task.lease, "_again", one_attempt_too_few, ("dead_after_attempts_max",)),), DYING),
    ((Mutation(aggregates.task, "submit", nobody_waits_for_dependencies, ("dependencies_first",)),), ()),
    (
        (
            Mutation(aggregates.task, "complete", the_deadline_is_no_end, ("deadline_kept",)),
            Mutation(aggregates.task, "expire", expiry_comes_late, ("deadline_kept",)),
        ),
        (),
    ),
    (
        (Mutation(aggregates.task.sealing, "_commitment", whatever_is_opened_was_committed_to, ("sealed_bids_hold",)),),
        (),
    ),
    ((Mutation(aggregates.task.bidding, "payment", the_winner_is_paid_what_it_asks, ("sealed_bids_hold",)),), ()),
    (
        (
            Mutation(
                aggregates.task.rebalancing,
                "rest_until",
                what_was_moved_is_moved_at_once_again,
                ("rebalanced_ever_less",),
            ),
            Mutation(
                agents.coordinating.rebalancing,
                "rest_until",
                what_was_moved_is_moved_at_once_again,
                ("rebalanced_ever_less",),
            ),
        ),
        FORGETTING,
    ),
    (
        (
            Mutation(
                aggregates.task.rebalancing, "better", whoever_is_no_worse_is_better, ("rebalanced_for_a_better",)
            ),
            Mutation(
                agents.coordinating.rebalancing, "better", whoever_is_no_worse_is_better, ("rebalanced_for_a_better",)
            ),
        ),
        FORGETTING,
    ),
    ((Mutation(aggregates.task, "note_stall", stalls_are_not_noted, ("none_lost",)),), ()),
    (
        (
            Mutation(
                aggregates.task.lease,
                "hold_until",
                what_a_person_has_is_taken_at_half_time,
                ("people_keep_their_time",),
            ),
            Mutation(
                agents.coordinating.entries,
                "hold_until",
                what_a_person_has_is_taken_at_half_time,
                ("people_keep_their_time",),
            ),
        ),
        (),
    ),
    (
        (
            Mutation(
                aggregates.task.lease, "give_back", who_gives_a_task_back_has_more_attempts, ("given_back_by_people",)
            ),
        ),
        (),
    ),
)
