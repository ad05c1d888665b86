"""An undo over the app's own routes, against the simulator: what it does, and what no request can make it do."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from functions import undo as undos
from functions.limits import Limit
from local import answering
from local.arm.models import World
from remediations import codec
from remediations.adapters.folder import FolderStore
from remediations.approval import token
from remediations.model import Actor, Person
from remediations.services import EvidenceStore
from tests.builders import SUBSCRIPTION
from tests.undos import KEPT, put_on_trail
from tests.workflow.theatre import KEY, Story, Theatre, eventually, short_of_cores

ASKER, APPROVER, READER = (str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in ("asker", "approver", "reader"))
JSON, FIELDS = "application/json", "application/x-www-form-urlencoded"
POLICY: dict[str, Any] = {"actions": {"delete-idle": {"mode": "auto"}, "grant-roles": {"mode": "auto"}}}
PLENTY: dict[str, Any] = {"operation_seconds": 0.05}


@pytest.fixture(scope="module")
def theatre(tmp_path_factory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("undo")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    """The routes run in this process: one test asks more often than a person may."""
    for name in ("_LOOKS", "_ASKS", "_FOREIGN", "_STRANGERS"):
        monkeypatch.setattr(undos, name, Limit(10_000))


@pytest.fixture
def tell(theatre) -> Iterator[Any]:
    worlds = []

    def begin(*args: Any, **options: Any) -> Story:
        story = theatre.tell(*args, **options)
        worlds.append(story.world)
        return story

    yield begin
    for world in worlds:
        world.close()


def deleted(tell) -> tuple[Story, str]:
    """A story in which one idle deployment was deleted for its cores, and the incident that did it, ended."""
    world = {**short_of_cores(16, old={}), **PLENTY}
    story = tell(world, policy=POLICY)
    story.world.put_deployment("ci", "credit-scoring", "green")
    assert story.ending()[0] == "repaired"
    assert story.effects() == ["DELETE old", "PUT green"]
    return story, story.incident()


def granted(tell, **world: Any) -> tuple[Story, str]:
    """A story in which AcrPull was granted, and the incident that did it, ended."""
    seed = {
        "workspaces": [{"name": "mlw-demo", "endpoints": [{"name": "credit-scoring", "identities": ["id-credit"]}]}],
        "role_assignments": [{"principal": "id-credit", "role": "Storage Blob Data Reader", "scope": "storage"}],
        "hazards": [],
        **PLENTY,
        **world,
    }
    story = tell(seed, policy={"actions": {"grant-roles": {"mode": "ask"}}})
    story.put()
    assert story.answer(story.question()).status_code == 200
    assert story.ending()[0] == "repaired"
    return story, story.incident()


def headers(oid: str | None = ASKER, *, roles: tuple[str, ...] = ("Medic.Approver",), **claims: str) -> dict[str, str]:
    return {"Accept": JSON, **({} if oid is None else answering.principal(oid, roles=roles, **claims))}


def shown(story: Story, incident: str, **options: Any) -> dict[str, Any]:
    answer = story.http.get(f"/api/incidents/{incident}/undo", headers=headers(**options))
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def post(story: Story, incident: str, body: Any, sent: dict[str, str]) -> httpx.Response:
    link = f"/api/incidents/{incident}/undo"
    return story.http.post(link, content=body if isinstance(body, bytes) else json.dumps(body).encode(), headers=sent)


def value_for(incident: str, oid: str = ASKER, tid: str = answering.TENANT, purpose: str | None = None) -> str:
    """The value of the form that the page shows to somebody."""
    return token.form_value(Person(oid=oid, tid=tid), purpose or f"undo {incident}", {"k1": KEY}, "k1")


def undo_of(story: Story, incident: str) -> str:
    """The id of the only undo of an incident."""
    (record,) = story.records(incident, "undo")
    return str(record.facts["undo"])


def state_of(story: Story, endpoint: str = "fraud", name: str = "old") -> str | None:
    body = story.world.deployment(endpoint, name)
    return None if body is None else str(body["properties"]["provisioningState"])


def traffic_of(story: Story, endpoint: str) -> Any:
    body = story.world.endpoint(endpoint)
    assert body is not None
    return body["properties"]["traffic"]


def end_of(story: Story, incident: str) -> tuple[str, str]:
    ended = eventually(lambda: story.trail.ended(incident), lambda: f"{incident} did not end:\n{story.said()}")
    assert ended is not None
    return str(ended.end), ended.words


# ------------------------------------------------------------------------------------------------- it is done


def test_a_deletion_is_undone_once_somebody_else_approves(tell):
    story, incident = deleted(tell)
    page = shown(story, incident)
    call = page["calls"][0]
    assert (call["state"], call["effect"]) == (
        "can",
        "create mlw-demo/fraud/old again from its receipt (1 of Standard_DS3_v2), with traffic 0",
    )
    assert [one.rpartition("/")[2] for one in call["calls"]] == ["old?api-version=2024-10-01"]
    assert (call["refusals"], call["may_ask"], page["calls"][1]["state"]) == ([], None, "cannot")
    story.world.delete_deployment("person", "credit-scoring", "green")  # makes room
    asked = answering.undo(story.http, incident, comment="fraud needs it", oid=ASKER)
    assert asked.status_code == 200, asked.text
    assert asked.json()["words"].endswith(
        ": somebody else has to approve it: 1 approval is needed, by whoever has the app role Medic.Approver"
    )
    undo = asked.json()["incident"]
    question = story.question()
    assert (question.incident_id, question.callers) == (undo, (ASKER,))
    path = call["calls"][0].removeprefix("PUT ").partition("?")[0]
    wish = {"incident": incident, "action": "delete-idle", "path": path, "comment": "fraud needs it", "by": ASKER}
    (listed,) = story.http.get("/api/approvals", headers=headers(APPROVER)).json()["questions"]
    page = story.http.get(story.link(question), headers=headers(APPROVER)).json()
    assert [{**one["asked_for"], "at": None} for one in (listed, page)] == [{**wish, "at": None}] * 2
    own = story.answer(question, oid=ASKER)
    assert (own.status_code, own.json()["error"]) == (403, "you asked for this undo; somebody else has to approve it")
    assert story.answer(question, oid=APPROVER).status_code == 200
    assert end_of(story, undo) == ("repaired", "mlw-demo/fraud/old is Succeeded as its receipt says, with traffic 0")
    body = story.world.deployment("fraud", "old")
    assert body is not None
    assert body["properties"]["provisioningState"] == "Succeeded"
    endpoint = story.http.get(f"/api/incidents/{undo}", headers=headers())
    assert endpoint.json()["incident"]["undoes"]["incident"] == incident
    (record,) = story.records(incident, "undo")
    assert (record.facts["undo"], record.facts["comment"], record.actor) == (
        undo,
        "fraud needs it",
        Actor(who="person", oid=ASKER, tid=answering.TENANT),
    )
    again = answering.undo(story.http, incident, oid=ASKER)
    assert again.status_code == 409
    assert again.json()["error"].startswith(f"call 1 cannot be undone: it is undone already, by {undo}")
    story.check_promises()


def test_an_undo_whose_cores_are_used_up_fails_and_says_so(tell):
    story, incident = deleted(tell)
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    assert story.answer(story.question(), oid=APPROVER).status_code == 200
    end, words = end_of(story, undo)
    assert end == "not-repaired"
    assert "mlw-demo/fraud/old was created again, and is Failed" in words
    (record,) = story.records(incident, "undo-ended")
    assert record.facts == {"undo": undo, "end": "not-repaired", "words": words}
    again = answering.undo(story.http, incident, oid=ASKER)
    assert again.status_code == 409
    assert "Delete it by hand first: az ml online-deployment delete --name old" in again.json()["error"]
    eventually(lambda: len(story.intakes(2)) >= 2, "our own failure was not told")
    assert story.dispositions(2) == ["incident", "linked"]
    assert len(story.incidents()) == 2
    story.check_promises()


def test_a_grant_is_undone_while_it_is_as_we_created_it(tell):
    story, incident = granted(tell)
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    assert story.answer(story.question(), oid=APPROVER).status_code == 200
    end, words = end_of(story, undo)
    assert (end, words.startswith("the role assignment is gone.")) == ("repaired", True)
    assert [one.split()[0] for one in story.effects()] == ["PUT", "PUT", "DELETE"]
    story.check_promises()


def test_a_grant_that_somebody_changed_is_left_alone(tell):
    story, incident = granted(tell)
    (grant,) = [entry.path for entry in story.sends() if "roleAssignments" in entry.path]
    scope, _, name = grant.partition("/providers/Microsoft.Authorization/roleAssignments/")
    held = story.world.roles.get(scope, name)
    assert held is not None
    held.condition, held.updated_at = "@Resource[x] StringEquals 'y'", story.world.now()
    page = shown(story, incident)["calls"][0]
    words = "it would be refused: assignment-is-ours: it has a condition, which we never set"
    assert (page["why_not_now"], page["comes_to"], page["commands"]) == (words, "", [])
    refused = answering.undo(story.http, incident, oid=ASKER)
    assert (refused.status_code, refused.json()["error"]) == (
        409,
        f"the undo of call {page['number']} is not asked for: {words}",
    )
    assert len(story.incidents()) == 1
    assert story.world.roles.get(scope, name) is not None


def test_a_grant_is_only_advised_without_the_right(tell):
    denied = [{"principal": "medic", "action": "Microsoft.Authorization/roleAssignments/delete"}]
    story, incident = granted(tell, denied=denied)
    call = shown(story, incident)["calls"][0]
    assert (call["effect"], len(call["commands"])) == (None, 1)
    asked = answering.undo(story.http, incident, oid=ASKER).json()
    undo = asked["incident"]
    assert asked["words"].endswith(f"{undo}: it ends as advice, with the command for a person")
    end, words = end_of(story, undo)
    assert (end, call["commands"][0] in words) == ("advised", True)
    assert [one.split()[0] for one in story.effects()] == ["PUT", "PUT"]


def test_what_somebody_changed_is_to_be_looked_at_before_the_command(tell):
    denied = [{"principal": "medic", "action": "Microsoft.Authorization/roleAssignments/delete"}]
    story, incident = granted(tell, denied=denied)
    (grant,) = [entry.path for entry in story.sends() if "roleAssignments" in entry.path]
    scope, _, name = grant.partition("/providers/Microsoft.Authorization/roleAssignments/")
    held = story.world.roles.get(scope, name)
    assert held is not None
    held.condition = "@Resource[x] StringEquals 'y'"
    call = shown(story, incident)["calls"][0]
    assert (call["commands"], call["comes_to"]) == ([], "it ends as advice, with the command for a person")
    before, command = call["words"].split(" To remove it: ")
    assert before.endswith("But look at it first: it has a condition, which we never set.")
    assert command == f"az role assignment delete --ids {grant}"


def test_a_refused_undo_may_be_asked_for_again(tell):
    story, incident = deleted(tell)
    first = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    assert story.answer(story.question(), "reject", comment="not now", oid=APPROVER).status_code == 200
    assert end_of(story, first)[0] == "rejected"
    second = answering.undo(story.http, incident, oid=ASKER).json()
    assert (second["is_new"], second["incident"] == first) == (True, False)
    assert [record.facts["undo"] for record in story.records(incident, "undo")] == [first, second["incident"]]


def test_many_who_ask_at_once_begin_one_undo(tell):
    story, incident = deleted(tell)
    people = [str(uuid.uuid4()) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda oid: answering.undo(story.http, incident, oid=oid), people))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["incident"] for answer in answers}) == 1
    assert sorted(answer.json()["is_new"] for answer in answers) == [False] * 5 + [True]
    assert story.question().incident_id == undo_of(story, incident)
    assert len(story.incidents()) == 2


def test_an_undo_that_was_claimed_and_not_scheduled_is_begun_by_the_sweep(tell):
    story, incident = deleted(tell)
    lost = story.lose_hub_at("open_incident")
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    eventually(lambda: lost, "the hub was not lost")
    story.host.backend.on_hand_out = None
    story.sweep()
    assert story.question().incident_id == undo


def test_what_somebody_created_and_removed_since_is_not_brought_back_as_it_was_before(tell):
    story, incident = deleted(tell)
    story.world.delete_deployment("person", "credit-scoring", "green")  # makes room
    eventually(lambda: state_of(story, "credit-scoring", "green") is None, "it was not deleted")
    story.world.put_deployment("person", "fraud", "old")
    eventually(lambda: state_of(story) == "Succeeded", "it was not created")
    story.world.delete_deployment("person", "fraud", "old")
    eventually(lambda: state_of(story) is None, "it was not deleted")
    refusals = eventually(lambda: shown(story, incident)["calls"][0]["refusals"], "nothing would refuse it")
    (why,) = [one["words"] for one in refusals if one["guard"] == "receipt-is-last-state"]
    assert why.startswith(("it was written again at ", "it was deleted again at "))  # its row may come later
    assert why.endswith(", after we deleted it: its receipt is not its last state")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "off"}, "MEDIC_MODE is off: Endpoint Medic does nothing, and asks nobody"),
        ({"actions": ("delete-idle",)}, "policy says off for undo-delete there"),
    ],
)
def test_what_is_off_cannot_be_asked_for(tmp_path, changes, why):
    with Theatre(tmp_path, mode=changes.get("mode", "auto")) as off:
        story = off.tell(policy={"actions": {"undo-delete": {"mode": "off"}}} if "actions" in changes else None)
        endpoints = [{"name": "credit-scoring", "deployments": [{"name": "failed"}]}]
        world = World.from_dict(
            {"workspaces": [{"name": "mlw-prod", "endpoints": endpoints}], "subscription": SUBSCRIPTION}
        )
        off.server.show(world)
        kept = {**KEPT, "taken_at": datetime.now(UTC).isoformat()}
        original = put_on_trail(story.trail, receipt=codec.digest_of(kept))
        EvidenceStore(FolderStore(off.folder / "evidence")).put(kept)
        assert shown(story, original.id)["calls"][0]["why_not_now"] == why
        refused = answering.undo(story.http, original.id, oid=ASKER)
        assert (refused.status_code, refused.json()["error"].endswith(why)) == (409, True)
        assert len(list(story.trail.incidents())) == 1
        story.world.close()
        world.close()


@pytest.mark.parametrize(
    ("weight", "end"),
    [
        (
            10,
            (
                "inconclusive",
                "mlw-demo/fraud/old is Succeeded as its receipt says, but it gets 10 % of the traffic",
            ),
        ),
        (
            0,
            (
                "repaired",
                "mlw-demo/fraud/old is Succeeded as its receipt says, with traffic 0",
            ),
        ),
    ],
)
def test_an_undo_that_was_interrupted_ends_as_one_that_was_not(tell, weight, end):
    story, incident = deleted(tell)
    story.world.delete_deployment("person", "credit-scoring", "green")  # makes room
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    question, lost = story.question(), story.lose_hub_at("verify")
    assert story.answer(question, oid=APPROVER).status_code == 200
    eventually(lambda: lost, "the hub was not lost")
    story.host.backend.on_hand_out = None
    split = {"live": 100 - weight, "old": weight}
    story.world.put_endpoint("person", "fraud", {"properties": {"traffic": split}})
    eventually(lambda: traffic_of(story, "fraud") == split, "the traffic was not set")
    story.sweep()
    assert end_of(story, undo) == end
    assert len([one for one in story.effects() if one == "PUT old"]) == 1


def test_the_end_of_an_interrupted_undo_of_a_grant_is_what_its_action_says(tell):
    story, incident = granted(tell)
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    question, lost = story.question(), story.lose_hub_at("verify")
    assert story.answer(question, oid=APPROVER).status_code == 200
    eventually(lambda: lost, "the hub was not lost")
    story.host.backend.on_hand_out = None
    story.sweep()
    warning = "Deployments that use this identity may fail to pull or to read at their next restart or scale-out."
    assert end_of(story, undo) == ("repaired", f"the role assignment is gone. {warning}")


# ---------------------------------------------------------------------------------------- what no request can do


def test_looking_changes_nothing(tell):
    story, incident = deleted(tell)
    before = story.bytes_kept()
    for method in ("GET", "HEAD"):
        for accept in (JSON, "text/html"):
            sent = {**headers(), "Accept": accept}
            answer = story.http.request(method, f"/api/incidents/{incident}/undo", headers=sent)
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            assert bool(answer.content) is (method == "GET")
    kept = {name for name in story.trail.store.list("") if not name.startswith("days/")}
    assert not any("undo" in name for name in kept)
    assert len(before) > 0
    assert (len(story.incidents()), story.records(incident, "undo")) == (1, [])


def test_a_reader_sees_what_can_be_undone_and_may_not_ask(tell):
    story, incident = deleted(tell)
    page = shown(story, incident, oid=READER, roles=("Medic.Reader",))
    assert page["calls"][0]["may_ask"] == "policy does not list you as an approver of undo-delete there"
    html = story.http.get(
        f"/api/incidents/{incident}/undo",
        headers={**headers(READER, roles=("Medic.Reader",)), "Accept": "text/html"},
    ).text
    assert "You may not ask for it" in html
    assert "<form" not in html
    incident_page = {"Accept": "text/html"}
    link = f"/api/incidents/{incident}"
    as_reader = story.http.get(link, headers={**headers(READER, roles=("Medic.Reader",)), **incident_page}).text
    as_approver = story.http.get(link, headers={**headers(), **incident_page}).text
    assert (f"{link}/undo" in as_reader, f"{link}/undo" in as_approver) == (False, True)


def test_whoever_sees_incidents_is_shown_which_undo_is_under_way(tell):
    story, incident = deleted(tell)
    undo = answering.undo(story.http, incident, oid=ASKER).json()["incident"]
    body = {"call": 1, "comment": "me too", "antiforgery": value_for(incident, READER)}
    asked = post(story, incident, body, {**headers(READER, roles=("Medic.Reader",)), "Content-Type": JSON})
    assert (asked.status_code, asked.json()["words"]) == (200, f"its undo is under way in {undo}")
    assert (asked.json()["is_new"], len(story.records(incident, "undo"))) == (False, 1)


def test_what_is_not_rightly_asked_for_is_refused_and_on_the_trail(tell):
    story, incident = deleted(tell)
    good = {"call": 1, "comment": "because", "antiforgery": value_for(incident)}
    sent = {**headers(), "Content-Type": JSON}
    form = {**headers(), "Content-Type": FIELDS, "Sec-Fetch-Site": "same-origin", "Accept": JSON}
    reader = {**headers(READER, roles=("Medic.Reader",)), "Content-Type": JSON}
    attacks: list[tuple[str, Any, dict[str, str], int, str]] = [
        ("nobody", good, {"Content-Type": JSON, "Accept": JSON}, 401, "not signed in"),
        ("no role", good, {**headers(roles=()), "Content-Type": JSON}, 403, "may not see"),
        ("a reader", {**good, "antiforgery": value_for(incident, READER)}, reader, 403, "does not list you"),
        ("an app", good, {**headers(idtyp="app"), "Content-Type": JSON}, 403, "an application asks for nothing"),
        ("no value", {**good, "antiforgery": ""}, sent, 403, "was not shown to you"),
        ("another's value", {**good, "antiforgery": value_for(incident, READER)}, sent, 403, "was not shown to you"),
        ("another incident's", {**good, "antiforgery": value_for("inc-other")}, sent, 403, "was not shown to you"),
        ("a value of an approval", {**good, "antiforgery": value_for(incident, purpose=incident)}, sent, 403, "shown"),
        ("cross-site", good, {**sent, "Sec-Fetch-Site": "cross-site"}, 403, "another site"),
        ("another origin", good, {**sent, "Origin": "https://evil.example"}, 403, "another site"),
        ("a form from nowhere", urlencode(good).encode(), {**headers(), "Content-Type": FIELDS}, 403, "does not say"),
        ("no comment", {**good, "comment": " \u200b "}, sent, 400, "say why"),
        ("a comment too long", {**good, "comment": "x" * 501}, sent, 400, "has 501 characters: say it in 500 at most"),
        ("no call", {**good, "call": 9}, sent, 400, "no call '9'"),
        ("a call by its path", {**good, "call": "1 OR 1"}, sent, 400, "no call"),
        ("a call that is not to be undone", {**good, "call": 2}, sent, 409, "nothing to undo"),
        ("no body", b"", sent, 400, "cannot be read"),
        ("a field twice", urlencode([*good.items(), ("call", 2)]).encode(), form, 400, "each field once"),
        ("another type", json.dumps(good).encode(), {**headers(), "Content-Type": "text/plain"}, 415, "neither"),
        ("too long", b"x" * 20_000, sent, 413, "at most"),
    ]
    for name, body, under, status, says in attacks:
        answer = post(story, incident, body, under)
        assert (answer.status_code, says in answer.text) == (status, True), (name, answer.text)
    unknown = post(story, "inc-000000000000000000000000", good, sent)
    assert unknown.status_code == 404
    assert post(story, "..%2f..", good, sent).status_code == 404
    assert (len(story.incidents()), story.records(incident, "undo"), len(story.sends())) == (1, [], 2)
    refused = story.records(incident, "undo-refused")
    assert len(refused) == len(attacks) - 2  # who is not signed in or may see nothing stands elsewhere
    assert all(record.facts["why"] for record in refused)
    assert answering.undo(story.http, incident, oid=ASKER).status_code == 200


def test_a_browser_is_sent_to_the_new_incident(tell):
    story, incident = deleted(tell)
    body = urlencode({"call": 1, "comment": "because", "antiforgery": value_for(incident)}).encode()
    under = {**headers(), "Accept": "text/html", "Content-Type": FIELDS, "Sec-Fetch-Site": "same-origin"}
    answer = post(story, incident, body, under)
    undo = undo_of(story, incident)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/api/incidents/{undo}")
    page = story.http.get(f"/api/incidents/{undo}", headers={**headers(), "Accept": "text/html"})
    assert page.status_code == 200
    assert f"/api/incidents/{incident}" in page.text
    assert "because" in page.text


def test_a_limit_keeps_one_person_from_filling_the_trail(tell, monkeypatch):
    story, incident = deleted(tell)
    monkeypatch.setattr(undos, "_ASKS", Limit(2))
    sent = {**headers(), "Content-Type": JSON}
    assert [post(story, incident, {}, sent).status_code for _ in range(4)] == [403, 403, 429, 429]
    assert len(story.records(incident, "undo-refused")) == 2


def test_a_record_that_was_changed_is_told_and_undoes_nothing(tell):
    story, incident = deleted(tell)
    (intent,) = [one for one, _ in story.intents() if one.call.startswith("DELETE")]
    path = story.theatre.folder / "trail" / f"effects/{intent.plan}/0/{intent.attempt}/outcome"
    path.chmod(0o600)
    path.write_bytes(b"{}")
    link = f"/api/incidents/{incident}/undo"
    assert story.http.get(link, headers=headers()).status_code == 503
    good = {"call": 1, "comment": "because", "antiforgery": value_for(incident)}
    assert post(story, incident, good, {**headers(), "Content-Type": JSON}).status_code == 503
    page = story.http.get(f"/api/incidents/{incident}", headers={**headers(), "Accept": "text/html"})
    assert (page.status_code, f"{link}" in page.text) == (200, False)
    assert len(story.incidents()) == 1


# ------------------------------------------------------------------------------------------------------- a dry run


def test_in_a_dry_run_it_says_what_it_would_do_and_writes_nothing(tmp_path):
    with Theatre(tmp_path, mode="dry-run") as dry:
        story = dry.tell()
        endpoints = [{"name": "credit-scoring", "deployments": [{"name": "failed"}]}]
        world = World.from_dict(
            {"workspaces": [{"name": "mlw-prod", "endpoints": endpoints}], "subscription": SUBSCRIPTION}
        )
        dry.server.show(world)
        kept = {**KEPT, "taken_at": datetime.now(UTC).isoformat()}
        original = put_on_trail(story.trail, receipt=codec.digest_of(kept))
        EvidenceStore(FolderStore(dry.folder / "evidence")).put(kept)
        page = shown(story, original.id)
        assert (page["mode"], page["calls"][0]["verdict"]) == ("dry-run", "dry-run")
        asked = answering.undo(story.http, original.id, oid=ASKER).json()
        undo = asked["incident"]
        assert asked["words"].endswith(f"{undo}: it ends as a dry run, and changes nothing")
        end, words = end_of(story, undo)
        assert end == "dry-run"
        assert words.startswith("would ask to create mlw-prod/credit-scoring/green again from its receipt")
        assert [entry for entry in list(world.ledger) if entry.principal == "medic"] == []
        again = answering.undo(story.http, original.id, oid=ASKER)
        assert again.json()["is_new"] is True
        story.world.close()
        world.close()
