"""Every page shows what there is, takes no text for anything but text, and is shown only to who may see it."""

import base64
import json
import re
import subprocess
import sys
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from msgspec.structs import replace

from functions import incidents, pages
from functions.pages import figures
from functions.undo import Offer
from remediations import codec, services
from remediations.approval.notice import Kind as NoticeKind
from remediations.approval.notice import Notice
from remediations.approval.view import Change, View
from remediations.audit import Journal
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import (
    Answer,
    Caller,
    Decision,
    End,
    Finding,
    Found,
    GuardAnswer,
    Mode,
    Operation,
    Person,
    Touch,
    Verdict,
    Verification,
)
from remediations.policy import Pause, Scope
from remediations.register import Case, Kind, Line, State
from remediations.services import Services
from remediations.settings import Settings
from remediations.trail import Answered, Ended, Question, Result, Slot, Vote
from remediations.undoing import Sent
from tests.builders import (
    CORRELATION,
    DEPLOYMENT,
    ENDPOINT,
    NOON,
    OTHER_CORRELATION,
    SUBSCRIPTION,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_intent,
    make_outcome,
    make_plan,
    make_resource,
)

ROOT = Path(__file__).parents[2]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OID = "11111111-2222-3333-4444-555555555555"
HOSTILE = "<script>alert(1)</script>\u202egnp.exe\u0007\x1b[31m' \" & {{ 7*7 }} {% raw %} &lt; </textarea>"
POLICY = """
actions:
  retry: {mode: auto, budget_per_hour: 20, breaker_failures: 2}
  delete-idle: {mode: ask, budget_per_hour: 2}
freezes:
  - {start: 2026-11-22T00:00:00Z, end: 2026-11-23T00:00:00Z, reason: year end, scope: {workspace: mlw-shop}}
"""


@pytest.fixture(autouse=True)
def platform(monkeypatch):
    """App Service authentication that is on: only then are its headers its own."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")


@pytest.fixture
def own(tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    settings = Settings(
        store=str(tmp_path / "store"),
        policy=str(tmp_path / "policy.yaml"),
        mode=Mode.ASK,
        approval_keys={"k1": "k" * 40},
        approval_active_kid="k1",
    )
    made = Services(settings, clock=lambda: NOON)
    services.use(made)
    yield made
    services.use(None)


def principal(*roles, oid=OID):
    claims = [("oid", oid), ("tid", "t"), ("name", "Kim"), *(("roles", role) for role in roles)]
    plain = {"auth_typ": "aad", "claims": [{"typ": typ, "val": val} for typ, val in claims]}
    return base64.b64encode(json.dumps(plain).encode()).decode()


def ask(route, *, method="GET", roles=("Medic.Reader",), accept="text/html", oid=OID, **params):
    named: dict[str, str] = {name: params.pop(name) for name in ("id", "name") if name in params}
    headers = {"Accept": accept}
    if roles is not None:
        headers["X-MS-CLIENT-PRINCIPAL"] = principal(*roles, oid=oid)
    url = "https://app.azurewebsites.net/api/x"
    return route(func.HttpRequest(method=method, url=url, headers=headers, params=params, route_params=named, body=b""))


def text(answer):
    return answer.get_body().decode()


def plain(answer):
    return json.loads(answer.get_body())


class Parsed(HTMLParser):
    """The tags of a page, and the words between them."""

    def __init__(self, content):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


def attributes(content, tag, name):
    return [found.get(name) for kind, found in Parsed(content).tags if kind == tag]


# --------------------------------------------------------------------------------------------------- a trail


def walk(own, incident=None, *, stop="", words="it is Succeeded", comment="fine", log="a log line", **plan_changes):
    """Put a whole incident on the trail, or as far as it is to come: ``asked``."""
    incident = incident or make_incident(failed_at=NOON - HOUR)
    now = [incident.failed_at]

    def journal(minutes):
        now[0] = incident.failed_at + minutes * MINUTE
        return Journal(trail=own.trail, mode=Mode.ASK, policy_version="v1", clock=lambda: now[0], own=lambda: None)

    own.trail.open_incident(incident, "n", incident.failed_at, mode=Mode.ASK)
    journal(0).opened(incident)
    evidence = make_evidence(incident=incident, logs={"inference-server": Found(log)})
    digest = own.evidence.put(evidence)
    journal(1).collected(evidence, digest, 1)
    diagnosis = classify(evidence, CAUSES, evidence_digest=digest)
    journal(1).diagnosed(diagnosis)
    plan = make_plan(diagnosis=diagnosis, digest=codec.digest(incident.id), **plan_changes)
    journal(1).planned(plan)
    answers = (
        GuardAnswer(guard="not-paused", answer=Answer.ALLOW, words="no pause holds"),
        GuardAnswer(guard="budget-left", answer=Answer.DENY, words="20 of 20 are begun"),
    )
    decision = Decision(
        plan=plan,
        verdict=Verdict.ASK,
        would=Verdict.RUN,
        mode=Mode.ASK,
        mode_words="policy says ask",
        answers=answers,
        situation="5" * 64,
    )
    journal(1).decided(decision, when="deciding")
    question = Question(
        at=incident.failed_at + 2 * MINUTE,
        incident_id=incident.id,
        plan=plan.digest,
        decision=own.evidence.put(decision),
        policy_version="v1",
        expires_at=NOON + HOUR,
        touches=(Touch(path=DEPLOYMENT, says=("serves 10 % of the traffic",)),),
    )
    own.trail.ask(question)
    journal(2).asked(question)
    if stop == "asked":
        return incident, question, decision
    vote = Vote(at=NOON - 50 * MINUTE, plan=plan.digest, by=Caller(oid=OID, tid="t"), approves=True, comment=comment)
    own.trail.vote(vote)
    journal(3).voted(incident.id, vote)
    answered = Answered(at=vote.at, plan=plan.digest, approved=True, words=f"approved: {comment}", by=vote.by)
    own.trail.answer(answered)
    journal(3).answered(incident.id, answered)
    intent = make_intent(incident_id=incident.id, plan=plan.digest)
    journal(4).intended(intent)
    journal(4).came_of(intent, make_outcome(request_id="medic-request-1", words=words))
    journal(5).verified(plan, 0, Verification(end=End.REPAIRED, words=words, evidence=digest))
    journal(5).ended(incident.id, End.REPAIRED, words)
    own.trail.end_incident(
        Ended(
            at=now[0],
            end=End.REPAIRED,
            words=words,
            incident=incident,
            cause_id=diagnosis.cause_id,
            action="retry",
            effects=1,
        )
    )
    return incident, question, decision


def note(own, number, **changes):
    """Put an incident into the register alone: opened, and ended unless told otherwise."""
    at = changes.pop("at", NOON - number * MINUTE)
    resource = changes.pop("resource", f"{ENDPOINT}/deployments/d{number}")
    end, mode, cause = (
        changes.pop("end", End.REPAIRED),
        changes.pop("mode", Mode.AUTO),
        changes.pop("cause", "quota-cpu"),
    )
    fields = {"incident": f"inc-{number:024d}", "resource": resource, "operation": Operation.WRITE, "failed_at": at}
    own.trail.register.note(Line(at=at, kind=Kind.OPENED, mode=mode, **fields))
    if end is not None:
        line = Line(at=at, kind=Kind.ENDED, end=end, opened_at=at, cause_id=cause, action="retry", **fields)
        own.trail.register.note(line)


# ---------------------------------------------------------------------------------------------- who may see it

ROUTES = [incidents.overview, incidents.listed, incidents.shown, incidents.records]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("roles", "status", "says"),
    [
        pytest.param(None, 401, "not signed in", id="nobody"),
        pytest.param((), 403, "Medic.Reader or Medic.Approver", id="without a role"),
        pytest.param(("Medic.Submit",), 403, "Medic.Reader or Medic.Approver", id="CI"),
    ],
)
def test_only_who_may_read_sees_anything(own, route, roles, status, says):
    incident, *_ = walk(own)
    answer = ask(route, roles=roles, id=incident.id)
    assert answer.status_code == status
    assert says in text(answer)
    assert "credit-scoring" not in text(answer)
    as_json = ask(route, roles=roles, id=incident.id, accept="application/json")
    assert as_json.status_code == status
    assert says in plain(as_json)["error"]


@pytest.mark.parametrize("role", ["Medic.Reader", "Medic.Approver"])
@pytest.mark.parametrize("route", ROUTES)
def test_readers_and_approvers_see_it(own, route, role):
    incident, *_ = walk(own)
    assert ask(route, roles=(role,), id=incident.id).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
def test_a_page_carries_the_headers_that_forbid_all_else(own, route):
    incident, *_ = walk(own)
    for roles in (("Medic.Reader",), None):
        headers = ask(route, roles=roles, id=incident.id).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; img-src")
        assert "form-action 'self'; frame-ancestors 'none'; base-uri 'none'" in headers["Content-Security-Policy"]
        assert "script-src" not in headers["Content-Security-Policy"]
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("route", [*ROUTES, incidents.asset])
def test_head_is_answered_like_get_without_a_body(own, route):
    incident, *_ = walk(own)
    got = ask(route, id=incident.id, name="medic.css")
    head = ask(route, method="HEAD", id=incident.id, name="medic.css")
    assert (head.status_code, dict(head.headers), head.mimetype) == (200, dict(got.headers), got.mimetype)
    assert (head.get_body(), got.get_body() != b"") == (b"", True)


def test_a_store_that_does_not_answer_is_said_without_its_name(own, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/trail").write_text("no folder")
    for route in (incidents.overview, incidents.listed):  # where a folder is a file, no record is there by its name
        answer = ask(route)
        assert (answer.status_code, str(tmp_path) in text(answer)) == (503, False)
        assert "Try again later" in text(answer)


# ---------------------------------------------------------------------------------------------------- overview


def test_the_overview_shows_what_waits_runs_stops_and_is_held(own):
    waiting, *_ = walk(own, stop="asked")
    note(own, 1, end=None)
    own.trail.pause(Pause(until=NOON + HOUR, reason="migration", scope=Scope(workspace="mlw-prod")), "n")
    for number in range(2):
        result = Result(at=NOON - number * MINUTE, end=End.NOT_REPAIRED, cause_id="c")
        own.trail.record_result(SUBSCRIPTION, "retry", f"r{number}", result)
    own.trail.take_budget(SUBSCRIPTION, "retry", NOON, Slot(plan="p", incident_id="i"), 20)
    content = text(ask(incidents.overview))
    words = re.sub(r"\s+", " ", Parsed(content).words)
    assert "1 h left" in words
    assert f"/api/incidents/{waiting.id}" in attributes(content, "a", "href")
    assert "workspace mlw-prod migration until 2026-11-22 13:00:00 UTC" in words
    assert "workspace mlw-shop year end" in words
    assert f"retry in {SUBSCRIPTION} its last 2 repairs did not help" in words
    assert "19 of 20" in words
    assert own.policy.version in words
    told = plain(ask(incidents.overview, format="json"))
    assert [case["id"] for case in told["waiting"]] == [waiting.id]
    assert [case["id"] for case in told["running"]] == [f"inc-{1:024d}"]
    held = {one["action"]: one for one in told["held"]}
    assert (held["retry"]["is_open"], held["retry"]["used"], held["retry"]["limits"]) == (True, 1, [20, 20])
    assert held["delete-idle"]["is_open"] is False
    assert [stop["kind"] for stop in told["stops"]] == ["paused", "frozen"]


def test_an_empty_overview_says_so(own):
    words = Parsed(text(ask(incidents.overview))).words
    for said in ("Nothing waits.", "Nothing runs.", "No action is held.", "Policy names no subscription"):
        assert said in words


def test_plots_have_a_title_a_table_and_no_style_of_their_own(own):
    for number, end in enumerate(End):
        note(own, number, end=end)
    content = text(ask(incidents.overview))
    assert [role for role in attributes(content, "svg", "role") if role] == ["img", "img"]
    assert content.count("<desc") == 2
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", content)
    assert len(attributes(content, "table", "class")) == 3


def make_case(number, **changes):
    at = NOON - number * MINUTE
    fields = {
        "id": f"inc-{number}",
        "path": DEPLOYMENT,
        "operation": Operation.WRITE,
        "failed_at": at - MINUTE,
        "opened_at": at,
        "state": State.ENDED,
        "end": End.REPAIRED,
        "ended_at": at + number * MINUTE,
        "diagnosed_at": at,
    }
    return Case(**{**fields, **changes})


def test_figures_count_every_incident_of_their_days_once():
    days = figures.days_until(NOON, 3)
    cases = [make_case(number, end=end, opened_at=NOON - DAY) for number, end in enumerate([*End, None])]
    bars = figures.ends([*cases, make_case(1, opened_at=NOON - 9 * DAY)], days)
    assert (bars.total, sum(bars.rows[1][1])) == (11, 11)
    assert sum(box.height for box in bars.boxes) == pytest.approx(11 / 20 * (figures.HEIGHT - 36), abs=1)
    assert bars.heights[-1].label == "20"


def test_figures_tell_the_median_and_the_95th_percentile():
    cases = [make_case(number, opened_at=NOON) for number in range(1, 101)]
    spans = figures.spans(
        [*cases, make_case(1, diagnosed_at=None, end=None, ended_at=None)], figures.days_until(NOON, 1)
    )
    diagnosis, repair = spans.whole
    assert diagnosis is not None
    assert repair is not None
    assert (diagnosis.count, diagnosis.middle, diagnosis.most) == (100, MINUTE, MINUTE)
    assert (repair.count, repair.middle, repair.most) == (100, 51.5 * MINUTE, 96 * MINUTE)
    assert figures.spans([], figures.days_until(NOON, 1)).whole == (None, None)


# -------------------------------------------------------------------------------------------------------- list


def listed_ids(answer):
    return [case["id"] for case in plain(answer)["incidents"]]


def test_the_list_is_newest_first_in_pages_that_keep_the_filters(own):
    for number in range(120):
        note(own, number)
    first = ask(incidents.listed, state="ended", days="7")
    links = [link for link in attributes(text(first), "a", "href") if link and link.startswith("?")]
    assert links == ["?state=ended&days=7&page=2"]
    assert "120 incidents" in Parsed(text(first)).words
    pages_of = [listed_ids(ask(incidents.listed, format="json", page=str(page))) for page in (1, 2, 3, 99)]
    assert [len(page) for page in pages_of] == [50, 50, 20, 20]
    assert pages_of[0][0] == f"inc-{0:024d}"
    assert len({one for page in pages_of for one in page}) == 120


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({}, {0, 1, 2, 3, 5}),
        ({"state": "running"}, {3}),
        ({"state": "ended"}, {0, 1, 2, 5}),
        ({"end": "refused"}, {1}),
        ({"cause": "unknown"}, {2}),
        ({"mode": "ask"}, {1}),
        ({"workspace": "MLW-other"}, {2}),
        ({"days": "93"}, {0, 1, 2, 3, 4, 5}),
        ({"days": "1"}, {0, 1, 2, 3}),
        ({"since": "2026-11-21", "until": "2026-11-21"}, {5}),
        ({"until": "2026-10-13"}, {4}),
        ({"state": "ended", "mode": "ask", "end": "repaired"}, set()),
    ],
)
def test_filters_narrow_the_list(own, params, found):
    note(own, 0)
    note(own, 1, end=End.REFUSED, mode=Mode.ASK)
    note(own, 2, cause="unknown", resource=DEPLOYMENT.replace("mlw-prod", "mlw-other"))
    note(own, 3, end=None)
    note(own, 4, at=NOON - 40 * DAY)
    note(own, 5, at=NOON - DAY)
    assert {int(one[4:]) for one in listed_ids(ask(incidents.listed, accept="application/json", **params))} == found


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"state": "over"}, "There is no state 'over'. Use one of running, waiting, ended."),
        ({"end": HOSTILE}, "There is no end"),
        ({"mode": "x"}, "There is no mode 'x'"),
        ({"days": "94"}, "days is to be a whole number from 1 to 93"),
        ({"days": "0"}, "days is to be a whole number"),
        ({"days": "²"}, "days is to be a whole number"),
        ({"page": "-1"}, "page is to be a whole number"),
        ({"page": "9" * 5000}, "page is to be a whole number"),
        ({"since": "yesterday"}, "since is to be a day such as 2026-11-22"),
        ({"since": "0001-01-01"}, "since is to be a day from the year 2000 on"),
        ({"until": "9999-12-31"}, "until is to be a day from the year 2000 on"),
        ({"since": "2026-11-22", "until": "2026-11-21"}, "lies behind"),
        ({"since": "2026-01-01", "until": "2026-11-21"}, "at most 93"),
        ({"days": "3", "since": "2026-11-21"}, "not both"),
    ],
)
def test_a_filter_that_cannot_be_used_is_told(own, params, says):
    note(own, 0)
    answer = ask(incidents.listed, **params)
    assert answer.status_code == 400
    assert says in Parsed(text(answer)).words
    assert "alert" in attributes(text(answer), "div", "role")
    as_json = ask(incidents.listed, accept="application/json", **params)
    assert (as_json.status_code, says in plain(as_json)["error"]) == (400, True)


def test_lines_that_cannot_be_read_are_told(own):
    note(own, 0)
    length = len(own.trail.store.read("days/2026-11-22/0000"))
    own.trail.store.append("days/2026-11-22/0000", b"{\n", length)
    for route in (incidents.listed, incidents.overview):
        assert "1 line of the register cannot be read" in Parsed(text(ask(route))).words
        assert plain(ask(route, format="json"))["unreadable"] == 1


# ------------------------------------------------------------------------------------------------ one incident


def test_an_incident_is_told_from_its_event_to_its_end(own):
    incident, *_ = walk(own)
    answer = ask(incidents.shown, id=incident.id)
    words = re.sub(r"\s+", " ", Parsed(text(answer)).words)
    told = [
        "the write of mlw-prod/credit-scoring/green did not succeed, says event-grid",
        "resource Canceled, operation Canceled, 1 row of the Activity Log",
        "a log line",
        "canceled-higher-priority (OperationCanceled), two independent reads",
        "Azure called the operation off",
        "Run the same deployment again",
        f"PUT {DEPLOYMENT}?api-version=2024-10-01",
        "none needed: the same deployment is deployed again",
        "1 of 2 guards do not allow it",
        "20 of 20 are begun",
        "open until 2026-11-22 13:00:00 UTC",
        "serves 10 % of the traffic",
        f"approved by {OID}: fine",
        "call 1, attempt 1",
        "medic-0123456789abcdef",
        "medic-request-1",
        "repaired: it is Succeeded",
    ]
    places = [words.find(one) for one in told]
    assert -1 not in places, told[places.index(-1)]
    assert places == sorted(places)
    assert "5 min after the failure" in words
    links = attributes(text(answer), "a", "href")
    assert f"https://portal.azure.com/#@/resource{DEPLOYMENT}" in links
    assert f"/api/incidents/{incident.id}/records" in links
    assert "script" not in {tag for tag, _ in Parsed(text(answer)).tags}
    as_json = plain(ask(incidents.shown, id=incident.id, format="json"))
    assert (as_json["resource"], as_json["ended"]["end"]) == (DEPLOYMENT, "repaired")
    assert [record["stage"] for record in as_json["records"]][:3] == ["incident", "evidence", "diagnosis"]


def test_an_incident_under_way_refreshes_itself_and_can_be_reloaded(own):
    incident, *_ = walk(own, stop="asked")
    answer = ask(incidents.shown, id=incident.id)
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'; connect-src 'self'" in policy
    content = text(answer)
    assert attributes(content, "main", "data-refresh") == ["5"]
    assert attributes(content, "script", "src") == [f"/api/assets/refresh.js?v={pages.asset_version('refresh.js')}"]
    assert "refresh" not in attributes(content, "meta", "http-equiv")
    assert f"/api/incidents/{incident.id}" in attributes(content, "a", "href")


def test_only_an_approver_gets_the_link_to_answer(own):
    incident, *_ = walk(own, stop="asked")
    found = [
        [
            link
            for link in attributes(text(ask(incidents.shown, id=incident.id, roles=(role,))), "a", "href")
            if "approvals" in link
        ]
        for role in ("Medic.Reader", "Medic.Approver")
    ]
    assert found[0] == []
    (link,) = found[1]
    assert link.startswith("/api/approvals/k1.")


def test_evidence_that_is_gone_or_changed_is_said_to_be(own, tmp_path):
    incident, *_ = walk(own)
    digest = next(str(one.facts["evidence"]) for one in own.trail.records(incident.id) if one.stage == "evidence")
    file = tmp_path / f"store/evidence/{digest[:2]}/{digest}"
    file.write_bytes(b'{"changed": true}')
    assert "it has been changed" in Parsed(text(ask(incidents.shown, id=incident.id))).words
    file.unlink()
    words = Parsed(text(ask(incidents.shown, id=incident.id))).words
    assert "It is gone, though it is to be kept for 90 days" in words
    assert "canceled-higher-priority" in words
    own.clock = lambda: NOON + 91 * DAY
    assert "It was kept for 90 days, and they are over" in Parsed(text(ask(incidents.shown, id=incident.id))).words


def test_records_are_given_as_they_lie_on_the_trail(own):
    incident, *_ = walk(own)
    answer = ask(incidents.records, id=incident.id)
    assert answer.get_body() == own.trail.store.read(f"audit/{incident.id}/0000.jsonl")
    assert answer.mimetype == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{incident.id}.jsonl"'


def test_a_record_that_cannot_be_read_hides_no_other(own):
    incident, *_ = walk(own)
    name = f"audit/{incident.id}/0000.jsonl"
    own.trail.store.append(name, b'{"seq": "x"}\n', len(own.trail.store.read(name)))
    words = Parsed(text(ask(incidents.shown, id=incident.id))).words
    assert "1 record of this incident cannot be read" in words
    assert "it is Succeeded" in words


@pytest.mark.parametrize(
    "name",
    [
        "",
        "inc-0",
        "inc-" + "0" * 24,
        "inc-0/../../x",
        "../evidence",
        "inc-..",
        "inc-%2e%2e",
        "inc-" + "0" * 900,
        "inc-é",
        "inc-\x00",
    ],
)
@pytest.mark.parametrize("route", [incidents.shown, incidents.records])
def test_an_incident_that_is_not_there_is_not_found(own, route, name):
    walk(own)
    answer = ask(route, id=name)
    assert answer.status_code == 404
    assert "There is no such incident" in text(answer)
    assert ask(route, id=name, accept="application/json").status_code == 404


@pytest.mark.parametrize(
    ("host", "portal"),
    [
        ("management.azure.com", "https://portal.azure.com/#@/resource/a%20b/%C3%A9%22%3C"),
        ("management.usgovcloudapi.net", "https://portal.azure.us/#@/resource/a%20b/%C3%A9%22%3C"),
        ("management.chinacloudapi.cn", "https://portal.azure.cn/#@/resource/a%20b/%C3%A9%22%3C"),
        ("127.0.0.1", None),
        (None, None),
    ],
)
def test_a_resource_is_linked_in_the_portal_of_its_cloud(host, portal):
    assert pages.portal_link(host, '/a b/é"<') == portal


# -------------------------------------------------------------------------------------------------------- assets


def test_assets_are_kept_for_long_under_their_version(own):
    for name, kind in pages.ASSETS.items():
        version = pages.asset_version(name)
        kept = ask(incidents.asset, roles=None, name=name, v=version)
        assert (kept.status_code, kept.mimetype) == (200, kind)
        assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert ask(incidents.asset, roles=None, name=name, v="old").headers["Cache-Control"] == "no-cache"
        assert kept.get_body() == (ROOT / "functions/pages" / name).read_bytes()


@pytest.mark.parametrize(
    "name",
    ["", "base.html", "__init__.py", "../incidents.py", "medic.css/../base.html", "MEDIC.CSS", "medic.css\x00", "."],
)
def test_nothing_else_is_an_asset(own, name):
    assert ask(incidents.asset, name=name).status_code == 404


def test_what_a_page_names_is_its_own(own):
    incident, *_ = walk(own, stop="asked")
    for route in (incidents.overview, incidents.listed, incidents.shown):
        content = text(ask(route, id=incident.id))
        named = [*attributes(content, "link", "href"), *attributes(content, "script", "src")]
        assert all(one and one.startswith(("/api/assets/", "data:,")) for one in named)
    for name in pages.ASSETS:
        assert not re.search(rb"https?://|@import|url\(", pages.asset(name) or b"")


# ------------------------------------------------------------------------------------------------ foreign texts


def check_harmless(content):
    """No foreign text has become a tag, an attribute, a template or an invisible character."""
    parsed = Parsed(content)
    allowed = {"/api/assets/refresh.js?v=" + pages.asset_version("refresh.js")}
    assert [found.get("src") for tag, found in parsed.tags if tag == "script" and found.get("src") not in allowed] == []
    assert not any(name.startswith("on") or name == "style" for _, found in parsed.tags for name in found)
    assert "alert(1)" in content, "it is shown"
    assert not set("\u202e\u0007\x1b\u200b") & set(content)
    assert "49" not in re.findall(r"\{\{ 7\*7 \}\}|\b49\b", content)


def test_hostile_words_on_the_trail_stay_words(own):
    incident = make_incident(failed_at=NOON - HOUR, source=HOSTILE, event_id=HOSTILE, correlation_id=CORRELATION)
    walk(
        own,
        incident,
        words=HOSTILE,
        comment=HOSTILE,
        log=HOSTILE,
        effect=HOSTILE,
        undo=HOSTILE,
        parameters={HOSTILE: HOSTILE},
    )
    check_harmless(text(ask(incidents.shown, id=incident.id)))


def test_hostile_filters_and_pauses_stay_words(own):
    note(own, 0, cause=HOSTILE)
    for name in ("cause", "workspace", "state", "since"):
        check_harmless(text(ask(incidents.listed, **{name: HOSTILE})))
    check_harmless(text(ask(incidents.listed)))
    own.trail.pause(Pause(until=NOON + HOUR, reason=HOSTILE, scope=Scope(workspace=HOSTILE)), "n")
    check_harmless(text(ask(incidents.overview)))


def make_view(**changes):
    incident = make_incident(resource=make_resource(), source="s")
    diagnosis = make_diagnosis(
        incident=incident,
        what="Azure called it off",
        supporting=(Finding(read="operation", says="it is Canceled"),),
        opposing=(Finding(read="log", says="nothing"),),
        rivals=("quota-cpu",),
        would_tell="the usages",
    )
    plan = make_plan(diagnosis=diagnosis)
    decision = Decision(
        plan=plan,
        verdict=Verdict.ASK,
        would=Verdict.ASK,
        mode=Mode.ASK,
        mode_words="policy says ask for retry",
        answers=(GuardAnswer(guard="not-paused", answer=Answer.ALLOW, words="no pause holds"),),
        situation="s",
    )
    question = Question(
        at=NOON,
        incident_id=incident.id,
        plan=plan.digest,
        decision="d",
        policy_version="v1",
        expires_at=NOON + HOUR,
        quorum=2,
        callers=("somebody",),
        touches=(Touch(path=DEPLOYMENT, says=("serves 10 % of the traffic",)),),
    )
    vote = Vote(at=NOON, plan=plan.digest, by=Caller(oid="first", tid="t"), approves=True, comment="go")
    notice = Notice(
        kind=NoticeKind.ASKED,
        at=NOON,
        incident=incident,
        mode=Mode.ASK,
        diagnosis=diagnosis,
        decision=decision,
        question=question,
        votes=(vote,),
    )
    fields = {
        "notice": notice,
        "person": Person(oid=OID, tid="t", name="Kim"),
        "state": "open",
        "token": "k1.token",
        "read_at": NOON,
        "antiforgery": "anti",
    }
    return View(**{**fields, **changes})


def approval(**changes):
    return pages.render("approval.html", view=make_view(**changes))


def test_the_approval_page_holds_all_that_one_decides_on():
    content = approval()
    words = re.sub(r"\s+", " ", Parsed(content).words)
    for said in (
        "mlw-prod/credit-scoring/green",
        "failed at 2026-11-22 11:55:00 UTC",
        "canceled-higher-priority",
        "Azure called it off",
        "operation: it is Canceled",
        "log: nothing",
        "quota-cpu. To tell them apart: the usages",
        "deploy mlw-prod/credit-scoring/green again",
        f"PUT {DEPLOYMENT}?api-version=2024-10-01",
        "serves 10 % of the traffic",
        "no pause holds",
        "policy says ask for retry",
        "2026-11-22 13:00:00 UTC",
        "2 approvals needed",
        "approved by first at 2026-11-22 12:00:00 UTC: go",
        "none needed: the same deployment is deployed again",
        "Nothing has changed since the plan was made, read at 2026-11-22 12:00:00 UTC",
    ):
        assert said in words, said
    assert attributes(content, "form", "method") == ["post"]
    assert attributes(content, "form", "action") == [""]
    assert "anti" in attributes(content, "input", "value")
    assert attributes(content, "textarea", "maxlength") == ["500"]
    assert attributes(content, "button", "value") == ["approve", "reject"]
    assert "script" not in {tag for tag, _ in Parsed(content).tags}


def test_what_has_changed_stands_beside_what_it_was():
    changes = (Change(name="last modified", then="11:00", now="11:58"), Change(name="traffic", then="10", now=None))
    words = re.sub(r"\s+", " ", Parsed(approval(changes=changes)).words)
    assert "last modified11:0011:58" in words.replace(" ", "").replace("lastmodified", "last modified")
    assert "not there" in words
    assert "An approval would be void" in words
    assert "Nothing has changed" not in words
    assert "could not be read: no answer" in Parsed(approval(unread="no answer")).words


def test_who_may_not_answer_is_told_why_at_the_button():
    content = approval(may_approve="you started it", may_reject="you rejected it")
    assert [("disabled" in found) for tag, found in Parsed(content).tags if tag == "button"] == [True, True]
    described = attributes(content, "button", "aria-describedby")
    assert described == ["no-approve", "no-reject"]
    assert "You may not approve it: you started it" in Parsed(content).words
    assert "You may not reject it: you rejected it" in Parsed(content).words


def test_each_name_to_type_has_a_field_with_a_label():
    content = approval(to_type=("old", "older"))
    fields = [found for tag, found in Parsed(content).tags if tag == "input" and found.get("name") == "typed"]
    assert [found["autocomplete"] for found in fields] == ["off", "off"]
    assert {found["id"] for found in fields} <= set(attributes(content, "label", "for"))
    words = re.sub(r"\s+", " ", Parsed(content).words)
    assert "Type the name of the deployment that will be deleted: older" in words
    assert "typed" not in attributes(approval(), "input", "name")


def test_an_error_stands_in_an_alert_that_can_take_the_focus():
    content = approval(error="type the name")
    alerts = [found for tag, found in Parsed(content).tags if found.get("role") == "alert"]
    assert [(found["id"], found["tabindex"]) for found in alerts] == [("problem", "-1")]
    assert "type the name" in Parsed(content).words


@pytest.mark.parametrize("state", ["approved", "rejected", "expired", "superseded"])
def test_nobody_answers_what_is_answered(state):
    content = approval(state=state, words="by first at noon")
    assert "form" not in {tag for tag, _ in Parsed(content).tags}
    assert "It ended: by first at noon." in Parsed(content).words


@pytest.mark.parametrize("part", ["notice", "person", "view"])
def test_hostile_words_on_the_approval_page_stay_words(part):
    view = make_view()
    notice = view.notice
    assert notice.diagnosis is not None
    assert notice.decision is not None
    assert notice.question is not None
    long = HOSTILE + "x" * 10_000
    if part == "notice":
        found = (Finding(read=long, says=long),)
        diagnosis = replace(notice.diagnosis, what=long, message=long, supporting=found, opposing=found, rivals=(long,))
        plan = replace(notice.decision.plan, effect=long, undo=long, parameters={long: long}, diagnosis=diagnosis)
        answers = (GuardAnswer(guard=long, answer=Answer.DENY, words=long),)
        decision = replace(notice.decision, plan=plan, mode_words=long, answers=answers)
        touches = (Touch(path=long, says=(long,)),)
        question = replace(notice.question, touches=touches, voids=long, differences=(long,), policy_version=long)
        votes = (replace(notice.votes[0], comment=long, by=Caller(oid=long)),)
        view = replace(
            view,
            notice=replace(notice, diagnosis=diagnosis, decision=decision, question=question, votes=votes, words=long),
        )
    elif part == "person":
        view = replace(view, person=Person(oid=long, tid=long, name=long))
    else:
        changes = (Change(name=long, then=long, now=long),)
        refusals = (GuardAnswer(guard=long, answer=Answer.UNKNOWN, words=long),)
        view = replace(
            view,
            changes=changes,
            refusals=refusals,
            unread=long,
            error=long,
            may_approve=long,
            may_reject=long,
            to_type=(long,),
            antiforgery=HOSTILE,
        )
    check_harmless(pages.render("approval.html", view=view))


def test_a_page_whose_evidence_is_gone_still_shows_what_it_knows():
    view = make_view()
    content = pages.render(
        "approval.html", view=replace(view, notice=replace(view.notice, diagnosis=None, decision=None))
    )
    assert "What would be done cannot be read any more." in Parsed(content).words


# -------------------------------------------------------------------------------------------------------- frame


def test_every_page_has_one_main_a_skip_link_and_a_title(own):
    incident, *_ = walk(own)
    contents = [text(ask(route, id=incident.id)) for route in (incidents.overview, incidents.listed, incidents.shown)]
    contents += [approval(), pages.render("plain.html", title="Signed out", words="")]
    for content in contents:
        tags = [tag for tag, _ in Parsed(content).tags]
        assert (tags.count("main"), tags.count("h1"), tags.count("title") >= 1) == (1, 1, True)
        assert attributes(content, "a", "href")[0] == "#main"
        assert all("scope" in found for tag, found in Parsed(content).tags if tag == "th")
        ids = [found["id"] for _, found in Parsed(content).tags if "id" in found]
        assert len(ids) == len(set(ids))
        labels = attributes(content, "label", "for")
        fields = [found for tag, found in Parsed(content).tags if tag in {"input", "select", "textarea"}]
        assert all(found.get("type") == "hidden" or found["id"] in labels for found in fields)


def test_what_a_template_is_not_given_is_an_error():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        pages.render("plain.html", title="x")


def test_the_pages_cost_a_cold_start_nothing():
    script = "import sys, functions.pages; print('jinja2' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=3.04), "3.0 s"),
        (timedelta(seconds=59.4), "59 s"),
        (timedelta(seconds=59.9), "1 min"),
        (timedelta(seconds=242), "4 min 2 s"),
        (timedelta(hours=3, minutes=12), "3 h 12 min"),
        (timedelta(days=3), "3 d"),
        (timedelta(seconds=-90), "-1 min 30 s"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(duration, words):
    assert pages.span(duration) == words


def test_other_incidents_are_not_mixed_in(own):
    one, *_ = walk(own)
    other, *_ = walk(own, make_incident(correlation_id=OTHER_CORRELATION, failed_at=NOON - HOUR), stop="asked")
    words = Parsed(text(ask(incidents.shown, id=other.id))).words
    assert one.id not in words
    assert "it is Succeeded" not in words


# ------------------------------------------------------------------------------------------------------ an undo


def undo_page(**changes):
    """The page of an undo that can be asked for, unless a test says otherwise."""
    called = Sent(
        number=1, call="DELETE /x", action="delete-idle", at=NOON, state="can", undo_action="undo-delete", undo="inc-u"
    )
    fields: dict[str, Any] = {
        "read_at": NOON,
        "effect": "create it again",
        "calls": ("PUT /x",),
        "verdict": "ask",
        "mode_words": "policy says ask",
        "touches": (Touch(path="/x", says=("It comes back.",)),),
        "environment_names": ("KEY",),
        "commands": ("az x",),
        "undo": "az y",
    }
    values: dict[str, Any] = {
        "incident": make_incident(),
        "person": Person(oid=OID, tid="t"),
        "offers": (Offer(sent=called, **{**fields, **changes.pop("offer", {})}),),
        "antiforgery": "k1.value",
        "error": None,
        "typed_call": "",
        "comment": "",
        "mode": Mode.ASK,
        "most": 500,
    }
    return pages.render("undo.html", **{**values, **changes})


def test_the_page_of_an_undo_holds_all_that_one_asks_on():
    shown = undo_page()
    for part in ("DELETE /x", "create it again", "PUT /x", "KEY", "az x", "az y", "It comes back.", 'value="k1.value"'):
        assert part.replace("/", "/<wbr>") in shown or part in shown
    assert "No guard would refuse it now" in shown
    assert shown.count("<form") == 1


def test_what_would_be_refused_is_said_and_cannot_be_asked_for():
    refusal = GuardAnswer(guard="gets-no-traffic", answer=Answer.DENY, words="5 %")
    why = "it would be refused: gets-no-traffic: 5 %"
    shown = undo_page(offer={"refusals": (refusal,), "verdict": "refuse", "why_not_now": why})
    assert "It would be refused as things stand now" in shown
    assert "Nobody can ask for it now:" in shown
    assert why in shown
    assert ("<form" in shown, "can be undone</span>" in shown, "not to be undone now" in shown) == (False, False, True)
    off = undo_page(offer={"verdict": "refuse", "why_not_now": "policy says off for undo-delete there"})
    assert "policy says off for undo-delete there" in off
    assert "No guard would refuse it now" not in off


def test_a_page_says_what_asking_comes_to_and_who_may_approve():
    words = "it ends as a dry run, and changes nothing"
    shown = undo_page(
        offer={"comes_to": words, "quorum": 2, "approvers": "whoever has the app role X", "verdict": "dry-run"}
    )
    told = Parsed(shown).words
    assert f"If it is asked for, {words}" in told
    assert "By policy it needs 2 approvals, by whoever has the app role X" in told
    assert "no undo can be asked for" in undo_page(mode=Mode.OFF)
    assert "ends as a dry run" not in undo_page(mode=Mode.OFF)


def test_who_may_not_ask_gets_no_form():
    shown = undo_page(offer={"may_ask": "policy does not list you"})
    assert ("<form" in shown, "policy does not list you" in shown) == (False, True)


def test_a_dry_run_says_that_nothing_will_be_changed():
    assert "ends as a dry run" in undo_page(mode=Mode.DRY_RUN)
    assert "ends as a dry run" not in undo_page()


def test_hostile_words_on_the_page_of_an_undo_stay_words():
    touch = Touch(path=HOSTILE, says=(HOSTILE,))
    offer: dict[str, Any] = dict.fromkeys(("effect", "words", "mode_words", "undo", "may_ask"), HOSTILE)
    offer |= dict.fromkeys(("calls", "environment_names", "commands"), (HOSTILE,)) | {"touches": (touch,)}
    for shown in (
        undo_page(offer=offer, error=HOSTILE),
        undo_page(offer={**offer, "effect": None, "may_ask": None}, comment=HOSTILE, typed_call="1"),
    ):
        assert "<script>" not in shown
        assert "\u202e" not in shown
        assert shown.count("</textarea>") == shown.count("<textarea")
