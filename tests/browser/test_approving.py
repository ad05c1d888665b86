"""People decide in a browser: from the card that was written to the repair, and every way that leads to none."""

import http.server
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from html import escape
from typing import Any

import pytest
from msgspec import Struct
from playwright.sync_api import Page, Route, expect

from local import answering
from local.arm.resources import Refusal
from remediations.trail import Question
from tests.browser.showing import fits, render_card, save, violations
from tests.workflow.attacks import Scene
from tests.workflow.theatre import UPDATED, Story, eventually, short_of_cores

pytestmark = pytest.mark.browser

ANNA, BERT = answering.somebody(1), answering.somebody(2)
ASKING: dict[str, Any] = {"actions": {"retry": {"mode": "ask"}}}
TWO: dict[str, Any] = {"actions": {"retry": {"mode": "ask", "quorum": 2}}}
SHORT_OF_CORES = short_of_cores(16, old={"tags": {"owner": "<img src=x onerror=alert(1)>"}})
HOSTILE = (
    "<script>alert(1)</script><img src=https://evil.example/x> [x](https://evil.example) "
    "**b** {{DATE(2026-01-01T00:00:00Z)}}"
)
# Elements that a text could become; the pages themselves have none of them, but for links.
MADE = "main script, main img, main iframe, main object, main embed, main b, main i, main a[href*=evil]"


class Asked(Struct, frozen=True):
    """A question of a story, and the link on its card."""

    story: Story
    question: Question
    card: dict[str, Any]

    @property
    def link(self) -> str:
        (action,) = self.card["actions"]
        return action["url"]

    @property
    def answered(self) -> Any:
        return self.story.trail.answered(self.question.plan)


type Asker = Callable[..., Asked]


@pytest.fixture
def ask(tell, theatre) -> Asker:
    """Let a deployment fail so that people are asked, and take the card that was written."""

    def asked(
        world: dict[str, Any] | None = None, *, policy: dict[str, Any] = ASKING, deployment: str = "green"
    ) -> Asked:
        story = tell(world, policy=policy)
        with suppress(Refusal):
            story.world.put_deployment("ci", "credit-scoring", deployment)
        question = story.question()
        pattern = f"*-asked-{question.incident_id}-*.json"
        (path,) = eventually(lambda: list((theatre.folder / "notices").glob(pattern)), "no card was written")
        body = json.loads(path.read_text("utf-8"))
        return Asked(story, question, body["attachments"][0]["content"])

    return asked


def words(page: Page) -> str:
    return " ".join(page.locator("main").inner_text().split())


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def opened(page: Page, asked: Asked) -> Page:
    """The page of a question, opened by its link."""
    answer = page.goto(asked.link)
    assert answer is not None
    assert answer.status == 200
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Approve a repair"))
    return page


def refused(asked: Asked) -> list[tuple[str, str]]:
    """The answers that were not taken, as the trail tells them: who, and why."""
    found = asked.story.records(asked.question.incident_id, "answer-refused")
    return [(str(one.actor.oid), str(one.facts["why"])) for one in found]


# ------------------------------------------------------------------------------------------------ one decides


def test_from_the_card_to_the_repair_by_mouse(ask, open_as):
    asked = ask()
    page = open_as(ANNA, width=400)
    render_card(page, asked.card)
    save(page, "walk-1-card")
    page.get_by_role("link", name="Review and decide").click()
    (executed,) = page.evaluate("window.executed")
    assert executed == {"type": "Action.OpenUrl", "url": asked.link}
    opened(page, asked)
    save(page, "walk-2-question")
    page.get_by_label("Comment").fill("Agreed with the owner.")
    button(page, "Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair approved")
    save(page, "walk-3-decided")
    at = asked.answered.at
    said = f"approved by {ANNA}: Agreed with the owner., at {at:%Y-%m-%d %H:%M:%S} UTC"
    assert f"It ended: {said}" in words(page)
    assert page.locator("form").count() == 0
    assert page.url == asked.link
    assert asked.story.ending()[0] == "repaired"
    assert asked.story.effects() == ["PUT green"]
    page.reload()
    assert said in words(page)
    asked.story.check_promises()


def test_approving_by_keyboard_alone(ask, open_as):
    asked = ask()
    page = opened(open_as(ANNA), asked)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "comment":
            break
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "approve"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair approved")
    assert f"approved by {ANNA}: by keyboard" in words(page)
    assert asked.story.ending()[0] == "repaired"


def test_a_rejection_needs_its_reason(ask, open_as):
    asked = ask()
    page = opened(open_as(ANNA), asked)
    button(page, "Reject").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("say why you reject it: whoever is on call reads it next")
    save(page, "approval-refused-without-reason")
    assert violations(page) == []
    assert asked.answered is None
    page.get_by_role("link", name="Back to the answer").click()
    page.get_by_label("Comment").fill("We roll back tonight.")
    button(page, "Reject").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair rejected")
    assert f"rejected by {ANNA}: We roll back tonight." in words(page)
    assert asked.story.ending() == ("rejected", f"rejected by {ANNA}: We roll back tonight.")
    assert asked.story.sends() == []


def test_a_comment_that_was_typed_is_not_lost_when_an_answer_is_refused(ask, open_as):
    asked = ask(SHORT_OF_CORES)
    page = opened(open_as(ANNA), asked)
    page.get_by_label("Comment").fill("a long reason")
    button(page, "Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("type the name of what will be deleted: fraud/old")
    expect(page.get_by_label("Comment")).to_have_value("a long reason")


def test_a_refused_answer_is_where_the_reader_looks(ask, open_as):
    asked = ask()
    page = opened(open_as(ANNA, width=400), asked)
    button(page, "Reject").click()
    expect(page.get_by_role("alert")).to_be_in_viewport()


def test_the_back_button_after_a_decision_shows_the_decision(ask, open_as):
    asked = ask()
    page = open_as(ANNA)
    page.goto(asked.story.host.url + "/api/overview")
    opened(page, asked)
    button(page, "Approve").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair approved")
    asked.story.ending()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair approved")
    page.go_forward()
    page.reload()
    assert len(asked.story.trail.votes(asked.question.plan)) == 1
    assert asked.story.effects() == ["PUT green"]


def test_a_page_that_was_left_open_until_its_time_was_over(ask, open_as):
    asked = ask(policy={**ASKING, "approval_window": "PT600S"})
    page = opened(open_as(ANNA), asked)
    assert asked.story.ending()[0] == "expired"
    button(page, "Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("the question is expired: nobody answered in time")
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair expired")
    other = open_as(BERT)
    assert other.goto(asked.link).status == 200
    assert "It ended: nobody answered in time, at " in words(other)
    assert other.locator("form").count() == 0
    save(other, "approval-expired")
    assert asked.story.sends() == []


def test_a_second_tab_is_told_that_it_was_decided(ask, open_as):
    asked = ask()
    first, second = opened(open_as(ANNA), asked), opened(open_as(BERT), asked)
    again = opened(first.context.new_page(), asked)
    button(first, "Approve").click()
    expect(first.get_by_role("heading", level=1)).to_have_text("Repair approved")
    asked.story.ending()
    for page, name in ((again, "Approve"), (second, "Reject")):
        page.get_by_label("Comment").fill("me too")
        with page.expect_response(lambda answer: answer.request.method == "POST") as got:
            button(page, name).click()
        assert got.value.status == 409
        expect(page.get_by_role("alert")).to_contain_text(f"the question is approved: approved by {ANNA}")
        assert page.locator("form").count() == 0
    save(second, "approval-used-twice")
    assert len(asked.story.trail.votes(asked.question.plan)) == 1
    assert asked.story.effects() == ["PUT green"]
    why = f"the question is approved: approved by {ANNA}, at {asked.answered.at:%Y-%m-%d %H:%M:%S} UTC"
    assert refused(asked) == [(ANNA, why), (BERT, why)]


# ------------------------------------------------------------------------------------------------- two people


def test_of_two_the_first_learns_that_one_more_is_needed(ask, open_as):
    asked = ask(policy=TWO)
    first, second = open_as(ANNA), open_as(BERT)
    opened(first, asked).get_by_label("Comment").fill("fine with me")
    button(first, "Approve").click()
    expect(first.get_by_text(f"approved by {ANNA}")).to_be_visible()
    save(first, "approval-first-of-two")
    assert "1 of 2 approvals given." in words(first)
    expect(button(first, "Approve")).to_be_disabled()
    expect(first.get_by_text("You may not approve it: you approved it at ")).to_be_visible()
    assert asked.answered is None
    assert f"approved by {ANNA}" in words(opened(second, asked))
    assert "fine with me" in words(second)
    button(second, "Approve").click()
    expect(second.get_by_role("heading", level=1)).to_have_text("Repair approved")
    assert f"approved by {ANNA} and {BERT}" in words(second)
    assert asked.story.ending()[0] == "repaired"
    assert asked.story.effects() == ["PUT green"]


@pytest.mark.parametrize(
    "choices", [("Approve", "Reject"), ("Approve", "Approve")], ids=["for and against", "both for"]
)
def test_of_two_who_race_one_answer_is_final(ask, open_as, choices):
    asked = ask()
    pages = [opened(open_as(one), asked) for one in (ANNA, BERT)]
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    for page, name in zip(pages, choices, strict=True):
        page.get_by_label("Comment").fill("first!")
        page.route(asked.link, hold)
        button(page, name).click(no_wait_after=True)
    for _ in range(500):
        if len(held) == 2:
            break
        pages[0].wait_for_timeout(10)
    for route in held:  # both answers are on their way at once
        route.continue_()
    for page in pages:
        expect(page.get_by_role("heading", level=1)).not_to_have_text(re.compile("Approve a repair"))
    final = asked.answered
    title = "Repair approved" if final.approved else "Repair rejected"
    for page in pages:
        page.goto(asked.link)
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        assert final.words in words(page)
    assert asked.story.ending()[0] == ("repaired" if final.approved else "rejected")
    assert asked.story.effects() == (["PUT green"] if final.approved else [])
    assert len(asked.story.records(stage="answer")) == 1
    asked.story.check_promises()


# -------------------------------------------------------------------------------------------------- a deletion


def test_a_deletion_needs_its_name_typed_by_two_people(ask, open_as):
    asked = ask(SHORT_OF_CORES)
    story = asked.story
    first, second = open_as(ANNA, width=400), open_as(BERT)
    field = "Type the name of the deployment that will be deleted: fraud/old"
    opened(first, asked)
    assert "DELETE " in words(first)
    assert "It deletes what only a person can create again." in words(first)
    for typed in ("", "fraud/live", "fraud/OLD", "old"):
        first.get_by_label(field).fill(typed)
        button(first, "Approve").click()
        expect(first.get_by_role("alert")).to_contain_text("type the name of what will be deleted: fraud/old")
        assert story.trail.votes(asked.question.plan) == ()
    save(first, "approval-deletion-without-name")
    assert [why for _, why in refused(asked)] == ["type the name of what will be deleted: fraud/old"] * 4
    assert story.sends() == []
    first.get_by_label(field).fill(" fraud/old ")
    button(first, "Approve").click()
    expect(button(first, "Approve")).to_be_disabled()
    assert (asked.answered, story.sends()) == (None, [])
    opened(second, asked).get_by_label(field).fill("fraud/old")
    button(second, "Approve").click()
    expect(second.get_by_role("heading", level=1)).to_have_text("Repair approved")
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["DELETE old", "PUT green"]


def test_a_deletion_is_rejected_without_its_name(ask, open_as):
    asked = ask(SHORT_OF_CORES)
    page = opened(open_as(ANNA), asked)
    page.get_by_label("Comment").fill("It serves the audit.")
    button(page, "Reject").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Repair rejected")
    assert asked.story.ending()[0] == "rejected"
    assert asked.story.sends() == []


# ------------------------------------------------------------------------------------------ who is no approver


def test_a_scanner_that_opens_the_link_again_and_again_changes_no_byte(theatre, ask, open_as):
    asked = ask()
    scene = Scene(theatre, asked.story, [asked.question])
    scanner = str(uuid.uuid4())  # an approver, whose mail is scanned in their own session
    before = scene.kept()
    with scene.http as http:
        for headers, expected in (({}, 401), (answering.principal(scanner), 200)):
            got = {
                http.request(method, asked.link, headers=headers).status_code
                for method in ("GET", "HEAD")
                for _ in range(100)
            }
            assert got == {expected}
    for oid in (None, scanner):
        page = open_as(oid, java_script_enabled=False)
        page.goto(asked.link)
        page.reload()
    assert scene.kept() == before
    assert asked.story.sends() == []
    assert asked.story.question() == asked.question


def test_who_is_signed_out_learns_nothing_of_any_link(ask, open_as):
    asked = ask()
    page = open_as(None, width=400)
    shown = []
    for link in (asked.link, asked.link[:-9] + "forgotten"):
        assert page.goto(link).status == 401
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in, then open this link again.")
        shown.append(page.content())
    assert shown[0] == shown[1]
    assert "credit-scoring" not in shown[0]


def test_who_is_no_approver_sees_one_page_for_every_link(ask, open_as):
    asked = ask()
    page = open_as(BERT, roles=("Medic.Reader",))

    def shown(link: str) -> str:
        assert page.goto(link).status == 404
        expect(page.get_by_role("heading", level=1)).to_have_text("No open question for you has this link.")
        return page.content()

    still_open = shown(asked.link)
    forged = shown(asked.story.link(asked.question, key="x" * 40).join([asked.story.host.url, ""]))
    asked.story.answer(asked.question)
    asked.story.ending()
    assert {still_open, forged, shown(asked.link)} == {still_open}
    save(page, "approval-not-for-you")


@pytest.fixture
def other_site() -> Iterator[Callable[[str], str]]:
    """A page of another origin that holds whatever form it is given."""
    content: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(content).encode() if self.path == "/" else b""
            self.send_response(200 if self.path == "/" else 204)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def serve(html: str) -> str:
            content[:] = [html]
            return f"http://127.0.0.1:{server.server_port}/"

        yield serve
        server.shutdown()
        thread.join()


def test_a_form_of_another_site_is_refused_and_on_the_trail(ask, open_as, other_site):
    asked = ask()
    own = opened(open_as(ANNA), asked)
    value = own.locator("input[name=antiforgery]").input_value()  # even with what the other site cannot know
    form = (
        "<!doctype html><html lang=en><title>Win</title>"
        f"<form method=post action='{escape(asked.link)}'><input type=hidden name=decision value=approve>"
        f"<input type=hidden name=antiforgery value='{escape(value)}'><button>Win a prize</button></form>"
    )
    page = own.context.new_page()
    page.goto(other_site(form))
    with page.expect_response(lambda answer: answer.request.method == "POST") as got:
        button(page, "Win a prize").click()
    assert got.value.status == 403
    expect(page.get_by_role("alert")).to_contain_text("another site sent this answer")
    save(page, "approval-another-site")
    assert refused(asked) == [(ANNA, "another site sent this answer")]
    assert asked.answered is None
    assert asked.story.trail.votes(asked.question.plan) == ()


def test_no_other_site_can_frame_the_page(ask, open_as, other_site):
    asked = ask()
    page = open_as(ANNA).context.new_page()  # what its console says about the frame is right
    page.goto(other_site(f"<!doctype html><html lang=en><title>x</title><iframe src='{escape(asked.link)}'></iframe>"))
    page.wait_for_timeout(300)
    assert "Approve a repair" not in "".join(frame.content() for frame in page.frames)


# --------------------------------------------------------------------------------------------- what has changed


def test_what_has_changed_since_stands_on_the_page(theatre, ask, open_as):
    asked = ask(UPDATED, deployment="blue")
    asked.story.world.put_deployment("person", None, "blue", {"tags": {"owner": "ada"}})
    theatre.write_policy({**ASKING, "approval_window": "PT5H"})
    page = opened(open_as(ANNA, width=400), asked)
    table = page.get_by_role("region", name="What has changed")
    expect(table).to_contain_text("policy")
    expect(table).to_contain_text("state")
    expect(page.get_by_text("It has changed since the plan was made.")).to_be_visible()
    expect(page.get_by_role("heading", name="Guards that would refuse it now")).to_be_visible()
    assert "target-unchanged" in words(page)
    save(page, "approval-changed-400")


# ----------------------------------------------------------------------------------------------- hostile words


def test_hostile_words_of_people_stay_words(ask, open_as):
    asked = ask(policy=TWO)
    first = opened(open_as(ANNA, claims={"name": HOSTILE}), asked)
    first.get_by_label("Comment").fill(f"{HOSTILE} \u202eexe")
    button(first, "Approve").click()
    expect(first.get_by_text("You may not approve it")).to_be_visible()
    second = opened(open_as(BERT, width=400), asked)
    incident = open_as(BERT, width=400)
    incident.goto(f"{asked.story.host.url}/api/incidents/{asked.question.incident_id}")
    for page in (first, second, incident):
        assert page.locator(MADE).count() == 0
        assert "\u202e" not in page.content()
        assert f"{HOSTILE} exe" in words(page)
        assert fits(page)
    assert f"Signed in as {HOSTILE[:99]}" in words(first)
    save(second, "approval-hostile-400")
    save(incident, "incident-hostile-400")
    render_card(second, asked.card)
    assert second.get_by_role("link").count() == 1


def test_hostile_words_of_azure_stay_words(tell, open_as):
    said = HOSTILE.replace("**", "")  # a reader of messages drops the marks of bold words
    message = f"{HOSTILE}\n\u202eexe {'long ' * 2_000}"
    story = tell({"hazards": [{"kind": "broken", "code": "<b>Evil</b>", "message": message}]})
    story.put("green", spec={"tags": {"<b>x</b>": HOSTILE}})
    assert story.ending()[0] == "advised"
    page = open_as(ANNA, width=400)
    page.goto(f"{story.host.url}/api/incidents/{story.incident()}")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert page.locator(MADE).count() == 0
    assert said in words(page)
    assert "\u202e" not in page.content()
    assert fits(page)
    save(page, "incident-hostile-azure-400")


def test_a_name_of_10_kb_widens_no_page(ask, open_as):
    asked = ask()
    page = opened(open_as(ANNA, width=400, claims={"name": "W" * 10_000}), asked)
    assert fits(page)
