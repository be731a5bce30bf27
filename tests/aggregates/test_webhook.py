"""A webhook's life: every command decides, was already so, or is refused; the house's own notes are never refused while it is there."""

import pytest
from msgspec.structs import replace

from aggregates import webhook
from aggregates.webhook import (
    CreateWebhook,
    DeleteWebhook,
    GiveUpWebhook,
    NoteDelivered,
    NoteFailing,
    PauseWebhook,
    ReplayWebhook,
    ResumeWebhook,
    RotateSecret,
    Stage,
    UpdateWebhook,
)
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import command_by_type

CREATE: CreateWebhook = command_by_type[CreateWebhook]
UPDATE: UpdateWebhook = command_by_type[UpdateWebhook]
PAUSE: PauseWebhook = command_by_type[PauseWebhook]
RESUME: ResumeWebhook = command_by_type[ResumeWebhook]
ROTATE: RotateSecret = command_by_type[RotateSecret]
REPLAY: ReplayWebhook = command_by_type[ReplayWebhook]
DELETE: DeleteWebhook = command_by_type[DeleteWebhook]
DELIVERED: NoteDelivered = command_by_type[NoteDelivered]
FAILING: NoteFailing = command_by_type[NoteFailing]
GIVE_UP: GiveUpWebhook = command_by_type[GiveUpWebhook]

GONE = [CREATE, DELETE]
OUTCOMES = (
    Outcome(CREATE, ["WebhookCreated"], [], [CREATE], "webhook_exists", GONE),
    Outcome(UPDATE, ["WebhookUpdated"], [CREATE], [CREATE, UPDATE], "webhook_unknown", []),
    Outcome(PAUSE, ["WebhookPaused"], [CREATE], [CREATE, PAUSE], "webhook_unknown", GONE),
    Outcome(RESUME, ["WebhookResumed"], [CREATE, GIVE_UP], [CREATE], "webhook_unknown", GONE),
    Outcome(ROTATE, ["SecretRotated"], [CREATE], [CREATE, ROTATE], "webhook_unknown", GONE),
    Outcome(REPLAY, ["WebhookReplayed"], [CREATE], [CREATE, REPLAY], "webhook_unknown", GONE),
    Outcome(DELETE, ["WebhookDeleted"], [CREATE, PAUSE], GONE, "webhook_unknown", []),
    Outcome(DELIVERED, ["WebhookDelivered"], [CREATE], [CREATE, DELIVERED], "webhook_unknown", GONE),
    Outcome(FAILING, ["WebhookFailing"], [CREATE], [CREATE, FAILING], "webhook_unknown", GONE),
    Outcome(GIVE_UP, ["WebhookPaused"], [CREATE], [CREATE, PAUSE], "webhook_unknown", GONE),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(webhook, outcome)


def test_every_command_is_in_the_table() -> None:
    assert {type(outcome.command) for outcome in OUTCOMES} == set(webhook.COMMANDS)


def test_it_begins_now_or_where_it_is_told_to_but_not_in_the_future() -> None:
    assert state(webhook, CREATE).position == CREATE.position
    assert state(webhook, replace(CREATE, after=3)).position == 3
    for ahead in (replace(CREATE, after=10), replace(REPLAY, after=21)):
        with pytest.raises(Refused, match="position_ahead"):
            webhook.decide(webhook.initial if ahead.after == 10 else state(webhook, CREATE), ahead)


def test_what_was_delivered_before_a_replay_moves_no_cursor_after_it() -> None:
    replayed = state(webhook, CREATE, DELIVERED, REPLAY)
    assert (replayed.run, replayed.position) == (1, REPLAY.after)
    for late in (replace(DELIVERED, position=15), FAILING, GIVE_UP):
        assert list(webhook.decide(replayed, late)) == []
    assert state(webhook, CREATE, REPLAY, replace(DELIVERED, run=1, position=15)).position == 15


def test_a_delivery_ends_a_failing_streak() -> None:
    assert state(webhook, CREATE, FAILING).is_failing
    assert not state(webhook, CREATE, FAILING, replace(DELIVERED, position=13)).is_failing


def test_secrets_follow_one_upon_the_other() -> None:
    with pytest.raises(Refused, match="secret_rotated"):
        webhook.decide(state(webhook, CREATE), replace(ROTATE, generation=3))


def test_a_name_that_is_left_empty_lets_everything_pass_again() -> None:
    updated = state(webhook, CREATE, UPDATE, replace(UPDATE, stream="", kinds=()))
    assert (updated.stream, updated.kinds, updated.url, updated.stage) == ("", (), CREATE.url, Stage.ACTIVE)
