"""An Adaptive Card -> a page that shows it: what people would see in Teams, for a folder and for mail.

Texts stand as they are: Markdown in them is not read. Whatever the card holds, the page runs nothing, loads nothing and
links to nothing but http and https. What this does not know it shows by the name of its type.
https://adaptivecards.io/explorer/
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from remediations import codec
from remediations.model import Json

if TYPE_CHECKING:
    from jinja2 import Template

_LINK = re.compile(r"https?://[^\s\\\"'<>]+", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{1,20}")
_WIDTH = re.compile(r"(\d{1,4})(px)?")


def page(card: Mapping[str, Json]) -> str:
    """Give a page for a card, or for every card of a Teams message."""
    attached = card.get("attachments")
    envelopes = attached if isinstance(attached, list) else [{"content": card}]
    cards = [content for one in envelopes if isinstance(one, dict) and isinstance(content := one.get("content"), dict)]
    return _template().render(cards=cards, title=_title(cards) or "Endpoint Medic")


@cache
def _template() -> "Template":
    from jinja2 import Environment  # noqa: PLC0415 - no cold start shows a card

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(objects=_objects, runs=_runs, link=_link, look=_look, flex=_flex)
    return environment.from_string(_PAGE)


def _objects(value: Json) -> list[dict[str, Json]]:
    """Give the items of a list that are objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _runs(value: Json) -> list[dict[str, Json]]:
    """Give the runs of a rich text: a text alone is one without looks."""
    plain = value if isinstance(value, list) else []
    return _objects([{"type": "TextRun", "text": item} if isinstance(item, str) else item for item in plain])


def _link(value: Json) -> str | None:
    """Give a URL that may stand in a link, or None."""
    return value if isinstance(value, str) and _LINK.fullmatch(value) else None


def _look(element: Mapping[str, Json]) -> str:
    """Give the classes of an element's looks: ``size-large color-attention``."""
    names = ("size", "weight", "color", "style", "spacing", "fontType")
    flags = ("isSubtle", "separator", "italic", "strikethrough", "underline", "highlight")
    chosen = [f"{name}-{value}" for name in names if _WORD.fullmatch(value := codec.text(element.get(name)))]
    return " ".join((*chosen, *(flag for flag in flags if element.get(flag) is True))).lower()


def _flex(width: Json) -> str:
    """Give how wide a column is, in CSS."""
    if width == "auto":
        return "0 1 auto"
    given = _WIDTH.fullmatch(str(width))
    if given is None:
        return "1 1 0"
    return f"0 0 {given[0]}" if given[2] else f"{given[1]} 1 0"


def _title(cards: list[dict[str, Json]]) -> str:
    """Give the first text of the first card: its headline."""
    waiting = _objects(cards[0].get("body")) if cards else []
    while waiting:
        element = waiting.pop(0)
        if element.get("type") == "TextBlock" and codec.text(element.get("text")):
            return codec.text(element["text"])
        waiting = [*_objects(element.get("items")), *_objects(element.get("columns")), *waiting]
    return ""


_PAGE = """\
{% macro several(items) %}
{% for item in items|objects %}
{{ element(item) }}
{% endfor %}
{% endmacro %}
{% macro inline(run) -%}
{% if run['type'] == 'TextRun' -%}
<span class="{{ run|look }}">{{ run['text'] }}</span>
{%- else %}{{ unknown(run) }}{% endif %}
{%- endmacro %}
{% macro action(one) %}
{% set url = one['url']|link %}
{% if one['type'] == 'Action.OpenUrl' and url %}
<a class="action {{ one|look }}" href="{{ url }}" rel="noopener noreferrer">{{ one['title'] or url }}</a>
{% else %}
<span class="action unknown">{{ one['title'] }} ({{ one['type'] or 'no type' }}, not shown here)</span>
{% endif %}
{% endmacro %}
{% macro actions(list) %}
{% if list|objects %}
<p class="actions">
{% for one in list|objects %}
{{ action(one) }}
{% endfor %}
</p>
{% endif %}
{% endmacro %}
{% macro unknown(item) -%}
<span class="unknown">{{ item['type'] or 'no type' }}, not shown here</span>
{%- endmacro %}
{% macro cell(one, name) %}
<{{ name }} class="{{ one|look }}">{{ several(one['items']) }}</{{ name }}>
{% endmacro %}
{% macro element(item) %}
{% set kind = item['type'] %}
{% if kind == 'TextBlock' %}
{% if item['style'] == 'heading' %}
<h2 class="text {{ item|look }}">{{ item['text'] }}</h2>
{% else %}
<p class="text {{ item|look }}">{{ item['text'] }}</p>
{% endif %}
{% elif kind == 'RichTextBlock' %}
<p class="text {{ item|look }}">{% for run in item['inlines']|runs %}{{ inline(run) }}{% endfor %}</p>
{% elif kind == 'Container' %}
<div class="container {{ item|look }}">
{{ several(item['items']) }}
</div>
{% elif kind == 'ColumnSet' %}
<div class="columns {{ item|look }}">
{% for column in item['columns']|objects %}
<div class="column {{ column|look }}" style="flex: {{ column['width']|flex }}">
{{ several(column['items']) }}
</div>
{% endfor %}
</div>
{% elif kind == 'FactSet' %}
<dl class="{{ item|look }}">
{% for fact in item['facts']|objects %}
<div><dt>{{ fact['title'] }}</dt><dd>{{ fact['value'] }}</dd></div>
{% endfor %}
</dl>
{% elif kind == 'Table' %}
<div class="scroll" role="region" aria-label="Table" tabindex="0"><table class="{{ item|look }}">
{% for row in item['rows']|objects %}
{% set name = 'th' if loop.first and item['firstRowAsHeader'] is not false else 'td' %}
<tr class="{{ row|look }}">
{% for one in row['cells']|objects %}
{{ cell(one, name) }}
{% endfor %}
</tr>
{% endfor %}
</table></div>
{% elif kind == 'ActionSet' %}
{{ actions(item['actions']) }}
{% else %}
<p>{{ unknown(item) }}</p>
{% endif %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{{ title }}</title>
<style>
:root {
  color-scheme: light dark;
  --page: light-dark(#f3f4f6, #16181d); --card: light-dark(#fff, #22252c); --line: light-dark(#d5d9e0, #3d424d);
  --text: light-dark(#1b1f27, #e9ecf1); --subtle: light-dark(#5a6270, #a4adbb); --accent: light-dark(#2f5bb7, #8fb1ff);
  --good: light-dark(#1d6b38, #7ed69b); --warning: light-dark(#8a5200, #f0bd6a);
  --attention: light-dark(#b3261e, #ff9d94); --shade: light-dark(#f1f3f7, #2b2f38);
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 1rem .75rem; background: var(--page); color: var(--text);
  font: 1rem/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
}
main {
  max-width: 46rem; margin: 0 auto 1rem; padding: 1rem 1.1rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem;
}
.text, h2, dl { margin: .45rem 0 0; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1rem; font-weight: 400; }
h2.text { font-weight: 600; }
main > :first-child, .container > :first-child, .column > :first-child, td > :first-child, th > :first-child {
  margin-top: 0;
}
.size-small { font-size: .85rem; } .size-medium { font-size: 1.12rem; }
.size-large { font-size: 1.3rem; line-height: 1.3; } .size-extralarge { font-size: 1.6rem; line-height: 1.25; }
.weight-bolder { font-weight: 650; } .weight-lighter { font-weight: 300; }
.color-good { color: var(--good); } .color-warning { color: var(--warning); }
.color-attention { color: var(--attention); } .color-accent { color: var(--accent); }
.issubtle, dt, .unknown { color: var(--subtle); }
.fonttype-monospace { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
.italic { font-style: italic; } .underline { text-decoration: underline; }
.strikethrough { text-decoration: line-through; } .highlight { background: var(--shade); }
.spacing-none { margin-top: 0; } .spacing-large, .spacing-extralarge { margin-top: 1.1rem; }
.separator { border-top: 1px solid var(--line); padding-top: .6rem; margin-top: .6rem; }
.container { margin-top: .9rem; }
.style-emphasis, .style-good, .style-warning, .style-attention, .style-accent { background: var(--shade); }
div.style-emphasis, div.style-good, div.style-warning, div.style-attention, div.style-accent {
  padding: .6rem .75rem; border-radius: .35rem; border-left: .25rem solid var(--line);
}
div.style-good { border-color: var(--good); } div.style-warning { border-color: var(--warning); }
div.style-attention { border-color: var(--attention); } div.style-accent { border-color: var(--accent); }
.columns { display: flex; flex-wrap: wrap; gap: .3rem .8rem; margin-top: .6rem; }
.column { min-width: min(5rem, 100%); }
dl > div { display: grid; grid-template-columns: minmax(6rem, 11rem) 1fr; gap: .1rem .8rem; padding: .12rem 0; }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin-top: .6rem; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem; border: 1px solid var(--line); }
th { background: var(--shade); }
.actions { display: flex; flex-wrap: wrap; gap: .5rem; margin: .9rem 0 0; }
.action { padding: .45rem .9rem; border-radius: .35rem; border: 1px solid var(--line); overflow-wrap: anywhere; }
a.action { color: var(--accent); border-color: var(--accent); text-decoration: none; font-weight: 600; }
a.action:hover, a.action:focus-visible { text-decoration: underline; }
a.style-destructive { color: var(--attention); border-color: var(--attention); }
@media (max-width: 30rem) { dl > div { grid-template-columns: 1fr; padding: .25rem 0; } }
</style>
</head>
<body>
{% for card in cards %}
<main>
{{ several(card['body']) }}
{{ actions(card['actions']) }}
</main>
{% endfor %}
</body>
</html>
"""
