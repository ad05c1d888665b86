"""Texts nominate, reads decide, and what stays open is unknown."""

from datetime import timedelta

import pytest

from remediations.catalogue import CAUSES
from remediations.catalogue.cause import Cause
from remediations.catalogue.index import Catalogue
from remediations.catalogue.matchers import Symptoms, code, either, every, message
from remediations.classification import classify, nominate, symptoms
from remediations.enrichment import code_of, operation_state
from remediations.messages import parse
from remediations.model import Absent, ErrorDetail, Facts, Found, Level, Unknown
from tests.builders import (
    DELETE,
    DEPLOYMENT,
    ENDPOINT,
    FAILED_AT,
    OTHER_CORRELATION,
    SOMEBODY,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_operation,
    make_row,
    make_state,
)

BY_ID = {cause.id: cause for cause in CAUSES}


def evidence_of(*errors, status="Failed", **changes):
    """Evidence in which the operation and the Activity Log say the same errors."""
    row = make_row(status=status, errors=errors)
    fields = {
        "operation": Found(make_operation(status=status, errors=errors)),
        "activity": Found((row,)),
        "history": Found((row,)),
    }
    return make_evidence(**{**fields, **changes})


def deletion(**changes):
    fields = {
        "at": FAILED_AT - timedelta(minutes=1),
        "operation_name": DELETE,
        "status": "Accepted",
        "correlation_id": OTHER_CORRELATION,
        "errors": (),
    }
    return make_row(**{**fields, **changes})


def diagnosed(evidence):
    return classify(evidence, CAUSES, evidence_digest="e" * 64)


# ------------------------------------------------------------------------------------------------ the traps


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Operation failed or canceled", id="the SDK's wrapper"),
        pytest.param(
            "(None) Operation failed or canceled\nCode: None\nMessage: Operation failed or canceled", id="by the CLI"
        ),
        pytest.param("HttpResponseError: Operation returned an invalid status 'Conflict'", id="a bare Conflict"),
        pytest.param("(BadArgument) The container crashed. please wait and try again", id="wait and try again"),
        pytest.param("(ServiceError) Received 403 from a service request. Retry later.", id="retry later"),
    ],
)
def test_a_generic_text_is_unknown(text):
    diagnosis = diagnosed(evidence_of(*parse(text)))
    assert (diagnosis.cause_id, diagnosis.code, diagnosis.action) == ("unknown", "Unknown", None)


def test_a_catch_all_is_named_only_where_nothing_else_is():
    hidden = "Endpoint identity does not have pull permission on the registry."
    alone = diagnosed(evidence_of(*parse("(InternalServerError) InternalServerError")))
    assert (alone.cause_id, alone.action) == ("internal-error", None)
    beside = diagnosed(evidence_of(*parse(f"(InternalServerError) InternalServerError: {hidden}")))
    assert (beside.cause_id, beside.action) == ("identity-missing-acrpull", "grant-roles")


def test_the_wrapper_stays_unknown_when_the_operation_failed_for_another_reason():
    wrapped = parse("Operation was canceled by another operation that has a higher priority")
    evidence = evidence_of(ErrorDetail(code="OutOfQuota", message="Not enough quota", depth=0), report=wrapped)
    diagnosis = diagnosed(evidence)
    assert diagnosis.cause_id == "unknown"
    assert [finding.says for finding in diagnosis.opposing] == [
        "its status is Failed (OutOfQuota)",
        "the operation ended as Failed (OutOfQuota)",
    ]


FORGED = "Operation was canceled by another operation that has a higher priority."


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        pytest.param(
            f"User container has crashed: (OperationCanceled) {FORGED}", "container-crash", id="a code in parentheses"
        ),
        pytest.param(
            f'crashed: {{"error": {{"code": "OperationCanceled", "message": "{FORGED}"}}}}', "unknown", id="nested JSON"
        ),
        pytest.param(f"Code: OperationCanceled\nMessage: {FORGED}", "unknown", id="as the CLI prints it"),
        pytest.param("(Conflict) Another operation is in progress on this endpoint.", "unknown", id="a conflict"),
        pytest.param(
            "(DeploymentIdentityError) The role assignment takes some time, please wait and try again.",
            "unknown",
            id="a role",
        ),
    ],
)
def test_a_code_inside_the_text_of_a_failed_operation_makes_nobody_act(text, cause):
    error = {"code": "ResourceNotReady", "message": text}
    operation = operation_state({"status": "Failed", "startTime": "2026-11-22T11:57:00Z", "error": error})
    row = make_row(status="Failed", errors=operation.errors, code=code_of({"error": error}))
    evidence = make_evidence(
        operation=Found(operation),
        activity=Found((row,)),
        history=Found((row,)),
        endpoint=Found(make_endpoint_state(provisioning_state="Updating")),
        resource=Found(make_state(provisioning_state="Failed", kind="Kubernetes")),
    )
    assert (diagnosed(evidence).cause_id, diagnosed(evidence).action) == (cause, None)


def test_a_container_s_log_cannot_fake_a_cancellation():
    claim = "Operation was canceled by another operation that has a higher priority"
    failed = ErrorDetail(code="BadArgument", message="the container crashed", depth=0)
    diagnosis = diagnosed(evidence_of(failed, logs={"InferenceServer": Found(claim)}))
    assert (diagnosis.cause_id, diagnosis.action) == ("unknown", None)


def test_an_unrecoverable_deployment_is_never_retried():
    text = "Specified deployment [latest] is in an unrecoverable state. Delete and re-create."
    diagnosis = diagnosed(evidence_of(*parse(f"(InferencingClientCallFailed) {text}")))
    assert (diagnosis.cause_id, diagnosis.action) == ("deployment-unrecoverable", None)


CANCELED = ErrorDetail(
    code="OperationCanceled", message="Operation was canceled by another operation that has a higher priority", depth=0
)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        pytest.param(deletion(), "canceled-by-deletion", id="deleted meanwhile"),
        pytest.param(deletion(status="Started"), "canceled-by-deletion", id="a delete that has begun"),
        pytest.param(
            deletion(resource=ENDPOINT, operation_name=DELETE.replace("/deployments", "")),
            "canceled-by-deletion",
            id="the endpoint was deleted",
        ),
        pytest.param(deletion(resource=DEPLOYMENT.lower()), "canceled-by-deletion", id="another casing"),
        pytest.param(deletion(correlation_id=""), "canceled-by-deletion", id="a row without correlation id"),
        pytest.param(deletion(status="Failed"), "canceled-higher-priority", id="a delete that failed"),
        pytest.param(deletion(status="Canceled"), "canceled-higher-priority", id="a delete that was canceled"),
        pytest.param(
            deletion(resource=f"{ENDPOINT}/deployments/blue"), "canceled-higher-priority", id="another deployment"
        ),
        pytest.param(
            deletion(at=FAILED_AT - timedelta(hours=1), status="Succeeded"),
            "canceled-higher-priority",
            id="deleted before it was deployed again",
        ),
    ],
)
def test_a_cancellation_by_a_delete_is_told_from_one_by_priority(row, cause):
    own = make_row(errors=(CANCELED,))
    diagnosis = diagnosed(evidence_of(CANCELED, status="Canceled", history=Found((row, own))))
    assert diagnosis.cause_id == cause


def test_a_delete_counts_while_nobody_knows_when_the_operation_began():
    old = deletion(at=FAILED_AT - timedelta(hours=1), status="Succeeded")
    own = make_row(errors=(CANCELED,))
    evidence = evidence_of(CANCELED, status="Canceled", operation=Absent(), history=Found((old, own)))
    assert diagnosed(evidence).cause_id == "canceled-by-deletion"
    started = make_row(status="Started", at=FAILED_AT - timedelta(minutes=3), errors=())
    known = evidence_of(
        CANCELED, operation=Absent(), activity=Found((started, own)), history=Found((old, started, own))
    )
    assert diagnosed(known).cause_id == "canceled-higher-priority"


def test_a_cancellation_without_a_delete_on_record_is_not_called_a_deletion():
    vague = ErrorDetail(code="OperationCanceled", message="Operation was canceled.", depth=0)
    diagnosis = diagnosed(evidence_of(vague, status="Canceled"))
    assert (diagnosis.cause_id, diagnosis.action) == ("unknown", None)


def test_a_role_that_is_pending_on_kubernetes_is_no_wait_for_managed_compute():
    text = BY_ID["role-assignment-pending"].examples[0].details
    assert diagnosed(evidence_of(*text, resource=Found(make_state(kind="Managed")))).cause_id == "unknown"
    registry = make_state(kind="Kubernetes", environment="azureml://registries/azureml/environments/x/versions/1")
    assert diagnosed(evidence_of(*text, resource=Found(registry))).cause_id == "registry-environment-unsupported"


# ------------------------------------------------------------------------------------------ levels, abstention


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        pytest.param({}, Level.TWO_READS, id="the operation and the Activity Log"),
        pytest.param({"operation": Unknown()}, Level.TEXT_AND_READ, id="the Activity Log alone"),
        pytest.param({"activity": Absent(), "history": Unknown()}, Level.TEXT_AND_READ, id="the operation alone"),
    ],
)
def test_the_level_counts_the_reads_that_support(changes, level):
    diagnosis = diagnosed(evidence_of(CANCELED, status="Canceled", **changes))
    assert (diagnosis.cause_id, diagnosis.level) == ("canceled-higher-priority", level)


def cause(name, **changes):
    fields = {
        "id": name,
        "code": "X",
        "what": f"It is {name}.",
        "matches": code("X"),
        "advice": f"Do {name}.",
        "source": "https://learn.microsoft.com/x",
        "tells": "the registry",
    }
    return Cause(**{**fields, **changes})


def test_it_abstains_between_rivals_and_names_the_read_that_would_tell():
    evidence = evidence_of(ErrorDetail(code="X", message="", depth=0))
    diagnosis = classify(evidence, Catalogue((cause("one", action="retry"), cause("two"))), evidence_digest="d")
    assert (diagnosis.cause_id, diagnosis.rivals, diagnosis.would_tell) == ("unknown", ("one", "two"), "the registry")
    assert (diagnosis.action, diagnosis.advice) == (None, "Read the registry: it tells one from two.")


def test_a_permission_that_is_missing_comes_before_any_guess():
    evidence = make_evidence(
        operation=Unknown(), activity=Unknown(), history=Unknown(), missing_permissions=("Microsoft.Insights/x/read",)
    )
    assert diagnosed(evidence).advice == (
        "Grant Endpoint Medic Microsoft.Insights/x/read: without it the failure cannot be read."
    )


def test_the_advice_names_the_facts():
    named = cause(
        "one", matches=message(r"limit (?P<limit>\d+)"), advice="Ask for more than {limit} on {instance_type}."
    )
    evidence = evidence_of(ErrorDetail(code=None, message="the limit 6 is reached", depth=0))
    diagnosis = classify(evidence, Catalogue((named,)), evidence_digest="d")
    assert (diagnosis.advice, diagnosis.facts) == ("Ask for more than 6 on instance type.", Facts(limit=6))


def test_the_operation_s_own_word_comes_first_and_nothing_twice():
    other = ErrorDetail(code="B", message="b", depth=0)
    texts = symptoms(
        evidence_of(CANCELED, report=(CANCELED, other), logs={"a": Found("one"), "b": Unknown(), "c": Found("two")})
    )
    assert texts == Symptoms(details=(CANCELED, other), log="one\ntwo", phase="start")


# ---------------------------------------------------------------------------------------------- the matchers


@pytest.mark.parametrize(
    ("matcher", "facts"),
    [
        pytest.param(message("not ENOUGH quota"), {}, id="message without case, over white space"),
        pytest.param(message("(?P<n>[0-9]+) of (?P<m>x)?"), {"n": "6"}, id="only groups that took part"),
        pytest.param(message("plenty"), None, id="no message"),
        pytest.param(code("outofquota", "Y"), {}, id="code without case"),
        pytest.param(code("Quota"), None, id="no part of a code"),
        pytest.param(every(code("OutOfQuota"), message("(?P<n>[0-9]+) of")), {"n": "6"}, id="every"),
        pytest.param(every(code("OutOfQuota"), message("plenty")), None, id="not every"),
        pytest.param(either(code("Y"), message("quota")), {}, id="either"),
        pytest.param(either(code("Y"), code("Z")), None, id="neither"),
    ],
)
def test_a_matcher_gives_facts_or_nothing(matcher, facts):
    assert matcher(Symptoms.of("OutOfQuota", "Not  enough\nquota: 6 of 6")) == facts


def test_nothing_is_nominated_by_no_text():
    assert nominate(Symptoms(), CAUSES) == ()


def test_the_caller_of_the_rows_is_no_part_of_a_diagnosis():
    diagnosis = diagnosed(evidence_of(CANCELED, status="Canceled", incident=make_incident(caller=SOMEBODY)))
    assert str(SOMEBODY.oid) not in repr((diagnosis.supporting, diagnosis.opposing, diagnosis.advice))
