"""The entries of the catalogue: each is found by its texts, and told from its rivals by reads alone."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediations.catalogue import CAUSES, scoring
from remediations.catalogue.checks import is_kubernetes
from remediations.catalogue.matchers import Symptoms
from remediations.classification import classify, classify_text, nominate, wanted
from remediations.messages import parse
from remediations.model import (
    Absent,
    Access,
    Answers,
    Area,
    ErrorDetail,
    Found,
    Identity,
    Image,
    Level,
    Load,
    Operation,
    Quota,
    Registry,
    Scoring,
    Surroundings,
    Unknown,
)
from tests.builders import (
    DELETE,
    FAILED_AT,
    OTHER_CORRELATION,
    SUBSCRIPTION,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_operation,
    make_row,
    make_state,
)

BY_ID = {cause.id: cause for cause in CAUSES}
EXAMPLES = [
    pytest.param(cause, example, id=f"{cause.id}-{n}") for cause in CAUSES for n, example in enumerate(cause.examples)
]
ACTIONS = {
    "canceled-higher-priority": "retry",
    "canceled-lock-confirmation": "retry",
    "conflict-in-progress": "retry",
    "role-assignment-pending": "retry",
    "acr-authorization": "sync-keys",
    "identity-missing-acrpull": "grant-roles",
    "identity-missing-storage-reader": "grant-roles",
    "identity-missing-roles": "grant-roles",
    "role-not-effective": "grant-roles",
    "quota-cpu": "delete-idle",
}
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-ml-prod/providers"
REGISTRY = f"{GROUP}/Microsoft.ContainerRegistry/registries/crmlprod"
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts/stmlprod"
IDENTITY = Identity(path=f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/id-scoring", principal_id="p-1")
SECOND = Identity(path=f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/id-second", principal_id="p-2")


# -------------------------------------------------------------------------------------------------- evidence


def evidence_of(*errors, status="Failed", **changes):
    """Evidence in which the operation and the Activity Log say the same errors; nothing around it was read."""
    row = make_row(status=status, errors=errors)
    fields = {
        "operation": Found(make_operation(status=status, errors=errors)),
        "activity": Found((row,)),
        "history": Found((row,)),
        "resource": Found(make_state(provisioning_state="Failed")),
        "endpoint": Found(make_endpoint_state(identity="UserAssigned", identities=(IDENTITY,))),
    }
    return make_evidence(**{**fields, **changes})


def said(code, text, **changes):
    return evidence_of(ErrorDetail(code=code, message=text, depth=0), **changes)


def silent(*errors):
    """Evidence of which only the event's own text is known."""
    unread = Unknown()
    return make_evidence(
        resource=unread, endpoint=unread, operation=unread, activity=unread, history=unread, report=errors
    )


def diagnosed(evidence):
    return classify(evidence, CAUSES, evidence_digest="e" * 64)


def registry(**changes):
    return Found(Registry(**{"path": REGISTRY, "login_server": "crmlprod.azurecr.io", "admin_user": True, **changes}))


def image(manifest=Unknown(), in_registry=True, reference="crmlprod.azurecr.io/scoring:7"):  # noqa: B008
    return Found(Image(reference=reference, in_registry=in_registry, manifest=manifest))


def access(pull, read, identity=IDENTITY):
    """What one identity may do: None is unclear, and "not needed" leaves it out."""
    pulls = Access(identity=identity, need="pull", role="pull-id", role_name="AcrPull", scope=REGISTRY, held=pull)
    reads = Access(identity=identity, need="read", role="read-id", role_name="Blob Reader", scope=STORAGE, held=read)
    return tuple(one for one, held in ((pulls, pull), (reads, read)) if held != "not needed")


def quota(**changes):
    fields = {
        "location": "westeurope",
        "family": "standardDSv2Family",
        "instance_type": "Standard_DS2_v2",
        "cores_each": 2,
        "needed": 4,
        "used": 4,
        "limit": 6,
    }
    return Found(Quota(**{**fields, **changes}))


BUILT = Found("sha256:built")
MODEL = Found("credit:3")


AROUND = {
    "acr-authorization": Surroundings(registry=registry()),
    "acr-admin-disabled": Surroundings(registry=registry(admin_user=False)),
    "acr-firewall": Surroundings(registry=registry()),
    "acr-missing": Surroundings(registry=Absent()),
    "private-registry": Surroundings(image=image(in_registry=False, reference="crother.azurecr.io/base:1")),
    "image-not-found": Surroundings(image=image(Absent()), access=Found(access(True, True))),
    "identity-missing-acrpull": Surroundings(image=image(BUILT), access=Found(access(False, True))),
    "identity-missing-storage-reader": Surroundings(model=MODEL, access=Found(access(True, False))),
    "identity-missing-roles": Surroundings(image=image(BUILT), model=MODEL, access=Found(access(False, False))),
    "model-not-found": Surroundings(model=Absent(), access=Found(access(True, True))),
    "model-download-failed": Surroundings(model=MODEL, access=Found(access(True, True))),
    "role-not-effective": Surroundings(
        access=Found(tuple(replace(one, since=FAILED_AT) for one in access(True, True)))
    ),
    "quota-cpu": Surroundings(quota=quota()),
}
DNS = "dnsResolutionResults: CustomDNSInUse: an on-premise dns server is configured"


def confirming(cause, example):
    """Evidence whose reads say what the example's text says."""
    changes = {}
    match cause.id:
        case "canceled-by-deletion":
            deleted = make_row(
                at=FAILED_AT - timedelta(minutes=1),
                operation_name=DELETE,
                status="Accepted",
                correlation_id=OTHER_CORRELATION,
                errors=(),
            )
            changes = {"status": "Canceled", "history": Found((deleted, make_row(errors=example.details)))}
        case "conflict-in-progress":
            busy = Found(make_endpoint_state(provisioning_state="Updating"))
            changes = {"endpoint": busy, "operation": Unknown("refused at once: there is none")}
        case "role-assignment-pending" | "kubernetes-quota":
            changes = {"resource": Found(make_state(kind="Kubernetes"))}
        case "acr-firewall":
            changes = {"surroundings": Surroundings(network=Found((DNS,)))}
        case "registry-environment-unsupported":
            state = make_state(kind="Kubernetes", environment="azureml://registries/azureml/environments/sk/versions/1")
            changes = {"resource": Found(state)}
        case _ if is_kubernetes in cause.checks:
            changes = {"resource": Found(make_state(kind="Kubernetes"))}
        case name if name.startswith("canceled"):
            changes = {"status": "Canceled"}
        case "container-no-logs":
            changes = {"logs": {"InferenceServer": Found("")}}
    logs = {"InferenceServer": Found(example.log)} if example.log else {}
    around = AROUND.get(cause.id, Surroundings())
    if cause in scoring.CAUSES:
        return scored(example, **{"logs": logs, **STATES.get(cause.id, {})})
    if example.phase is not None:
        logs = logs or {"InferenceServer": Found("starting")}
    return evidence_of(*example.details, **{"logs": logs, "surroundings": around, **changes})


STATES = {"no-ready-replicas": {"resource": Found(make_state(provisioning_state="Failed"))}}


def scored(example, **changes):
    """Evidence of an endpoint that an alert tells of; what its answers say stands in the report."""
    statuses = example.statuses or (None,)
    answers = tuple(Answers(status=status, per_minute=3.0, most=5.0) for status in example.statuses)
    fields = {
        "incident": make_incident(operation=Operation.SCORE, scoring=Scoring(rule="oe-5xx", status=statuses[0])),
        "operation": Unknown(),
        "activity": Unknown(),
        "history": Unknown(),
        "load": Found(Load(answers=answers)) if answers else Unknown(),
        "resource": Found(make_state(provisioning_state="Succeeded")),
        "report": example.details,
    }
    return make_evidence(**{**fields, **changes})


# ----------------------------------------------------------------------------------------------- every cause


@pytest.mark.parametrize(("cause", "example"), EXAMPLES)
def test_every_example_nominates_its_own_cause(cause, example):
    assert cause.id in {nominated.id for nominated, _ in nominate(example, CAUSES)}


@pytest.mark.parametrize(("cause", "example"), EXAMPLES)
def test_every_example_is_diagnosed_when_the_reads_confirm_it(cause, example):
    diagnosis = diagnosed(confirming(cause, example))
    assert (diagnosis.cause_id, diagnosis.action) == (cause.id, cause.action)
    assert diagnosis.code in {cause.code, *cause.also}
    assert diagnosis.supporting != () or cause.action is None


@pytest.mark.parametrize(("cause", "example"), EXAMPLES)
def test_the_text_alone_never_reaches_beyond_text_only(cause, example):
    diagnosis = diagnosed(silent(*example.details))
    assert (diagnosis.level, diagnosis.supporting) == (Level.TEXT_ONLY, ())


@pytest.mark.parametrize(("cause", "example"), EXAMPLES)
def test_every_read_that_settles_it_is_asked_for(cause, example):
    before = confirming(cause, example)
    settles = {area for area in Area if not isinstance(getattr(before.surroundings, area, Unknown()), Unknown)}
    assert settles <= wanted(replace(before, surroundings=Surroundings()), CAUSES)


def test_every_cause_is_told_apart_and_documented():
    assert len(BY_ID) == len(CAUSES)
    for cause in CAUSES:
        assert cause.examples, cause.id
        assert cause.source.startswith("https://learn.microsoft.com/"), cause.id
        assert cause.advice.endswith("."), cause.id
        assert cause.checks or cause.action is None, cause.id


def test_only_these_causes_call_for_an_action():
    assert {cause.id: cause.action for cause in CAUSES if cause.action is not None} == ACTIONS


# ------------------------------------------------------------------------------------- the registry's keys

REFUSED = (
    "Unauthorized error encountered while attempting to connect to the container registry. Please try running resync "
    "keys on your workspace and retry."
)
LATELY = FAILED_AT - timedelta(days=2)


@pytest.mark.parametrize(
    ("around", "faults", "end"),
    [
        pytest.param(registry(), Found(()), ("acr-authorization", Level.TEXT_AND_READ), id="admin user on"),
        pytest.param(registry(), Unknown(), ("acr-authorization", Level.TEXT_AND_READ), id="not diagnosed"),
        pytest.param(
            registry(keys_changed_at=LATELY), Found(()), ("acr-authorization", Level.TWO_READS), id="keys changed"
        ),
        pytest.param(
            registry(keys_changed_at=FAILED_AT + timedelta(hours=1)),
            Found(()),
            ("acr-authorization", Level.TEXT_AND_READ),
            id="keys changed only since",
        ),
        pytest.param(
            registry(keys_changed_at=FAILED_AT - timedelta(days=30)),
            Found(()),
            ("acr-authorization", Level.TEXT_AND_READ),
            id="keys changed long ago",
        ),
        pytest.param(
            registry(),
            Found(("storageAccountResults: Locked: a lock",)),
            ("acr-authorization", Level.TEXT_AND_READ),
            id="a fault, but not on the way to the registry",
        ),
        pytest.param(registry(), Found((DNS,)), ("acr-firewall", Level.TEXT_AND_READ), id="a network fault"),
        pytest.param(
            registry(keys_changed_at=LATELY),
            Found((DNS,)),
            ("acr-firewall", Level.TEXT_AND_READ),
            id="a network fault and changed keys",
        ),
        pytest.param(
            registry(admin_user=False), Found(()), ("acr-admin-disabled", Level.TEXT_AND_READ), id="admin user off"
        ),
        pytest.param(
            registry(admin_user=False),
            Found((DNS,)),
            ("acr-admin-disabled", Level.TEXT_AND_READ),
            id="admin user off and a network fault",
        ),
        pytest.param(Absent(), Unknown(), ("acr-missing", Level.TEXT_AND_READ), id="no such registry"),
        pytest.param(Absent(), Found((DNS,)), ("acr-missing", Level.TEXT_AND_READ), id="no such registry, no network"),
        pytest.param(
            registry(admin_user=None), Unknown(), ("acr-authorization", Level.TEXT_ONLY), id="admin user unclear"
        ),
        pytest.param(Unknown(), Unknown(), ("acr-authorization", Level.TEXT_ONLY), id="nothing was read"),
    ],
)
def test_a_registry_that_refuses_is_told_from_one_that_cannot_be_used(around, faults, end):
    diagnosis = diagnosed(said("UserError", REFUSED, surroundings=Surroundings(registry=around, network=faults)))
    assert (diagnosis.cause_id, diagnosis.level) == end


def test_a_network_fault_alone_rules_the_keys_out():
    """With the registry unread, the diagnosis still speaks for the firewall and against the keys."""
    unread = Surroundings(network=Found((DNS,)))
    assert diagnosed(said("UserError", REFUSED, surroundings=unread)).cause_id == "acr-firewall"


@pytest.mark.parametrize("code", ["ResourceNotReady", "UserScriptInitFailed", "OutOfQuota", "OperationCanceled"])
def test_no_key_is_synced_for_what_failed_after_or_before_the_build(code):
    around = Surroundings(registry=registry(keys_changed_at=LATELY), network=Found(()))
    diagnosis = diagnosed(said(code, REFUSED, surroundings=around))
    assert diagnosis.cause_id in {"unknown", "score-script-init-failure", "container-crash"}
    assert diagnosis.action is None


# -------------------------------------------------------------------------------------------------- roles

NO_PULL = "Endpoint identity does not have pull permission on the registry."
STARTUP = "Startup task failed due to authorization error."
EVENTS = BY_ID["identity-missing-roles"].examples[2].log
SYSTEM = Found(make_endpoint_state(identity="SystemAssigned"))
BOTH = Found(make_endpoint_state(identity="SystemAssigned,UserAssigned", identities=(IDENTITY,)))


def roles(held, shown=image(BUILT), model=MODEL):  # noqa: B008
    return Surroundings(access=held if isinstance(held, Unknown) else Found(held), image=shown, model=model)


@pytest.mark.parametrize("text", [NO_PULL, STARTUP])
@pytest.mark.parametrize(
    ("around", "changes", "cause"),
    [
        pytest.param(roles(access(False, True)), {}, "identity-missing-acrpull", id="pull is missing"),
        pytest.param(roles(access(False, "not needed")), {}, "identity-missing-acrpull", id="nothing to read"),
        pytest.param(roles(access(True, False)), {}, "identity-missing-storage-reader", id="read is missing"),
        pytest.param(roles(access(False, False)), {}, "identity-missing-roles", id="both are missing"),
        pytest.param(
            roles((*access(True, True), *access(False, True, SECOND))),
            {},
            "identity-missing-acrpull",
            id="one of two identities lacks pull",
        ),
        pytest.param(
            roles((*access(False, True), *access(True, False, SECOND))),
            {},
            "identity-missing-roles",
            id="each of two identities lacks one",
        ),
        pytest.param(roles(access(False, True)), {"endpoint": BOTH}, "identity-missing-acrpull", id="both kinds"),
        pytest.param(roles(access(False, True), image()), {}, "identity-missing-acrpull", id="the manifest is unknown"),
        pytest.param(roles(access(False, True), Unknown()), {}, "identity-missing-acrpull", id="the image is unknown"),
        pytest.param(roles(access(True, True)), {}, "unknown", id="nothing is missing"),
        pytest.param(roles(access(True, True), image(Absent())), {}, "image-not-found", id="the image is missing"),
        pytest.param(
            roles(access(False, True), image(Absent())), {}, "image-not-found", id="the image and pull are missing"
        ),
        pytest.param(
            roles(access(False, False), image(Absent())), {}, "image-not-found", id="the image and both are missing"
        ),
        pytest.param(
            roles(access(False, True), image(in_registry=False, reference="crother.azurecr.io/base:1")),
            {},
            "private-registry",
            id="another registry",
        ),
        pytest.param(
            roles(access(False, True), image(in_registry=False, reference="mcr.microsoft.com/azureml/base:1")),
            {},
            "unknown",
            id="a registry that anyone may pull from",
        ),
        pytest.param(roles(access(False, True)), {"endpoint": SYSTEM}, "unknown", id="the service's own identity"),
        pytest.param(
            roles(access(False, False)), {"endpoint": SYSTEM}, "unknown", id="the service's own, both missing"
        ),
        pytest.param(
            roles(access(False, True)), {"resource": Found(make_state(kind="Kubernetes"))}, "unknown", id="Kubernetes"
        ),
    ],
)
def test_what_is_missing_is_told_by_the_assignments_the_image_and_the_identity(text, around, changes, cause):
    diagnosis = diagnosed(said("BadArgument", text, surroundings=around, **changes))
    assert diagnosis.cause_id == cause
    assert diagnosis.action == ACTIONS.get(cause)
    assert diagnosis.level is not Level.TEXT_ONLY or diagnosis.action is None


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(Surroundings(), id="nothing was read"),
        pytest.param(roles(Unknown()), id="the image and the model, but no assignments"),
        pytest.param(roles(()), id="no identity was looked at"),
        pytest.param(roles(access(None, True)), id="pull is unclear"),
        pytest.param(roles(access(False, None)), id="read is unclear"),
        pytest.param(roles(access(None, None)), id="both are unclear"),
        pytest.param(roles((*access(True, True), *access(None, True, SECOND))), id="a second identity is unclear"),
    ],
)
@pytest.mark.parametrize("text", [NO_PULL, STARTUP])
def test_an_unclear_right_reaches_no_read_that_supports_a_grant(text, around):
    diagnosis = diagnosed(said("BadArgument", text, surroundings=around))
    assert diagnosis.action is None or diagnosis.level is Level.TEXT_ONLY
    assert diagnosis.supporting == ()


def test_a_grant_rests_on_independent_reads():
    diagnosis = diagnosed(said("BadArgument", NO_PULL, surroundings=roles(access(False, True))))
    assert diagnosis.level is Level.TWO_READS
    assert [finding.read for finding in diagnosis.supporting] == ["role-assignments", "endpoint", "registry-data-plane"]


@pytest.mark.parametrize(
    ("around", "cause"),
    [
        pytest.param(roles(access(False, False)), "identity-missing-roles", id="both are missing"),
        pytest.param(roles(access(False, False), model=Unknown()), "identity-missing-roles", id="the model is unread"),
        pytest.param(roles(access(True, True)), "model-download-failed", id="nothing is missing"),
        pytest.param(roles(access(True, True), model=Absent()), "model-not-found", id="the model is missing"),
        pytest.param(roles(access(True, False)), "identity-missing-storage-reader", id="read is missing"),
        pytest.param(Surroundings(), "identity-missing-roles", id="nothing was read"),
    ],
)
def test_events_in_the_log_are_settled_by_reads_alone(around, cause):
    logs = {"StorageInitializer": Found(EVENTS)}
    diagnosis = diagnosed(said("BadArgument", "The deployment failed.", logs=logs, surroundings=around))
    assert diagnosis.cause_id == cause


@pytest.mark.parametrize(
    ("text", "around", "cause"),
    [
        pytest.param(
            "Unable to download user container image", roles(access(True, True), image(Absent())), "image-not-found"
        ),
        pytest.param("Unable to download user container image", roles(access(False, True)), "identity-missing-acrpull"),
        pytest.param("Unable to download user container image", roles(access(False, True), image()), "unknown"),
        pytest.param("Unable to download user container image", Surroundings(), "image-not-found"),
        pytest.param("unauthorized: authentication required", roles(access(False, True)), "identity-missing-acrpull"),
        pytest.param(
            "unauthorized: authentication required", roles(access(True, True), image(Absent())), "image-not-found"
        ),
        pytest.param("unauthorized: authentication required", Surroundings(), "unknown"),
        pytest.param("Unable to download user model", roles(access(True, True), model=Absent()), "model-not-found"),
        pytest.param("Unable to download user model", roles(access(True, True)), "model-download-failed"),
        pytest.param("Unable to download user model", roles(access(True, False)), "identity-missing-storage-reader"),
        pytest.param("Unable to download user model", roles(access(True, False), model=Absent()), "model-not-found"),
        pytest.param("Unable to download user model", roles(access(True, False), model=Unknown()), "unknown"),
        pytest.param("Unable to download user model/code artifacts", Surroundings(), "model-download-failed"),
        pytest.param(
            "Unable to download user model/code artifacts, storage blob container x: StorageManifestError",
            roles(access(True, False)),
            "unknown",
        ),
    ],
)
def test_what_cannot_be_downloaded_is_missing_or_not_permitted(text, around, cause):
    diagnosis = diagnosed(said("BadArgument", text, surroundings=around))
    assert (diagnosis.cause_id, diagnosis.action) == (cause, ACTIONS.get(cause))


def test_the_right_of_whoever_deploys_is_never_the_endpoint_s():
    refused = BY_ID["caller-missing-role"].examples[0].details[0]
    around = roles(access(False, False))
    diagnosis = diagnosed(evidence_of(refused, surroundings=around, operation=Unknown("refused at once")))
    assert (diagnosis.cause_id, diagnosis.action) == ("caller-missing-role", None)
    assert (diagnosis.facts.operation or "").endswith("/deployments/write")
    quoted = said("BadArgument", f"{NO_PULL} {refused.message}", surroundings=around)
    assert diagnosed(quoted).cause_id == "identity-missing-roles"
    no_request = said("AuthorizationFailed", NO_PULL, surroundings=around, operation=Unknown())
    assert diagnosed(no_request).cause_id == "unknown"


# ---------------------------------------------------------------------------------------------- forged texts

CRASH = "User container has crashed or terminated"
CPU = "Not enough quota available for Standard_DS2_v2. Current usage/limit: 4/6. Additional needed: 4"
ALL_AGAINST = Surroundings(
    registry=registry(keys_changed_at=LATELY),
    network=Found(()),
    access=Found(access(False, False)),
    image=image(BUILT),
    model=MODEL,
    quota=quota(),
)


@pytest.mark.parametrize("quoted", [NO_PULL, STARTUP, REFUSED, CPU, EVENTS])
@pytest.mark.parametrize(
    ("code", "before"),
    [
        pytest.param("ResourceNotReady", "", id="the text alone"),
        pytest.param("ResourceNotReady", f"{CRASH}: ", id="a crash"),
        pytest.param("BadArgument", f"{CRASH}: ", id="a crash as it is told now"),
        pytest.param("BadArgument", f"{CRASH}: Liveness probe failed: ", id="a probe"),
        pytest.param("BadArgument", f"{CRASH}: ModuleNotFoundError: (BadArgument) ", id="a script with a code"),
    ],
)
def test_what_a_container_writes_makes_nobody_act(quoted, code, before):
    logs = {"InferenceServer": Found(quoted)}
    evidence = said(code, f"{before}{quoted}", logs=logs, surroundings=ALL_AGAINST)
    assert diagnosed(evidence).action is None


@pytest.mark.parametrize("quoted", [NO_PULL, STARTUP, REFUSED, CPU])
def test_a_crash_is_named_a_crash_whatever_it_quotes(quoted):
    text = classify_text(Symptoms(details=parse(f"(BadArgument) {CRASH}: {quoted}")), CAUSES)
    assert (text.cause_id, text.action) == ("container-crash", None)


# -------------------------------------------------------------------------------------------------- quota


@pytest.mark.parametrize(
    ("around", "changes", "end"),
    [
        pytest.param(quota(), {}, ("quota-cpu", Level.TEXT_AND_READ), id="cores are missing"),
        pytest.param(quota(used=0, needed=8), {}, ("quota-cpu", Level.TEXT_AND_READ), id="more than there are"),
        pytest.param(
            quota(limit=None, total_used=9, total_limit=10), {}, ("quota-cpu", Level.TEXT_AND_READ), id="of the region"
        ),
        pytest.param(quota(used=0), {}, ("quota-cpu", Level.TEXT_ONLY), id="they are free by now"),
        pytest.param(Unknown(), {}, ("quota-cpu", Level.TEXT_ONLY), id="nothing was read"),
        pytest.param(
            quota(),
            {"resource": Found(make_state(kind="Kubernetes"))},
            ("unknown", Level.TEXT_ONLY),
            id="Kubernetes compute",
        ),
        pytest.param(
            quota(),
            {"resource": Absent(), "endpoint": Unknown(), "operation": Unknown("refused at once")},
            ("quota-cpu", Level.TEXT_AND_READ),
            id="refused at once",
        ),
    ],
)
def test_a_quota_that_is_too_small_is_read_again(around, changes, end):
    diagnosis = diagnosed(said("OutOfQuota", CPU, surroundings=Surroundings(quota=around), **changes))
    assert (diagnosis.cause_id, diagnosis.level) == end


@pytest.mark.parametrize(
    ("text", "facts", "action"),
    [
        pytest.param(
            CPU,
            {"instance_type": "Standard_DS2_v2", "used": 4, "limit": 6, "needed": 4},
            "delete-idle",
            id="could be freed",
        ),
        pytest.param(
            "VmSize: Not enough quota available for Standard_F4s_v2 in SubscriptionId ***. Current usage/limit: 0/6. "
            "Additional needed: 8 Please see troubleshooting guide",
            {"instance_type": "Standard_F4s_v2", "used": 0, "limit": 6, "needed": 8},
            None,
            id="more than the limit",
        ),
        pytest.param(
            "Not enough quota available for *** in SubscriptionId ***.",
            {},
            None,
            id="masked",
        ),
        pytest.param(
            "Not enough quota available for Standard_DS2_v2. Current usage/limit: 4/6.",
            {"instance_type": "Standard_DS2_v2", "used": 4, "limit": 6},
            None,
            id="nobody knows how much is needed",
        ),
        pytest.param(
            "Not enough subscription CPU quota. The amount of CPU quota\n    requested is 72 and your maximum amount "
            "of quota is [N/A].",
            {"needed": 72},
            None,
            id="no limit is shown",
        ),
        pytest.param(
            "Not enough subscription CPU quota. The amount of CPU quota requested is 8 and your maximum amount of "
            "quota is 6.",
            {"needed": 8, "limit": 6},
            None,
            id="more than the maximum",
        ),
        pytest.param(
            "Not enough subscription CPU quota. The amount of CPU quota requested is 8 and your maximum amount of "
            "quota is 20.",
            {"needed": 8, "limit": 20},
            "delete-idle",
            id="within the maximum",
        ),
        pytest.param(
            "Not enough subscription CPU quota. The amount of CPU quota requested is 8",
            {"needed": 8},
            "delete-idle",
            id="cut",
        ),
        pytest.param("Not enough subscription CPU quota.", {}, None, id="bare"),
    ],
)
def test_a_text_nominates_a_deletion_only_if_its_own_figures_let_one_help(text, facts, action):
    found = classify_text(Symptoms.of("OutOfQuota", text), CAUSES)
    assert (found.cause_id, found.facts.named, found.action) == ("quota-cpu", facts, action)


def test_a_read_is_better_than_the_figures_of_a_text():
    text = "Not enough subscription CPU quota. The amount of CPU quota requested is 4 and your maximum is [N/A]."
    assert diagnosed(said("OutOfQuota", text, surroundings=Surroundings(quota=quota()))).action == "delete-idle"


@pytest.mark.parametrize(
    ("code", "text", "cause"),
    [
        pytest.param("OutOfQuota", "Container terminated due to insufficient memory.", "quota-memory"),
        pytest.param("OutOfQuota", "Not enough disk space to pull the image.", "quota-disk"),
        pytest.param("ERR_1350", "Unable to download user model, not enough space on the disk", "quota-disk"),
        pytest.param("X", "Endpoint Quota reached for subscription x.Current usage/limit: 9/9.", "quota-endpoint"),
        pytest.param("OutOfQuota", "The role assignment limit has been reached.", "quota-role-assignment"),
        pytest.param("OutOfCapacity", "Out of capacity", "region-capacity"),
        pytest.param("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "kubernetes-quota"),
        pytest.param("OutOfQuota", "0/3 nodes are available: 3 Insufficient cpu.", "kubernetes-quota"),
        pytest.param("OutOfQuota", "Something else is exhausted.", "unknown"),
        pytest.param("QuotaExceeded", "Operation results in exceeding quota limits of Core. Maximum 10.", "unknown"),
        pytest.param("InsufficientQuota", "This operation require 150 new capacity in Tokens Per Minute", "unknown"),
        pytest.param(
            "InsufficientQuota", "Not enough subscription CPU quota: 150 Tokens Per Minute of gpt-4o", "unknown"
        ),
        pytest.param(None, "default-scheduler 0/6 nodes are available: 6 Insufficient nvidia.com/gpu.", "unknown"),
    ],
)
def test_no_other_shortage_is_taken_for_cpu_quota(code, text, cause):
    found = classify_text(Symptoms.of(code, text), CAUSES)
    assert (found.cause_id, found.action) == (cause, None)
    read = said(code, text, surroundings=Surroundings(quota=quota()), resource=Unknown())
    assert diagnosed(read).action is None


def test_nothing_is_deleted_for_kubernetes():
    text = "CPU/Memory resource insufficient, 1 replicas unschedulable."
    around = Surroundings(quota=quota())
    on_cluster = said("Unschedulable", text, surroundings=around, resource=Found(make_state(kind="Kubernetes")))
    assert (diagnosed(on_cluster).cause_id, diagnosed(on_cluster).action) == ("kubernetes-quota", None)
    managed = said("Unschedulable", text, surroundings=around, resource=Found(make_state(kind="Managed")))
    assert diagnosed(managed).cause_id == "unknown"


@pytest.mark.parametrize(
    ("compute", "cause"), [("managed", "quota-cpu"), ("kubernetes", "unknown"), (None, "quota-cpu")]
)
def test_the_compute_rules_out_what_happens_on_the_other_alone(compute, cause):
    assert classify_text(Symptoms.of("OutOfQuota", CPU), CAUSES, compute=compute).cause_id == cause


@pytest.mark.parametrize("code", ["ResourceNotReady", "BadArgument", "OperationCanceled", "ImageBuildFailure"])
def test_nothing_is_deleted_for_what_failed_of_something_else(code):
    diagnosis = diagnosed(said(code, CPU, surroundings=Surroundings(quota=quota())))
    assert (diagnosis.cause_id != "quota-cpu", diagnosis.action) == (True, None)


# ------------------------------------------------------------------------------------- what is to be read


@pytest.mark.parametrize(
    ("code", "text", "areas"),
    [
        pytest.param("UserError", REFUSED, {Area.REGISTRY, Area.KEYS, Area.NETWORK}, id="the registry refused"),
        pytest.param("BadArgument", NO_PULL, {Area.ACCESS, Area.IMAGE, Area.MODEL}, id="no right to pull"),
        pytest.param("OutOfQuota", CPU, {Area.QUOTA, Area.IDLE}, id="quota"),
        pytest.param("ResourceNotReady", NO_PULL, set(), id="ruled out already"),
        pytest.param("BadArgument", f"{CRASH}.", set(), id="a crash"),
        pytest.param("X", "no idea", set(), id="unknown"),
    ],
)
def test_only_what_tells_rivals_apart_is_read(code, text, areas):
    assert wanted(said(code, text), CAUSES) == areas


def test_the_logs_are_asked_too():
    logs = {"StorageInitializer": Found(EVENTS)}
    assert wanted(said("BadArgument", "The deployment failed.", logs=logs), CAUSES) == {
        Area.ACCESS,
        Area.IMAGE,
        Area.MODEL,
    }
