"""The console as its readers meet it: a real browser on a real node, in a process of its own that can be killed and started anew."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from gateway.routes.console import PAGE_BY_PATH
from solvers.formats import write_rudy
from solvers.generators import sparse_random
from tests import forks
from tests.gateway.clients import Client
from tests.gateway.identity.providers import CLIENT_ID, CLIENT_SECRET, running_provider

CHROMIUM = Path("/usr/bin/chromium")
CONSOLE = Path(__file__).parents[2] / "gateway" / "console"
GUARD_SECONDS = 120  # no assertion about speed: only that the test ends
GRAPH = write_rudy(sparse_random(10_000, 6.0, 1))
NASTY = "<img src=x onerror=alert(1)>"
GUARD_MILLISECONDS = GUARD_SECONDS * 1000
MODULES = sorted(path for path in CONSOLE.rglob("*.js") if "vendor" not in path.parts)

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")


# ---- the files


@pytest.mark.parametrize("path", ["/", "/console/app.js", "/console/style.css", "/console/icon.svg"])
async def test_the_page_is_served_to_everybody_under_a_strict_policy(admin: Client, path: str) -> None:
    answer = await admin.http.get(admin.node.url + path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    again = await admin.http.get(admin.node.url + path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["../parts.py", "..%2fparts.py", "vendor/VENDORED.md", "nothing.js", ""])
async def test_no_other_file_is_served(admin: Client, path: str) -> None:
    answer = await admin.http.get(f"{admin.node.url}/console/{path}")
    assert answer.status_code == 404


def test_the_package_holds_every_file_that_the_page_asks_for() -> None:
    for module in MODULES:
        for name in re.findall(r'from "(\.[^"]+)"', module.read_text(encoding="utf-8")):
            assert str((module.parent / name).resolve().relative_to(CONSOLE)) in PAGE_BY_PATH, f"{module}: {name}"


def test_what_is_vendored_is_what_its_note_says() -> None:
    note = (CONSOLE / "vendor" / "VENDORED.md").read_text(encoding="utf-8")
    library = (CONSOLE / "vendor" / "htm-preact.js").read_bytes()
    assert sha256(library).hexdigest() in note


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(CONSOLE).as_posix())
def test_no_markup_is_made_of_text_and_nobody_else_is_asked(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|dangerously|document\.write|\beval\b|new Function|https?://"
    )
    assert not forbidden.search(text)
    assert text.startswith("/**"), "says on its first lines what it is for"


# ---- a node to look at


class Served:
    """`gavel serve` in a process of its own, always at the same address, and its admin."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.settings = {f"GAVEL_{name.upper()}": value for name, value in settings.items()}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.bind = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self.bind}"
        self.link = ""
        self.start()

    def start(self) -> None:
        environment = {**os.environ, **self.settings, "GAVEL_DATA": str(self.data), "GAVEL_HOUSE_SOLVER": "false"}
        self.process = ExitStack()
        command = ("serve", "--bind", self.bind)
        folder = self.data.parent
        self.program, told = self.process.enter_context(
            forks.heard(forks.GAVEL, *command, folder=folder, environment=environment)
        )  # nothing happens but what a test does
        said = []
        for line in told:
            said.append(line)
            if found := re.search(r"http://\S+/session\?ticket=\S+", line):
                self.link = found[0]
                return
        pytest.fail("the node did not start:\n" + "".join(said))

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.program.send_signal(number)
        self.program.wait()
        self.process.close()

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {key or self.admin_key}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, content, headers, method=method), timeout=GUARD_SECONDS) as answer:
            return json.load(answer)

    @property
    def admin_key(self) -> str:
        return (self.data / "admin-key").read_text().strip()

    def upload(self, content: bytes) -> str:
        digest = sha256(content).hexdigest()
        headers = {"Authorization": f"Bearer {self.admin_key}"}
        urlopen(Request(f"{self.url}/v1/blobs/{digest}", content, headers, method="PUT"), timeout=GUARD_SECONDS).close()
        return digest

    def register(self, agent_id: str, **changed: Any) -> str:
        body = {"id": agent_id, "name": agent_id, "agent_type": "operations", "capabilities": ["echo"]} | changed
        key: str = self.ask("POST", "/v1/agents", body)["key"]
        return key

    def submit(self, **changed: Any) -> str:
        body = {"task_type": "analysis", "capabilities": ["echo"], "bidding_seconds": 60} | changed
        task_id: str = self.ask("POST", "/v1/tasks", body)["task_id"]
        return task_id

    def bid(self, task_id: str, key: str, **changed: Any) -> None:
        self.ask("POST", f"/v1/tasks/{task_id}/bids", {"price": 1, "eta_seconds": 2} | changed, key)

    def report(self, task_id: str, key: str, **status: Any) -> None:
        self.ask("PUT", f"/v1/tasks/{task_id}/status", {"token": 1} | status, key)

    def position(self) -> int:
        position: int = self.ask("GET", "/v1/status")["position"]
        return position


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "data")
    yield served
    served.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A browser's context in which whatever should not happen is written down."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.context = context
        self.faults: list[str] = []
        context.on("request", lambda request: self._note(not request.url.startswith(origin), f"asked {request.url}"))
        context.on("dialog", lambda dialog: self._note(True, f"a dialog: {dialog.message}"))
        context.on("weberror", lambda error: self._note(True, str(error.error)))
        context.on("console", lambda message: self._note("Security Policy" in message.text, message.text))

    def _note(self, wrong: bool, what: str) -> None:
        if wrong:
            self.faults.append(what)


@pytest.fixture
def context(browser: Browser, node: Served) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
    context.set_default_timeout(GUARD_MILLISECONDS)
    watched = Watched(context, node.url)
    yield context
    context.close()
    assert watched.faults == []


@pytest.fixture
def page(context: BrowserContext, node: Served) -> Page:
    """The console, signed in by the link that the node has printed."""
    page = context.new_page()
    page.goto(node.link)
    expect(page.locator("#link")).to_have_text("Live", timeout=GUARD_MILLISECONDS)
    return page


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=GUARD_MILLISECONDS)
    yield
    expect.set_options(timeout=5000)


def positions(page: Page) -> list[int]:
    """The positions of the events that the page shows, newest first."""
    texts = page.locator("#events tbody td:first-child").all_inner_texts()
    return [int(text.replace(",", "")) for text in texts]


def shows_all_up_to(page: Page, position: int) -> None:
    """The newest event is that of this position, and none is missing or twice."""
    expect(page.locator("#events tbody td").first).to_have_text(f"{position:,}")
    shown = positions(page)
    assert shown == list(range(position, position - len(shown), -1))


# ---- what a reader sees


@needs_chromium
def test_a_reader_is_told_how_to_sign_in_and_what_to_do_with_an_empty_node(
    context: BrowserContext, node: Served
) -> None:
    page = context.new_page()
    page.goto(node.url)
    expect(page.locator("#link")).to_have_text("Signed out")
    expect(page.locator("#sign-in")).to_contain_text("gavel keys link")
    expect(page.locator("#agents")).to_have_count(0)
    page.goto(node.link)
    expect(page.locator("#health")).to_have_text("ready")
    expect(page.locator("#sealed code")).to_have_text(node.ask("GET", "/v1/status")["checkpoint"]["root"][:12])
    expect(page.locator("#tasks pre")).to_contain_text(f"curl {node.url}/v1/tasks")
    shows_all_up_to(page, node.position())


@needs_chromium
def test_an_isolated_tenant_sees_its_own_journal_by_its_name(context: BrowserContext, node: Served) -> None:
    key = node.ask("POST", "/v1/journals", {"name": "acme"})["key"]
    page = context.new_page()
    page.goto(node.url + node.ask("POST", "/session", {}, key)["path"])
    expect(page.locator("#journal")).to_have_text("acme")
    expect(page.locator("#health")).to_have_text("ready")
    shows_all_up_to(page, 6)  # its first key; that a link was asked for, and used; the session
    page.goto(node.link)
    expect(page.locator("#position")).to_have_text(f"{node.position():,}")
    expect(page.locator("#journal")).to_have_count(0)


@pytest.fixture
def loopback_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAVEL_OPEN_LOOPBACK", "true")


@needs_chromium
@pytest.mark.usefixtures("loopback_open")
def test_that_loopback_stands_open_is_shown_for_as_long_as_it_does(page: Page) -> None:
    expect(page.locator("#open-loopback")).to_contain_text("Loopback stands open.")
    expect(page.locator("#open-loopback")).to_contain_text("as operator:loopback of the tenant default without a key")


@needs_chromium
def test_an_agent_appears_as_it_registers_its_name_stays_text_and_is_gone_after_signing_out(
    page: Page, node: Served
) -> None:
    node.register("ada", name=NASTY)
    expect(page.locator("#agents tbody")).to_contain_text(NASTY)
    expect(page.locator("#events tbody")).to_contain_text(f"{NASTY} offers echo")
    expect(page.locator("img")).to_have_count(1)  # our own sign
    page.locator("#agents tbody").get_by_role("link", name=NASTY).click()
    expect(page.locator("#detail")).to_contain_text(NASTY)
    expect(page.locator("#history li")).to_have_count(1)
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#sign-in")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text(NASTY)


@needs_chromium
def test_a_task_is_followed_from_its_call_to_its_result(page: Page, node: Served) -> None:
    slow, quick = node.register("slow"), node.register("quick")
    task_id = node.submit(description="count the stars", payload={"stars": 3})
    row = page.locator("#tasks tbody tr")
    expect(row.locator(".stage")).to_have_text("bidding")
    node.bid(task_id, slow, eta_seconds=9)
    expect(page.locator("#bids li").first).to_contain_text("slow asks 1, 9.0 s, 100 % sure")
    row.get_by_role("link", name=task_id[-8:]).click()
    expect(page.locator("#detail")).to_contain_text("count the stars")
    node.bid(task_id, quick)
    expect(row.locator(".stage")).to_have_text("awarded")
    expect(row).to_contain_text("quick")
    expect(page.locator("#why")).to_contain_text("quick scored")
    winner, loser = page.locator("[aria-label^='Bids of round'] tbody tr:not(.terms)").all()
    expect(winner).to_contain_text("won")
    expect(loser).to_contain_text("lost: outscored")
    expect(page.locator("#detail .terms").first).to_contain_text("speed 1.00")
    expect(page.locator("#explanation tbody tr").filter(has_text="outscored")).to_contain_text("speed -")
    expect(page.locator("#explanation .waits")).to_contain_text("quick has it")
    node.report(task_id, quick, status="started")
    expect(row.locator(".stage")).to_have_text("running")
    node.report(task_id, quick, status="completed", result={"answer": "forty-two"})
    expect(row.locator(".stage")).to_have_text("completed")
    expect(page.locator("#detail")).to_contain_text('"answer": "forty-two"')
    expect(page.locator("#history li")).to_have_count(7)
    expect(page.get_by_role("button", name="completed 1")).to_be_visible()


@needs_chromium
def test_a_solve_is_seen_at_work_with_its_course(page: Page, node: Served) -> None:
    digest = node.upload(GRAPH)
    problem_id = node.ask("POST", "/v1/problems", {"name": NASTY, "blob": digest})["problem_id"]
    asked = {"problem_id": problem_id, "seconds": 600, "backend": "dynex", "fallback": True}
    job_id = node.ask("POST", "/v1/solves", asked)["job_id"]
    page.goto(f"{node.url}/#/solves/{job_id}")
    detail = page.locator("#detail")
    expect(detail.locator("#history")).to_contain_text(
        "it runs on local instead: this node is not configured for dynex"
    )
    expect(detail.locator("#course path")).to_have_count(1, timeout=GUARD_MILLISECONDS)
    node.ask("DELETE", f"/v1/solves/{job_id}")
    expect(detail).to_contain_text("cancelled")
    done = node.ask("POST", "/v1/solves", {"problem_id": problem_id, "seconds": 600, "work_max": 20_000_000})["job_id"]
    page.goto(f"{node.url}/#/solves/{done}")
    expect(detail).to_contain_text("completed", timeout=GUARD_MILLISECONDS)
    kept = node.ask("GET", f"/v1/solves/{done}")["trace"]
    drawn = detail.locator("#course path").get_attribute("d") or ""
    assert drawn.count("H") == len(kept) - 1


@needs_chromium
def test_tasks_are_narrowed_by_stage_and_found_by_link(page: Page, node: Served) -> None:
    key = node.register("ada")
    done = node.submit()
    node.bid(done, key)
    waiting = node.submit(description="one thing after another")
    page.get_by_role("button", name="awarded 1").click()
    expect(page.locator("#tasks tbody tr")).to_have_count(1)
    expect(page.locator("#tasks tbody")).to_contain_text(done[-8:])
    page.get_by_role("button", name="all 2").click()
    expect(page.locator("#tasks tbody tr")).to_have_count(2)
    page.goto(f"{node.url}/#/tasks/{waiting}")
    expect(page.locator("#detail")).to_contain_text("one thing after another")
    expect(page.locator("#explanation .waits")).to_contain_text("all who have the skills are busy: ada")
    expect(page.locator("#explanation .waits").get_by_role("link", name=done[-8:])).to_be_visible()
    expect(page.locator("#explanation tbody")).to_contain_text("slots full")
    node.report(done, key, status="completed")  # what happens to another task moves this one
    expect(page.locator("#explanation .waits")).to_contain_text("round 1 is open, answers not in yet: 1 of 1")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_have_count(0)
    page.goto(f"{node.url}/#/tasks/nothing")
    expect(page.locator("#detail [role=alert]")).to_contain_text("there is no task nothing")


@needs_chromium
def test_a_queue_is_paused_and_goes_on_at_the_readers_word(page: Page, node: Served) -> None:
    expect(page.locator("#queues")).to_have_count(0)  # there is nothing to show
    node.submit(queue="night")
    row = page.locator("#queues tbody tr")
    expect(row).to_contain_text("night")
    expect(row.locator("td").nth(1)).to_have_text("1")
    row.get_by_role("textbox", name="Why").fill(NASTY)
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("paused")
    expect(row).to_contain_text(NASTY)
    expect(page.locator("#events tbody")).to_contain_text(f"nobody is called for tasks of night: {NASTY}")
    (queue,) = node.ask("GET", "/v1/queues")["queues"]
    assert (queue["paused"], queue["reason"], queue["paused_by"][:6]) == (True, NASTY, "admin:")
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("goes on")
    expect(row.get_by_role("button", name="Pause")).to_be_visible()


@needs_chromium
def test_a_keys_places_are_seen_and_its_limit_is_set_and_dropped(page: Page, node: Served) -> None:
    key = node.register("ada", slots=3)
    held, _ = (
        node.submit(concurrency={"key": "press", "limit": 1}),
        node.submit(concurrency={"key": "press", "limit": 1}),
    )
    row = page.locator("#keys tbody tr")
    expect(row).to_contain_text("1 of 1")
    expect(row.locator("td").nth(2)).to_have_text("1")
    node.bid(held, key)
    expect(row).to_contain_text("ada")
    expect(row.get_by_role("link", name=held[-8:])).to_be_visible()
    row.get_by_role("spinbutton", name="Limit").fill("2")
    row.get_by_role("button", name="Set").click()
    expect(row).to_contain_text("2 of 2")
    expect(row).to_contain_text("set by")
    row.get_by_role("button", name="Drop").click()
    expect(row).to_contain_text("2 of 1")
    expect(row.get_by_role("button", name="Drop")).to_have_count(0)


@needs_chromium
def test_who_may_not_manage_tasks_is_shown_the_queues_without_a_button(context: BrowserContext, node: Served) -> None:
    node.submit()
    key = node.ask("POST", "/v1/keys", {"role": "auditor"})["key"]
    page = context.new_page()
    page.goto(node.url + node.ask("POST", "/session", {}, key)["path"])
    expect(page.locator("#queues tbody tr")).to_contain_text("goes on")
    expect(page.locator("#queues").get_by_role("button")).to_have_count(0)


@needs_chromium
def test_events_are_paused_narrowed_and_opened(page: Page, node: Served) -> None:
    key = node.register("ada")
    expect(page.locator("#events tbody")).to_contain_text("AgentRegistered")
    page.get_by_role("button", name="Pause").click()
    before = positions(page)
    task_id = node.submit()
    node.bid(task_id, key)
    expect(page.locator("#tasks tbody .stage")).to_have_text("awarded")
    resume = page.get_by_role("button", name=f"Resume ({node.position() - before[0]} new)")
    expect(resume).to_be_visible()
    assert positions(page) == before
    resume.click()
    shows_all_up_to(page, node.position())
    page.get_by_label("Kind of event").select_option("task.TaskAwarded")
    expect(page.locator("#events tbody tr")).to_have_count(1)
    page.locator("#events tbody a").click()
    expect(page.locator("#detail pre")).to_contain_text(f'"task_id": "{task_id}"')
    award = node.ask("GET", f"/v1/log?stream=task-{task_id}")["records"][-1]
    assert award["cause"].startswith("@")
    page.locator("#detail").get_by_role("link", name=award["cause"]).click()
    expect(page.locator("#detail")).to_contain_text("task.BidPlaced")


# ---- who signs in


@needs_chromium
def test_a_user_signs_in_with_the_keyboard_alone_and_out_again(browser: Browser, node: Served) -> None:
    password = "correct horse battery"
    user = {"username": "ann", "email": "ann@example.org", "role": "operator", "password": password}
    node.ask("POST", "/v1/users", user)
    context = browser.new_context(color_scheme="dark")
    watched = Watched(context, node.url)
    page = context.new_page()
    page.goto(node.url)
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    page.get_by_label("Name or e-mail address").focus()
    for text, key in (("ann", "Tab"), ("wrong horse battery", "Enter")):
        page.keyboard.type(text)
        page.keyboard.press(key)
    expect(page.get_by_role("alert")).to_have_text("name or password is wrong")
    expect(page.get_by_label("Name or e-mail address")).to_have_value("ann")
    page.get_by_label("Password", exact=True).focus()
    page.keyboard.press("Control+a")
    page.keyboard.type(password)
    assert page.get_by_label("Password", exact=True).evaluate("one => getComputedStyle(one).colorScheme") in {
        "dark",
        "light dark",
    }
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#who")).to_contain_text(", operator")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible()
    expect(page.locator("#who")).to_have_count(0)
    context.close()
    assert watched.faults == []


@needs_chromium
def test_a_browser_comes_back_from_an_identity_provider_of_another_site_signed_in(
    browser: Browser, tmp_path: Path
) -> None:
    with running_provider() as provider:
        served = Served(
            tmp_path / "data",
            oidc_issuer=provider.url,
            oidc_client_id=CLIENT_ID,
            oidc_client_secret=CLIENT_SECRET,
            oidc_default_role="auditor",
            oidc_name="the IdP",
            identity_insecure="true",
        )
        context = browser.new_context()
        context.set_default_timeout(GUARD_MILLISECONDS)
        policy: list[str] = []
        context.on("console", lambda message: policy.append(message.text) if "Policy" in message.text else None)
        page = context.new_page()
        page.goto(served.url)
        page.get_by_role("link", name="Sign in with the IdP").click()
        expect(page.locator("#link")).to_have_text("Live")
        expect(page.locator("#who")).to_contain_text(", auditor")
        page.get_by_role("button", name="Sign out").click()
        there = page.get_by_role("link", name="sign out of the IdP, too")
        assert (there.get_attribute("href") or "").startswith(f"{provider.url}/logout?")
        # a path that needs the cookie at once: it comes along, although the browser is from elsewhere
        page.goto(f"{served.url}/session/oidc?next=/v1/me")
        expect(page.locator("body")).to_contain_text('"principal":"user:')
        context.close()
        served.end(signal.SIGTERM)
        assert policy == []


# ---- when the node can't be heard


@needs_chromium
def test_a_page_that_was_cut_off_says_so_and_then_misses_nothing(page: Page, node: Served) -> None:
    node.register("ada")
    shows_all_up_to(page, node.position())
    expect(page.locator("#agents tbody")).to_contain_text("ada")
    page.context.route("**/*", lambda route: route.abort("internetdisconnected"))
    page.context.set_offline(True)  # ends what is open; loopback is reached even so
    expect(page.locator("#link")).to_have_text("Disconnected")
    expect(page.locator("#stale")).to_contain_text(re.compile(r"What you see is .+ old"))
    for name in ("grace", "edsger", "barbara"):
        node.register(name)
    expect(page.locator("#agents tbody")).not_to_contain_text("grace")
    page.context.unroute_all()
    page.context.set_offline(False)
    expect(page.locator("#link")).to_have_text("Live")
    expect(page.locator("#stale")).to_have_count(0)
    expect(page.locator("#agents tbody")).to_contain_text("grace")
    shows_all_up_to(page, node.position())


@needs_chromium
def test_a_killed_node_leaves_a_stale_page_that_comes_back_with_the_node(page: Page, node: Served) -> None:
    node.register("ada")
    expect(page.locator("#agents tbody")).to_contain_text("ada")
    node.end()
    expect(page.locator("#link")).to_have_text("Disconnected")
    expect(page.locator("#health")).to_have_text("not heard")
    expect(page.locator("#agents tbody")).to_contain_text("ada")  # old, but said to be
    node.start()
    expect(page.locator("#link")).to_have_text("Live")  # sessions outlive the node
    node.register("grace")
    expect(page.locator("#agents tbody")).to_contain_text("grace")
    shows_all_up_to(page, node.position())
