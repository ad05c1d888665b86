"""Alerts about scoring become incidents of their own kind; whatever one holds, it is checked, and nothing raises."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.intake import receive
from remediations.model import Caller, Incident, Operation, Scoring
from tests.builders import DEPLOYMENT, ENDPOINT, NOON, SOMEBODY, SUBSCRIPTION, WORKSPACE

ALERTS = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts"
ANALYTICS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.OperationalInsights/workspaces/logs"


def dimensions(**values: Any) -> list[Any]:
    return [{"name": name, "value": value} for name, value in values.items()]


def criterion(**changes: Any) -> dict[str, Any]:
    return {
        "metricName": "RequestsPerMinute",
        "threshold": "5",
        "metricValue": 31.5,
        "dimensions": dimensions(deployment="green", statusCode="429"),
    } | changes


def alert(*criteria: Any, essentials: Any = None, condition: Any = None, **context: Any) -> dict[str, Any]:
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{ALERTS}/1",
                "alertRule": "too many",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [ENDPOINT.lower()],
                "firedDateTime": "2026-11-22T11:58:12.2462230Z",
            }
            | (essentials or {}),
            "alertContext": {
                "condition": {"windowSize": "PT5M", "allOf": list(criteria or [criterion()])} | (condition or {})
            }
            | context,
        },
    }


def log_alert(**columns: Any) -> dict[str, Any]:
    one = {"searchQuery": "SECRET | count", "metricValue": 42, "threshold": "10", "dimensions": dimensions(**columns)}
    return alert(one, essentials={"monitoringService": "Log Alerts V2"})


def incident_of(raw: Any) -> Incident:
    reception = receive(raw, received_at=NOON)
    assert reception.incident is not None, reception.ignored
    assert reception.resource == reception.incident.resource.path
    return reception.incident


def scoring_of(raw: Any) -> Scoring:
    scoring = incident_of(raw).scoring
    assert scoring is not None
    return scoring


# ------------------------------------------------------------------------------------------ what is taken


def test_a_metric_alert_is_an_incident_of_requests():
    incident = incident_of(alert())
    assert (incident.operation, incident.source, incident.resource.key) == (
        Operation.SCORE,
        "alert",
        DEPLOYMENT.lower(),
    )
    assert incident.failed_at == datetime(2026, 11, 22, 11, 58, 12, 246223, UTC)
    assert (incident.correlation_id, incident.caller) == (None, Caller())
    assert incident.scoring == Scoring(
        rule="too many",
        status="429",
        metric="RequestsPerMinute",
        value=31.5,
        threshold=5.0,
        window=timedelta(minutes=5),
    )


def test_a_log_alert_tells_its_dimensions_and_nothing_of_its_query():
    incident = incident_of(log_alert(DeploymentName="green", ResponseCode="424", ModelStatusCode="500"))
    assert incident.resource.deployment == "green"
    assert incident.scoring == Scoring(
        rule="too many", status="424", model_status="500", value=42.0, threshold=10.0, window=timedelta(minutes=5)
    )
    assert "SECRET" not in repr(incident)


@pytest.mark.parametrize("service", ["Platform", "Log Alerts V2", "Log Analytics", "Application Insights"])
def test_every_service_that_watches_requests_is_taken(service):
    assert incident_of(alert(essentials={"monitoringService": service})).operation is Operation.SCORE


@pytest.mark.parametrize(
    ("targets", "named", "key"),
    [
        pytest.param([DEPLOYMENT], {}, DEPLOYMENT, id="the deployment itself"),
        pytest.param([DEPLOYMENT], {"deployment": "blue"}, DEPLOYMENT, id="the target's own deployment stands"),
        pytest.param([ENDPOINT], {}, ENDPOINT, id="no deployment"),
        pytest.param([ENDPOINT], {"deployment": "*"}, ENDPOINT, id="all deployments"),
        pytest.param([ENDPOINT], {"deployment": "../../x"}, ENDPOINT, id="a deployment that is no name"),
        pytest.param([ENDPOINT], {"deployment": "a' or '1' eq '1"}, ENDPOINT, id="a deployment with a quote"),
        pytest.param([ENDPOINT], {"DEPLOYMENTNAME": "green"}, DEPLOYMENT, id="names without case"),
        pytest.param(["/subscriptions/x", DEPLOYMENT], {}, DEPLOYMENT, id="the second target"),
        pytest.param([ANALYTICS], {"_ResourceId": ENDPOINT}, ENDPOINT, id="a column with the resource"),
        pytest.param([], {"microsoft.resourceId": DEPLOYMENT}, DEPLOYMENT, id="a rule over several resources"),
        pytest.param(
            [WORKSPACE], {"EndpointName": "credit-scoring", "DeploymentName": "green"}, DEPLOYMENT, id="in a workspace"
        ),
        pytest.param(
            [ENDPOINT],
            {"_ResourceId": f"{WORKSPACE}/onlineEndpoints/other"},
            ENDPOINT,
            id="a column does not change the target",
        ),
    ],
)
def test_the_resource_is_the_target_or_what_the_dimensions_name(targets, named, key):
    raw = alert(criterion(dimensions=dimensions(**named)), essentials={"alertTargetIDs": targets})
    assert incident_of(raw).resource.key == key.lower()


@pytest.mark.parametrize(
    ("named", "status"),
    [
        pytest.param({"statusCode": "424"}, "424", id="a code"),
        pytest.param({"statusCodeClass": "5XX"}, "5xx", id="a class"),
        pytest.param({"statusCodeClass": "4xx", "statusCode": "429"}, "429", id="the code before its class"),
        pytest.param({"ResponseCode": "500"}, "500", id="a column"),
        pytest.param({"envoy_response_code": "503"}, "503", id="the deployment's own metric"),
        pytest.param({"statusCode": "*", "statusCodeClass": "5xx"}, "5xx", id="all codes of a class"),
        pytest.param({}, None, id="none"),
        pytest.param({"statusCode": "0"}, None, id="zero"),
        pytest.param({"statusCode": "999"}, None, id="no status"),
        pytest.param({"statusCode": "5xx; DROP"}, None, id="more than a status"),
        pytest.param({"statusCode": "\u0665\u0660\u0663"}, None, id="other digits"),
        pytest.param({"statusCode": 500}, None, id="a number"),
        pytest.param({"statusCode": "5" * 9000}, None, id="huge"),
    ],
)
def test_a_status_is_a_code_or_a_class_or_nothing(named, status):
    assert scoring_of(alert(criterion(dimensions=dimensions(**named)))).status == status


@pytest.mark.parametrize(
    ("changes", "value", "threshold"),
    [
        pytest.param({}, 31.5, 5.0, id="a number and a number in quotes"),
        pytest.param({"metricValue": None, "threshold": None}, None, None, id="none"),
        pytest.param({"metricValue": True, "threshold": "1e9"}, None, None, id="no numbers"),
        pytest.param({"metricValue": 1e300, "threshold": "9" * 400}, None, None, id="huge"),
        pytest.param({"metricValue": 10**400, "threshold": -3}, None, -3.0, id="more than a float holds"),
        pytest.param({"metricValue": [1], "threshold": {"a": 1}}, None, None, id="wrong types"),
    ],
)
def test_values_are_numbers(changes, value, threshold):
    scoring = scoring_of(alert(criterion(**changes)))
    assert (scoring.value, scoring.threshold) == (value, threshold)


@pytest.mark.parametrize("size", [None, 5, "", "5 minutes", "PT0S", "-PT5M", "P1Y", "P3D", "PT" + "9" * 50 + "H"])
def test_a_window_that_is_none_is_left_out(size):
    assert scoring_of(alert(condition={"windowSize": size})).window is None


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        pytest.param("r" * 5000, "r" * 120, id="huge"),
        pytest.param("a\x1b[31m\nb", "a [31m b", id="control characters"),
        pytest.param(None, "unnamed", id="none"),
        pytest.param("\n", "unnamed", id="blank"),
    ],
)
def test_the_rule_is_cut_and_cannot_move_the_cursor(rule, kept):
    assert scoring_of(alert(essentials={"alertRule": rule})).rule == kept


@pytest.mark.parametrize("metric", [None, 7, "", "a\nb", "<b>", "m" * 200])
def test_a_metric_that_is_no_name_is_left_out(metric):
    assert scoring_of(alert(criterion(metricName=metric))).metric is None


def test_the_criterion_that_says_most_is_told():
    raw = alert(
        criterion(dimensions=dimensions(statusCode="500"), metricValue=900),
        criterion(dimensions=dimensions(deployment="green", statusCodeClass="5xx"), metricValue=50),
        criterion(dimensions=dimensions(deployment="green", statusCode="424"), metricValue=2),
        criterion(dimensions=dimensions(deployment="green", statusCode="429"), metricValue=3),
        "no criterion",
    )
    scoring = scoring_of(raw)
    assert (scoring.status, scoring.value) == ("429", 3.0)


def test_an_alert_that_says_nothing_but_its_target_is_an_incident():
    raw = alert(essentials={"alertTargetIDs": [ENDPOINT]})
    raw["data"]["alertContext"] = None
    assert scoring_of(raw) == Scoring(rule="too many")


# ---------------------------------------------------------------------------------------- which incident it is


def test_each_delivery_of_a_firing_is_the_same_incident_and_another_firing_is_not():
    first = incident_of(alert())
    assert incident_of(alert()).id == first.id
    others = [
        incident_of(alert(essentials={"firedDateTime": "2026-11-22T11:59:00Z"})).id,
        incident_of(alert(essentials={"alertId": f"{ALERTS}/2"})).id,
        incident_of(alert(criterion(dimensions=dimensions(deployment="blue")))).id,
    ]
    assert len({first.id, *others}) == 4


def test_the_spelling_of_a_time_makes_no_new_firing():
    told = incident_of(alert(essentials={"firedDateTime": "2026-11-22T12:58:12.246223+01:00"}))
    assert told.id == incident_of(alert()).id


def test_a_firing_without_id_and_time_is_known_by_all_that_it_says():
    nameless = {"alertId": None, "firedDateTime": None}
    one, other = alert(essentials=nameless), alert(criterion(metricValue=1), essentials=nameless)
    assert incident_of(one).id == receive(one, received_at=NOON + timedelta(minutes=9)).incident.id  # type: ignore[union-attr]
    assert incident_of(one).id != incident_of(other).id
    assert incident_of(one).failed_at == NOON


def test_a_firing_that_is_yet_to_come_is_dated_now():
    assert incident_of(alert(essentials={"firedDateTime": "2036-11-22T11:58:12Z"})).failed_at == NOON


def test_a_caller_in_an_alert_about_requests_is_nobody():
    claims = {"oid": SOMEBODY.oid, "appid": SOMEBODY.appid}
    assert receive(alert(claims=claims, caller=SOMEBODY.oid), received_at=NOON).caller == Caller()


# ----------------------------------------------------------------------------------------- what is ignored


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(
            alert(essentials={"monitorCondition": "Resolved"}),
            "the alert is not fired: it reports a recovery",
            id="resolved",
        ),
        pytest.param(
            alert(essentials={"monitorCondition": None}), "the alert is not fired: it reports a recovery", id="neither"
        ),
        pytest.param(
            alert(essentials={"alertTargetIDs": [ANALYTICS]}),
            "neither its target nor its dimensions name an online endpoint",
            id="something else",
        ),
        pytest.param(
            alert(essentials={"alertTargetIDs": ENDPOINT}),
            "neither its target nor its dimensions name an online endpoint",
            id="targets of a wrong type",
        ),
        pytest.param(
            alert(essentials={"alertTargetIDs": [f"{ENDPOINT}/../../x", 7, None, ENDPOINT + "x" * 100_000]}),
            "neither its target nor its dimensions name an online endpoint",
            id="targets that are no ids",
        ),
        pytest.param(
            alert(
                criterion(dimensions=dimensions(EndpointName="a/deployments/b")),
                essentials={"alertTargetIDs": [WORKSPACE.replace("MachineLearningServices", "Storage")]},
            ),
            "neither its target nor its dimensions name an online endpoint",
            id="an endpoint of another provider",
        ),
        pytest.param(
            alert(essentials={"monitoringService": "x" * 9000}),
            f"an alert of '{'x' * 200}' tells of no failed deployment and of no failed requests",
            id="a huge service",
        ),
    ],
)
def test_what_is_about_no_requests_is_ignored_with_the_reason(raw, words):
    reception = receive(raw, received_at=NOON)
    assert (reception.ignored, reception.incident) == (words, None)


def test_a_subscription_that_policy_does_not_watch_is_ignored():
    reception = receive(alert(), received_at=NOON, subscriptions=["99999999-0000-0000-0000-000000000000"])
    assert reception.incident is None
    assert reception.ignored == f"subscription {SUBSCRIPTION} is not one that policy watches"


def test_a_huge_alert_is_read_in_part():
    many = [criterion(dimensions=dimensions(deployment=f"d{number}")) for number in range(5000)]
    named = dimensions(**{f"column{number}": "x" for number in range(5000)}, deployment="late")
    assert incident_of(alert(*many)).resource.deployment == "d0"
    assert incident_of(alert(criterion(dimensions=named))).resource.deployment is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON, JSON, JSON, JSON)
def test_nothing_in_an_alert_raises(targets, window, criteria, named, value):
    raw = alert(
        criterion(dimensions=named, metricValue=value, threshold=value, metricName=value),
        essentials={"alertTargetIDs": targets, "alertRule": value, "firedDateTime": value, "alertId": value},
    )
    assert receive(raw, received_at=NOON).ignored
    raw["data"]["essentials"]["alertTargetIDs"] = [ENDPOINT]
    received = receive(raw, received_at=NOON)
    assert (received.incident is None) == bool(received.ignored)  # "A" is the name of a metric, and none of ours
    raw["data"]["alertContext"]["condition"]["allOf"][0]["metricName"] = "RequestsPerMinute"
    assert receive(raw, received_at=NOON).incident is not None
    for context in ({"condition": {"windowSize": window, "allOf": criteria}}, criteria):
        raw["data"]["alertContext"] = context
        assert receive(raw, received_at=NOON).incident is not None
