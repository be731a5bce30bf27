"""Schemas of a task type are set, replaced and dropped; a faulty one is refused with all that is wrong with it."""

import pytest
from msgspec.structs import replace

from aggregates import task_type
from aggregates.task_type import DropSchemas, SchemasDropped, SchemasSet, SetSchemas, TaskType
from runtime.errors import Refused
from tests.aggregates.outcomes import state
from tests.examples import MISTAKES_SCHEMA, TEXT_SCHEMA, command_by_type

SET: SetSchemas = command_by_type[SetSchemas]
DROP: DropSchemas = command_by_type[DropSchemas]


def refusal(command: SetSchemas) -> Refused:
    with pytest.raises(Refused) as caught:
        task_type.decide(task_type.initial, command)
    return caught.value


def test_each_change_is_a_version_of_its_own() -> None:
    first = SchemasSet(task_type=TaskType.ANALYSIS, version=1, payload=TEXT_SCHEMA, result=MISTAKES_SCHEMA)
    assert list(task_type.decide(task_type.initial, SET)) == [first]
    stood = state(task_type, SET)
    assert task_type.decide(stood, SET) == []
    (second,) = task_type.decide(stood, replace(SET, result=None))
    assert second == SchemasSet(task_type=TaskType.ANALYSIS, version=2, payload=TEXT_SCHEMA, result=None)


def test_they_are_dropped_once_and_set_again_as_another_version() -> None:
    dropped = SchemasDropped(task_type=TaskType.ANALYSIS, version=1, reason="anything goes")
    assert list(task_type.decide(state(task_type, SET), DROP)) == [dropped]
    assert task_type.decide(state(task_type, SET, DROP), DROP) == []
    assert task_type.decide(task_type.initial, DROP) == []
    (again,) = task_type.decide(state(task_type, SET, DROP), SET)
    assert isinstance(again, SchemasSet)
    assert again.version == 2


def test_faulty_ones_are_refused_with_every_fault_of_both() -> None:
    faulty = replace(SET, payload={"type": "text"}, result={"properties": {"mistakes": {"minimum": "0"}}})
    refused = refusal(faulty)
    assert (refused.code, refused.status) == ("schema_unfit", 422)
    assert [fault.pointer for fault in refused.faults] == ["/payload/type", "/result/properties/mistakes/minimum"]


def test_one_of_both_is_needed() -> None:
    refused = refusal(replace(SET, payload=None, result=None))
    assert refused.code == "schemas_missing"
