"""The reference page as its readers meet it: a real browser, a real node, the strict policy, and nobody else's files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.gateway import documented
from tests.gateway.clients import Client
from tests.gateway.in_thread import node_in_thread
from tests.gateway.test_console import GUARD_MILLISECONDS, Watched, browser, needs_chromium, patience

__all__ = ["browser", "patience"]


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The reference page of a node, in which whatever should not happen is written down."""
    with node_in_thread(tmp_path) as (admin, _):
        context = browser.new_context(viewport={"width": 1300, "height": 900}, locale="en-US")
        context.set_default_timeout(GUARD_MILLISECONDS)
        watched = Watched(context, admin.node.url)
        page = context.new_page()
        page.goto(f"{admin.node.url}/reference")
        yield page
        context.close()
        assert watched.faults == []


async def test_everybody_may_open_it(admin: Client) -> None:
    answer = await admin.http.get(f"{admin.node.url}/reference")
    assert answer.status_code == 200
    assert "require-trusted-types-for 'script'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text
    assert "style=" not in answer.text


def all_codes() -> set[str]:
    return {code["code"] for part in documented.document()["x-problems"] for code in part["codes"]}


@needs_chromium
def test_a_reader_finds_every_operation_channel_and_problem(page: Page) -> None:
    found: Any = page.locator("nav a")
    count = sum(len(item) for item in documented.document()["paths"].values())
    expect(found).to_have_count(count + len(documented.asyncapi()["channels"]) + len(all_codes()))
    expect(page.locator("#entry-title")).to_contain_text("Gavel")

    # by the keyboard alone
    page.keyboard.press("/")
    page.keyboard.type("submit task")
    expect(page.locator("nav [role=status]")).to_contain_text("found")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#entry-title")).to_have_text("Takes a task on")
    expect(page.locator("#entry .address")).to_have_text("POST/v1/tasks")
    expect(page.locator("#entry")).to_contain_text("operator")
    expect(page.locator("#entry table")).to_contain_text("Idempotency-Key")
    command = page.locator("#entry pre").first
    expect(command).to_contain_text("curl -X POST")
    expect(command).to_contain_text('"task_type":"analysis"')
    page.get_by_role("button", name="least", exact=True).click()
    expect(command).to_contain_text("monitoring")
    expect(page.locator("#entry .members").first).to_contain_text("budget_seconds")

    # a failure, and who else fails so
    page.locator("#entry summary", has_text="422").click()
    page.locator("#entry").get_by_role("link", name="skill_unknown").click()
    expect(page.locator("#entry")).to_contain_text("urn:gavel:problem:skill_unknown")
    page.locator("#entry").get_by_role("link", name="POST /v1/tasks").click()
    expect(page.locator("#entry-title")).to_have_text("Takes a task on")

    # what is told as it happens
    page.locator("#search").fill("")
    page.locator("nav").get_by_role("link", name="WS agent").click()
    expect(page.locator("#entry")).to_contain_text("gavel.v1.msgpack")
    page.locator("#entry summary", has_text="The task is the agent's: report").click()
    expect(page.locator("#entry details[open]")).to_contain_text("inputs_left_out")

    # in the dark, and again
    page.get_by_label("Theme").select_option("dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    for entry in (
        "operations/get_task",
        "operations/put_blob",
        "operations/get_blob",
        "channels/feed",
        "channels/feed_events",
    ):
        page.goto(f"{page.url.partition('#')[0]}#/{entry}")
        expect(page.locator("#entry-title")).not_to_contain_text("Gavel")
