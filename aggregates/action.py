"""An administrative action: on record before it is done, with who, from where, on whose behalf and why; and then how it ended."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, get_args

from msgspec import Meta, Struct
from msgspec.structs import replace

from runtime.errors import Refused
from runtime.records import Command, Event, House, State

RULES = 1

ActionId = Annotated[str, Meta(min_length=1, max_length=64)]
ActionName = Annotated[str, Meta(min_length=1, max_length=100)]
Subject = Annotated[str, Meta(max_length=300)]
"""Whom or what it concerns: the name of a stream where there is one."""
Words = Annotated[str, Meta(max_length=200)]
Why = Annotated[str, Meta(max_length=500)]


class Origin(Struct, frozen=True, kw_only=True, gc=False):
    """Where a request came from, and what its sender says of it.

    `address` is the peer's, as the node's own socket has it; `route` is the line of the table of routes, never the path itself. The
    other fields are the sender's own words: `user_agent`, `request_id`, `behalf` (for whom he acts) and `reason`.
    """

    address: Words = ""
    route: Words = ""
    user_agent: Words = ""
    request_id: Words = ""
    behalf: Words = ""
    reason: Why = ""


class Outcome(StrEnum):
    """How an action ended. One whose end is not on record was cut short: nobody knows."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Stage(StrEnum):
    """Where an action stands."""

    UNKNOWN = "unknown"
    BEGUN = "begun"
    ENDED = "ended"


class Action(State, frozen=True, kw_only=True):
    """What decisions about one action need to know."""

    stage: Stage = Stage.UNKNOWN
    action: str = ""
    subject: str = ""
    principal: str = ""
    outcome: Outcome | None = None


initial = Action()


class ActionNoted(Struct, frozen=True, kw_only=True):
    """The action is on record, by the command of this id: what follows from the action is caused by that."""

    action_id: ActionId
    cause: str = ""


class BeginAction(Command[ActionNoted], frozen=True, kw_only=True):
    """Somebody who may is about to do this. Sent by the gateway before it is done; what can't be recorded is not done."""

    action_id: House[ActionId]
    principal: House[Words]
    action: ActionName
    subject: Subject = ""
    origin: House[Origin] = Origin()


class EndAction(Command[ActionNoted], frozen=True, kw_only=True):
    """What came of it. Sent by the gateway, on behalf of whoever began; `code` says why it was not done."""

    action_id: House[ActionId]
    principal: House[Words]
    outcome: Outcome
    code: Words = ""


class ActionBegun(Event, frozen=True, kw_only=True):
    action_id: ActionId
    principal: str
    action: str
    subject: str
    origin: Origin


class ActionEnded(Event, frozen=True, kw_only=True):
    action_id: ActionId
    action: str
    subject: str
    outcome: Outcome
    code: str


ActionCommand = BeginAction | EndAction
ActionEvent = ActionBegun | ActionEnded
COMMANDS = get_args(ActionCommand)
EVENTS = get_args(ActionEvent)


def stream(action_id: str) -> str:
    """The stream of an action."""
    return f"action-{action_id}"


def decide(state: Action, command: ActionCommand) -> Sequence[ActionEvent]:
    match state.stage, command:
        case Stage.UNKNOWN, BeginAction():
            return [_begun(command)]
        case _, BeginAction() if evolve(initial, _begun(command)) == replace(state, stage=Stage.BEGUN, outcome=None):
            return []
        case _, BeginAction():
            raise Refused("action_exists", f"{command.action_id} is {state.action}")
        case Stage.UNKNOWN, EndAction():
            raise Refused("action_unknown", command.action_id, status=404)
        case _, EndAction() if command.principal != state.principal:
            raise Refused("action_not_yours", "an action is ended by whoever began it", status=403)
        case Stage.BEGUN, EndAction():
            return [_ended(state, command)]
        case _, EndAction():
            if command.outcome == state.outcome:
                return []
            raise Refused("action_ended", f"it is {state.outcome}")


def _begun(command: BeginAction) -> ActionBegun:
    return ActionBegun(
        action_id=command.action_id,
        principal=command.principal,
        action=command.action,
        subject=command.subject,
        origin=command.origin,
    )


def _ended(state: Action, command: EndAction) -> ActionEnded:
    return ActionEnded(
        action_id=command.action_id,
        action=state.action,
        subject=state.subject,
        outcome=command.outcome,
        code=command.code,
    )


def evolve(state: Action, event: ActionEvent) -> Action:
    match event:
        case ActionBegun():
            return Action(
                stage=Stage.BEGUN, action=event.action, subject=event.subject, principal=event.principal, outcome=None
            )
        case ActionEnded():
            return replace(state, stage=Stage.ENDED, outcome=event.outcome)
