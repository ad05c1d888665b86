"""People ask for an undo in a browser: from the incident's page to the approval of somebody else."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from local import answering
from tests.browser.showing import fits, save, violations
from tests.workflow.theatre import Story, short_of_cores

pytestmark = pytest.mark.browser

ANNA, BERT = answering.somebody(1), answering.somebody(2)
HOSTILE = "<script>alert(1)</script><img src=https://evil.example/x> **b** \u202egnp.exe"
_NAMED = {"properties": {"environmentVariables": {"FEATURE_STORE_URL": "x", "LOG_LEVEL": "info"}}}


@pytest.fixture
def deleted(tell) -> tuple[Story, str]:
    """A story in which a deployment with environment variables was deleted for its cores."""
    world: dict[str, Any] = {**short_of_cores(16, old=_NAMED), "operation_seconds": 0.05}
    story = tell(world, policy={"actions": {"delete-idle": {"quorum": 1}}})
    story.world.put_deployment("ci", "credit-scoring", "green")
    assert story.answer(story.question()).status_code == 200
    assert story.ending()[0] == "repaired"
    return story, story.incident()


def opened(page: Page, story: Story, path: str) -> Page:
    answer = page.goto(story.host.url + path)
    assert answer is not None
    assert answer.status == 200
    return page


def test_an_undo_is_asked_for_and_approved_by_somebody_else(deleted, open_as):
    story, incident = deleted
    story.world.delete_deployment("person", "credit-scoring", "green")  # makes room
    page = opened(open_as(ANNA), story, f"/api/incidents/{incident}")
    page.get_by_role("link", name="Undo…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo")
    expect(page.get_by_text("these environment variables")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="FEATURE_STORE_URL").first).to_be_visible()
    save(page, "undo")
    assert violations(page) == []
    page.get_by_label("Why is it to be undone?").fill(HOSTILE)
    page.get_by_role("button", name="Ask for this undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mlw-demo/fraud/old")
    expect(page.locator("main")).to_contain_text("asked for it: <script>alert(1)</script>")
    assert page.locator("main script, main img").count() == 0
    save(page, "undo-incident")
    question = story.question()
    approval = opened(open_as(BERT), story, story.link(question))
    expect(approval.get_by_role("heading", level=1)).to_have_text("Approve an undo?")
    expect(approval.locator("main")).to_contain_text(f"{ANNA} asked for its undo")
    assert violations(approval) == []
    own = opened(open_as(ANNA), story, story.link(question))
    expect(own.get_by_role("button", name="Approve", exact=True)).to_be_disabled()
    approval.get_by_role("button", name="Approve", exact=True).click()
    expect(approval.get_by_role("heading", level=1)).to_have_text("Undo approved")
    assert "repaired" in [str(one.end) for one in story.endings(2)]
    again = opened(open_as(ANNA), story, f"/api/incidents/{incident}")
    expect(again.get_by_role("link", name=question.incident_id)).to_be_visible()
    expect(again.get_by_role("link", name="Undo…")).to_have_count(0)
    assert violations(again) == []


def test_a_reader_is_offered_nothing(deleted, open_as):
    story, incident = deleted
    page = open_as(BERT, roles=("Medic.Reader",))
    expect(opened(page, story, f"/api/incidents/{incident}").get_by_role("link", name="Undo…")).to_have_count(0)
    opened(page, story, f"/api/incidents/{incident}/undo")
    expect(page.get_by_text("You may not ask for it: policy does not list you")).to_be_visible()
    assert page.locator("form").count() == 0


@pytest.mark.parametrize("width", [360, 1400])
def test_a_wish_without_a_reason_is_told_and_nothing_spills_over(deleted, open_as, width):
    story, incident = deleted
    page = opened(open_as(ANNA, width=width), story, f"/api/incidents/{incident}/undo")
    field = page.get_by_label("Why is it to be undone?")
    field.evaluate("field => field.removeAttribute('required')")
    field.fill("   ")
    page.get_by_role("button", name="Ask for this undo").click()
    expect(page.get_by_role("alert")).to_contain_text("say why it is to be undone")
    assert fits(page)
    assert violations(page) == []
    assert len(story.incidents()) == 1
