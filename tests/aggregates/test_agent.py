"""An agent's life: every command decides, was already so, or is refused."""

import pytest
from msgspec.structs import replace

from aggregates import agent
from aggregates.agent import (
    ClearAgent,
    DeregisterAgent,
    DrainAgent,
    LoseAgent,
    RegisterAgent,
    ReturnAgent,
    Stage,
    SuspectAgent,
    UpdateAgent,
)
from runtime.errors import Refused
from tests.aggregates.outcomes import Outcome, check, named, state
from tests.examples import command_by_type

REGISTER: RegisterAgent = command_by_type[RegisterAgent]
UPDATE: UpdateAgent = command_by_type[UpdateAgent]
DRAIN: DrainAgent = command_by_type[DrainAgent]
LEAVE: DeregisterAgent = command_by_type[DeregisterAgent]
SUSPECT: SuspectAgent = command_by_type[SuspectAgent]
CLEAR: ClearAgent = command_by_type[ClearAgent]
LOSE: LoseAgent = command_by_type[LoseAgent]
RETURN: ReturnAgent = command_by_type[ReturnAgent]
OTHER = replace(REGISTER, key_id="k2", name="Impostor")

OUTCOMES = (
    Outcome(REGISTER, ["AgentRegistered"], [], [REGISTER], "agent_exists", [OTHER]),
    Outcome(UPDATE, ["AgentUpdated"], [REGISTER], [REGISTER, UPDATE], "agent_unknown", []),
    Outcome(DRAIN, ["AgentDraining"], [REGISTER], [REGISTER, DRAIN], "agent_is_lost", [REGISTER, LOSE]),
    Outcome(LEAVE, ["AgentDeregistered"], [REGISTER], [REGISTER, LEAVE], "agent_unknown", []),
    Outcome(SUSPECT, ["AgentSuspected"], [REGISTER], [REGISTER, SUSPECT], "agent_is_deregistered", [REGISTER, LEAVE]),
    Outcome(CLEAR, ["AgentCleared"], [REGISTER, SUSPECT], [REGISTER], "agent_unknown", []),
    Outcome(LOSE, ["AgentLost"], [REGISTER], [REGISTER, LOSE], "agent_is_deregistered", [REGISTER, LEAVE]),
    Outcome(RETURN, ["AgentReturned"], [REGISTER, LOSE], [REGISTER], "agent_is_deregistered", [REGISTER, LEAVE]),
)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=named)
def test_every_command_has_three_outcomes(outcome: Outcome) -> None:
    check(agent, outcome)


def test_every_command_is_in_the_table() -> None:
    assert {type(outcome.command) for outcome in OUTCOMES} == set(agent.COMMANDS)


def test_the_same_registration_with_another_key_is_refused() -> None:
    with pytest.raises(Refused, match="agent_exists"):
        agent.decide(state(agent, REGISTER), replace(REGISTER, key_id="k2"))


def test_skills_are_recorded_sorted_and_once() -> None:
    (registered,) = agent.decide(agent.initial, replace(REGISTER, capabilities=("b", "a", "b")))
    assert isinstance(registered, agent.AgentRegistered)
    assert registered.capabilities == ("a", "b")


def test_who_comes_back_comes_in_a_new_generation() -> None:
    after = state(agent, REGISTER, LOSE, RETURN, LEAVE, OTHER)
    assert (after.stage, after.generation, after.key_id) == (Stage.ACTIVE, 3, "k2")


def test_an_agent_that_was_heard_in_time_is_not_lost() -> None:
    with pytest.raises(Refused, match="agent_was_heard"):
        agent.decide(state(agent, REGISTER), replace(LOSE, last_heard_at=LOSE.at - 29))


def test_who_is_heard_in_the_first_three_quarters_of_its_term_is_not_suspected() -> None:
    with pytest.raises(Refused, match="agent_was_heard"):
        agent.decide(state(agent, REGISTER), replace(SUSPECT, last_heard_at=SUSPECT.at - 22))


def test_a_suspect_that_is_heard_stands_as_it_did_before() -> None:
    for told, stage in (((REGISTER,), Stage.ACTIVE), ((REGISTER, DRAIN), Stage.DRAINING)):
        suspect = state(agent, *told, SUSPECT)
        assert suspect.stage is Stage.SUSPECT
        assert agent.decide(suspect, SUSPECT) == []
        assert state(agent, *told, SUSPECT, CLEAR).stage is stage
    with pytest.raises(Refused, match="agent_not_heard"):
        agent.decide(suspect, replace(CLEAR, heard_at=SUSPECT.last_heard_at))


def test_a_suspect_may_be_lost_drained_and_deregistered() -> None:
    for command, stage in ((LOSE, Stage.LOST), (DRAIN, Stage.DRAINING), (LEAVE, Stage.DEREGISTERED)):
        assert state(agent, REGISTER, SUSPECT, command).stage is stage


def test_only_the_house_may_use_its_ids() -> None:
    with pytest.raises(Refused, match="agent_id_reserved"):
        agent.decide(agent.initial, replace(REGISTER, agent_id="house-solver"))
    assert agent.decide(agent.initial, replace(REGISTER, agent_id="house-solver", key_id="", key_digest=b""))
