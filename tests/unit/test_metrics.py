"""How an endpoint answers requests, by its metrics: what they do not prove is unknown."""

import re
from datetime import timedelta
from typing import Any

import pytest

from remediations.metrics import load
from remediations.model import (
    Absent,
    Answers,
    Evidence,
    Found,
    Incident,
    Json,
    Load,
    Operation,
    Reading,
    Scoring,
    Unknown,
    load_words,
)
from tests.builders import DEPLOYMENT, ENDPOINT, FAILED_AT, FakeReads, make_incident, make_resource

MINUTE = timedelta(minutes=1)
REQUESTS, LATENCY = "RequestsPerMinute", "RequestLatency_P95"
BY_STATUS = "deployment eq 'green' and statusCode eq '*'"
BY_MODEL = "deployment eq 'green' and statusCode eq '424' and modelStatusCode eq '*'"


def alerted(path: str = DEPLOYMENT, window: timedelta | None = None) -> Incident:
    return make_incident(
        operation=Operation.SCORE,
        resource=make_resource(path),
        correlation_id=None,
        scoring=Scoring(rule="oe-5xx", window=window),
    )


def series(*values: Any, name: str = "average", **dimensions: Any) -> dict[str, Any]:
    points = [
        {"timeStamp": (FAILED_AT - (number + 1) * MINUTE).isoformat()} | ({} if value is None else {name: value})
        for number, value in enumerate(values)
    ]
    shown = [{"name": {"value": key}, "value": value} for key, value in dimensions.items()]
    return {"metadatavalues": shown, "data": points}


class Metrics(FakeReads):
    """Azure Monitor, by the filter of a question."""

    def __init__(self, shown: dict[str, Any], **changes: Any) -> None:
        super().__init__()
        self.shown, self.changes = shown, changes

    def get(self, url: str) -> Reading[Json]:
        self.asked.append(url)
        asked = dict(part.split("=", 1) for part in url.partition("?")[2].split("&"))
        known = self.shown.get(asked.get("$filter", ""), [])
        if isinstance(known, Unknown | Absent):
            return known
        is_latency = asked["metricnames"] == LATENCY
        if is_latency:
            known = self.changes.get("latency", [])
        row = {
            "name": {"value": asked["metricnames"]},
            "unit": self.changes.get("unit", "MilliSeconds") if is_latency else "Count",
            "errorCode": self.changes.get("code", "Success"),
            "timeseries": known,
        }
        return Found({"timespan": self.changes.get("timespan", asked["timespan"]), "value": [row]})


def found(reads: Metrics, incident: Incident | None = None) -> Load:
    reading = load(reads, incident or alerted())
    assert isinstance(reading, Found), reading
    return reading.value


def test_answers_are_counted_by_status_the_busiest_first():
    shown = {BY_STATUS: [series(*[12.0] * 15, statusCode="200"), series(30.0, None, 15.0, statusCode="429")]}
    told = found(Metrics(shown, latency=[series(700.0, 900.5), series(120.0)]))
    assert told == Load(
        answers=(
            Answers(status="429", per_minute=3.0, most=30.0),
            Answers(status="200", per_minute=12.0, most=12.0),
        ),
        latency=timedelta(milliseconds=900.5),
    )
    assert told.per_minute == 42.0


def test_it_is_asked_of_the_endpoint_for_the_deployment_and_whole_minutes_up_to_the_alert():
    reads = Metrics({})
    assert found(reads) == Load()
    span = "2026-11-22T11:40:00Z/2026-11-22T11:55:00Z"
    path = f"{ENDPOINT}/providers/Microsoft.Insights/metrics?api-version=2024-02-01&interval=PT1M&timespan={span}"
    assert reads.asked == [
        f"{path}&metricnames=RequestsPerMinute&aggregation=Average&top=200&$filter={BY_STATUS}",
        f"{path}&metricnames=RequestLatency_P95&aggregation=Average&top=200&$filter=deployment eq 'green'",
    ]


def test_without_a_deployment_the_whole_endpoint_is_asked():
    reads = Metrics({"statusCode eq '*'": [series(3.0, statusCode="404")]})
    assert [one.status for one in found(reads, alerted(ENDPOINT)).answers] == ["404"]
    assert "deployment" not in "".join(reads.asked)


@pytest.mark.parametrize(
    ("window", "minutes"),
    [
        pytest.param(None, 15, id="none"),
        pytest.param(5 * MINUTE, 15, id="a short one"),
        pytest.param(60 * MINUTE, 60, id="an hour"),
        pytest.param(timedelta(days=2), 360, id="two days"),
    ],
)
def test_it_looks_at_the_window_of_the_alert_within_bounds(window, minutes):
    reads = Metrics({})
    found(reads, alerted(window=window))
    start, end = re.findall(r"timespan=([^/]+)/([^&]+)", reads.asked[0])[0]
    assert (end, start) == ("2026-11-22T11:55:00Z", f"{FAILED_AT - minutes * MINUTE:%Y-%m-%dT%H:%M:%SZ}")


def test_a_model_s_own_status_is_asked_for_where_the_service_answers_424():
    split = [
        series(15.0, statusCode="424", modelStatusCode="500"),
        series(3.0, statusCode="424", modelStatusCode="400"),
    ]
    shown = {BY_STATUS: [series(18.0, statusCode="424"), series(30.0, statusCode="200")], BY_MODEL: split}
    told = [(one.status, one.model_status, one.most) for one in found(Metrics(shown)).answers]
    assert told == [("200", None, 30.0), ("424", "500", 15.0), ("424", "400", 3.0)]


@pytest.mark.parametrize(
    "split",
    [
        pytest.param([], id="no series"),
        pytest.param([series(15.0, statusCode="424", modelStatusCode="")], id="no value"),
        pytest.param(Unknown("no answer"), id="no answer"),
        pytest.param([series("much", statusCode="424")], id="odd"),
    ],
)
def test_without_the_model_s_own_status_the_424_stands(split):
    told = found(Metrics({BY_STATUS: [series(18.0, statusCode="424")], BY_MODEL: split})).answers
    assert [(one.status, one.model_status, one.most) for one in told] == [("424", None, 18.0)]


@pytest.mark.parametrize(
    ("shown", "changes", "words"),
    [
        pytest.param({BY_STATUS: Unknown("403")}, {}, "403", id="refused"),
        pytest.param({BY_STATUS: Absent()}, {}, "it has no metrics", id="not there"),
        pytest.param({}, {"code": "InternalError"}, "its metrics give no RequestsPerMinute", id="an error inside"),
        pytest.param(
            {},
            {"timespan": "2026-11-22T11:50:00Z/2026-11-22T11:55:00Z"},
            "its metrics do not cover the whole time",
            id="a part of the time",
        ),
        pytest.param(
            {BY_STATUS: [series(1.0, deployment="green")]},
            {},
            "the endpoint's metrics are not split by status code",
            id="not split",
        ),
        pytest.param(
            {BY_STATUS: [series(1.0, statusCode="200", deployment="blue")]},
            {},
            "the endpoint's metrics are not split by status code",
            id="of another deployment",
        ),
        pytest.param(
            {BY_STATUS: [series(-1.0, statusCode="200")]}, {}, "its RequestsPerMinute cannot be read", id="odd"
        ),
        pytest.param(
            {BY_STATUS: [series(1.0, statusCode="200", name="count")]},
            {},
            "its RequestsPerMinute cannot be read",
            id="another aggregation",
        ),
        pytest.param(
            {BY_STATUS: [series(1.0, statusCode="200")] * 200},
            {},
            "the endpoint's metrics have more series than are shown",
            id="too many",
        ),
        pytest.param({BY_STATUS: "none"}, {}, "its RequestsPerMinute cannot be read", id="no list"),
    ],
)
def test_what_the_metrics_do_not_prove_is_unknown(shown, changes, words):
    assert load(Metrics(shown, **changes), alerted()) == Unknown(words)


@pytest.mark.parametrize(
    ("changes", "latency"),
    [
        pytest.param({"latency": [series(2.5)], "unit": "Seconds"}, timedelta(seconds=2.5), id="seconds"),
        pytest.param({"latency": [series(2.5)], "unit": "Percent"}, None, id="another unit"),
        pytest.param({"latency": [series(2.5)], "unit": None}, None, id="no unit"),
        pytest.param({"latency": []}, None, id="no series"),
        pytest.param({"latency": [series(0.0)]}, None, id="zero"),
        pytest.param({"latency": [series(1e300)]}, None, id="no latency at all"),
        pytest.param({"latency": [series("slow")]}, None, id="odd"),
    ],
)
def test_a_latency_that_no_metric_shows_is_none_and_the_answers_stand(changes, latency):
    told = found(Metrics({BY_STATUS: [series(1.0, statusCode="200")]}, **changes))
    assert (told.latency, len(told.answers)) == (latency, 1)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        pytest.param(
            Found(
                Load(
                    answers=(Answers(status="424", model_status="500", per_minute=20, most=20),),
                    latency=timedelta(milliseconds=80),
                )
            ),
            "answers 424 (500): 20 a minute; 95 % within 0.08 s",
            id="a load",
        ),
        pytest.param(Found(Load()), "answers none", id="no request"),
        pytest.param(Unknown("403"), "answers unknown (403)", id="unknown"),
    ],
)
def test_a_load_in_words(reading, words):
    assert load_words(reading) == words


def test_evidence_without_a_load_does_not_know_it():
    assert isinstance(Evidence(incident=alerted(), collected_at=FAILED_AT).load, Unknown)
