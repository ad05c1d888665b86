"""Which calls can be undone, by the trail; what an undo rests on; and how it is diagnosed."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediations import codec, undoing, undone
from remediations.admission import admit
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.enrichment import enrich, is_settled
from remediations.headline import headline
from remediations.model import Absent, Caller, Disposition, End, Found, Level, Reception, Status, Unknown
from remediations.trail import Ended
from tests.builders import (
    CORRELATION,
    DEPLOYMENT,
    ENDPOINT,
    FAILED_AT,
    NOON,
    REGISTRY,
    SOMEBODY,
    US,
    FakeReads,
    make_effect,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_state,
    make_trail,
)
from tests.undos import (
    ASSIGNMENT,
    BODY,
    KEPT,
    ORIGINAL,
    RECEIPT,
    SHOWN_ASSIGNMENT,
    TAKEN_AT,
    make_assignment,
    make_grant,
    make_receipt,
    make_undo_evidence,
    make_undo_incident,
    make_undoes,
    put_on_trail,
)

PERMISSIONS = f"{REGISTRY}/providers/Microsoft.Authorization/permissions"
ALL = Found(({"actions": ["*"], "notActions": []},))


def sent(trail, original, kept=Found({})):  # noqa: B008 - a frozen value
    return undoing.sent(trail, original, trail.records(original.id), lambda _: kept)


def asked(trail, original, *, at=NOON):
    """The undo of the first call, on the trail as one that was asked for."""
    incident = undoing.incident_of(sent(trail, original)[0], by=SOMEBODY, comment="needed", at=at)
    assert trail.open_incident(incident, "n", at)
    return incident


def ended(trail, incident, end):
    trail.end_incident(Ended(at=NOON, end=end, words="so it ended", incident=incident))


# ------------------------------------------------------------------------------------------- what can be undone


@pytest.mark.parametrize(
    ("action", "by", "path"),
    [("delete-idle", "undo-delete", DEPLOYMENT), ("grant-roles", "undo-grant", ASSIGNMENT)],
)
def test_a_deletion_and_a_grant_can_be_undone(action, by, path):
    trail = make_trail()
    (one,) = sent(trail, put_on_trail(trail, action))
    assert (one.number, one.state, one.undo_action, one.words) == (1, "can", by, "")
    assert one.undoes == replace(make_undoes(action), comment="")
    assert one.undoes.path == path


@pytest.mark.parametrize(
    ("action", "call", "words"),
    [
        ("retry", f"PUT {DEPLOYMENT}?api-version=1", "nothing to undo: the same deployment was deployed again"),
        ("delete-idle", f"PUT {DEPLOYMENT}?api-version=1", "nothing to undo: the same deployment was deployed again"),
        ("retry", f"DELETE {DEPLOYMENT}?api-version=1", "nothing to undo: it was asked for, and run again"),
        (
            "sync-keys",
            "POST /subscriptions/s/w/resyncKeys?api-version=1",
            "nothing to undo: the workspace has the keys that its registry and storage account have now",
        ),
        (
            "undo-delete",
            f"PUT {DEPLOYMENT}?api-version=1",
            "it is an undo itself: what it did is undone by hand, as its plan says",
        ),
    ],
)
def test_other_calls_have_no_undo_and_say_why(action, call, words):
    trail = make_trail()
    original = put_on_trail(trail)
    intent = make_intent(incident_id=ORIGINAL, plan="b" * 64, action=action, call=call, request_id="medic-2")
    trail.open_intent(make_effect(incident_id=ORIGINAL, plan="b" * 64), intent, (DEPLOYMENT.lower(),))
    make_journal(trail).intended(intent)
    trail.close_intent("b" * 64, 0, 1, make_outcome())
    first, second = sent(trail, original)
    assert (first.number, first.state) == (1, "can")
    assert (second.number, second.state, second.words, second.undo_action) == (2, "cannot", words, None)


def test_what_azure_did_not_take_was_not_done():
    trail = make_trail()
    (one,) = sent(trail, put_on_trail(trail, status=Status.REJECTED, words="Azure rejected the call with 400"))
    assert (one.state, one.words) == (
        "cannot",
        "it is not known to have been done: Azure rejected the call with 400",
    )


def test_an_incident_under_way_is_not_undone():
    trail = make_trail()
    (one,) = sent(trail, put_on_trail(trail, is_over=False))
    assert (one.state, one.words) == ("cannot", "its incident has not ended yet")


def test_a_deletion_whose_receipt_is_gone_says_so_and_a_grant_needs_none():
    trail, other = make_trail(), make_trail()
    (deletion,) = sent(trail, put_on_trail(trail), Absent())
    (grant,) = sent(other, put_on_trail(other, "grant-roles"), Absent())
    assert (deletion.state, grant.state) == ("cannot", "can")
    assert deletion.words.startswith("its receipt is gone: evidence is deleted after 90 days")


def test_a_receipt_that_was_changed_is_told_in_words():
    trail = make_trail()
    (deletion,) = sent(trail, put_on_trail(trail), Unknown(f"what lies under {RECEIPT} has another digest"))
    assert (deletion.state, deletion.words) == (
        "cannot",
        "its receipt was changed since it was taken: nothing is created from it. Create it again from its pipeline",
    )


def test_a_grant_that_created_nothing_is_not_undone():
    trail = make_trail()
    words = "the identity has this role already, by another assignment"
    original = put_on_trail(trail, "grant-roles", words=words, codes=("RoleAssignmentExists",))
    (grant,) = sent(trail, original)
    assert (grant.state, grant.words) == ("cannot", f"nothing of ours was created there: {words}")
    assert read("grant-roles", trail=trail).grant == Unknown("the trail has no such call of ours that Azure took")


def test_an_undo_under_way_is_found():
    trail = make_trail()
    original = put_on_trail(trail)
    incident = asked(trail, original)
    (one,) = sent(trail, original)
    assert (one.state, one.undo) == ("under-way", incident.id)


@pytest.mark.parametrize("end", [End.REFUSED, End.EXPIRED, End.REJECTED, End.DRY_RUN, End.ADVISED, End.NOT_REPAIRED])
def test_an_undo_that_did_not_undo_it_can_be_asked_for_again_under_another_id(end):
    trail = make_trail()
    original = put_on_trail(trail)
    first = asked(trail, original)
    ended(trail, first, end)
    (one,) = sent(trail, original)
    assert (one.state, one.undo == first.id) == ("can", False)


def test_an_undo_that_failed_tells_what_has_to_be_done_before_another():
    trail = make_trail()
    original = put_on_trail(trail)
    first = asked(trail, original)
    ended(trail, first, End.NOT_REPAIRED)
    (one,) = sent(trail, original)
    assert one.words == (
        f"{first.id} ended as not-repaired: so it ended. If a failed deployment of that name is there, it has to be "
        "deleted by hand first"
    )


def test_what_is_undone_is_undone_once():
    trail = make_trail()
    original = put_on_trail(trail)
    first = asked(trail, original)
    ended(trail, first, End.REPAIRED)
    (one,) = sent(trail, original)
    assert (one.state, one.undo) == ("undone", first.id)
    with pytest.raises(ValueError, match="call 1 cannot be undone: it is undone already"):
        undoing.incident_of(one, by=SOMEBODY, comment="again", at=NOON)


def test_two_who_ask_at_once_ask_for_the_same_incident():
    trail = make_trail()
    original = put_on_trail(trail)
    before = sent(trail, original)[0]
    one = undoing.incident_of(before, by=SOMEBODY, comment="a", at=NOON)
    other = undoing.incident_of(before, by=US, comment="b", at=NOON)
    assert one.id == other.id
    assert trail.open_incident(one, "n1", NOON)
    assert not trail.open_incident(other, "n2", NOON)


def test_its_incident_says_who_asked_when_and_about_what():
    trail = make_trail()
    incident = asked(trail, put_on_trail(trail))
    assert (incident.source, incident.failed_at, incident.caller) == ("undo", NOON, SOMEBODY)
    assert (incident.resource.path, incident.correlation_id) == (DEPLOYMENT, None)
    assert incident.undoes == replace(make_undoes(), comment="needed")


# -------------------------------------------------------------------------------------------- what it rests on


def read(action="delete-idle", *, kept=None, trail=None, answers=None, now=NOON, **undoes):
    if trail is None:
        trail = make_trail()
        put_on_trail(trail, action)
    incident = make_undo_incident(action, undoes=make_undoes(action, **undoes))
    shown: dict[str, Any] = {
        ENDPOINT: Found({"properties": {"traffic": {"live": 100}, "mirrorTraffic": {}}}),
        DEPLOYMENT: Absent(),
        ASSIGNMENT: Found(SHOWN_ASSIGNMENT),
        PERMISSIONS: ALL,
        "log": Found(()),
    }
    reads = FakeReads({**shown, **(answers or {})})
    return undone.read(incident, trail, kept or {RECEIPT: Found(KEPT)}.__getitem__, reads, own=US, now=now)


def test_the_receipt_is_read_without_its_body():
    found = read()
    assert found.receipt == Found(make_receipt())
    assert found.weights == Found((0, 0))
    assert b"endpointComputeType" not in codec.encode(found)


@pytest.mark.parametrize(
    ("undoes", "id_"),
    [
        ({"plan": "b" * 64}, "another plan"),
        ({"attempt": 2}, "another attempt"),
        ({"incident": "inc-other"}, "another incident"),
        ({"receipt": "c" * 64}, "another receipt"),
        ({"path": f"{ENDPOINT}/deployments/blue"}, "another deployment"),
        ({"action": "retry"}, "another action"),
    ],
)
def test_an_undo_of_what_the_trail_does_not_know_rests_on_nothing(undoes, id_):
    found = read(**undoes)
    assert found.receipt == Unknown("the trail has no such call of ours that Azure took"), id_


def test_a_call_that_azure_did_not_take_rests_on_nothing():
    trail = make_trail()
    put_on_trail(trail, status=Status.REJECTED)
    assert read(trail=trail).receipt == Unknown("the trail has no such call of ours that Azure took")


@pytest.mark.parametrize(
    ("kept", "receipt"),
    [
        pytest.param(Absent(), Absent(), id="expired"),
        pytest.param(Unknown("changed"), Unknown("it was changed since it was taken"), id="changed"),
        pytest.param(Found({}), Unknown("what was kept is no receipt of this deployment"), id="no receipt"),
        pytest.param(
            Found({**KEPT, "receipt": {**KEPT["receipt"], "id": ENDPOINT}}),
            Unknown("what was kept is no receipt of this deployment"),
            id="of another deployment",
        ),
    ],
)
def test_a_receipt_that_cannot_be_read_is_told(kept, receipt):
    assert read(kept=lambda _: kept).receipt == receipt


def test_what_is_there_is_compared_with_the_receipt():
    shown: dict[str, Any] = {**BODY, "sku": {"name": "Default", "capacity": 9}, "id": DEPLOYMENT}
    found = read(answers={DEPLOYMENT: Found(shown)})
    assert isinstance(found.receipt, Found)
    assert found.receipt.value.differs == ("sku.capacity",)


@pytest.mark.parametrize(
    ("properties", "weights"),
    [
        ({"traffic": {"GREEN": 7}}, Found((7, 0))),
        ({"traffic": None, "mirrorTraffic": {"green": 3}}, Found((0, 3))),
        ({"traffic": {"green": "7"}}, Unknown("the traffic of the endpoint cannot be read")),
        ({"traffic": {"green": True}}, Unknown("the traffic of the endpoint cannot be read")),
        ({"mirrorTraffic": "all"}, Unknown("the mirrorTraffic of the endpoint cannot be read")),
    ],
)
def test_a_weight_that_is_no_number_does_not_pass_for_none(properties, weights):
    assert read(answers={ENDPOINT: Found({"properties": properties})}).weights == weights


def logged(minutes, verb="write", correlation="c-other", request=None):
    """A row of the Activity Log so many minutes after the receipt was taken."""
    return {
        "eventTimestamp": (TAKEN_AT + timedelta(minutes=minutes)).isoformat(),
        "operationName": {"value": f"Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/{verb}"},
        "status": {"value": "Succeeded"},
        "resourceId": DEPLOYMENT,
        "correlationId": correlation,
        "httpRequest": {"clientRequestId": request},
    }


OWN_REQUEST = "medic-00000000000000000000000000000001"


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        pytest.param([logged(1), logged(2, "delete")], [1, 2], id="created and removed again"),
        pytest.param([logged(-1)], [], id="before"),
        pytest.param([logged(1, "delete", request=OWN_REQUEST), logged(2, "delete")], [], id="our deletion, by our id"),
        pytest.param([logged(1, "delete", CORRELATION)], [], id="our deletion, by what came of it"),
        pytest.param([logged(1, "listKeys/action")], [], id="no write"),
        pytest.param(
            [logged(1, "write", "c-ours", OWN_REQUEST), logged(2, "delete")], [], id="what an undo created, removed"
        ),
        pytest.param(
            [logged(1, "write", "c-ours", OWN_REQUEST), logged(2, "write")], [2], id="what an undo created, overwritten"
        ),
    ],
)
def test_who_wrote_it_since_its_receipt_was_taken_is_read(rows, found):
    trail = make_trail()
    put_on_trail(trail, correlation_id=CORRELATION)
    rewritten = read(trail=trail, answers={"log": Found(tuple(rows))}).rewritten
    assert isinstance(rewritten, Found)
    assert [round((row.at - TAKEN_AT).total_seconds() / 60) for row in rewritten.value] == found


def test_a_log_that_does_not_reach_back_as_far_tells_nothing():
    days = timedelta(days=90)
    assert read(now=TAKEN_AT + days).rewritten == Found(())
    old = read(now=TAKEN_AT + days + timedelta(seconds=1)).rewritten
    assert old == Unknown("the Activity Log reaches back 90 days, and the receipt is older")
    assert read(answers={"log": Unknown("answered 503")}).rewritten == Unknown("answered 503")


def test_a_grant_is_known_from_the_trail_and_read_from_azure():
    found = read("grant-roles")
    assert found.grant == Found(make_grant())
    assert found.may_delete == Found(True)
    assert isinstance(found.assignment, Found)
    created = NOON.replace(hour=9) + timedelta(microseconds=123456)
    assert found.assignment.value == make_assignment(created_at=created, updated_at=created)


@pytest.mark.parametrize(
    ("permissions", "may"),
    [
        (Found(({"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Delete"]},)), Found(False)),
        (Found(({"actions": ["Microsoft.Authorization/roleAssignments/write"], "notActions": []},)), Found(False)),
        (Found(({"actions": ["Microsoft.Authorization/roleAssignments/delete"], "notActions": []},)), Found(True)),
    ],
)
def test_whether_we_may_delete_is_what_our_roles_give(permissions, may):
    assert read("grant-roles", answers={PERMISSIONS: permissions}).may_delete == may


def test_whether_we_may_delete_is_unknown_where_it_cannot_be_read():
    assert isinstance(read("grant-roles", answers={PERMISSIONS: Unknown("503")}).may_delete, Unknown)


@pytest.mark.parametrize(
    ("by", "ours"), [(US.oid, True), ((US.oid or "").upper(), True), (SOMEBODY.oid, False), (None, None)]
)
def test_who_created_an_assignment_is_told_by_the_object_id(by, ours):
    shown = {**SHOWN_ASSIGNMENT, "properties": {**SHOWN_ASSIGNMENT["properties"], "createdBy": by}}
    found = read("grant-roles", answers={ASSIGNMENT: Found(shown)})
    assert isinstance(found.assignment, Found)
    assert found.assignment.value.created_by_us is ours


# -------------------------------------------------------------------------------------- evidence and diagnosis


def test_the_evidence_of_an_undo_is_not_waited_for():
    incident = make_undo_incident()
    reads = FakeReads({DEPLOYMENT: Unknown("503"), ENDPOINT: Unknown("503")})
    evidence = enrich(incident, reads, now=NOON, own=US)
    assert is_settled(evidence)
    assert not any("correlationId" in url or "getLogs" in url for url in reads.asked)


@pytest.mark.parametrize(
    ("action", "state", "by_us", "settled"),
    [
        ("undo-delete", "Creating", True, False),
        ("undo-delete", "Creating", False, True),
        ("undo-delete", "Succeeded", True, True),
        ("undo-grant", "Updating", True, True),
    ],
)
def test_only_what_the_undo_itself_creates_is_waited_for(action, state, by_us, settled):
    shown = Found(make_state(provisioning_state=state, modified_by_us=by_us))
    assert is_settled(make_undo_evidence(action, resource=shown)) is settled


def test_the_diagnosis_is_made_of_the_evidence_and_not_of_the_catalogue():
    diagnosis = classify(make_undo_evidence(), CAUSES, evidence_digest="e" * 64)
    assert (diagnosis.cause_id, diagnosis.code, diagnosis.action) == ("undo-requested", "UndoRequested", "undo-delete")
    assert diagnosis.level is Level.TWO_READS
    assert diagnosis.supporting[0].says == "the fraud team needs it"
    assert diagnosis.advice == (
        "If this undo is not done: create the deployment again from its pipeline, without traffic."
    )
    assert classify(make_undo_evidence("undo-grant"), CAUSES, evidence_digest="e" * 64).action == "undo-grant"


def test_what_was_not_read_lowers_the_level():
    evidence = make_undo_evidence(undone={"receipt": Absent()})
    assert classify(evidence, CAUSES, evidence_digest="e" * 64).level is Level.TEXT_ONLY


def test_the_trail_tells_who_asked_and_who_was_refused():
    trail = make_trail()
    original = put_on_trail(trail)
    incident, journal = asked(trail, original), make_journal(trail)
    journal.undo_asked(incident, "DELETE x")
    journal.undo_asked(incident, "DELETE x")
    journal.undo_refused(ORIGINAL, "policy lists you not", Caller(oid="o-1"), "n-1")
    told = [record for record in trail.records(ORIGINAL) if record.stage.startswith("undo")]
    assert [record.stage for record in told] == ["undo", "undo-refused"]
    assert (told[0].facts["undo"], told[0].facts["comment"]) == (incident.id, "needed")


def test_the_trail_of_what_was_undone_tells_once_how_that_ended():
    trail = make_trail()
    incident, journal = asked(trail, put_on_trail(trail)), make_journal(trail)
    journal.undo_ended(incident, End.REFUSED, "in-time: too late")
    journal.undo_ended(incident, End.REFUSED, "in-time: too late")
    journal.undo_ended(make_incident(), End.REPAIRED, "no undo")
    (told,) = [record for record in trail.records(ORIGINAL) if record.stage == "undo-ended"]
    assert told.facts == {"undo": incident.id, "end": "refused", "words": "in-time: too late"}
    assert headline(told) == f"{incident.id} ended, refused: in-time: too late"


def test_what_was_never_sent_is_no_call():
    trail = make_trail()
    assert sent(trail, put_on_trail(trail, status=Status.BUSY)) == ()


@pytest.mark.parametrize("correlation", [CORRELATION, None])
def test_what_fails_meanwhile_joins_no_undo_and_ends_none(correlation):
    trail = make_trail()
    undo = asked(trail, put_on_trail(trail), at=FAILED_AT)
    failed = make_incident(correlation_id=correlation, event_id="e-1", id="inc-new")
    reception = Reception(event_id="e-1", event_type="x", resource=DEPLOYMENT, incident=failed)
    admitted = admit(reception, trail=trail, own=lambda: US, reads=lambda: FakeReads({"log": Found(())}), now=NOON)
    assert (admitted.disposition, admitted.superseded) == (Disposition.INCIDENT, ())
    assert admitted.incident_id != undo.id
