"""Bodies against an oracle: what a node takes is what the published schema takes, and whatever is wrong is told in one answer."""

from functools import cache
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.api.bodies import FAULTS_MAX, parse
from gateway.api.problems import BadRequest
from tests.gateway import documented
from tests.gateway.api.test_bodies_house import bodies, example_of

EXAMPLES = 200
ROUTES = sorted(bodies())

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@cache
def oracle(route: str) -> Draft202012Validator:
    """For the schema that the document publishes."""
    method, path = route.split(" ")
    operation = documented.document()["paths"][path.replace(":path", "")][method.lower()]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    formats = Draft202012Validator.FORMAT_CHECKER
    return Draft202012Validator(documented.document() | schema, format_checker=formats)


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, Any]:
    """A body that is right but for some of its fields, of which some are left out or more than there should be."""
    route = draw(st.sampled_from(ROUTES))
    kind = bodies()[route]
    body = example_of(kind)
    names = [*kind.__struct_encode_fields__, "nobody knows this"]
    for name in draw(st.lists(st.sampled_from(names), max_size=4, unique=True)):
        if name in body and draw(st.booleans()):
            del body[name]
        else:
            body[name] = draw(ANYTHING)
    return route, body


def wrong_at(route: str, body: Any) -> set[str]:
    """The fields of the body in which the oracle finds something; those that are missing, too."""
    found = set()
    for error in oracle(route).iter_errors(body):
        if error.absolute_path:
            found.add(str(error.absolute_path[0]))
        elif error.validator == "required":
            found.update(set(error.validator_value) - set(body))
        elif error.validator == "additionalProperties":
            found.update(set(body) - set(bodies()[route].__struct_encode_fields__))
        else:
            raise AssertionError(f"the whole body is called wrong: {error.message}")
    return found


@settings(max_examples=EXAMPLES)
@given(changed())
def test_a_body_is_taken_as_its_schema_says_and_all_its_faults_are_told(asked: tuple[str, Any]) -> None:
    route, body = asked
    wrong = wrong_at(route, body)
    try:
        parse(msgspec.json.encode(body), bodies()[route])
    except BadRequest as refused:
        told = {fault["pointer"].split("/")[1].replace("~1", "/").replace("~0", "~") for fault in refused.faults}
        assert told == wrong, refused
        assert 0 < len(refused.faults) <= FAULTS_MAX
        return
    assert wrong == set()
