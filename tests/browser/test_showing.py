"""The eyes of the other tests in a browser can see what those tests say is not there."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.browser.showing import render_card, save, violations

pytestmark = pytest.mark.browser

HERE = "http://127.0.0.1:9"
LINK = "[x](https://evil.example)"
STRICT = {"Content-Security-Policy": "default-src 'none'"}
GOOD = '<!doctype html><html lang="en"><title>Name</title><main><h1>Name</h1><label>Name <input></label></main></html>'
BAD = '<!doctype html><html lang="en"><title>Name</title><main><h1>Name</h1><input></main></html>'


def card(*body, actions=()):
    return {"type": "AdaptiveCard", "version": "1.5", "body": list(body), "actions": list(actions)}


def serve(page, html, headers=None):
    page.route(f"{HERE}/page", lambda route: route.fulfill(body=html, content_type="text/html", headers=headers))
    page.goto(f"{HERE}/page")


def test_a_link_in_a_text_block_becomes_a_link(new_page):
    page = new_page()
    render_card(page, card({"type": "TextBlock", "text": LINK}))
    assert page.get_by_role("link", name="x").get_attribute("href") == "https://evil.example"


def test_a_link_in_a_fact_becomes_a_link(new_page):
    page = new_page()
    render_card(page, card({"type": "FactSet", "facts": [{"title": "where", "value": LINK}]}))
    assert page.get_by_role("link", name="x").get_attribute("href") == "https://evil.example"


def test_a_link_in_a_text_run_stays_literal(new_page):
    page = new_page()
    render_card(page, card({"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": LINK}]}))
    assert page.get_by_text(LINK, exact=True).is_visible()
    assert page.get_by_role("link").count() == 0


def test_html_in_a_text_block_stays_literal(new_page):
    page = new_page()
    render_card(page, card({"type": "TextBlock", "text": "<b>x</b>"}))
    assert page.get_by_text("<b>x</b>", exact=True).is_visible()


def test_a_click_on_a_button_that_opens_a_page_is_recorded(new_page, foreign_requests):
    page = new_page()
    opens = {"type": "Action.OpenUrl", "title": "Look", "url": "https://medic.example/approvals/1"}
    render_card(page, card(actions=[opens]))
    page.get_by_role("link", name="Look").click()
    assert page.evaluate("window.executed") == [{"type": "Action.OpenUrl", "url": "https://medic.example/approvals/1"}]
    assert foreign_requests == []


def test_a_card_with_an_element_that_nobody_knows_fails(new_page):
    with pytest.raises(AssertionError, match="could not be drawn"):
        render_card(new_page(), card({"type": "TextBlok", "text": "x"}))


def test_a_card_can_be_looked_at(new_page, tmp_path):
    page = new_page(viewport={"width": 520, "height": 300})
    render_card(
        page,
        card(
            {"type": "TextBlock", "text": "May grant-roles run?", "size": "large", "weight": "bolder", "wrap": True},
            {"type": "TextBlock", "text": "It **asks** before it writes → nothing is sent yet.", "wrap": True},
            {
                "type": "Container",
                "style": "warning",
                "items": [{"type": "TextBlock", "text": "⚠ 1 guard did not answer", "color": "warning", "wrap": True}],
            },
            {
                "type": "FactSet",
                "facts": [
                    {"title": "Expires", "value": "in four hours"},
                    {"title": "Guards", "value": "✓ still-missing"},
                ],
            },
            {
                "type": "RichTextBlock",
                "inlines": [{"type": "TextRun", "text": f"mlw-demo/credit-scoring/{LINK}", "fontType": "monospace"}],
            },
            actions=[
                {"type": "Action.OpenUrl", "title": "Decide", "url": "https://a.example", "style": "positive"},
                {"type": "Action.OpenUrl", "title": "Details", "url": "https://b.example"},
            ],
        ),
    )
    assert violations(page) == []
    save(page, "harness-card", tmp_path)
    assert (tmp_path / "harness-card.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("headers", [None, STRICT], ids=["without a policy", "under a strict policy"])
@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param(BAD, ["critical: Form elements must have labels (label): input"], id="a missing label"),
        pytest.param(GOOD, [], id="nothing in a good page"),
    ],
)
def test_axe_finds(new_page, html, expected, headers):
    page = new_page()
    serve(page, html, headers)
    assert violations(page) == expected


def test_axe_refuses_a_page_that_may_run_no_script(new_page):
    page = new_page(java_script_enabled=False)
    serve(page, BAD)
    with pytest.raises(AssertionError, match="allow it JavaScript"):
        violations(page)


@pytest.fixture
def other_machine() -> Iterator[tuple[str, list[int]]]:
    """An address that is not ours, and the ports that asked it for a connection."""
    callers: list[int] = []
    with socket.create_server(("127.0.0.2", 0)) as server:

        def listen() -> None:
            while True:
                connection, (_, port) = server.accept()
                connection.close()
                if stopping.is_set():
                    return
                callers.append(port)

        stopping = threading.Event()
        listener = threading.Thread(target=listen)
        listener.start()
        yield "{}:{}".format(*server.getsockname()), callers
        stopping.set()
        socket.create_connection(server.getsockname()).close()
        listener.join()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        pytest.param("<img src='http://HOST/a'>", "GET http://HOST/a", id="an image"),
        pytest.param("<img src='http://127.0.0.1@HOST/a'>", "GET http://127.0.0.1@HOST/a", id="an image of a user"),
        pytest.param("<img src='/elsewhere'>", "GET http://HOST/", id="a redirect"),
        pytest.param("<script>fetch('http://HOST/a')</script>", "GET http://HOST/a", id="a fetch"),
        pytest.param("<script>new WebSocket('ws://HOST/a')</script>", "CONNECT ws://HOST/a", id="a socket"),
        pytest.param("<script>navigator.sendBeacon('http://HOST/a')</script>", "POST http://HOST/a", id="a beacon"),
        pytest.param("<script>open('http://HOST/a')</script>", "GET http://HOST/a", id="a window"),
        pytest.param("<iframe src='http://HOST/a'></iframe>", "GET http://HOST/a", id="a frame"),
        pytest.param(
            "<form method=post action='http://HOST/a'></form><script>document.forms[0].submit()</script>",
            "POST http://HOST/a",
            id="a form",
        ),
    ],
)
def test_a_request_to_a_foreign_host_is_blocked_and_recorded(new_page, foreign_requests, other_machine, html, expected):
    host, callers = other_machine
    page = new_page()
    page.route(f"{HERE}/elsewhere", lambda route: route.fulfill(status=302, headers={"Location": f"http://{host}/"}))
    serve(page, html.replace("HOST", host))
    for _ in range(500):
        if foreign_requests:
            break
        page.wait_for_timeout(10)
    page.wait_for_timeout(100)  # were it not blocked, it would arrive by now
    assert (foreign_requests, callers) == ([expected.replace("HOST", host)], [])


def test_what_the_policy_of_a_page_stops_is_no_request(new_page, foreign_requests):
    page = new_page()
    serve(page, "<img src='https://evil.example/a'><link rel=stylesheet href='https://evil.example/b'>", STRICT)
    page.wait_for_timeout(100)
    assert foreign_requests == []


def test_a_page_that_stays_on_this_machine_leaves_no_record(new_page, foreign_requests):
    page = new_page()
    serve(page, GOOD + '<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><iframe src="about:blank"></iframe>')
    assert foreign_requests == []


def test_other_tests_of_the_process_can_run_a_loop_of_their_own(request):
    request.getfixturevalue("launched_chromium")
    assert asyncio.run(asyncio.sleep(0, "ran")) == "ran"
