"""Checks that several causes share: each looks at one read of the evidence."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from remediations.catalogue.cause import Check, Clue
from remediations.model import Absent, ActivityRow, Answers, Evidence, Found, Image, OperationState, Unknown

_DELETE = "/delete"
_TERMINAL = frozenset({"Failed", "Canceled", "Cancelled", "Succeeded"})
_CANCELED = frozenset({"Canceled", "Cancelled"})
_CONFLICTS = frozenset({"Conflict", "OperationInProgress"})
_REGISTRY = re.compile(r"(?<![\w.-])[a-z0-9-]{5,50}\.azurecr\.[a-z]{2,3}(?![\w-])")
_NETWORK = ("containerregistry", "dnsresolution", "networksecurityrule", "userdefinedroute", "nsg", "udr")
_RECENTLY = timedelta(days=7)
EFFECTIVE_WITHIN = timedelta(minutes=10)
_PUBLIC_REGISTRY = "mcr.microsoft.com/"

# Codes by which Azure ML says that the image was there and a container of it ran.
CONTAINER_RAN = (
    *("ResourceNotReady", "KubernetesCrashLoopBackOff", "DeploymentCrashLoopBackOff", "PodOutOfMemory"),
    *("UserScriptInitFailed", "UserScriptImportError", "UserScriptFunctionNotFound", "ValidateScoringFailed"),
)
# Codes of a request that was turned down or called off: nothing was built, pulled or placed.
TURNED_DOWN = (
    *("AuthorizationFailed", "LinkedAuthorizationFailed", "SubscriptionNotRegistered", "EndpointAlreadyExists"),
    *("Conflict", "OperationInProgress", "OperationCanceled", "InvalidDeploymentSpec"),
)

type Need = Literal["pull", "read"]


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


def given(first: Check, then: Check) -> Check:
    """Give what `then` says, but let it support only where `first` does: it adds to that, and means nothing alone."""

    def check(evidence: Evidence) -> Clue | None:
        clue = then(evidence)
        if clue is None or not clue.supports:
            return clue
        decisive = first(evidence)
        return clue if decisive is not None and decisive.supports else None

    return check


# ------------------------------------------------------------------------------------------ how it ended


def ended_with(*codes: str) -> Check:
    """Supports if the code that Azure gave to the failure is one of these, opposes if it is another."""

    def check(evidence: Evidence) -> Clue | None:
        read, code = next(_codes(evidence), (None, None))
        if read is None or code is None:
            return None
        return Clue(read=read, says=f"it ended with {code}", supports=code in codes)

    return check


def may_end_with(*codes: str) -> Check:
    """Supports if the code that Azure gave to the failure is one of these; another one says nothing."""
    ended = ended_with(*codes)

    def check(evidence: Evidence) -> Clue | None:
        clue = ended(evidence)
        return clue if clue is not None and clue.supports else None

    return check


def did_not_end_with(*codes: str) -> Check:
    """Opposes if a code that Azure gave to the failure is one of these: it failed of something else."""

    def check(evidence: Evidence) -> Clue | None:
        hit = next(((read, code) for read, code in _codes(evidence) if code in codes), None)
        return None if hit is None else Clue(read=hit[0], says=f"it ended with {hit[1]}", supports=False)

    return check


def is_managed(evidence: Evidence) -> Clue | None:
    """Opposes on Kubernetes compute."""
    if not isinstance(evidence.resource, Found) or evidence.resource.value.kind != "Kubernetes":
        return None
    return Clue(read="deployment", says="its compute is Kubernetes", supports=False)


# ---------------------------------------------------------------------------------- registry and network


def registry_admin_is_on(evidence: Evidence) -> Clue | None:
    """Supports if the workspace's registry has an admin user, whose keys a sync brings; opposes if not."""
    registry = evidence.surroundings.registry
    if isinstance(registry, Unknown):
        return None
    if isinstance(registry, Absent):
        return Clue(read="registry", says="the workspace has no registry that is there", supports=False)
    if registry.value.admin_user is None:
        return None
    words = "on" if registry.value.admin_user else "off"
    return Clue(read="registry", says=f"the registry's admin user is {words}", supports=registry.value.admin_user)


def registry_admin_is_off(evidence: Evidence) -> Clue | None:
    """Supports if the registry is there and its admin user is off, opposes if not."""
    clue = registry_admin_is_on(evidence)
    if clue is None:
        return None
    is_off = isinstance(evidence.surroundings.registry, Found) and not clue.supports
    return Clue(read=clue.read, says=clue.says, supports=is_off)


def registry_is_missing(evidence: Evidence) -> Clue | None:
    """Supports if the registry that the workspace names is not there, opposes if it is."""
    registry = evidence.surroundings.registry
    if isinstance(registry, Unknown):
        return None
    is_missing = isinstance(registry, Absent)
    says = "the workspace has no registry that is there" if is_missing else "the workspace's registry is there"
    return Clue(read="registry", says=says, supports=is_missing)


def registry_is_usable(evidence: Evidence) -> Clue | None:
    """Opposes if the registry is not there, or its admin user is off: that is found before any network fault."""
    clue = registry_admin_is_on(evidence)
    return None if clue is None or clue.supports else clue


def text_names_no_other_registry(evidence: Evidence) -> Clue | None:
    """Opposes if the errors name a registry that is not the workspace's: its keys are no concern of these."""
    registry = evidence.surroundings.registry
    if not isinstance(registry, Found):
        return None
    own = registry.value.login_server.lower()
    operation = evidence.operation.value.errors if isinstance(evidence.operation, Found) else ()
    rows = evidence.activity.value if isinstance(evidence.activity, Found) else ()
    errors = (*operation, *(error for row in rows for error in row.errors), *evidence.report)
    other = next((host for error in errors for host in _REGISTRY.findall(error.message.lower()) if host != own), None)
    return None if other is None else Clue(read="registry", says="the error names another registry", supports=False)


def registry_keys_changed(evidence: Evidence) -> Clue | None:
    """Supports if the registry's keys were regenerated in the week before the failure."""
    registry = evidence.surroundings.registry
    changed = registry.value.keys_changed_at if isinstance(registry, Found) else None
    if changed is None or not timedelta() <= evidence.incident.failed_at - changed <= _RECENTLY:
        return None
    return Clue(read="registry-keys", says=f"the registry's keys were changed at {changed.isoformat()}", supports=True)


def network_faults(evidence: Evidence) -> tuple[str, ...] | None:
    """Give what the workspace's diagnosis finds wrong between it and its registry; None if it was not made."""
    if not isinstance(evidence.surroundings.network, Found):
        return None
    return tuple(fault for fault in evidence.surroundings.network.value if fault.lower().startswith(_NETWORK))


def network_is_faulty(evidence: Evidence) -> Clue | None:
    """Supports if the workspace's diagnosis finds a fault on the way to the registry, opposes if it finds none."""
    faults = network_faults(evidence)
    if faults is None:
        return None
    return Clue(read="diagnosis", says=faults[0] if faults else "no network fault", supports=bool(faults))


def network_is_sound(evidence: Evidence) -> Clue | None:
    """Opposes if the workspace's diagnosis finds a fault on the way to the registry."""
    clue = network_is_faulty(evidence)
    return Clue(read=clue.read, says=clue.says, supports=False) if clue is not None and clue.supports else None


# ---------------------------------------------------------------------------------------- image and model


def image_is_missing(evidence: Evidence) -> Clue | None:
    """Supports if the registry says that there is no such image, opposes if it shows one."""
    image = _image(evidence)
    if image is None or isinstance(image.manifest, Unknown):
        return None
    is_missing = isinstance(image.manifest, Absent)
    says = f"{image.reference} is not in the registry" if is_missing else f"{image.reference} is in the registry"
    return Clue(read="registry-data-plane", says=says, supports=is_missing)


def image_is_there(evidence: Evidence) -> Clue | None:
    """Supports if the registry shows the image, opposes if it says that there is none."""
    return _opposite(image_is_missing(evidence))


def image_lies_elsewhere(evidence: Evidence) -> Clue | None:
    """Supports if the image is in another registry than the workspace's, opposes if not, or if anyone may pull it."""
    image = _image(evidence)
    if image is None:
        return None
    is_public = image.reference.lower().startswith(_PUBLIC_REGISTRY)
    says = f"{image.reference} is {'' if image.in_registry else 'not '}in the workspace's registry"
    return Clue(read="environment", says=says, supports=not image.in_registry and not is_public)


def image_is_the_workspace_s(evidence: Evidence) -> Clue | None:
    """Opposes if the image is in another registry: a role on the workspace's would not help."""
    image = _image(evidence)
    if image is None or image.in_registry:
        return None
    says = f"{image.reference} is not in the workspace's registry"
    return Clue(read="environment", says=says, supports=False)


def model_is_missing(evidence: Evidence) -> Clue | None:
    """Supports if the workspace has no such model, opposes if it has."""
    model = evidence.surroundings.model
    if isinstance(model, Unknown):
        return None
    if isinstance(model, Absent):
        return Clue(read="model", says="the model is not registered", supports=True)
    return Clue(read="model", says="the model is registered", supports=False)


def model_is_there(evidence: Evidence) -> Clue | None:
    """Supports if the workspace has the model, opposes if it has not."""
    return _opposite(model_is_missing(evidence))


# --------------------------------------------------------------------------------------------------- roles


def roles_missing(*missing: Need) -> Check:
    """Supports if the endpoint's identities lack exactly these, opposes if one of them is held or another is missing.

    A need is missing as soon as one identity lacks it: Azure ML may use any of them.
    """

    def check(evidence: Evidence) -> Clue | None:
        found = {need: _is_missing(evidence, need) for need in ("pull", "read")}
        words = _role_words(evidence)
        if any(state is not None and state is not (need in missing) for need, state in found.items()):
            return Clue(read="role-assignments", says=words, supports=False)
        if any(state is None for state in found.values()):
            return None
        return Clue(read="role-assignments", says=words, supports=True)

    return check


def role_is_fresh(evidence: Evidence) -> Clue | None:
    """Supports if every role is held, one of them since so lately that it may not have been effective.

    https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
    """
    access, began = evidence.surroundings.access, began_at(evidence)
    if not isinstance(access, Found) or began is None or any(one.held is not True for one in access.value):
        return None
    fresh = next((one for one in access.value if one.since is not None and one.since > began - EFFECTIVE_WITHIN), None)
    if fresh is None:
        return None
    says = f"{fresh.role_name} was given at {fresh.since:%H:%M:%S} UTC, and may not have been effective"
    return Clue(read="role-assignments", says=says, supports=True)


def no_role_is_fresh(evidence: Evidence) -> Clue | None:
    """Opposes if a role may not have been effective: that explains what was refused."""
    return _opposite(role_is_fresh(evidence))


def reading_is_granted(evidence: Evidence) -> Clue | None:
    """Opposes if the right to read the storage account is missing: that explains a download that failed."""
    if _is_missing(evidence, "read") is not True:
        return None
    return Clue(read="role-assignments", says=_role_words(evidence), supports=False)


def endpoint_is_user_assigned(evidence: Evidence) -> Clue | None:
    """Supports if the endpoint has a user-assigned identity; opposes if not, as Azure ML sees to its own identity."""
    identity = evidence.endpoint.value.identity if isinstance(evidence.endpoint, Found) else None
    if identity is None:
        return None
    is_user_assigned = "userassigned" in identity.lower()
    return Clue(read="endpoint", says=f"the endpoint's identity is {identity}", supports=is_user_assigned)


# ---------------------------------------------------------------------------------- container and requests


def container_wrote_nothing(evidence: Evidence) -> Clue | None:
    """Supports if the log of the inference server was read and is empty, opposes if it is not."""
    reading = evidence.logs.get("InferenceServer", Unknown())
    if not isinstance(reading, Found):
        return None
    is_empty = not reading.value.strip()
    says = "the inference server's log is empty" if is_empty else "the inference server's log is not empty"
    return Clue(read="log", says=says, supports=is_empty)


def answers_with(*statuses: str) -> Check:
    """Supports if the endpoint's metrics show answers with one of these status codes, opposes if they show none."""

    def check(evidence: Evidence) -> Clue | None:
        if not isinstance(evidence.load, Found) or not evidence.load.value.answers:
            return None
        hits = [one for one in evidence.load.value.answers if one.status in statuses and one.most > 0]
        if not hits:
            return Clue(read="metrics", says=f"no answer has status {' or '.join(statuses)}", supports=False)
        says = ", ".join(f"{one.most:g} answers a minute with {_status_words(one)}" for one in hits)
        return Clue(read="metrics", says=says, supports=True)

    return check


def deployment_is_serving(evidence: Evidence) -> Clue | None:
    """Supports if the deployment that requests go to is Succeeded, opposes if it is not."""
    if evidence.incident.resource.deployment is None or not isinstance(evidence.resource, Found):
        return None
    state = evidence.resource.value.provisioning_state
    return Clue(read="deployment", says=f"the deployment is {state}", supports=state == "Succeeded")


def deployment_is_not_serving(evidence: Evidence) -> Clue | None:
    """Supports if the deployment that requests go to is not Succeeded, opposes if it is."""
    return _opposite(deployment_is_serving(evidence))


def traffic_goes_nowhere(evidence: Evidence) -> Clue | None:
    """Supports if the endpoint gives no deployment a share of its traffic, opposes if it does."""
    if not isinstance(evidence.endpoint, Found):
        return None
    shares = {name: share for name, share in evidence.endpoint.value.traffic.items() if share > 0}
    says = "traffic goes to " + ", ".join(sorted(shares)) if shares else "no deployment has a share of the traffic"
    return Clue(read="endpoint", says=says, supports=not shares)


# --------------------------------------------------------------------------------------------------- quota


def cores_are_missing(evidence: Evidence) -> Clue | None:
    """Supports if the quota is too small for the deployment right now; it may have been freed since."""
    if not isinstance(evidence.surroundings.quota, Found):
        return None
    quota = evidence.surroundings.quota.value
    limit = "no limit" if quota.limit is None else f"{quota.used} of {quota.limit} used"
    says = f"{quota.family} in {quota.location}: {limit}, {quota.needed} needed, {quota.missing} missing"
    return Clue(read="quota", says=says, supports=True) if quota.missing > 0 else None


# ------------------------------------------------------------------------------------------------ the parts


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


def _codes(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Give the codes in the service's own fields, never one out of a text: the operation's, then the Activity Log's."""
    operation = _ended_operation(evidence)
    if operation is not None and operation.code is not None:
        yield "operation", operation.code
    row = _last_row(evidence)
    if row is not None and row.code is not None:
        yield "activity-log", row.code


def _status_words(answers: Answers) -> str:
    return answers.status if answers.model_status is None else f"{answers.status} (the model's {answers.model_status})"


def _opposite(clue: Clue | None) -> Clue | None:
    return None if clue is None else Clue(read=clue.read, says=clue.says, supports=not clue.supports)


def _image(evidence: Evidence) -> Image | None:
    return evidence.surroundings.image.value if isinstance(evidence.surroundings.image, Found) else None


def _is_missing(evidence: Evidence, need: Need) -> bool | None:
    """Tell whether an identity lacks what is needed; None if it is unclear. What nobody needs is not missing."""
    access = evidence.surroundings.access
    if not isinstance(access, Found) or not access.value:
        return None
    held = [one.held for one in access.value if one.need == need]
    if False in held:
        return True
    return None if None in held else False


def _role_words(evidence: Evidence) -> str:
    access = evidence.surroundings.access
    known = access.value if isinstance(access, Found) else ()
    lacking = sorted({one.role_name for one in known if one.held is False})
    unclear = sorted({f"unclear: {one.words}" for one in known if one.held is None})
    missing = [f"missing: {', '.join(lacking)}"] if lacking else []
    return "; ".join([*missing, *unclear]) or "no role is missing"
