"""Values for tests of an undo: a deployment that delete-idle deleted, a role that grant-roles granted."""

from typing import Any

from msgspec.structs import replace

from remediations import codec
from remediations.actions.grant_roles import assignment_name
from remediations.model import (
    Absent,
    Assignment,
    Call,
    End,
    Evidence,
    Found,
    Grant,
    Incident,
    Json,
    Outcome,
    Plan,
    Receipt,
    Risk,
    Status,
    Step,
    Undoes,
    Undone,
    Unknown,
)
from remediations.trail import Ended, Trail
from tests.builders import (
    DEPLOYMENT,
    NOON,
    PRINCIPAL,
    REGISTRY,
    SOMEBODY,
    US,
    make_effect,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_intent,
    make_journal,
    make_outcome,
    make_plan,
    make_resource,
)

ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
ORIGINAL = "inc-0123456789abcdef01234567"
PLAN = "a" * 64
BODY: dict[str, Json] = {
    "location": "westeurope",
    "tags": {"medic-delete": "allow", "team": "fraud"},
    "sku": {"name": "Default", "capacity": 2},
    "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "model": "m:1"},
}
NAMES = ("FEATURE_STORE_URL", "MODEL_THRESHOLD")
TAKEN_AT = NOON.replace(hour=9)
KEPT: dict[str, Any] = {
    "taken_at": TAKEN_AT.isoformat(),
    "receipt": {"id": DEPLOYMENT, "body": BODY, "environment_variables": list(NAMES), "traffic": {"live": 100}},
}
RECEIPT = codec.digest_of(KEPT)
ASSIGNMENT = (
    f"{REGISTRY}/providers/Microsoft.Authorization/roleAssignments/{assignment_name(REGISTRY, PRINCIPAL, ACR_PULL)}"
)
GRANT_BODY: dict[str, Json] = {
    "properties": {
        "roleDefinitionId": f"/subscriptions/{REGISTRY.split('/')[2]}/providers/Microsoft.Authorization"
        f"/roleDefinitions/{ACR_PULL}",
        "principalId": PRINCIPAL,
        "principalType": "ServicePrincipal",
    }
}
SHOWN_ASSIGNMENT: dict[str, Any] = {
    "id": ASSIGNMENT,
    "name": ASSIGNMENT.rpartition("/")[2],
    "properties": {
        **GRANT_BODY["properties"],  # type: ignore[dict-item]
        "scope": REGISTRY,
        "condition": None,
        "createdOn": "2026-11-22T09:00:00.1234567Z",
        "updatedOn": "2026-11-22T09:00:00.1234567Z",
        "createdBy": US.oid,
        "updatedBy": US.oid,
    },
}


def make_undoes(action: str = "delete-idle", **changes: Any) -> Undoes:
    """The call of `ORIGINAL` that deleted the deployment, or granted AcrPull."""
    is_deletion = action == "delete-idle"
    fields: dict[str, Any] = {
        "incident": ORIGINAL,
        "plan": PLAN,
        "step": 0,
        "attempt": 1,
        "action": action,
        "path": DEPLOYMENT if is_deletion else ASSIGNMENT,
        "receipt": RECEIPT if is_deletion else None,
        "comment": "the fraud team needs it",
    }
    return Undoes(**{**fields, **changes})


def make_undo_incident(action: str = "delete-idle", **changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": "inc-undo0123456789abcdef0123",
        "failed_at": NOON,
        "event_id": "inc-undo0123456789abcdef0123",
        "source": "undo",
        "correlation_id": None,
        "caller": SOMEBODY,
        "undoes": make_undoes(action),
    }
    return make_incident(**{**fields, **changes})


def make_receipt(**changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "digest": RECEIPT,
        "path": DEPLOYMENT,
        "taken_at": TAKEN_AT,
        "body_digest": codec.digest_of(BODY),
        "environment_names": NAMES,
        "traffic": {"live": 100},
        "tags": {"medic-delete": "allow", "team": "fraud"},
        "instance_type": "Standard_DS3_v2",
        "capacity": 2,
    }
    return Receipt(**{**fields, **changes})


def make_grant(**changes: Any) -> Grant:
    fields: dict[str, Any] = {"path": ASSIGNMENT, "scope": REGISTRY, "principal": PRINCIPAL, "role": ACR_PULL}
    return Grant(**{**fields, **changes})


def make_assignment(**changes: Any) -> Assignment:
    """The assignment as we created it."""
    fields: dict[str, Any] = {
        "path": ASSIGNMENT,
        "name": ASSIGNMENT.rpartition("/")[2],
        "scope": REGISTRY,
        "principal": PRINCIPAL,
        "role": ACR_PULL,
        "created_by_us": True,
        "created_at": TAKEN_AT,
        "updated_at": TAKEN_AT,
    }
    return Assignment(**{**fields, **changes})


def make_undo_evidence(action: str = "undo-delete", **changes: Any) -> Evidence:
    """Evidence on which an undo has a plan: the deployment is gone, or the assignment is as we created it."""
    nothing = Unknown("not asked")
    fields: dict[str, Any] = {"operation": nothing, "activity": nothing, "history": Found(())}
    fields["endpoint"] = Found(make_endpoint_state(traffic={"live": 100}))
    if action == "undo-delete":
        undone = Undone(receipt=Found(make_receipt()), weights=Found((0, 0)), rewritten=Found(()))
        fields |= {"incident": make_undo_incident(), "resource": Absent(), "undone": undone}
    else:
        undone = Undone(grant=Found(make_grant()), assignment=Found(make_assignment()), may_delete=Found(True))
        fields |= {"incident": make_undo_incident("grant-roles"), "undone": undone}
    if "undone" in changes and isinstance(changes["undone"], dict):
        changes["undone"] = replace(undone, **changes["undone"])
    return make_evidence(**{**fields, **changes})


def put_on_trail(
    trail: Trail, action: str = "delete-idle", *, is_over: bool = True, receipt: str = RECEIPT, **changes: Any
) -> Incident:
    """Put the incident on the trail whose call is to be undone: its intent, what came of it, and its end.

    ``changes`` are those of the outcome.
    """
    is_deletion = action == "delete-idle"
    original = make_incident(id=ORIGINAL, resource=make_resource(DEPLOYMENT.replace("green", "failed")))
    journal = make_journal(trail)
    trail.open_incident(original, "nonce", TAKEN_AT)
    path = DEPLOYMENT if is_deletion else ASSIGNMENT
    name = ASSIGNMENT.rpartition("/")[2]
    digest = None if is_deletion else codec.digest_of(GRANT_BODY)
    version = "2024-10-01" if is_deletion else "2022-04-01"
    call = Call(
        method="DELETE" if is_deletion else "PUT",
        path=path,
        api_version=version,
        body_digest=digest,
        via="arm" if is_deletion else "roles",
    )
    plan: Plan = make_plan(
        diagnosis=replace(make_plan().diagnosis, incident=original),
        action=action,
        risk=Risk.DESTRUCTIVE,
        digest=PLAN,
        steps=(Step(call=call, target=(path.lower(),)),),
        parameters={} if is_deletion else {name: codec.encode(GRANT_BODY).decode()},
    )
    journal.planned(plan)
    intent = make_intent(
        at=TAKEN_AT,
        incident_id=ORIGINAL,
        plan=PLAN,
        action=action,
        call=str(call),
        body_digest=digest,
        receipt=receipt if is_deletion else None,
        request_id="medic-00000000000000000000000000000001",
    )
    effect = make_effect(at=TAKEN_AT, incident_id=ORIGINAL, action=action, plan=PLAN)
    trail.open_intent(effect, intent, (path.lower(), original.resource.key))
    journal.intended(intent)
    outcome: Outcome = make_outcome(**{"status": Status.ACCEPTED, **changes})
    trail.close_intent(PLAN, 0, 1, outcome)
    if is_over:
        trail.end_incident(Ended(at=NOON, end=End.REPAIRED, words="it stands", incident=original))
    return original
