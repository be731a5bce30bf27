"""Pages in any order that a list allows: each row once, also while others come, and never by the cursor of another order."""

from base64 import urlsafe_b64encode
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from gateway.api.sorting import CURSOR, Cursor, cursor_after, past, sorting
from projections import schema
from projections.schema import BY_AGE, Sortable
from runtime.errors import Refused
from tests.gateway.clients import Client

THINGS = schema.table(
    "things", schema.key("name"), schema.number("price"), schema.whole("weight"), paged_by=("weight",)
)
SORTS = {
    "made": BY_AGE,
    "name": Sortable("name", is_text=True),
    "price": Sortable("price", may_be_empty=True),
    "weight": Sortable("weight", is_whole=True),
}
rows = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 2)), max_size=12)
orders = st.lists(st.sampled_from(list(SORTS)), unique=True, max_size=4).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)


def order_of(row: Any, keys: Any) -> list[Any]:
    """What Python would sort the rows by."""
    parts: list[Any] = []
    for column, descending in keys:
        value = row[column.name]
        if isinstance(value, str):
            value = int(value)
        parts += [value is None, 0 if value is None else -value if descending else value]
    return parts


@settings(max_examples=60, deadline=None)
@given(made=rows, order=orders, limit=st.integers(1, 5))
def test_pages_of_any_order_hold_each_row_once_in_that_order(made: Any, order: Any, limit: int) -> None:
    sort = sorting(SORTS).read(",".join(order)) if order else sorting(SORTS).absent
    engine = create_engine("sqlite://")
    found: list[Any] = []
    with engine.begin() as connection:
        THINGS.create(connection)
        for number, (price, weight) in enumerate(made):
            values = {"tenant_id": "t", "name": str(number), "price": price}
            values |= {"weight": weight, "first_position": number + 1, "last_position": number + 1}
            connection.execute(THINGS.insert(), values)
        cursor: Any = None
        while True:
            after = None if cursor is None else past(sort, told(cursor))
            page = schema.page_rows(connection, THINGS, {"tenant_id": "t"}, sort=sort.keys, past=after, limit=limit)
            found += page
            if len(page) < limit:
                break
            cursor = cursor_after(sort, page[-1])
    keys = schema._whole(sort.keys)
    assert len(found) == len(made)
    if not any(key.column.name == "name" for key in keys):
        assert found == sorted(found, key=lambda row: order_of(row, keys))
    assert len({row["name"] for row in found}) == len(made)


def told(text: int | str) -> int | Cursor:
    """The cursor as it comes back."""
    read = CURSOR.read(str(text))
    assert read is not None
    return read


@pytest.mark.parametrize(
    "order,values",
    [
        ("name", ("a\0b", 1)),
        ("price", (float("nan"), 1)),
        ("price", (float("inf"), 1)),
        ("weight", (1e300, 1)),
        ("weight", (1.0, 1)),
        ("weight", (1, 1.5)),
        ("weight", (1, float("nan"))),
        ("weight", (2**64 - 1, 1)),
    ],
)
def test_a_cursor_that_no_row_has_led_to_is_refused(order: str, values: tuple[Any, ...]) -> None:
    """PostgreSQL can't look for a NUL, nor for what is no whole number among those that are."""
    packed = urlsafe_b64encode(msgspec.msgpack.encode(Cursor(order, values))).decode()
    with pytest.raises(Refused, match="sorted in the same way"):
        past(sorting(SORTS).read(order), told(packed))


async def submit_all(admin: Client) -> list[str]:
    return [await admin.submit(priority=priority) for priority in (3, 1, 5, 3, 1, 5, 3)]


async def pages(admin: Client, query: str, *, between: bool = False) -> list[Any]:
    """All rows, by the links from one page to the next."""
    found: list[Any] = []
    path = f"/v1/tasks?{query}"
    while path:
        answer = await admin.ask("GET", path)
        assert answer.status_code == 200, answer.text
        found += answer.json()["tasks"]
        link = answer.headers.get("link", "")
        assert (answer.json()["next"] is None) is (not link)
        path = link.removeprefix("<").removesuffix('>; rel="next"')
        if between:
            await admin.submit(priority=5)
    return found


async def test_pages_follow_each_other_by_links_in_the_order_that_was_asked_for(admin: Client) -> None:
    made = await submit_all(admin)
    for query in ("limit=2", "limit=2&sort=-submitted_at"):
        assert [task["task_id"] for task in await pages(admin, query)] == made[::-1]
    oldest = await pages(admin, "limit=3&sort=submitted_at&skill=cutting")
    assert [task["task_id"] for task in oldest] == made
    by_priority = await pages(admin, "limit=2&sort=-priority,submitted_at")
    assert [task["task_id"] for task in by_priority] == [made[i] for i in (2, 5, 0, 3, 6, 1, 4)]
    mixed = await pages(admin, "limit=2&sort=priority,-submitted_at&priority_min=2")
    assert [task["task_id"] for task in mixed] == [made[i] for i in (6, 3, 0, 5, 2)]


async def test_pages_are_not_shifted_by_what_comes_between_them(admin: Client) -> None:
    made = await submit_all(admin)
    for query in ("limit=2", "limit=2&sort=-priority"):
        seen = [task["task_id"] for task in await pages(admin, query, between=True)]
        assert len(set(seen)) == len(seen)
        assert set(made) <= set(seen)


@pytest.mark.parametrize(
    "query,says",
    [
        ("sort=payload", "sort must be at most 4 of submitted_at, priority"),
        ("sort=priority,-priority", "sort must be"),
        ("sort=", "sort must be"),
        ("sort=--priority", "sort must be"),
        ("sort=priority&after=7", "sorted in the same way"),
        ("after=!!!", "sorted in the same way"),
        (f"after={'A' * 4001}", "sorted in the same way"),
        ("after=-1", "sorted in the same way"),
        (f"after={2**63}", "sorted in the same way"),
        (f"after={'0' * 20}{2**63}", "sorted in the same way"),
        (f"after={'0' * 5000}", "sorted in the same way"),
    ],
)
async def test_an_order_that_is_none_and_a_cursor_of_another_are_refused(admin: Client, query: str, says: str) -> None:
    answer = await admin.ask("GET", f"/v1/tasks?{query}")
    assert (answer.status_code, says in answer.json()["detail"]) == (422, True), answer.text


async def test_a_cursor_means_nothing_in_another_order(admin: Client) -> None:
    await submit_all(admin)
    after = (await admin.get("/v1/tasks?limit=2&sort=-priority"))["next"]
    assert isinstance(after, str)
    for query in ("", "sort=priority&", "sort=-priority,submitted_at&"):
        answer = await admin.ask("GET", f"/v1/tasks?{query}after={quote(after)}")
        assert answer.status_code == 422, query


@pytest.mark.parametrize("values", [("x", 1), (2**63, 1), (None, 1), (1, "x"), (1,), (1, 1, 1), (1, None)])
def test_a_cursor_that_somebody_has_made_up_is_refused(values: Any) -> None:
    sort = sorting(SORTS).read("weight")
    with pytest.raises(Refused):
        past(sort, Cursor("weight", values))


async def test_rows_are_narrowed_by_what_they_have(admin: Client) -> None:
    await submit_all(admin)
    other = await admin.submit(task_type="optimization", capabilities=["Cutting", "gluing"], priority=2)
    await admin.register("a1")
    await admin.register("a2", agent_type="security", capabilities=["gluing"])
    submitted_by = (await admin.get(f"/v1/tasks/{other}"))["submitted_by"]
    counts = {
        "task_type=optimization": 1,
        "skill=Cutting": 1,
        "skill=cutting": 7,
        "skill=cut": 0,
        "priority_min=5": 2,
        "priority_max=2&priority_min=2": 1,
        f"submitted_by={quote(submitted_by)}": 8,
        "submitted_by=nobody": 0,
        "submitted_after=2020-01-01T00:00:00Z&submitted_before=2020-01-02T00:00:00Z": 0,
        "submitted_after=2020-01-01T00:00:00Z&submitted_before=2999-01-01T00:00:00Z": 8,
    }
    for query, count in counts.items():
        assert len((await admin.get(f"/v1/tasks?{query}"))["tasks"]) == count, query
    assert [one["agent_id"] for one in (await admin.get("/v1/agents?capability=gluing&sort=name"))["agents"]] == ["a2"]
    assert len((await admin.get("/v1/agents?agent_type=performance&sort=-completed,name"))["agents"]) == 1
    keys = await admin.get("/v1/keys?agent_id=a1&status=issued&role=agent_own&sort=expires_at")
    assert len(keys["keys"]) == 1


async def test_users_webhooks_and_sessions_are_sorted_as_they_are_listed(admin: Client) -> None:
    for name in ("cem", "ann", "bob"):
        user = {"username": name, "email": f"{name}@example.com", "role": "operator"}
        assert (await admin.ask("POST", "/v1/users", user)).status_code == 201
        await admin.ask("POST", "/v1/webhooks", {"url": f"https://example.com/{name}", "kinds": ["task"]})

    async def names(path: str, of: str, field: str) -> list[str]:
        first = await admin.get(f"{path}&limit=2")
        rest = await admin.get(f"{path}&limit=2&after={quote(str(first['next']))}")
        return [row[field].removeprefix("https://example.com/") for row in (*first[of], *rest[of])]

    assert await names("/v1/users?sort=username", "users", "username") == ["ann", "bob", "cem"]
    assert await names("/v1/users?role=operator", "users", "username") == ["bob", "ann", "cem"]
    assert await names("/v1/webhooks?sort=delivered_at,created_at", "webhooks", "url") == ["cem", "ann", "bob"]
    assert (await admin.get("/v1/sessions?sort=-ends_at&fields=way")) == {"sessions": [], "next": None}
