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
from aggregates.values.skill_terms import SkillOffer
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


def test_what_is_said_of_a_skill_belongs_to_a_capability() -> None:
    versed = (
        SkillOffer(name="qubo", version="2.10"),
        SkillOffer(name="qubo", version="2.9", attributes={"os": "linux"}),
    )
    stands = state(agent, replace(REGISTER, skills=versed))
    assert [one.version for one in stands.skills] == ["2.9", "2.10"]
    assert agent.decide(stands, replace(REGISTER, skills=versed[::-1])) == []
    for command, before in (
        (replace(REGISTER, skills=(*versed, SkillOffer(name="rust"), SkillOffer(name="go"))), agent.initial),
        (agent.UpdateAgent(agent_id="ann", skills=(SkillOffer(name="go"), SkillOffer(name="rust"))), stands),
    ):
        with pytest.raises(Refused, match="go, rust") as caught:
            agent.decide(before, command)
        assert (caught.value.code, caught.value.status) == ("skills_unlisted", 422)
    with pytest.raises(Refused, match="qubo"):
        agent.decide(stands, agent.UpdateAgent(agent_id="ann", capabilities=("other",)))
    (updated,) = agent.decide(stands, agent.UpdateAgent(agent_id="ann", capabilities=("other",), skills=()))
    assert isinstance(updated, agent.AgentUpdated)
    assert (updated.skills, updated.capabilities) == ((), ("other",))


def test_an_agent_may_ask_for_a_lease_of_its_own_within_bounds() -> None:
    own = replace(REGISTER, heartbeat_timeout=5.0)
    stands = state(agent, own)
    assert (stands.lease_seconds, state(agent, REGISTER).lease_seconds) == (5.0, REGISTER.lease_seconds)
    assert agent.decide(stands, own) == agent.decide(stands, REGISTER) == []
    for other in (own, replace(own, heartbeat_timeout=6.0)):
        with pytest.raises(Refused, match="agent_exists"):
            agent.decide(state(agent, REGISTER), other)
    for seconds in (0.5, 61.0):
        with pytest.raises(Refused, match="from 1 to 60 s") as caught:
            agent.decide(agent.initial, replace(REGISTER, heartbeat_timeout=seconds, lease_seconds_max=60.0))
        assert (caught.value.code, caught.value.status) == ("heartbeat_timeout_unfit", 422)


def test_an_agent_says_no_more_units_than_a_task_may_take_and_hears_of_all_its_faults_at_once() -> None:
    most = replace(REGISTER, max_capacity=agent.CAPACITY_MAX)
    assert state(agent, most).max_capacity == agent.CAPACITY_MAX
    wrong = replace(REGISTER, max_capacity=1e300, heartbeat_timeout=0.5, skills=(SkillOffer(name="go"),))
    with pytest.raises(Refused) as caught:
        agent.decide(agent.initial, wrong)
    assert {(fault.pointer, fault.code) for fault in caught.value.faults} == {
        ("/max_capacity", "capacity_too_large"),
        ("/heartbeat_timeout", "heartbeat_timeout_unfit"),
        ("/skills", "skills_unlisted"),
    }
    with pytest.raises(Refused, match="1e\\+09 units are the most") as caught:
        agent.decide(state(agent, REGISTER), agent.UpdateAgent(agent_id="ann", max_capacity=1.1e9))
    assert (caught.value.code, caught.value.status) == ("capacity_too_large", 422)


def test_an_agent_of_before_there_was_a_bound_changes_all_else() -> None:
    (registered,) = agent.decide(agent.initial, REGISTER)
    assert isinstance(registered, agent.AgentRegistered)
    stands = agent.evolve(agent.initial, replace(registered, max_capacity=1e300))
    (updated,) = agent.decide(stands, agent.UpdateAgent(agent_id="ann", price=9.0))
    assert isinstance(updated, agent.AgentUpdated)
    assert (updated.price, updated.max_capacity) == (9.0, 1e300)


def test_a_region_changes_by_an_update_and_stays_otherwise() -> None:
    before = (replace(REGISTER, region="eu"), agent.UpdateAgent(agent_id="ann", price=9.0))
    assert state(agent, *before).region == "eu"
    assert state(agent, *before, agent.UpdateAgent(agent_id="ann", region="")).region == ""


def test_prices_are_of_task_types_and_of_capabilities() -> None:
    listed = replace(REGISTER, prices={"optimization": 2.0, "qubo": 0.5})
    stands = state(agent, listed)
    assert (stands.prices, agent.decide(stands, listed)) == ({"optimization": 2.0, "qubo": 0.5}, [])
    assert state(agent, listed, agent.UpdateAgent(agent_id="ann", prices={})).prices == {}
    wrong = replace(REGISTER, prices={"juggling": 1.0, "qubo": 1.0}, skills=(SkillOffer(name="rust"),))
    with pytest.raises(Refused) as caught:
        agent.decide(agent.initial, wrong)
    assert (caught.value.code, caught.value.status) == ("skills_unlisted", 422)
    assert "rust" in caught.value.detail
    assert "juggling" in caught.value.detail
