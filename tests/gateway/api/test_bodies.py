"""Bodies: what the house sets no body may set, and a bad body hears of all its faults at once."""

import datetime
import json
import math
from typing import Annotated, Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.api.bodies import FAULTS_MAX, JSON, MSGPACK, _tree, body_type, decode, is_plain, parse, to_command
from gateway.api.problems import BadRequest
from runtime.records import Command, House


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The reply."""


class Round(msgspec.Struct, frozen=True, tag="round"):
    """A shape."""

    radius: float


class Square(msgspec.Struct, frozen=True, tag="square"):
    """Another shape."""

    side: float
    name: str = ""


class Cut(Command[Accepted], frozen=True, kw_only=True):
    """An agent cuts shapes."""

    task_id: str
    agent_id: House[str]
    share: House[Annotated[float, msgspec.Meta(ge=0)]] = 0.0
    price: Annotated[float, msgspec.Meta(ge=0)]
    pieces: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    skills: Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(max_length=200)] = []
    shapes: list[Round | Square] = []
    note: str | None = None
    weights: dict[str, int] = {}
    due: datetime.datetime | None = None


Body = body_type(Cut)
GOOD: dict[str, Any] = {"task_id": "t", "price": 1.5}


def faults_of(body: object, **changes: object) -> dict[str, str]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as refused:
        parse(raw, Body)
    return {fault["pointer"]: fault["detail"] for fault in refused.value.faults}


def test_body_is_the_command_without_what_the_house_sets() -> None:
    assert Body.__struct_fields__ == ("task_id", "price", "pieces", "skills", "shapes", "note", "weights", "due")
    assert body_type(Cut) is Body
    assert body_type(Cut, path=("task_id",)).__struct_fields__[0] == "price"
    schema = msgspec.json.schema(Body)["$defs"]["CutBody"]
    assert schema["additionalProperties"] is False
    assert schema["description"] == "An agent cuts shapes."
    assert "x-house" not in json.dumps(schema)


def test_body_and_house_make_the_command() -> None:
    body = parse(b'{"price": 2, "skills": ["a"]}', body_type(Cut, path=("task_id",)))
    command = to_command(Cut, body, task_id="t", agent_id="a-1", tenant="acme")
    assert command == Cut(task_id="t", agent_id="a-1", tenant="acme", price=2.0, skills=["a"])


@pytest.mark.parametrize("field", ["agent_id", "share", "at", "tenant"])
def test_house_field_in_a_body_is_refused_by_name(field: str) -> None:
    assert faults_of(GOOD | {field: "x"}) == {f"/{field}": "is set by the house"}


def test_path_field_in_a_body_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as refused:
        parse(b'{"task_id": "t", "price": 1}', body_type(Cut, path=("task_id",)))
    assert refused.value.faults == [{"pointer": "/task_id", "detail": "is set by the path"}]


def test_every_fault_is_listed_at_once() -> None:
    body = {
        "price": -1,
        "pieces": "three",
        "skills": ["ok", "", 7],
        "shapes": [{"type": "round", "radius": "wide"}, {"type": "oval"}, {"type": "square", "side": 1, "name": 5}, {}],
        "note": 4,
        "weights": {"a/b~c": 1.5},
        "color": "red",
        "agent_id": "me",
        "due": "tomorrow",
    }
    faults = faults_of(body)
    assert faults == {
        "/task_id": "is missing",
        "/price": "must be at least 0",
        "/pieces": "must be an integer, not a text",
        "/skills/1": "must have at least 1 characters",
        "/skills/2": "must be a text, not an integer",
        "/shapes/0/radius": "must be a number, not a text",
        "/shapes/1/type": 'must be one of "round", "square"',
        "/shapes/2/name": "must be a text, not an integer",
        "/shapes/3/type": 'must be one of "round", "square"',
        "/note": "must be null or a text, not an integer",
        "/weights/a~1b~0c": "must be an integer, not a number with a fraction",
        "/color": "is not a known field",
        "/agent_id": "is set by the house",
        "/due": faults["/due"],
    }
    assert "RFC3339" in faults["/due"]


def test_integer_with_a_point_is_an_integer_as_its_schema_says() -> None:
    for raw, media_type in (
        (json.dumps(GOOD | {"pieces": 3.0}).encode(), JSON),
        (msgpack.packb(GOOD | {"pieces": 3.0}), MSGPACK),
    ):
        pieces: Any = parse(raw, Body, media_type=media_type)
        assert (pieces.pieces, type(pieces.pieces)) == (3, int)
    assert faults_of(GOOD | {"pieces": 3.0, "price": None}) == {"/price": "must be a number, not null"}
    assert faults_of(GOOD | {"pieces": 3.5}) == {"/pieces": "must be an integer, not a number with a fraction"}
    assert faults_of(GOOD | {"pieces": 1e300}) == {"/pieces": "must be at most 9"}


@pytest.mark.parametrize("body", [[], "text", 3, None, True])
def test_body_that_is_no_object_is_refused_as_a_whole(body: object) -> None:
    assert list(faults_of(body)) == [""]


def test_key_that_stands_twice_is_a_fault_wherever_it_is() -> None:
    assert faults_of(b'{"task_id": "t", "price": 1, "price": 2}') == {"/price": "stands twice"}
    assert faults_of(b'{"task_id": "t", "price": 1, "weights": {"a": 1, "a": 2}}') == {"/weights/a": "stands twice"}
    assert set(faults_of(b'{"price": 1, "price": "x"}')) == {"/price", "/task_id"}


def written(tree: Any) -> str:
    """As JSON, objects from lists of pairs."""
    if isinstance(tree, tuple):
        return "{" + ",".join(f"{json.dumps(name)}:{written(value)}" for name, value in tree) + "}"
    return "[" + ",".join(map(written, tree)) + "]" if isinstance(tree, list) else json.dumps(tree)


NAMES, LEAVES = (
    st.text("ab:", max_size=2),
    st.none() | st.integers(0, 2**70) | st.floats() | st.text("a:\\", max_size=3),
)


@given(
    st.recursive(LEAVES, lambda inner: st.lists(inner) | st.lists(st.tuples(NAMES, inner), max_size=4).map(tuple)),
    st.lists(st.tuples(NAMES, LEAVES), max_size=4),
)
def test_what_is_plain_at_a_glance_holds_nothing_odd(tree: Any, pairs: list[tuple[str, Any]]) -> None:
    packer = msgpack.Packer()
    kept = [(name, value) for name, value in pairs if not isinstance(value, int) or value < 2**64]
    packed = packer.pack_map_pairs(kept)
    for raw, media_type in ((written(tree).encode(), JSON), (packed, MSGPACK)):
        if is_plain(raw, media_type):
            assert not _tree(raw, media_type)[1]
    assert is_plain(b'{"task_id":"t","price":1,"weights":{"a":1}}', JSON)
    assert is_plain(msgpack.packb({"type": "bid", "price": 1.0}), MSGPACK)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"{} x", b'{"price": NaN}', b'{"price": Infinity}', b"[" * 100_000, b'{"note": "\xff"}', b"\x00\x01", b"{'a': 1}"],
    ids=["empty", "cut", "trailing", "nan", "infinity", "deep", "not_utf8", "binary", "quotes"],
)  # fmt: skip
def test_what_is_not_json_at_all_is_a_400(raw: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(raw, Body)
    assert refused.value.status == 400
    assert refused.value.faults[0]["detail"]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"task_id": 5, "\\ud800": 1}',
        b'{"task_id": 5, "note": "\\uDFFF"}',
        b'{"task_id": "t", "price": 1, "pieces": 2.0, "note": "\\ud800\\u0041"}',
        b'{"task_id": "t", "price": 1, "pieces": 2.0, "weights": {"\\udc00\\ud800": 1}}',
        b'{"task_id": "t", "price": 1, "pieces": 2.0, "x": "\\ud800", "x": 1, "\\ud800": 1}',
    ],
    ids=["name", "beside_a_fault", "beside_a_whole_number", "deep", "twice"],
)
def test_half_of_a_surrogate_pair_is_refused_and_never_told_again(raw: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(raw, Body)
    assert refused.value.status == 400
    assert str(refused.value).isascii()
    whole: Any = parse(b'{"task_id": "t", "price": 1, "pieces": 2.0, "note": "\\ud83d\\ude00 \\\\ud800"}', Body)
    assert whole.note == "\U0001f600 \\ud800"


@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000])
def test_number_out_of_range_is_refused(number: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(b'{"task_id": "t", "price": ' + number + b"}", Body)


def test_deep_nesting_within_a_field_is_refused() -> None:
    raw = b'{"task_id": "t", "price": 1, "weights": ' + b'{"a":' * 400 + b"1" + b"}" * 400 + b"}"
    with pytest.raises(BadRequest):
        parse(raw, Body)


def test_number_of_faults_in_an_answer_is_bounded() -> None:
    with pytest.raises(BadRequest) as refused:
        parse(json.dumps(GOOD | {str(number): number for number in range(1000)}).encode(), Body)
    assert len(refused.value.faults) == FAULTS_MAX


def test_msgpack_is_read_under_the_same_rules() -> None:
    assert parse(msgpack.packb(GOOD), Body, media_type=MSGPACK) == parse(json.dumps(GOOD).encode(), Body)
    for raw, status in [
        (msgpack.packb(GOOD | {"price": math.nan}), 422),
        (msgpack.packb(GOOD | {"price": math.inf}), 422),
        (b"\x83\xa5price\x01\xa5price\x02\xa7task_id\xa1t", 422),
        (msgpack.packb(GOOD | {"agent_id": "x"}), 422),
        (b"\x81\xa4note\xa1\xff", 400),
        (b"\x91" * 100_000, 400),
        (b"", 400),
        (b"\xc1", 400),
        (b"\x81\x01\x02", 422),
    ]:
        with pytest.raises(BadRequest) as refused:
            parse(raw, Body, media_type=MSGPACK)
        assert refused.value.status == status, raw[:40]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["task_id", "price", "agent_id", "pieces", "skills", "shapes", "note", "weights", "due", "x"]),
        ANY_JSON,
    )
)
def test_any_document_is_either_taken_or_refused_with_faults_that_exist_in_it(document: dict[str, Any]) -> None:
    try:
        value = parse(json.dumps(document).encode(), Body)
    except BadRequest as error:
        refused = error
    else:
        assert Draft202012Validator(msgspec.json.schema(Body)).is_valid(document)
        assert parse(msgspec.json.encode(value), Body) == value
        return
    assert refused.faults
    assert refused.status in {400, 422}
    pointers = {fault["pointer"].split("/")[1] for fault in refused.faults if fault["pointer"]}
    assert pointers <= document.keys() | {"task_id", "price"}


def make_request(body: bytes, *headers: tuple[bytes, bytes]) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": list(headers)}, receive
    )


@pytest.mark.parametrize("media_type", [b"application/json", b"Application/JSON; charset=utf-8"])
async def test_request_with_a_good_body_is_decoded(media_type: bytes) -> None:
    value = await decode(make_request(json.dumps(GOOD).encode(), (b"content-type", media_type)), Body)
    assert value == parse(json.dumps(GOOD).encode(), Body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 415),
        ([(b"content-type", b"text/plain")], 415),
        ([(b"content-type", b"application/json"), (b"content-encoding", b"gzip")], 415),
    ],
)
async def test_other_content_is_refused(headers: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        await decode(make_request(b"{}", *headers), Body)
    assert refused.value.status_code == status
    assert refused.value.headers is not None
    assert "application/json" in refused.value.headers["Accept"]


async def test_body_over_the_bound_is_refused() -> None:
    with pytest.raises(HTTPException) as refused:
        await decode(make_request(bytes(11), (b"content-type", b"application/json")), Body, bytes_max=10)
    assert refused.value.status_code == 413


# What would hold up everybody else, or break what comes after


def test_a_key_that_stands_twice_among_very_many_is_found() -> None:
    keys = b",".join(b'"%x":0' % number for number in range(100_000))
    assert faults_of(b'{"task_id":"t","price":1,"weights":{' + keys + b',"0":1}}') == {"/weights/0": "stands twice"}


def test_a_number_beyond_64_bits_is_refused_where_it_stands() -> None:
    raw = b'[1, 18446744073709551615, [18446744073709551616], {"a": -9223372036854775809}, 0.1234567890123456789012]'
    with pytest.raises(BadRequest) as refused:
        parse(raw, Any)
    assert [(fault["pointer"], fault["detail"]) for fault in refused.value.faults] == [
        ("/2/0", "must fit in 64 bits"),
        ("/3/a", "must fit in 64 bits"),
    ]


@pytest.mark.parametrize("key", [b"\x91\x01", b"\x80", b"\x81\x01\x02"])
def test_a_key_that_is_a_list_or_an_object_is_refused(key: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(b"\x81" + key + b"\x02", Body, media_type=MSGPACK)
    assert refused.value.status == 400


def test_a_number_that_is_none_is_found_deep_among_very_many() -> None:
    lists = b"\xdd\x00\x03\x0d\x40" + b"\x90" * 200_000
    nan = b"\x91" * 500 + b"\xcb\x7f\xf8" + bytes(6)
    with pytest.raises(BadRequest) as refused:
        parse(b"\x92" + lists + nan, Any, media_type=MSGPACK)
    assert [fault["pointer"] for fault in refused.value.faults] == ["/1" + "/0" * 500]
