"""Why the operation fails in the world that is rebuilt.

The simulator knows laws: registries refuse old keys, roles are needed, cores run out. Where the evidence shows such a
state of the world, the law does the rest; only where it shows none is the recorded error itself made to happen.
"""

from collections.abc import Iterator
from typing import Literal

from local.arm.assets import parse_version
from local.recasting.deployments import ENDED, Plain, logs, value
from local.recasting.record import Recorded
from remediations.model import Absent, End, ErrorDetail, Found, Operation, Status, operation_of

type Law = Literal["quota", "keys", "roles", "fresh role", "image", "model"]

_KEYS = frozenset({"acr-authorization", "acr-admin-disabled", "acr-firewall", "acr-missing"})
_HAZARDS = {"canceled-higher-priority": "higher-priority", "canceled-lock-confirmation": "lock-confirmation"}
_DELETED = "canceled-by-deletion"
_LONGEST_TEXT = 4096  # of what is kept of an error


def law(recorded: Recorded) -> Law | None:
    """Name the law of the simulator by which the deployment fails; None if there is none."""
    around, incident = recorded.evidence.surroundings, recorded.incident
    if incident.operation is not Operation.WRITE or incident.resource.deployment is None:
        return None
    quota, place, image = value(around.quota), value(around.workspace), value(around.image)
    lacks_role = any(access.held is not True for access in value(around.access) or ())
    lacks_image = image is not None and image.in_registry and isinstance(image.manifest, Absent)
    found: dict[Law, bool] = {
        "quota": recorded.cause == "quota-cpu" and quota is not None and quota.missing > 0,
        "keys": recorded.cause in _KEYS and place is not None and place.registry is not None,
        "roles": lacks_role,
        "fresh role": recorded.cause == "role-not-effective",
        "image": lacks_image,
        "model": isinstance(around.model, Absent) and asset(recorded, "model") is not None,
    }
    return next((name for name, holds in found.items() if holds), None)


def hazards(recorded: Recorded, *, is_one_of_many: bool, notes: list[str]) -> Iterator[Plain]:
    """Give what makes it fail beside the laws, as often as it failed.

    Args:
        is_one_of_many: Whether the world has other endpoints, which this does not concern.
    """
    by_law = law(recorded)
    if recorded.incident.is_scoring or was_deleted(recorded) or (by_law is not None and not _is_in_vain(recorded)):
        return
    named = None if by_law is not None else _HAZARDS.get(recorded.cause)
    hazard: Plain = {"kind": named} if named is not None else _broken(recorded, notes)
    if is_one_of_many:
        hazard["endpoint"] = recorded.incident.resource.endpoint
    if recorded.incident.operation is Operation.DELETE:
        hazard["action"] = "*/onlineEndpoints/deployments/delete"
    is_passing = named is not None or hazard.get("ends") == "Canceled" or was_rejected(recorded)
    has_rerun = any(one.is_rerun for one in recorded.accepted)
    if recorded.ended.end is End.REPAIRED or (is_passing and not has_rerun):
        hazard["remaining"] = recorded.failures
    yield hazard


def busy(recorded: Recorded) -> Iterator[Plain]:
    """Give what met our re-runs because another operation ran."""
    met = [one for one in recorded.sent if one.status == Status.BUSY and one.is_rerun]
    if met:
        yield {
            "kind": "broken",
            "at": "request",
            "status": 409,
            "code": "Conflict",
            "message": "Another operation is in progress.",
            "after": 1,
            "remaining": len(met),
        }


def faults(recorded: Recorded) -> Iterator[Plain]:
    """Give what met our grants because the directory did not know the identity yet."""
    met = [one for one in recorded.sent if "PrincipalNotFound" in one.codes]
    if met:
        yield {
            "kind": "error",
            "method": "PUT",
            "path": "*/roleAssignments/*",
            "status": 400,
            "code": "PrincipalNotFound",
            "message": "The principal does not exist in the directory.",
            "times": len(met),
        }


def denied(recorded: Recorded) -> list[Plain]:
    """Give the operations of Azure Resource Manager that our identity was refused."""
    preflight = recorded.situation.preflight if recorded.situation is not None else Absent()
    asked = [one.partition(" on ")[0] for one in preflight.value] if isinstance(preflight, Found) else []
    refused = [operation_of(one.method, one.path) for one in recorded.sent if one.status == Status.FORBIDDEN]
    actions = dict.fromkeys([*recorded.evidence.missing_permissions, *asked, *refused])
    return [{"principal": "medic", "action": action} for action in actions]


def error(recorded: Recorded, notes: list[str]) -> tuple[str | None, str, str]:
    """Give code, text and status of the failure as they are on record."""
    operation = value(recorded.evidence.operation)
    rows = [row for row in value(recorded.evidence.activity) or () if row.status in {"Failed", "Canceled"}]
    told = ([] if operation is None else [operation]) + rows
    errors = next((one.errors for one in told if one.errors), recorded.evidence.report)
    code = next((one.code for one in told if one.code), None) or next((one.code for one in errors if one.code), None)
    status = next((one.status for one in told if one.status in ENDED), "Failed")
    if not errors:
        notes.append("the text of the error: none is on record")
    if any(len(one.message) >= _LONGEST_TEXT for one in errors):
        notes.append("the end of the error's text: it was cut when it was read")
    return code, _text(errors), status


def was_rejected(recorded: Recorded) -> bool:
    """Tell whether Azure refused the request itself, so that there was never anything to read."""
    was_started = isinstance(recorded.evidence.operation, Found) or _was_accepted(recorded)
    return _is_gone(recorded) and not was_started


def was_deleted(recorded: Recorded) -> bool:
    """Tell whether somebody deleted what was being deployed; it may still have been there when it was read."""
    is_write = recorded.incident.operation is Operation.WRITE
    return is_write and (recorded.cause == _DELETED or (_is_gone(recorded) and not was_rejected(recorded)))


def asset(recorded: Recorded, kind: Literal["model", "environment"]) -> str | None:
    """Give ``name/version`` of what the deployment names."""
    state = value(recorded.evidence.resource)
    named = None if state is None else parse_version(state.model if kind == "model" else state.environment)
    return None if named is None else "/".join(named)


def _is_in_vain(recorded: Recorded) -> bool:
    """Tell whether it failed again although the keys had been synced: then something else was wrong as well."""
    has_rerun = any(one.is_rerun for one in recorded.accepted)
    is_same = recorded.last_cause == recorded.cause
    return law(recorded) == "keys" and has_rerun and is_same and recorded.ended.end is End.NOT_REPAIRED


def _broken(recorded: Recorded, notes: list[str]) -> Plain:
    code, message, status = error(recorded, notes)
    if code is None:
        notes.append("the code of the error: none is on record")
    hazard: Plain = {"kind": "broken", "code": code, "message": message}
    if was_rejected(recorded):
        hazard |= {"at": "request", "status": 409 if (code or "").lower() == "conflict" else 400}
    elif status == "Canceled":
        hazard["ends"] = "Canceled"
    said = logs(recorded.evidence, notes)
    return hazard | ({"logs": said} if said else {})


def _is_gone(recorded: Recorded) -> bool:
    return isinstance(recorded.evidence.resource, Absent) and recorded.incident.operation is Operation.WRITE


def _was_accepted(recorded: Recorded) -> bool:
    own = recorded.incident.correlation_id
    rows = value(recorded.evidence.history) or ()
    return any(row.status == "Accepted" and row.correlation_id.lower() == own for row in rows)


def _text(errors: tuple[ErrorDetail, ...]) -> str:
    """Give one text that tells of all errors, the outermost first."""
    first, *rest = sorted(errors, key=lambda one: one.depth) or [ErrorDetail(code=None, message="", depth=0)]
    lines = [first.message, *(f"({one.code}) {one.message}" if one.code else one.message for one in rest)]
    return "\n".join(line for line in lines if line)
