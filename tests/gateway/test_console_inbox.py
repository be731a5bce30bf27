"""The inbox as a person sees it: a real browser, signed in by a password, on a real node whose other callers go on meanwhile."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.gateway import test_console as console
from tests.gateway.test_console import GUARD_MILLISECONDS, NASTY, Served, Watched, needs_chromium

PASSWORD = "correct horse battery"
REVIEW: dict[str, Any] = {
    "payload": {"required": ["text"]},
    "result": {
        "type": "object",
        "required": ["verdict", "mistakes", "is_final"],
        "additionalProperties": False,
        "properties": {
            "verdict": {"enum": ["good", "bad"], "title": "Your verdict"},
            "mistakes": {"type": "integer", "minimum": 0, "description": "Spelling alone."},
            "is_final": {"type": "boolean"},
            "notes": {"type": "string", "maxLength": 500},
            "tags": {"type": "array", "items": {"type": "string"}},
            "author": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            "more": {},
        },
    },
}

node, browser, patience = console.node, console.browser, console.patience


@pytest.fixture
def context(browser: Browser, node: Served) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
    context.set_default_timeout(GUARD_MILLISECONDS)
    watched = Watched(context, node.url)
    yield context
    context.close()
    assert watched.faults == []


def person(node: Served, name: str, role: str = "worker") -> None:
    body = {"username": name, "email": f"{name}@example.org", "role": role, "password": PASSWORD}
    node.ask("POST", "/v1/users", body)


def signed_in(context: BrowserContext, node: Served, name: str) -> Page:
    page = context.new_page()
    page.goto(node.url + "/#/inbox")
    page.get_by_label("Name or e-mail address").fill(name)
    page.get_by_role("textbox", name="Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator("#link")).to_have_text("Live")
    return page


def review(node: Served, **changed: Any) -> str:
    body = {
        "task_type": "verification",
        "capabilities": ["reading"],
        "payload": {"text": NASTY},
        "description": "a page",
    }
    task_id: str = node.ask("POST", "/v1/tasks", body | changed)["task_id"]
    return task_id


@needs_chromium
def test_a_person_begins_takes_asks_fills_in_the_form_and_finishes(context: BrowserContext, node: Served) -> None:
    node.ask("PUT", "/v1/task-types/verification/schemas", REVIEW)
    person(node, "uma")
    page = signed_in(context, node, "uma")
    expect(page.get_by_role("heading", name="Begin to work here")).to_be_visible()
    page.get_by_label("Skills").fill("reading")
    page.get_by_label("Hours that a task stays with you").fill("2")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#offers")).to_contain_text("Nothing waits that you could do.")
    task_id = review(node)  # it comes while she looks
    expect(page.locator("#offers tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Take a page").press("Enter")  # by the keyboard alone
    expect(page.locator("#held li")).to_contain_text("It goes back in 1 h 59 m")
    expect(page.locator("#to-inbox b")).to_have_text("1")
    expect(page.locator("#inbox-task pre").first).to_contain_text(NASTY)
    expect(page.locator("img")).to_have_count(1)  # our own sign
    page.get_by_text("Ask about it").click()
    page.get_by_label("Question").fill("whose page is it?")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#held li")).to_contain_text("Your time stands still")
    node.ask("PUT", f"/v1/tasks/{task_id}/questions/1/answer", {"answer": "Ann's"})
    expect(page.locator("#answer")).to_have_text("Ann's")
    page.get_by_text("How far it is").click()
    page.get_by_label("Percent").fill("50")
    page.get_by_role("button", name="Tell").click()
    expect(page.locator("#held progress")).to_have_attribute("value", "0.5")
    result = page.get_by_role("form", name="Result")
    result.get_by_label("Your verdict").select_option(label="good")
    result.get_by_label("mistakes").fill("3")
    result.get_by_label("notes").fill(NASTY)
    result.get_by_label("tags").fill("short\n\nclear")
    result.get_by_label("name").fill("Ann")
    result.get_by_label("more").fill('{"pages": [1, 2]}')
    result.get_by_role("button", name="Finish").click()
    expect(page.locator("#held")).to_contain_text("You have no task now.")
    row = node.ask("GET", f"/v1/tasks/{task_id}")
    assert row["result"] == {
        "verdict": "good",
        "mistakes": 3,
        "is_final": False,
        "notes": NASTY,
        "tags": ["short", "clear"],
        "author": {"name": "Ann"},
        "more": {"pages": [1, 2]},
    }


@needs_chromium
def test_what_does_not_fit_is_told_by_its_field_and_what_was_written_stays(
    context: BrowserContext, node: Served
) -> None:
    schema = REVIEW["result"] | {
        "properties": REVIEW["result"]["properties"] | {"notes": {"type": "string", "pattern": "^[a-z]+$"}}
    }
    node.ask("PUT", "/v1/task-types/verification/schemas", {"result": schema})
    person(node, "uma")
    page = signed_in(context, node, "uma")
    page.get_by_label("Skills").fill("reading")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#offers")).to_be_visible()
    task_id = review(node)
    page.get_by_role("button", name="Take a page").click()
    result = page.get_by_role("form", name="Result")
    result.get_by_label("Your verdict").select_option(label="bad")
    result.get_by_label("mistakes").fill("0")
    result.get_by_label("notes").fill("NO")
    result.get_by_role("button", name="Finish").click()
    notes = result.get_by_label("notes")
    expect(notes).to_have_attribute("aria-invalid", "true")
    expect(notes).to_be_focused()
    expect(page.locator("[id='form/result/notes-wrong']")).not_to_be_empty()
    expect(notes).to_have_value("NO")
    expect(result.get_by_label("mistakes")).to_have_value("0")
    notes.fill("no")
    result.get_by_role("button", name="Finish").click()
    expect(page.locator("#held")).to_contain_text("You have no task now.")
    assert node.ask("GET", f"/v1/tasks/{task_id}")["result"]["notes"] == "no"


@needs_chromium
def test_a_task_that_is_taken_elsewhere_is_gone_and_one_that_is_given_back_is_there(
    context: BrowserContext, browser: Browser, node: Served
) -> None:
    for name in ("uma", "vic"):
        person(node, name)
    pages = [signed_in(context, node, "uma")]
    other = browser.new_context(viewport={"width": 600, "height": 900}, locale="en-US")
    try:
        pages.append(signed_in(other, node, "vic"))
        for page in pages:
            page.get_by_label("Skills").fill("reading")
            page.get_by_role("button", name="Begin").click()
            expect(page.locator("#offers")).to_be_visible()
        uma, vic = pages
        review(node)
        expect(vic.locator("#offers tbody tr")).to_have_count(1)
        uma.get_by_role("button", name="Take a page").click()
        expect(uma.locator("#held li")).to_have_count(1)
        expect(vic.locator("#offers")).to_contain_text("Nothing waits that you could do.")
        uma.get_by_text("Give it back", exact=True).click()
        uma.locator("#say-give-back").fill("not my field")
        uma.get_by_role("button", name="Give back").click()
        expect(uma.locator("#held")).to_contain_text("You have no task now.")
        vic.get_by_role("link", name="a page").click()
        vic.get_by_text("Not for me").click()
        vic.get_by_label("Why", exact=True).fill("no time")
        vic.get_by_role("button", name="Decline").click()
        expect(vic.locator("#offers")).to_contain_text("Nothing waits that you could do.")
        expect(uma.locator("#offers tbody tr")).to_have_count(1)
    finally:
        other.close()


@needs_chromium
def test_who_has_submitted_is_asked_and_answers_and_keys_have_no_inbox(context: BrowserContext, node: Served) -> None:
    person(node, "ona", "operator")
    key = node.register("bot", capabilities=["reading"])
    task_id = review(node, bidding_seconds=60)
    node.bid(task_id, key)
    page = signed_in(context, node, "ona")
    page.get_by_role("button", name="Begin").click()
    node.ask("POST", f"/v1/tasks/{task_id}/questions", {"token": 1, "question": "which edition?"}, key)
    page.get_by_label("which edition?").fill("the second")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#questions")).to_have_count(0)
    assert node.ask("GET", f"/v1/tasks/{task_id}")["answer"] == "the second"
    page.get_by_role("link", name="Node").click()
    expect(page.locator("#agents tbody")).to_contain_text("ona")
    page.goto(node.link)
    expect(page.locator("#who")).to_contain_text("admin")
    expect(page.locator("#to-inbox")).to_have_count(0)
