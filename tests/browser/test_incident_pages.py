"""Every page, as people see it: on a phone and on a wide screen, in light and in dark, by keyboard, and over time."""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Page, expect

from local import answering
from local.arm.resources import Refusal
from remediations.model import End, Mode, Operation
from remediations.policy import Pause, Scope
from remediations.register import Kind, Line
from remediations.trail import Result, Slot
from tests.browser.showing import fits, save, violations
from tests.workflow.theatre import Story, Theatre, eventually

pytestmark = pytest.mark.browser

ANNA, BERT = answering.somebody(1), answering.somebody(2)
ASKING: dict[str, Any] = {"actions": {"retry": {"mode": "ask", "backoff": "PT1S"}}}
LONG = "recommendations-of-returning-eu"
BLUE = {"name": "blue"}
WORLD: dict[str, Any] = {
    "workspaces": [
        {
            "name": "mlw-demo",
            "endpoints": [
                {"name": "credit-scoring", "traffic": {"blue": 100}, "deployments": [BLUE]},
                {"name": "churn", "traffic": {"blue": 100}, "deployments": [BLUE]},
                {"name": "prices", "traffic": {"blue": 100}, "deployments": [BLUE]},
                {"name": LONG, "deployments": [BLUE]},
                {"name": "quotes"},
                {
                    "name": "fraud",
                    "traffic": {"live": 100},
                    "deployments": [
                        {"name": "live", "age": 8_640_000},
                        {
                            "name": "old",
                            "age": 8_640_000,
                            "spec": {
                                "tags": {"medic-delete": "allow"},
                                "properties": {"environmentVariables": {"FEATURE_STORE_URL": "x", "LIMIT": "7"}},
                            },
                        },
                    ],
                },
            ],
        }
    ],
    "usages": [
        {"name": "Standard DSv2 Family Cluster Dedicated vCPUs", "used": 48, "limit": 50},
        {"name": "Total Cluster Dedicated Regional vCPUs", "used": 48, "limit": 100},
    ],
    "failed_update_shows": "new",
    "hazards": [
        *(
            {"kind": "higher-priority", "endpoint": name, "remaining": 1}
            for name in ("credit-scoring", "churn", "prices")
        ),
        {
            "kind": "broken",
            "endpoint": LONG,
            "code": "ResourceNotReady",
            "message": "User container has crashed or terminated: ModuleNotFoundError: No module named 'lightgbm'.",
        },
    ],
}
UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true })"
LOOKS = [(width, scheme) for width in (400, 1400) for scheme in ("light", "dark")]
# What a keyboard has to reach; what is folded away is not there for it.
REACHABLE = """[...document.querySelectorAll(
    "a[href], button:enabled, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
)].filter(one => one.checkVisibility())"""
FOCUSED = f"""() => {{
    const focused = document.activeElement, style = getComputedStyle(focused);
    return {{
        index: {REACHABLE}.indexOf(focused),
        isBody: focused === document.body,
        outlined: (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2)
            || (focused.type === "date" && !focused.matches(":focus-visible")), // its calendar has the browser's own
        what: focused.outerHTML.slice(0, 120),
    }};
}}"""


class View(NamedTuple):
    """A page of the stage: where, what it answers, and for whom."""

    path: str
    status: int = 200
    oid: str | None = ANNA
    roles: tuple[str, ...] = ("Medic.Approver",)


class Stage(NamedTuple):
    """Incidents of every kind at once, and the pages that show them."""

    story: Story
    views: dict[str, View]


def fill_register(story: Story) -> None:
    """Two hundred incidents of the last month, and what holds some actions back."""
    dice, now, trail = random.Random(7), datetime.now(UTC), story.trail
    causes = ("quota-cpu", "canceled-higher-priority", "acr-authorization", "identity-missing-acrpull", None)
    for number in range(200):
        failed_at = now - timedelta(minutes=20 + dice.randrange(29 * 24 * 60))
        seconds = dice.lognormvariate(3, 1)
        at = failed_at + timedelta(seconds=5)
        fields: dict[str, Any] = {
            "incident": f"inc-{number:024x}",
            "resource": story.resource.replace("credit-scoring", f"model-{number % 9}") + "/deployments/blue",
            "operation": dice.choice([Operation.WRITE, Operation.WRITE, Operation.DELETE, Operation.SCORE]),
            "failed_at": failed_at,
        }
        trail.register.note(Line(at=at, kind=Kind.OPENED, mode=dice.choice([*Mode]), **fields))
        end, cause = dice.choice([*End, *[End.REPAIRED] * 6]), dice.choice(causes)
        ended = Line(
            at=at + timedelta(seconds=seconds * 8),
            kind=Kind.ENDED,
            end=end,
            opened_at=at,
            diagnosed_at=at + timedelta(seconds=seconds),
            cause_id=cause,
            action="retry" if cause else None,
            effects=int(end is End.REPAIRED),
            **fields,
        )
        trail.register.note(ended)
    pause = Pause(until=now + timedelta(hours=3), reason="migration of the shop", scope=Scope(workspace="mlw-shop*"))
    trail.pause(pause, "stage")
    for number in range(3):
        result = Result(at=now - timedelta(minutes=number), end=End.NOT_REPAIRED, cause_id="acr-authorization")
        trail.record_result(story.subscription, "sync-keys", f"r{number}", result)
    for number in range(4):
        slot = Slot(plan=f"p{number}", incident_id="inc-0")
        trail.take_budget(story.subscription, "sync-keys", now, slot, 10)


def play(theatre: Theatre) -> Stage:
    story = theatre.tell(WORLD, policy={**ASKING, "approval_window": "PT40H"})
    story.world.start()
    for endpoint, name in [
        ("credit-scoring", "blue"),
        ("churn", "blue"),
        ("prices", "blue"),
        (LONG, "blue"),
        ("quotes", "green"),
    ]:
        with suppress(Refusal):
            story.world.put_deployment("ci", endpoint, name, {"tags": {"release": "2026.11"}})

    def asked() -> dict[str, Any]:
        names = {one.incident.id: one.incident.resource.endpoint for one in story.incidents()}
        found = {names[one.incident_id]: one for one in story.trail.open_questions()}
        return found if len(found) == 4 else {}

    questions = eventually(asked, lambda: f"four questions were not asked:\n{story.said()}")
    story.answer(questions["churn"], comment="Agreed with the owner.")
    story.answer(questions["quotes"], oid=BERT)
    story.world.put_deployment("person", "prices", "blue", {"tags": {"owner": "ada"}})
    fill_register(story)
    incidents = {one.incident.resource.endpoint: one.incident.id for one in story.incidents()}
    over = [incidents["churn"], incidents[LONG]]
    eventually(lambda: all(story.trail.ended(one) is not None for one in over), "two incidents did not end")
    links = {name: story.link(one) for name, one in questions.items()}
    views = {
        "overview": View("/api/overview"),
        "incidents": View("/api/incidents"),
        "incidents-of-late": View("/api/incidents?days=3"),
        "incidents-none": View("/api/incidents?cause=nothing-like-it"),
        "incidents-bad-filter": View("/api/incidents?days=100", 400),
        "incident-waiting": View(f"/api/incidents/{incidents['credit-scoring']}"),
        "incident-repaired": View(f"/api/incidents/{incidents['churn']}"),
        "incident-advised": View(f"/api/incidents/{incidents[LONG]}"),
        "approval-retry": View(links["credit-scoring"]),
        "approval-delete-idle": View(links["quotes"]),
        "approval-changed": View(links["prices"]),
        "approval-decided": View(links["churn"]),
        "signed-out": View(links["credit-scoring"], 401, oid=None),
        "no-role": View("/api/overview", 403, roles=("Medic.Submit",)),
        "no-incident": View("/api/incidents/inc-000000000000000000000000", 404),
    }
    return Stage(story, views)


NAMES = [
    "overview",
    "incidents-of-late",
    "incidents-none",
    "incidents-bad-filter",
    "incident-waiting",
    "incident-repaired",
    "incident-advised",
    "approval-retry",
    "approval-delete-idle",
    "approval-changed",
    "approval-decided",
    "signed-out",
    "no-role",
    "no-incident",
]


@pytest.fixture(scope="module")
def stages() -> Iterator[list[Stage]]:
    made: list[Stage] = []
    yield made
    for stage in made:
        stage.story.world.close()


@pytest.fixture
def stage(theatre, stages) -> Stage:
    """The stage; set up anew where another story cleared it."""
    if not stages or stages[-1].story.trail.incidents() == [] or not stages[-1].story.incidents():
        stages.append(play(theatre))
    return stages[-1]


@pytest.fixture
def show(stage, open_as) -> Callable[..., Page]:
    """Open a page of the stage."""

    def shown(name: str, **options: Any) -> Page:
        view = stage.views[name]
        page = open_as(view.oid, roles=view.roles, **options)
        answer = page.goto(f"{stage.story.host.url}{view.path}")
        assert answer.status == view.status
        return page

    return shown


def words(page: Page) -> str:
    return " ".join(page.locator("main").inner_text().split())


# -------------------------------------------------------------------------------------------------- every page


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_fit_for_every_screen(show, name):
    page = show(name)
    found: list[str] = []
    for is_unfolded in (False, True):
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            problems = violations(page) if is_unfolded else []
            problems += [] if fits(page) else ["it scrolls sideways"]
            found += [f"{width} {scheme}: {problem}" for problem in problems]
            if not is_unfolded:
                save(page, f"page-{name}-{width}-{scheme}")
        page.evaluate(UNFOLD)
    assert found == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"incidents-none", "no-role", "no-incident"}])
def test_every_page_is_used_by_keyboard(show, name):
    page = show(name, width=1400)
    expected = page.evaluate(f"{REACHABLE}.length")
    reached: list[int] = []
    for _ in range(2 * expected + 20):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused["isBody"]:
            break
        assert focused["index"] >= 0, focused["what"]
        assert focused["outlined"], focused["what"]
        if focused["index"] not in reached:
            reached.append(focused["index"])
        elif reached[-1] != focused["index"]:
            break  # once round
    assert reached == list(range(expected))


@pytest.mark.parametrize("name", ["overview", "approval-retry", "signed-out"])
def test_the_first_key_leads_past_the_navigation(show, name):
    page = show(name, width=400)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


# ------------------------------------------------------------------------------------------- overview and list


def test_the_overview_shows_what_needs_somebody_first(show, stage):
    page = show("overview", width=400)
    headings = page.get_by_role("heading", level=2).all_inner_texts()
    assert headings[0] == "Waits for a person 3"
    page.locator("section").filter(has_text="Waits for a person").get_by_role("link").first.click()
    expect(page.get_by_text("A person is asked")).to_be_visible()
    page.get_by_role("link", name="Look at it and answer").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Approve a repair?")


def test_each_plot_has_a_text_and_a_table_of_the_same_numbers(show):
    page = show("overview")
    for name, rows in (("Incidents per day, by how they ended", 30), ("Time from failure to diagnosis", 2)):
        plot = page.get_by_role("img", name=name)
        expect(plot).to_be_visible()
        assert plot.evaluate("one => one.tagName") == "svg"
        assert plot.evaluate("one => one.querySelectorAll('desc').length") == 1
        figure = page.locator("figure").filter(has=plot)
        figure.get_by_text("The same in numbers").click()
        assert figure.get_by_role("row").count() >= rows
    total = page.locator("figure").first.locator("tbody td:last-child").all_inner_texts()
    assert sum(map(int, total)) >= 200
    page.emulate_media(media="print")
    expect(page.get_by_role("img", name="Incidents per day")).to_be_visible()


def test_the_list_is_narrowed_by_keyboard_alone(show):
    page = show("incidents")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "f-state":
            break
    page.keyboard.type("waiting")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("canceled-higher-priority")
    page.keyboard.press("Enter")
    page.wait_for_url("**/api/incidents?state=waiting*")
    expect(page.get_by_text("2 incidents")).to_be_visible()
    expect(page.get_by_label("State")).to_have_value("waiting")
    expect(page.get_by_label("Cause")).to_have_value("canceled-higher-priority")
    assert page.get_by_role("row").count() == 3


def test_a_bad_filter_is_told_and_can_be_mended(show):
    page = show("incidents-bad-filter", width=400)
    expect(page.get_by_role("alert")).to_contain_text("days is to be a whole number from 1 to 93; it is '100'.")
    page.get_by_label("Last days").fill("93")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("alert").count() == 0
    assert page.get_by_role("row").count() == 51


def test_a_filter_that_finds_nothing_says_so(show):
    assert "No incident of this time is so." in words(show("incidents-none"))


def test_pages_of_the_list_lead_on_and_back(show):
    page = show("incidents", width=400)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("page 2 of 5")).to_be_visible()
    page.get_by_role("link", name="Newer").click()
    expect(page.get_by_text("page 1 of 5")).to_be_visible()


# ------------------------------------------------------------------------------------------------ by themselves


@pytest.fixture
def waiting(tell) -> Story:
    """A story whose only incident waits for a person."""
    story = tell(policy=ASKING)
    story.put()
    story.question()
    return story


def opened(open_as, story: Story) -> Page:
    page = open_as(ANNA, width=400)
    page.goto(f"{story.host.url}/api/incidents/{story.incident()}")
    expect(page.locator(".pill").first).to_have_text("waits for a person")
    page.evaluate("window.isTheSame = true")
    return page


def test_a_running_incident_shows_its_end_by_itself(open_as, waiting):
    page = opened(open_as, waiting)
    summary = page.locator("summary").last
    summary.focus()
    page.keyboard.press("Enter")
    place = summary.inner_text()
    scrolled = page.evaluate("window.scrollY")
    assert scrolled > 0
    assert waiting.answer(waiting.question()).is_success
    assert waiting.ending()[0] == "repaired"
    expect(page.locator(".pill").first).to_have_text("repaired", timeout=15_000)
    assert page.evaluate("window.isTheSame") is True
    assert page.evaluate("document.activeElement.tagName + document.activeElement.innerText") == f"SUMMARY{place}"
    assert page.evaluate("document.activeElement.parentElement.open") is True
    assert page.evaluate("window.scrollY") == scrolled
    assert page.locator("main[data-refresh]").count() == 0
    save(page, "incident-refreshed-400")


def test_the_focus_stays_on_a_link_while_the_page_shows_what_is_new(open_as, waiting):
    page = opened(open_as, waiting)
    page.get_by_role("link", name="Audit records").focus()
    waiting.answer(waiting.question())
    expect(page.locator(".pill").first).to_have_text("repaired", timeout=15_000)
    expect(page.get_by_role("link", name="Audit records")).to_be_focused()


def test_a_page_without_a_script_can_be_reloaded_by_hand(open_as, waiting):
    page = open_as(ANNA, java_script_enabled=False)
    page.goto(f"{waiting.host.url}/api/incidents/{waiting.incident()}")
    waiting.answer(waiting.question())
    waiting.ending()
    page.get_by_role("link", name="Reload").click()
    expect(page.locator(".pill").first).to_have_text("repaired")


def test_with_no_incident_the_pages_say_so(tell, open_as):
    story = tell()
    page = open_as(ANNA, width=400)
    page.goto(f"{story.host.url}/api/overview")
    for said in ("Nothing waits.", "Nothing runs.", "No pause and no freeze holds.", "No action is held."):
        assert said in words(page)
    assert violations(page) == []
    save(page, "empty-overview-400")
    page.goto(f"{story.host.url}/api/incidents")
    assert "0 incidents" in words(page)
    assert violations(page) == []
    save(page, "empty-incidents-400")
