"""Checks that several causes share: each looks at one read of the evidence."""

from datetime import datetime

from remediations.catalogue.cause import Check, Clue
from remediations.model import ActivityRow, Evidence, Found

_DELETE = "/delete"
_TERMINAL = frozenset({"Failed", "Canceled", "Cancelled", "Succeeded"})
_CANCELED = frozenset({"Canceled", "Cancelled"})


def operation_was_canceled(evidence: Evidence) -> Clue | None:
    """The long-running operation's own status: the word of Azure ML, not of an SDK that wraps it."""
    if not isinstance(evidence.operation, Found) or not evidence.operation.value.is_over:
        return None
    operation = evidence.operation.value
    codes = {detail.code for detail in operation.errors}
    if operation.status == "Canceled" or "OperationCanceled" in codes:
        return Clue(read="operation", says=f"its status is {operation.status}", supports=True)
    named = next((detail.code for detail in operation.errors if detail.code), "no code")
    return Clue(read="operation", says=f"its status is {operation.status} with {named}, not Canceled", supports=False)


def activity_log_shows_cancel(evidence: Evidence) -> Clue | None:
    """The Activity Log's row of the operation's end."""
    row = _last_row(evidence)
    if row is None:
        return None
    if row.status in _CANCELED or any(detail.code == "OperationCanceled" for detail in row.errors):
        return Clue(read="activity-log", says=f"the operation ended as {row.status} (OperationCanceled)", supports=True)
    if row.status == "Failed" and not row.errors:
        return None
    named = next((detail.code for detail in row.errors if detail.code), "no code")
    return Clue(read="activity-log", says=f"the operation ended as {row.status} with {named}", supports=False)


def nobody_deleted(evidence: Evidence) -> Clue | None:
    """Opposes if somebody deleted the resource: then the cancellation was meant."""
    row = deletion(evidence)
    if row is None:
        return None
    return Clue(
        read="activity-log", says=f"a delete of the resource was {row.status} at {row.at.isoformat()}", supports=False
    )


def somebody_deleted(evidence: Evidence) -> Clue | None:
    """Supports if the resource's history has a delete next to the cancellation."""
    row = deletion(evidence)
    if row is None:
        return None
    return Clue(
        read="activity-log", says=f"a delete of the resource was {row.status} at {row.at.isoformat()}", supports=True
    )


def activity_log_shows_conflict(evidence: Evidence) -> Clue | None:
    """The Activity Log's row of a write that Azure refused because another one ran."""
    row = _last_row(evidence)
    if row is None or not row.errors:
        return None
    if any(detail.code in {"Conflict", "OperationInProgress"} for detail in row.errors):
        return Clue(read="activity-log", says="the write was refused with Conflict", supports=True)
    return None


def operation_says(*codes: str) -> Check:
    """Supports if the operation's own error has one of these codes, opposes if it was not an error at all."""

    def check(evidence: Evidence) -> Clue | None:
        if not isinstance(evidence.operation, Found) or not evidence.operation.value.is_over:
            return None
        operation = evidence.operation.value
        named = next((detail.code for detail in operation.errors if detail.code in codes), None)
        if named is not None:
            return Clue(read="operation", says=f"its error is {named}", supports=True)
        if operation.status == "Succeeded":
            return Clue(read="operation", says="it succeeded", supports=False)
        return None

    return check


def endpoint_is_busy(evidence: Evidence) -> Clue | None:
    """Supports if the endpoint is being changed right now."""
    if not isinstance(evidence.endpoint, Found):
        return None
    state = evidence.endpoint.value.provisioning_state
    if state in {"Creating", "Updating", "Scaling", "Deleting"}:
        return Clue(read="endpoint", says=f"the endpoint is {state}", supports=True)
    return None


def is_kubernetes(evidence: Evidence) -> Clue | None:
    """Supports on Kubernetes compute, opposes on managed compute."""
    if not isinstance(evidence.resource, Found):
        return None
    kind = evidence.resource.value.kind
    return Clue(read="deployment", says=f"its compute is {kind}", supports=kind == "Kubernetes")


def environment_is_not_from_a_registry(evidence: Evidence) -> Clue | None:
    """Opposes if the environment lies in a registry: Kubernetes compute cannot use it, however long one waits."""
    if not isinstance(evidence.resource, Found) or evidence.resource.value.environment is None:
        return None
    environment = evidence.resource.value.environment.lower()
    if environment.startswith("azureml://registries/") or "/registries/" in environment:
        return Clue(
            read="deployment", says="its environment is in a registry, which Kubernetes cannot use", supports=False
        )
    return None


def deletion(evidence: Evidence) -> ActivityRow | None:
    """Give the row of a delete of this resource, or of its endpoint, since the failed operation began.

    While nobody knows when that was, every delete counts that the history shows.
    """
    if not isinstance(evidence.history, Found):
        return None
    incident = evidence.incident
    keys = {incident.resource.key, incident.resource.endpoint_id.key}
    began = began_at(evidence)
    rows = (
        row
        for row in evidence.history.value
        if row.operation_name.lower().endswith(_DELETE)
        and row.resource.lower() in keys
        and (incident.correlation_id is None or row.correlation_id.lower() != incident.correlation_id.lower())
        and row.status not in {"Failed", *_CANCELED}
        and (began is None or row.at >= began)
    )
    return next(rows, None)


def began_at(evidence: Evidence) -> datetime | None:
    """Give when the failed operation began, by its own word, else by the Activity Log; None if neither tells."""
    if isinstance(evidence.operation, Found) and evidence.operation.value.started_at is not None:
        return evidence.operation.value.started_at
    rows = evidence.activity.value if isinstance(evidence.activity, Found) else ()
    return min((row.at for row in rows if row.status == "Started"), default=None)


def _last_row(evidence: Evidence) -> ActivityRow | None:
    if not isinstance(evidence.activity, Found):
        return None
    over = [row for row in evidence.activity.value if row.status in _TERMINAL]
    return max(over, key=lambda row: row.at, default=None)
