"""Read what an undo rests on: our own trail, what the evidence store kept, and what Azure shows now.

Nothing here rests on the incident alone: that a call was ours, and that Azure took it, the trail says; an order of the
hub only names it.

https://learn.microsoft.com/rest/api/authorization/role-assignments/get
https://learn.microsoft.com/azure/azure-monitor/platform/activity-log (its rows are kept for 90 days)
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from remediations import codec, preflight, spec
from remediations.codec import mapping, moment, text
from remediations.enrichment import API_VERSION, log_of
from remediations.model import (
    Absent,
    ActivityRow,
    Assignment,
    Call,
    Caller,
    Found,
    Grant,
    Incident,
    Json,
    Reading,
    Receipt,
    ResourceId,
    Status,
    Undoes,
    Undone,
    Unknown,
)
from remediations.ports import Reads
from remediations.surroundings import ROLES_API_VERSION
from remediations.trail import Intent, Trail

_ASSIGNMENTS = "/providers/Microsoft.Authorization/roleAssignments/"
RECEIPT_GONE = "its receipt is gone: evidence is deleted after 90 days. Create it again from its pipeline"
CREATED_NOTHING = "RoleAssignmentExists"  # of a grant that was taken: another assignment gave the role already
_LOG_KEPT = timedelta(days=90)
_NOT_OURS = "the trail has no such call of ours that Azure took"


def read(
    incident: Incident,
    trail: Trail,
    kept: Callable[[str], Reading[Json]],
    reads: Reads,
    *,
    own: Caller | None,
    now: datetime,
) -> Undone:
    """Give what undoing a call rests on.

    Args:
        kept: Gives what lies in the evidence store under a digest.
        own: Our identity, to tell an assignment that we created from another's.
    """
    undoes = incident.undoes
    intent = None if undoes is None else _intent(undoes, trail)
    if undoes is None or intent is None:
        return Undone(receipt=Unknown(_NOT_OURS), grant=Unknown(_NOT_OURS))
    if undoes.action == "grant-roles":
        return _of_grant(undoes, intent, trail, reads, own)
    found = _of_deletion(incident.resource, intent, kept, reads)
    if not isinstance(found.receipt, Found):
        return found
    rewritten = _rewritten(incident.resource, found.receipt.value, intent, trail, reads, now=now)
    return replace(found, rewritten=rewritten)


def body_in(kept: Json) -> Mapping[str, Json]:
    """Give the body of the PUT that a kept receipt holds; an empty one if it holds none."""
    return mapping(mapping(mapping(kept).get("receipt")).get("body"))


def _intent(undoes: Undoes, trail: Trail) -> Intent | None:
    """Give the intent of the call, if it is ours, is the one that is named, and Azure took it."""
    intent = trail.intent(undoes.plan, undoes.step, undoes.attempt)
    outcome = trail.outcome(undoes.plan, undoes.step, undoes.attempt)
    if intent is None or outcome is None or outcome.status is not Status.ACCEPTED:
        return None
    if CREATED_NOTHING in outcome.codes:
        return None
    verb = {"delete-idle": "DELETE", "grant-roles": "PUT"}.get(undoes.action, "")
    is_it = (intent.incident_id, intent.action, intent.receipt) == (undoes.incident, undoes.action, undoes.receipt)
    return intent if is_it and intent.call.partition("?")[0] == f"{verb} {undoes.path}" else None


# ------------------------------------------------------------------------------------------- a deletion


def _of_deletion(resource: ResourceId, intent: Intent, kept: Callable[[str], Reading[Json]], reads: Reads) -> Undone:
    above = reads.get(f"{resource.endpoint_path}?api-version={API_VERSION}")
    weights = _weights(above, (resource.deployment or "").lower())
    if intent.receipt is None or f"delete {resource.key}" != intent.call.partition("?")[0].lower():
        return Undone(receipt=Unknown("the deletion of this deployment kept no receipt"), weights=weights)
    plain = kept(intent.receipt)
    if not isinstance(plain, Found):
        is_gone = isinstance(plain, Absent)
        return Undone(receipt=plain if is_gone else Unknown("it was changed since it was taken"), weights=weights)
    shown = reads.get(f"{resource.path}?api-version={API_VERSION}")
    return Undone(receipt=_receipt(intent.receipt, plain.value, shown, resource), weights=weights)


def _receipt(digest: str, plain: Json, shown: Reading[Json], resource: ResourceId) -> Reading[Receipt]:
    taken_at, held = moment(mapping(plain).get("taken_at")), mapping(mapping(plain).get("receipt"))
    body = body_in(plain)
    if taken_at is None or not body or text(held.get("id")).lower() != resource.key:
        return Unknown("what was kept is no receipt of this deployment")
    names, traffic = held.get("environment_variables"), mapping(held.get("traffic"))
    capacity = mapping(body.get("sku")).get("capacity")
    return Found(
        Receipt(
            digest=digest,
            path=resource.path,
            taken_at=taken_at,
            body_digest=codec.digest_of(body),
            environment_names=tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else (),
            traffic={name: share for name, share in traffic.items() if isinstance(share, int)},
            tags={name: tag for name, tag in mapping(body.get("tags")).items() if isinstance(tag, str)},
            instance_type=text(mapping(body.get("properties")).get("instanceType")) or None,
            capacity=capacity if isinstance(capacity, int) else None,
            differs=tuple(spec.differences(dict(body), shown.value)) if isinstance(shown, Found) else (),
        )
    )


def _rewritten(
    resource: ResourceId, receipt: Receipt, intent: Intent, trail: Trail, reads: Reads, *, now: datetime
) -> Reading[tuple[ActivityRow, ...]]:
    """Give who else wrote or deleted a deployment since its receipt was taken: then it is not its last state.

    What we sent is known by its request id on our trail, and by the correlation id of such a row or of the deletion's
    outcome. Who deletes what an undo of ours created leaves the receipt its last state.
    """
    if now - receipt.taken_at > _LOG_KEPT:
        return Unknown(f"the Activity Log reaches back {_LOG_KEPT.days} days, and the receipt is older")
    read = log_of(reads, resource.path, receipt.taken_at, now)
    if not isinstance(read, Found):
        return read
    rows = sorted((row for row in read.value if row.at > receipt.taken_at and _verb(row)), key=lambda row: row.at)
    outcome = trail.outcome(intent.plan, intent.step, intent.attempt)
    sent = {row.correlation_id.lower() for row in rows if trail.request(row.client_request_id or "") is not None}
    if outcome is not None and outcome.correlation_id:
        sent.add(outcome.correlation_id.lower())
    created, found = False, []
    for row in rows:
        if row.correlation_id.lower() in sent:
            created = created or _verb(row) == "write"
        elif not (created and _verb(row) == "delete"):
            found.append(row)
    return Found(tuple(found))


def _verb(row: ActivityRow) -> str:
    """Give whether a row is of a ``write`` or a ``delete``; nothing for any other."""
    verb = row.operation_name.lower().rsplit("/", 1)[-1]
    return verb if verb in {"write", "delete"} else ""


def _weights(above: Reading[Json], name: str) -> Reading[tuple[int, int]]:
    """Give what an endpoint gives a deployment of that name. A weight that is no number must not pass for none."""
    if not isinstance(above, Found):
        return above
    properties, found = mapping(mapping(above.value).get("properties")), []
    for kind in ("traffic", "mirrorTraffic"):
        shares = properties.get(kind)
        if shares is not None and not isinstance(shares, dict):
            return Unknown(f"the {kind} of the endpoint cannot be read")
        own = [share for named, share in mapping(shares).items() if named.lower() == name]
        whole = [share for share in own if type(share) is int]
        if len(whole) < len(own):
            return Unknown(f"the {kind} of the endpoint cannot be read")
        found.append(sum(whole))
    return Found((found[0], found[1]))


# ------------------------------------------------------------------------------------------- a grant


def _of_grant(undoes: Undoes, intent: Intent, trail: Trail, reads: Reads, own: Caller | None) -> Undone:
    grant = _grant(undoes, intent, trail)
    if not isinstance(grant, Found):
        return Undone(grant=grant)
    path = grant.value.path
    call = Call(method="DELETE", path=path, api_version=ROLES_API_VERSION, via="roles")
    lacking = preflight.lacking((call,), reads)
    return Undone(
        grant=grant,
        assignment=_assignment(reads.get(f"{path}?api-version={ROLES_API_VERSION}"), own),
        may_delete=lacking if isinstance(lacking, Unknown) else Found(isinstance(lacking, Absent)),
    )


def _grant(undoes: Undoes, intent: Intent, trail: Trail) -> Reading[Grant]:
    """Give what we granted: the body stands on the trail, in the plan, and its digest in the intent."""
    planned = next(
        (
            record.facts.get("parameters")
            for record in trail.records(undoes.incident)
            if record.stage == "plan" and record.facts.get("plan") == undoes.plan
        ),
        None,
    )
    scope, is_grant, name = undoes.path.partition(_ASSIGNMENTS)
    written = planned.get(name) if isinstance(planned, dict) else None
    try:
        body: Json = codec.parse_json(written) if isinstance(written, str) else None
    except ValueError:
        body = None
    properties = mapping(mapping(body).get("properties"))
    principal, role = text(properties.get("principalId")), text(properties.get("roleDefinitionId")).rpartition("/")[2]
    if not is_grant or codec.digest_of(body) != intent.body_digest or not principal or not role:
        return Unknown("the trail does not tell what was granted")
    return Found(Grant(path=undoes.path, scope=scope, principal=principal, role=role))


def _assignment(shown: Reading[Json], own: Caller | None) -> Reading[Assignment]:
    if not isinstance(shown, Found):
        return shown
    plain = mapping(shown.value)
    properties = mapping(plain.get("properties"))
    condition, by = properties.get("condition"), text(properties.get("createdBy")).lower()
    us = (own.oid or "").lower() if own is not None else ""
    return Found(
        Assignment(
            path=text(plain.get("id")),
            name=text(plain.get("name")),
            scope=text(properties.get("scope")),
            principal=text(properties.get("principalId")),
            role=text(properties.get("roleDefinitionId")).rpartition("/")[2],
            condition=None if condition is None else str(condition),
            created_by_us=by == us if by and us else None,
            created_at=moment(properties.get("createdOn")),
            updated_at=moment(properties.get("updatedOn")),
        )
    )
