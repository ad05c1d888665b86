"""What a person would see: a card as Teams draws it, a screenshot, and what stands in the way of a screen reader."""

import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route

from tests.conftest import ROOT

PACKAGES = ROOT / ".tools/browser/node_modules"
# Where pictures for the people who review are kept; unset, none are taken: drawing 240 pages costs a minute.
SCREENSHOTS = os.environ.get("MEDIC_SCREENSHOTS")
AXE = "axe-core/axe.min.js"
SCRIPTS = {
    "adaptivecards.min.js": "adaptivecards/dist/adaptivecards.min.js",
    "markdown-it.umd.min.js": "markdown-it/dist/browser/markdown-it.umd.min.js",
}

# Nobody listens on port 9: the page and its scripts come from files.
CARD = "http://127.0.0.1:9/card"
CARD_PAGE = f"""<!doctype html>
<html lang="en">
<title>Card</title>
<style>
  body {{ background: #f5f5f5; margin: 16px }}
  main {{ background: #fff; border: 1px solid #d1d1d1; border-radius: 4px; max-width: 480px; overflow-wrap: anywhere }}
  .ac-pushButton {{ background: #fff; border: 1px solid #d1d1d1; border-radius: 4px; color: #242424; cursor: pointer;
    font: 600 14px "Segoe UI", system-ui, sans-serif; padding: 6px 12px }}
  .ac-pushButton.style-positive {{ background: #5b5fc7; border-color: #5b5fc7; color: #fff }}
  .ac-pushButton.style-destructive {{ color: #c4314b }}
  a {{ color: #4f52b2 }}
</style>
<main></main>
{"".join(f'<script src="/card/{name}"></script>' for name in SCRIPTS)}
</html>"""


_COLORS = {
    "default": {"default": "#242424", "subtle": "#616161"},
    "dark": {"default": "#242424", "subtle": "#616161"},
    "light": {"default": "#616161", "subtle": "#616161"},
    "accent": {"default": "#4f52b2", "subtle": "#4f52b2"},
    "good": {"default": "#0e700e", "subtle": "#0e700e"},
    "warning": {"default": "#835c00", "subtle": "#835c00"},
    "attention": {"default": "#b10e1c", "subtle": "#b10e1c"},
}
_FONT = {
    "fontSizes": {"small": 12, "default": 14, "medium": 14, "large": 18, "extraLarge": 24},
    "fontWeights": {"lighter": 400, "default": 400, "bolder": 600},
}
# Near to Teams in its light theme; Microsoft's own is not among the package's files.
HOST_CONFIG: dict[str, Any] = {
    "textBlock": {"headingLevel": 2},
    "supportsInteractivity": True,
    "spacing": {"small": 8, "default": 12, "medium": 16, "large": 20, "extraLarge": 24, "padding": 16},
    "separator": {"lineThickness": 1, "lineColor": "#e0e0e0"},
    "fontTypes": {
        "default": {"fontFamily": "'Segoe UI', system-ui, sans-serif", **_FONT},
        "monospace": {"fontFamily": "Consolas, 'DejaVu Sans Mono', monospace", **_FONT},
    },
    "lineHeights": {"small": 16, "default": 20, "medium": 20, "large": 24, "extraLarge": 32},
    "containerStyles": {
        style: {"backgroundColor": background, "foregroundColors": _COLORS}
        for style, background in {
            "default": "#ffffff",
            "emphasis": "#f5f5f5",
            "accent": "#e8ebfa",
            "good": "#e7f2da",
            "warning": "#fbf6d9",
            "attention": "#fcf4f6",
        }.items()
    },
    "actions": {
        "maxActions": 6,
        "spacing": "default",
        "buttonSpacing": 8,
        "showCard": {"actionMode": "inline", "inlineTopMargin": 16},
        "actionsOrientation": "horizontal",
        "actionAlignment": "left",
    },
    "factSet": {
        "title": {"weight": "bolder", "wrap": True, "maxWidth": 150},
        "value": {"wrap": True},
        "spacing": 16,
    },
}

# Without onProcessMarkdown the renderer would show Markdown as it is written, and no test could see a link appear.
RENDER = """([json, hostConfig]) => {
    const markdown = markdownit({html: false});
    AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
        result.outputHtml = markdown.render(text);
        result.didProcess = true;
    };
    window.executed = [];
    const card = new AdaptiveCards.AdaptiveCard();
    card.hostConfig = new AdaptiveCards.HostConfig(hostConfig);
    card.onExecuteAction = action =>
        window.executed.push({type: action.getJsonTypeName(), url: action.url ?? null});
    const context = new AdaptiveCards.SerializationContext();
    card.parse(json, context);
    const complaints = [];
    for (let i = 0; i < context.eventCount; i++) complaints.push(context.getEventAt(i).message);
    const drawn = card.render();
    if (drawn) document.querySelector("main").replaceChildren(drawn);
    else complaints.push("nothing was drawn");
    return complaints;
}"""


def save(page: Page, name: str, folder: str | Path | None = SCREENSHOTS) -> None:
    """Keep a picture of the whole page for the people who review, in the folder that MEDIC_SCREENSHOTS names."""
    if folder is not None:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def render_card(page: Page, card: dict[str, Any]) -> None:
    """Draw an Adaptive Card as Teams would; what is clicked on it is then in `window.executed`.

    Its Markdown is that of markdown-it, which knows more than Teams does: what stays literal here stays literal there.
    """

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(CARD).removeprefix("/")
        if name in SCRIPTS:
            route.fulfill(body=_read(SCRIPTS[name]), content_type="text/javascript; charset=utf-8")
        else:
            route.fulfill(body=CARD_PAGE, content_type="text/html; charset=utf-8")

    page.route(f"{CARD}**", answer)
    page.goto(CARD)
    complaints = page.evaluate(RENDER, [card, HOST_CONFIG])
    assert not complaints, f"the card could not be drawn as it is: {'; '.join(complaints)}"


def fits(page: Page) -> bool:
    """Tell whether nothing makes a page scroll sideways, once its style sheet is there."""
    page.wait_for_load_state("load")
    is_narrow: bool = page.evaluate("document.scrollingElement.scrollWidth <= document.scrollingElement.clientWidth")
    return is_narrow


def violations(page: Page) -> list[str]:
    """Give what axe holds to be serious or critical, one line for each element."""
    # What evaluate() brings in is under no Content-Security-Policy: the page is judged as it was served.
    silent = page.evaluate("matchMedia('(scripting: none)').matches")
    assert not silent, "axe would wait for ever in a page that may run no script: allow it JavaScript"
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(f"{_read(AXE)}; null")
    # Without preload: axe would otherwise fetch style sheets by itself.
    found = page.evaluate("axe.run({preload: false})")
    return [
        f"{rule['impact']}: {rule['help']} ({rule['id']}): {' '.join(map(str, node['target']))}"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]


def _read(script: str) -> str:
    path = PACKAGES / script
    assert path.exists(), f"{script} is not installed: run `make setup`"
    return path.read_text(encoding="utf-8")
