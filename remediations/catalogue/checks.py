"""Checks that several causes share: each looks at one read of the evidence."""

from datetime import datetime

from remediations.catalogue.cause import Check, Clue
from remediations.model import ActivityRow, Evidence, Found, OperationState

_DELETE = "/delete"
_TERMINAL = frozenset({"Failed", "Canceled", "Cancelled", "Succeeded"})
_CANCELED = frozenset({"Canceled", "Cancelled"})
_CONFLICTS = frozenset({"Conflict", "OperationInProgress"})


def operation_was_canceled(evidence: Evidence) -> Clue | None:
    """The long-running operation's own status or code: the word of Azure ML, not of an SDK or a log inside its text."""
    operation = _ended_operation(evidence)
    if operation is None:
        return None
    said = f"its status is {operation.status} ({operation.code or 'no code'})"
    is_canceled = operation.status == "Canceled" or operation.code == "OperationCanceled"
    return Clue(read="operation", says=said, supports=is_canceled)


def activity_log_shows_cancel(evidence: Evidence) -> Clue | None:
    """The Activity Log's row of the operation's end."""
    row = _last_row(evidence)
    if row is None or (row.status == "Failed" and row.code is None):
        return None
    is_canceled = row.status in _CANCELED or row.code == "OperationCanceled"
    said = f"the operation ended as {row.status} ({row.code or 'no code'})"
    return Clue(read="activity-log", says=said, supports=is_canceled)


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
    if row is None or row.code is None:
        return None
    return Clue(read="activity-log", says=f"the write ended with {row.code}", supports=row.code in _CONFLICTS)


def operation_did_not_fail(evidence: Evidence) -> Clue | None:
    """Opposes if the operation was taken and failed of something else: then nothing was in its way."""
    operation = _ended_operation(evidence)
    if operation is None or operation.status == "Succeeded" or operation.code in _CONFLICTS:
        return None
    return Clue(read="operation", says=f"it ran and ended as {operation.status} ({operation.code})", supports=False)


def operation_says(*codes: str) -> Check:
    """Supports if the code of the operation's error is one of these, opposes if it is another."""

    def check(evidence: Evidence) -> Clue | None:
        operation = _ended_operation(evidence)
        if operation is None or (operation.status != "Succeeded" and operation.code is None):
            return None
        said = f"its status is {operation.status} ({operation.code or 'no code'})"
        return Clue(read="operation", says=said, supports=operation.code in codes)

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


def _ended_operation(evidence: Evidence) -> OperationState | None:
    if not isinstance(evidence.operation, Found) or not evidence.operation.value.is_over:
        return None
    return evidence.operation.value


def _last_row(evidence: Evidence) -> ActivityRow | None:
    if not isinstance(evidence.activity, Found):
        return None
    over = [row for row in evidence.activity.value if row.status in _TERMINAL]
    return max(over, key=lambda row: row.at, default=None)
