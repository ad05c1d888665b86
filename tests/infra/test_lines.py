"""Whatever a query looks for is logged by that name, with those keys; docs/monitoring.md tells every event."""

import re
from collections.abc import Mapping

import pytest

from tests.infra.lines import ALWAYS, BOUND, logged
from tests.infra.queries import texts
from tests.pages import page, quoted, table

QUERIES = texts()
OURS = {name: text for name, text in QUERIES.items() if "AppTraces" in text}
LOGGED = logged()
PAGE = page("docs/monitoring.md")


def wrong(query: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """Give what a query looks for and nothing logs."""
    code = "\n".join(line for line in query.splitlines() if not line.lstrip().startswith("//"))
    asked = set(re.findall(r'"([a-z]+\.[a-z]+)"', code))
    for ending in re.findall(r'endswith "(\.[a-z]+)"', code):
        matching = {event for event in known if event.endswith(ending)}
        asked |= matching or {f"*{ending}"}
    unknown = [f"no line is called {event}" for event in sorted(asked - set(known))]
    named = asked & set(known) if asked else set(known)  # a query that names none looks at all
    keys = frozenset[str]().union(*(known[event] for event in named), ALWAYS, BOUND)
    fields = set(re.findall(r"\b(?:line|parse_json\(Message\))\.(\w+)", code))
    return unknown + [f"none of these lines has {field}" for field in sorted(fields - keys)]


@pytest.mark.parametrize("name", OURS)
def test_what_a_query_looks_for_is_logged(name):
    assert wrong(OURS[name], {event: line.keys for event, line in LOGGED.items()}) == []


@pytest.mark.parametrize("name", sorted(set(OURS) - {"one-incident"}))
def test_a_query_names_the_events_that_it_looks_for(name):
    assert re.search(r'"[a-z]+\.[a-z]+"', OURS[name])


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        pytest.param("no-sweep", ("sweep.done", None), "no line is called sweep.done", id="an event is renamed"),
        pytest.param("missed-events", ("sweep.done", "started"), "none of these lines has started", id="a key is"),
        pytest.param(
            "needs-person", ("incident.ended", "escalated"), "none of these lines has escalated", id="another"
        ),
        pytest.param("approvals-waiting", ("approval.answered", None), "no line is called approval.answered", id="one"),
        pytest.param("breaker-open", ("breaker.tripped", "action"), "none of these lines has action", id="a third"),
    ],
)
def test_a_name_that_changes_in_the_code_is_noticed(name, change, found):
    event, key = change
    known = {one: line.keys - ({key} if one == event else set()) for one, line in LOGGED.items()}
    if key is None:
        del known[event]
    assert found in wrong(QUERIES[name], known)


def test_all_that_can_be_unreadable_is_asked_for_by_its_ending():
    known = {event: line.keys for event, line in LOGGED.items() if not event.endswith(".unreadable")}
    assert wrong(QUERIES["impaired"], known) == ["no line is called *.unreadable", "none of these lines has name"]


def test_the_page_tells_every_event_with_its_levels_and_keys():
    told = {
        event.strip("`"): (set(levels.split(", ")), quoted(keys), when)
        for event, levels, keys, when in table(PAGE, "event")
    }
    assert {event: (levels, keys) for event, (levels, keys, _) in told.items()} == {
        event: (set(line.levels), set(line.keys) | ({"incident_id"} if event in BY_CONTEXT else set()))
        for event, line in LOGGED.items()
    }
    assert list(told) == sorted(told)
    assert [event for event, (*_, when) in told.items() if not when] == []


# Lines of no activity that get it from what is bound around them.
BY_CONTEXT = {"message.told", "message.untold"}


def test_no_key_of_a_line_is_written_over_by_what_every_line_has():
    assert {event: line.keys & ALWAYS for event, line in LOGGED.items() if line.keys & ALWAYS} == {}


def test_the_page_lists_every_query_with_its_question():
    listed = {re.sub(r".*\((.*)\)", r"\1", file): answer for file, answer in table(PAGE, "file")}
    questions = {}
    for name, text in QUERIES.items():
        head = text[: text.index("\n", text.rindex("\n//") + 1 if "\n//" in text else 0)]
        questions[f"../infra/kql/{name}.kql"] = " ".join(line.removeprefix("// ") for line in head.splitlines())
    assert listed == questions
