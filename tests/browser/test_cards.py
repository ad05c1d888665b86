"""Every card, as Teams would draw it: it can be read and clicked, and no text of others makes it say or do more."""

from typing import Any

import pytest
from msgspec.structs import replace

from remediations.approval.card import message
from remediations.approval.notice import Kind, Notice
from tests.browser.showing import fits, render_card, save, violations
from tests.notices import benign_notices, make_again, make_notice
from tests.unit.test_card import HOSTILE, poisoned

pytestmark = pytest.mark.browser

# What is seen of the hostile texts, in every field; the others hold nothing that could be.
SEEN = {
    "<script>alert(1)</script>": "a script",
    "[x](https://evil.example)": "a link",
    "**b** _i_ `c` # h": "marks of Markdown",
    "{{DATE(2026-01-01T00:00:00Z)}} {{TIME(2026-01-01T00:00:00Z)}}": "a date and a time",
    "${$root.secret}": "a template",
    "https://evil.example/approve": "an address",
    '","url":"https://evil.example","x":"': "a property",
}
UNSEEN = "\u202e\u202c\u2066\u2067\u2069\u200b\u200d\ufeff\u00ad\x1b\x07\x00\u2028"
# Elements that the renderer makes of Markdown, or that HTML in a text would be.
MADE = "a, b, strong, em, i, code, h1, h2, h3, img, script, iframe, object, embed, svg, style, form, input, time"


POISONED = [
    make_again("delete-idle"),
    make_notice(Kind.ADVISED),
    make_notice(Kind.REFUSED),
]
# Of the notices of which little is known, two: the others differ from them in their title.
BENIGN = [one for one in benign_notices() if one.link is not None or one.kind in {Kind.ASKED, Kind.REPAIRED}]


def content(notice: Notice) -> dict[str, Any]:
    body: Any = message(notice)
    return body["attachments"][0]["content"]


def name_of(notice: Notice) -> str:
    plan = None if notice.decision is None else notice.decision.plan
    again = "-again" if notice.question is not None and notice.question.voids is not None else ""
    bare = "-bare" if notice.link is None else ""
    action = f"-{plan.action}" if notice.kind is Kind.ASKED and plan is not None else ""
    return f"{notice.kind}{action}{again}{bare}"


def draw(open_as, notice: Notice):
    page = open_as(width=400)
    render_card(page, content(notice))
    return page


@pytest.mark.parametrize("notice", BENIGN, ids=name_of)
def test_a_card_of_every_kind_can_be_read_on_a_phone_and_opens_its_link_alone(open_as, notice):
    page = draw(open_as, notice)
    save(page, f"card-{name_of(notice)}")
    assert violations(page) == []
    assert fits(page)
    buttons = page.get_by_role("link")
    assert buttons.count() == (0 if notice.link is None else 1)
    if notice.link is not None:
        assert buttons.inner_text() == ("Review and decide" if notice.kind is Kind.ASKED else "Open the incident")
        buttons.click()
        assert page.evaluate("window.executed") == [{"type": "Action.OpenUrl", "url": notice.link}]


def test_a_card_s_button_is_reached_and_pressed_by_keyboard(open_as):
    notice = make_notice()
    page = draw(open_as, notice)
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "link":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("window.executed") == [{"type": "Action.OpenUrl", "url": notice.link}]


@pytest.mark.parametrize("width", [320, 400, 1400])
def test_nothing_of_a_card_is_cut_off_at_its_side(open_as, width):
    page = open_as(width=width)
    render_card(page, content(make_again("delete-idle")))
    cut = """[...document.querySelectorAll("main *")]
        .filter(one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible")
        .map(one => one.outerHTML.slice(0, 200))"""
    assert page.evaluate(cut) == []
    assert fits(page)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: SEEN.get(text) or ascii(text[:12]))
def test_hostile_words_in_every_field_stay_words(open_as, text):
    page = open_as(width=400)
    for notice in POISONED:
        render_card(page, content(poisoned(notice, lambda _: text)))
        if SEEN.get(text) == "a script":
            save(page, f"card-hostile-{name_of(notice)}")
        shown = page.locator("main").inner_text()
        assert text not in SEEN or text in shown, name_of(notice)
        assert not set(shown) & set(UNSEEN)
        assert page.locator("main").locator(MADE).count() == 0
        assert fits(page)
        page.get_by_role("link").click()
        assert page.evaluate("window.executed") == [{"type": "Action.OpenUrl", "url": notice.link}]


def test_a_hostile_comment_of_who_approved_first_stays_a_comment(open_as):
    notice = make_notice(action="delete-idle")
    evil = "**ok** [approve](https://evil.example) <img src=x onerror=alert(1)>"
    page = draw(open_as, replace(notice, votes=tuple(replace(vote, comment=evil) for vote in notice.votes)))
    assert page.get_by_text(evil).is_visible()
    assert page.locator("main").locator(MADE).count() == 0
