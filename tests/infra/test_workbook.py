"""The workbook: a whole document of Azure's form, whose queries are those of infra/kql."""

import copy
import json
import re
from typing import Any

import pytest

from tests.infra.deployment import HOME, Scope, deploy
from tests.infra.queries import ROOT, complaints, texts

FILE = ROOT / "infra/workbook/endpoint-medic.workbook.json"
TEXT = FILE.read_text("utf-8")
BOOK = json.loads(TEXT)
QUERIES = texts()

# The numbers by which a workbook knows its items.
MARKDOWN, QUERY, PARAMETERS, METRICS = 1, 3, 9, 10
VERSIONS = {QUERY: "KqlItem/1.0", PARAMETERS: "KqlParameterItem/1.0", METRICS: "MetricsItem/2.0"}
LOGS, WORKSPACE = 0, "microsoft.operationalinsights/workspaces"
TEXT_PARAMETER, TIME_PARAMETER = 1, 4
SUM = 1


def items(book: Any, kind: int) -> list[dict[str, Any]]:
    return [item for item in book["items"] if item["type"] == kind]


def plain(query: str) -> str:
    """Give a query as its file has it: no comment, and no parameter filled in."""
    return "\n".join(line for line in query.splitlines() if not line.startswith("//")).replace("{IncidentId}", "")


def wrong(book: Any) -> list[str]:
    """Give what a workbook could not show."""
    found: list[str] = []
    if book.get("version") != "Notebook/1.0":
        found.append("it is no notebook of version 1.0")
    names = [item.get("name") for item in book["items"]]
    found += [f"two items are called {name}" for name in sorted({one for one in names if names.count(one) > 1})]
    declared = {one["name"]: one["type"] for item in items(book, PARAMETERS) for one in item["content"]["parameters"]}
    ids = [one["id"] for item in items(book, PARAMETERS) for one in item["content"]["parameters"]]
    found += ["two parameters have one id"] if len(ids) != len(set(ids)) else []
    for item in book["items"]:
        name, content = item.get("name"), item.get("content", {})
        if item["type"] not in {MARKDOWN, *VERSIONS}:
            found.append(f"{name} is of no kind that this test knows")
        elif item["type"] != MARKDOWN and content.get("version") != VERSIONS[item["type"]]:
            found.append(f"{name} is not of version {VERSIONS[item['type']]}")
        if item["type"] in {QUERY, METRICS} and declared.get(content.get("timeContextFromParameter")) != TIME_PARAMETER:
            found.append(f"{name} takes its time from no time parameter")
        used = set(re.findall(r"\{(\w+)\}", content.get("query", "")))
        found += [f"{name} asks for {one}, which is not declared" for one in sorted(used - set(declared))]
        if item["type"] == QUERY:
            found += _wrong_query(item)
        if item["type"] == METRICS:
            found += _wrong_metrics(item)
    return found


def _wrong_query(item: dict[str, Any]) -> list[str]:
    name, content = item["name"], item["content"]
    found = []
    if plain(content["query"]) != plain(QUERIES.get(name, "")).rstrip("\n"):
        found.append(f"{name} is not infra/kql/{name}.kql")
    if (content["queryType"], content["resourceType"]) != (LOGS, WORKSPACE):
        found.append(f"{name} does not ask a workspace")
    if content["crossComponentResources"] != ["<workspace-id>"]:
        found.append(f"{name} does not ask ours")
    if content["visualization"] not in {"table", "barchart"}:
        found.append(f"{name} is drawn as nothing that there is")
    shown = content.get("chartSettings", {})
    columns = [shown[key] for key in ("xAxis", "group") if key in shown] + shown.get("yAxis", [])
    known = set(re.findall(r"\w+", content["query"]))
    found += [f"{name} draws {one}, which is no column" for one in columns if one not in known]
    return found


def _wrong_metrics(item: dict[str, Any]) -> list[str]:
    name, content = item["name"], item["content"]
    kind = content["resourceType"]
    found = [f"{name} is of no resource"] if len(content["resourceIds"]) != 1 else []
    for metric in content["metrics"]:
        if metric["namespace"] != kind or not metric["metric"].startswith(f"{kind}--"):
            found.append(f"{name} names a metric of something else: {metric['metric']}")
        if metric["aggregation"] != SUM:
            found.append(f"{name} does not add up {metric['metric']}")
    return found


def test_the_workbook_is_whole():
    assert wrong(BOOK) == []


def test_kusto_reads_its_queries():
    said = complaints({item["name"]: item["content"]["query"] for item in items(BOOK, QUERY)})
    assert {name: found for name, found in said.items() if found} == {}


def test_it_shows_all_queries_but_the_one_that_has_nothing_to_show():
    assert {item["name"] for item in items(BOOK, QUERY)} == set(QUERIES) - {"no-sweep"}


def test_it_shows_what_event_grid_lost_and_what_executions_cost():
    shown = {metric["metric"] for item in items(BOOK, METRICS) for metric in item["content"]["metrics"]}
    assert shown == {
        "microsoft.eventgrid/systemtopics--DeliverySuccessCount",
        "microsoft.eventgrid/systemtopics--DeadLetteredCount",
        "microsoft.eventgrid/systemtopics--DroppedEventCount",
        "microsoft.web/sites--OnDemandFunctionExecutionCount",
        "microsoft.web/sites--OnDemandFunctionExecutionUnits",
    }


def change(path: str, value: object) -> Any:
    """Give the workbook with one thing changed; the path names an item and keys below it."""
    book = copy.deepcopy(BOOK)
    name, *keys = path.split("/")
    at = next(item for item in book["items"] if item["name"] == name)
    for key in keys[:-1]:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[int(keys[-1]) if isinstance(at, list) else keys[-1]] = value
    return book


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("incidents/name", "checkpoints", "two items are called checkpoints"),
        ("incidents/type", 4, "incidents is of no kind that this test knows"),
        ("incidents/content/version", "KqlItem/2.0", "incidents is not of version KqlItem/1.0"),
        ("incidents/content/timeContextFromParameter", "Time", "incidents takes its time from no time parameter"),
        (
            "executions/content/timeContextFromParameter",
            "IncidentId",
            "executions takes its time from no time parameter",
        ),
        ("incidents/content/query", "AppTraces", "incidents is not infra/kql/incidents.kql"),
        ("one-incident/content/query", "{Incident}", "one-incident asks for Incident, which is not declared"),
        ("incidents/content/resourceType", "microsoft.insights/components", "incidents does not ask a workspace"),
        ("incidents/content/crossComponentResources", [], "incidents does not ask ours"),
        ("incidents/content/visualization", "bar", "incidents is drawn as nothing that there is"),
        ("deliveries/content/chartSettings/group", "kind", "deliveries draws kind, which is no column"),
        ("event-grid/content/resourceIds", [], "event-grid is of no resource"),
        ("event-grid/content/metrics/0/aggregation", 4, "event-grid does not add up"),
        ("event-grid/content/metrics/0/metric", "DeadLetteredCount", "event-grid names a metric of something else"),
        ("parameters/content/parameters/0/name", "Time", "incidents takes its time from no time parameter"),
    ],
)
def test_a_mistake_is_found(path, value, found):
    assert [words for words in wrong(change(path, value)) if words.startswith(found)]


def test_what_is_deployed_is_the_workbook_with_every_place_filled_in():
    topics = ["/subscriptions/0/topics/a", "/subscriptions/0/topics/b"]
    given: Any = {
        "location": "westeurope",
        "tags": {},
        "workspaceId": "/workspace",
        "applicationInsightsId": "/insights",
        "functionAppId": "/app",
        "topicIds": topics,
    }
    made = deploy(ROOT / "infra", "modules/workbook.bicep", given, Scope(HOME, "rg-medic"))
    (workbook,) = made.of("Microsoft.Insights/workbooks")
    text = workbook.properties["serializedData"]
    assert re.findall(r"<[a-z-]+>", text) == []
    filled = TEXT.replace("<workspace-id>", "/workspace").replace("<function-app-id>", "/app")
    assert json.loads(text) == json.loads(filled.replace('["<topic-ids>"]', json.dumps(topics)))
    assert workbook.properties["sourceId"] == "/insights"
