"""A card becomes a page: every element is shown, and nothing in it is ever more than text."""

import re
from html.parser import HTMLParser

import pytest

from remediations.approval import card
from remediations.approval.rendering import page
from remediations.model import Json
from tests.notices import benign_notices

HOSTILE = "<script>alert(1)</script> \" ' onload=x & {{ 7*7 }} {% raw %} <img src=x onerror=y>"


class Parsed(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def links(self) -> list[str | None]:
        return [attributes.get("href") for tag, attributes in self.tags if tag == "a"]


def shown(*body, actions=()) -> Parsed:
    return Parsed(page({"type": "AdaptiveCard", "body": list(body), "actions": list(actions)}))


def text_block(text="Hello", **changes):
    return {"type": "TextBlock", "text": text, **changes}


def open_url(url, title="Open", **changes):
    return {"type": "Action.OpenUrl", "title": title, "url": url, **changes}


def inside(parsed: Parsed, tag: str) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in parsed.tags if name == tag]


# ---------------------------------------------------------------------------------------------------- elements


@pytest.mark.parametrize(
    ("element", "texts"),
    [
        pytest.param(text_block("One line"), ["One line"], id="TextBlock"),
        pytest.param(
            {"type": "RichTextBlock", "inlines": ["plain, ", {"type": "TextRun", "text": "bold", "weight": "Bolder"}]},
            ["plain, bold"],
            id="RichTextBlock",
        ),
        pytest.param({"type": "Container", "items": [text_block("within")]}, ["within"], id="Container"),
        pytest.param(
            {
                "type": "ColumnSet",
                "columns": [
                    {"type": "Column", "width": "auto", "items": [text_block("left")]},
                    {"type": "Column", "width": 2, "items": [text_block("right")]},
                ],
            },
            ["left", "right"],
            id="ColumnSet",
        ),
        pytest.param(
            {"type": "FactSet", "facts": [{"title": "Cause", "value": "evicted"}]}, ["Cause", "evicted"], id="FactSet"
        ),
        pytest.param(
            {
                "type": "Table",
                "columns": [{"width": 1}],
                "rows": [
                    {"type": "TableRow", "cells": [{"type": "TableCell", "items": [text_block("Guard")]}]},
                    {"type": "TableRow", "cells": [{"type": "TableCell", "items": [text_block("allow")]}]},
                ],
            },
            ["Guard", "allow"],
            id="Table",
        ),
        pytest.param({"type": "ActionSet", "actions": [open_url("https://x.example")]}, ["Open"], id="ActionSet"),
        pytest.param({"type": "Media", "sources": []}, ["Media, not shown here"], id="an element not known"),
        pytest.param({"text": "x"}, ["no type, not shown here"], id="an element without a type"),
        pytest.param(
            {"type": "RichTextBlock", "inlines": [{"type": "IconRun"}]},
            ["IconRun, not shown here"],
            id="a run not known",
        ),
        pytest.param(
            {"type": "ActionSet", "actions": [{"type": "Action.Submit", "title": "Send"}]},
            ["Send (Action.Submit, not shown here)"],
            id="an action not known",
        ),
    ],
)
def test_every_element_is_shown(element, texts):
    parsed = shown(element)
    for text in texts:
        assert text in parsed.text


def test_a_table_has_a_header_unless_it_says_not():
    rows: list[Json] = [{"cells": [{"items": [text_block(name)]}]} for name in ("head", "body")]
    assert len(inside(shown({"type": "Table", "rows": rows}), "th")) == 1
    assert inside(shown({"type": "Table", "rows": rows, "firstRowAsHeader": False}), "th") == []


def test_looks_are_classes():
    (attributes,) = inside(shown(text_block(size="Large", weight="Bolder", color="Attention", isSubtle=True)), "p")
    assert attributes["class"] == "text size-large weight-bolder color-attention issubtle"


@pytest.mark.parametrize(
    ("width", "css"),
    [
        ("auto", "0 1 auto"),
        ("stretch", "1 1 0"),
        (None, "1 1 0"),
        (3, "3 1 0"),
        ("2", "2 1 0"),
        ("50px", "0 0 50px"),
        ("50px; background: url(x)", "1 1 0"),
        (-1, "1 1 0"),
    ],
)
def test_a_column_is_as_wide_as_it_says(width, css):
    parsed = shown({"type": "ColumnSet", "columns": [{"type": "Column", "width": width, "items": []}]})
    assert [one["style"] for one in inside(parsed, "div") if "style" in one] == [f"flex: {css}"]


def test_a_heading_is_a_heading():
    assert len(inside(shown(text_block(style="heading")), "h2")) == 1


def test_a_teams_message_is_every_card_in_it():
    cards: list[Json] = [
        {"content": {"type": "AdaptiveCard", "body": [text_block(name)]}} for name in ("first", "second")
    ]
    parsed = Parsed(page({"type": "message", "attachments": [*cards, None, {"content": "x"}]}))
    assert len(inside(parsed, "main")) == 2
    assert "second" in parsed.text


@pytest.mark.parametrize(
    ("body", "title"),
    [
        pytest.param([text_block("Repaired")], "Repaired", id="the first text"),
        pytest.param(
            [{"type": "Container", "items": [{"type": "ColumnSet", "columns": [{"items": [text_block("In")]}]}]}],
            "In",
            id="a text deep inside",
        ),
        pytest.param([{"type": "FactSet", "facts": []}, text_block("Later")], "Later", id="a text after others"),
        pytest.param([], "Endpoint Medic", id="no text"),
    ],
)
def test_the_title_is_the_headline(body, title):
    assert f"<title>{title}</title>" in page({"type": "AdaptiveCard", "body": body})


@pytest.mark.parametrize("card", [{}, {"body": None}, {"body": [None, 7, "x"]}, {"attachments": []}, {"body": {}}])
def test_what_is_no_card_is_an_empty_page(card):
    assert "<title>Endpoint Medic</title>" in page(card)


# ----------------------------------------------------------------------------------------------------- hostile


def test_a_page_may_do_nothing():
    text = page({"body": []})
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert 'name="viewport"' in text
    assert "{%" not in text
    assert "{{" not in text


@pytest.mark.parametrize(
    "element",
    [
        text_block(HOSTILE),
        text_block(HOSTILE, style="heading"),
        {"type": "RichTextBlock", "inlines": [HOSTILE]},
        {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": HOSTILE}]},
        {"type": "FactSet", "facts": [{"title": HOSTILE, "value": "x"}]},
        {"type": "FactSet", "facts": [{"title": "x", "value": HOSTILE}]},
        {"type": "Table", "rows": [{"cells": [{"items": [text_block(HOSTILE)]}]}]},
        {"type": "ActionSet", "actions": [open_url("https://x.example", HOSTILE)]},
        {"type": "ActionSet", "actions": [{"type": HOSTILE, "title": "x"}]},
        {"type": HOSTILE},
        {"type": "RichTextBlock", "inlines": [{"type": HOSTILE}]},
    ],
)
def test_hostile_text_stays_text(element):
    parsed = shown(element)
    assert HOSTILE in parsed.text
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "img"})
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


@pytest.mark.parametrize("name", ["size", "weight", "color", "style", "spacing", "fontType"])
@pytest.mark.parametrize("element", [text_block(), {"type": "Container", "items": []}, {"type": "FactSet"}])
def test_hostile_looks_are_none(element, name):
    hostile = shown({**element, name: 'x" onclick="y'}, {**element, name: ["x"]})
    assert hostile.tags == shown(element, element).tags


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/api/approvals",
        "https:",
        'https://x.example/" onclick="y',
        "https://x.example/a b",
        "\x01https://x.example",
        "",
        None,
        7,
    ],
)
def test_only_http_is_a_link(url):
    parsed = shown({"type": "ActionSet", "actions": [open_url(url)]}, actions=[open_url(url)])
    assert parsed.links == []
    assert parsed.text.count("Open (Action.OpenUrl, not shown here)") == 2


@pytest.mark.parametrize("url", ["https://medic.example/api/approvals/a.b-c?x=1&y=2", "http://127.0.0.1:7071/api"])
def test_a_link_is_what_the_card_says(url):
    parsed = shown(actions=[open_url(url), open_url(url, title="")])
    assert parsed.links == [url, url]
    assert all(attributes["rel"] == "noopener noreferrer" for tag, attributes in parsed.tags if tag == "a")


def test_a_text_keeps_its_lines_and_its_markdown():
    parsed = shown(text_block("**not bold**\n[a](https://x.example)"))
    assert "**not bold**\n[a](https://x.example)" in parsed.text
    assert parsed.links == []


def test_a_text_begins_where_its_element_does():
    assert re.search(
        r">plain, </span><span class=\"weight-bolder\">bold</span></p>",
        page(
            {
                "body": [
                    {
                        "type": "RichTextBlock",
                        "inlines": ["plain, ", {"type": "TextRun", "text": "bold", "weight": "bolder"}],
                    }
                ]
            }
        ),
    )


def test_a_real_card_is_shown_whole():
    for notice in benign_notices():
        text = page(card.message(notice))
        assert "not shown here" not in text
        assert "<title>Endpoint Medic</title>" not in text
