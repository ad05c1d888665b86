"""Causes in the operation itself: canceled, in conflict with another, or beyond repair."""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import (
    activity_log_shows_cancel,
    activity_log_shows_conflict,
    endpoint_is_busy,
    environment_is_not_from_a_registry,
    is_kubernetes,
    may_end_with,
    nobody_deleted,
    operation_did_not_fail,
    operation_says,
    operation_was_canceled,
    somebody_deleted,
)
from remediations.catalogue.matchers import Symptoms, anchor, code, during, either, every, led_by, message, without
from remediations.catalogue.texts import CRASHED, GUIDE, ROLE_PENDING, numbered
from remediations.catalogue.words import GET_LOGS, SHOW_DEPLOYMENT, SHOW_ENDPOINT

_IN_PROGRESS = message(
    r"\b(?:another|an?|this) operation (?:is )?(?:already )?in progress|operation[^\n]{0,60} (?:is|already) in progress"
    r"|another operation on (?:the )?same entity is already running"
)

_HIGHER_PRIORITY = message(
    r"(?<!not\s)cancell?ed by another (?:operation that has a higher priority|higher[- ]priority operation)"
)
_LOCK_CONFIRMATION = message(r"(?<!not\s)cancell?ed (?:(?:because|due to) .{0,80})?waiting for lock confirmation")
_CANCELED = ("OperationCanceled", "Canceled", "Cancelled", "OperationCancelled")

CAUSES = (
    Cause(
        id="canceled-higher-priority",
        code="OperationCanceled",
        what="Azure called the operation off in favor of one with a higher priority.",
        matches=without(_HIGHER_PRIORITY, CRASHED),
        says=led_by(
            r"operation (?:was )?cancell?ed by another"
            r" (?:operation that has a higher priority|higher[- ]priority operation)",
            *_CANCELED,
        ),
        checks=(operation_was_canceled, activity_log_shows_cancel, nobody_deleted),
        advice="Run the same deployment again; Azure preferred another operation.",
        commands=(SHOW_DEPLOYMENT,),
        action="retry",
        examples=(
            Symptoms.of(None, "Operation was canceled by another operation that has a higher priority"),
            Symptoms.of(
                "OperationCanceled",
                "Operation was canceled by another operation that has a higher priority. Please see troubleshooting "
                "guide, available here: https://aka.ms/oe-tsg#error-operationcanceled",
            ),
        ),
        source=f"{GUIDE}#error-operationcanceled",
    ),
    Cause(
        id="canceled-lock-confirmation",
        code="OperationCanceled",
        what="The operation is like another one that was still waiting for its lock, and Azure called it off.",
        matches=without(_LOCK_CONFIRMATION, CRASHED),
        says=led_by(
            r"operation (?:was )?cancell?ed (?:(?:because|due to) [^\n]{0,80})?waiting for lock confirmation",
            *_CANCELED,
        ),
        checks=(operation_was_canceled, activity_log_shows_cancel, nobody_deleted),
        advice="Wait a minute and run the same deployment again; do not send it twice in a row.",
        commands=(SHOW_DEPLOYMENT,),
        action="retry",
        examples=(
            Symptoms.of(
                "OperationCanceled",
                "Operation was canceled because the operation was waiting for lock confirmation",
            ),
            Symptoms.of(None, "Operation was canceled due to a previous operation waiting for lock confirmation"),
        ),
        source=f"{GUIDE}#error-operationcanceled",
    ),
    Cause(
        id="canceled-by-deletion",
        code="OperationCanceled",
        what="Somebody deleted the resource while it was being deployed, which canceled the operation.",
        matches=either(code("OperationCanceled"), message(r"(operation|deployment) was cancell?ed|state 'Canceled'")),
        checks=(somebody_deleted,),
        needs_support=True,
        advice="Nothing: somebody deleted it, which canceled the operation. Deploy again only if that was a mistake.",
        commands=(SHOW_DEPLOYMENT,),
        limits="It creates nothing again that a person deleted.",
        tells="the Activity Log of the resource",
        examples=(Symptoms.of("OperationCanceled", "Operation was canceled."),),
        source=f"{GUIDE}#error-operationcanceled",
    ),
    Cause(
        id="conflict-in-progress",
        code="Conflict",
        also=("http-409",),
        what="Another operation was in progress on the same endpoint or deployment.",
        matches=without(
            either(
                message(
                    r"(?:endpoint|deployment)[^\n]{0,200} because [^\n]{1,120} in "
                    r"(?P<state>Creating|Updating|Scaling) provisioning"
                ),
                every(_IN_PROGRESS, message(r"online[- ]?(?:endpoint|deployment)|\bendpoint\b|oe-tsg|same entity")),
            ),
            CRASHED,
        ),
        hints=either(
            message(r"because it is in (?P<state>Creating|Updating|Scaling|Deleting) provisioning state"),
            _IN_PROGRESS,
            every(code("Conflict"), message(r"already (running|in progress)|in progress")),
        ),
        checks=(activity_log_shows_conflict, endpoint_is_busy, operation_did_not_fail, nobody_deleted),
        advice="Wait until the running operation is over, then run the same deployment again.",
        commands=(SHOW_ENDPOINT,),
        tells="the state of the endpoint",
        action="retry",
        examples=(
            Symptoms.of(
                None,
                "Cannot create a deployment in endpoint credit-scoring because it is in Updating provisioning state.",
            ),
            Symptoms.of("Conflict", "Another operation is in progress on this endpoint."),
        ),
        source=f"{GUIDE}#http-status-codes",
    ),
    Cause(
        id="role-assignment-pending",
        code="ACRSecretError",
        what="The role assignment of the cluster's identity was not effective yet.",
        matches=ROLE_PENDING,
        checks=(
            operation_says("DeploymentIdentityError", "ACRTokenExchangeForbidden", "ACRSecretError"),
            is_kubernetes,
            environment_is_not_from_a_registry,
        ),
        advice="Wait until the role assignment of the cluster's identity is effective, then run the deployment again.",
        commands=(SHOW_DEPLOYMENT,),
        tells="the compute and the environment of the deployment",
        action="retry",
        examples=(
            Symptoms.of(
                "DeploymentIdentityError",
                "Failed to create Kubernetes deployment identity, Reason:ACRTokenExchangeForbidden Details:Cluster "
                "exchange ACR token failed because AAD token is unauthorized. The role assignment takes some time, "
                "please wait a moment and try again.",
            ),
        ),
        source=f"{GUIDE}#error-acrsecreterror",
    ),
    Cause(
        id="internal-error",
        code="InternalServerError",
        what="Azure ML itself failed, and says no more than that.",
        matches=either(
            message(r"an internal server error occurred\. please try again"),
            every(message(r"bad response from model management service"), message(r"response code: 50\d\b")),
            anchor("error-internalservererror"),
            numbered("ERR_5000"),
            every(
                message(r"object reference not set to an instance|internal stacktrace|NullReferenceException"),
                message(r"Microsoft\.MachineLearning\."),
            ),
            every(
                either(
                    code("InternalServerError"), every(code("ServiceError"), message(r"\binternal ?server ?error\b"))
                ),
                during("create", "start", "build", "delete"),
            ),
        ),
        hints=either(code("InternalServerError"), message(r"\binternal ?server ?error\b")),
        checks=(may_end_with("InternalServerError", "ServiceError"),),
        is_catch_all=True,
        refines=("image-build-generic",),
        advice="Deploy again later; if it goes on, open a support ticket with the correlation ID. Look for "
        "a missing role "
        "or quota first: both have hidden behind this error.",
        commands=(SHOW_DEPLOYMENT, GET_LOGS),
        limits="It retries nothing here: the error does not say that it will pass.",
        tells="the code of the operation",
        examples=(
            Symptoms.of(
                "InternalServerError",
                "An internal server error occurred. Please try again. If the problem persists, contact support",
            ),
            Symptoms.of(
                "InferencingClientCreateDeploymentFailed",
                "InferencingClient HttpRequest error, error detail: Object reference not set to an "
                "instance of an object., "
                "internal stacktrace [ at Microsoft.MachineLearning.InferenceDeployment.Silo.Grains",
            ),
        ),
        source=f"{GUIDE}#error-internalservererror",
    ),
    Cause(
        id="deployment-unrecoverable",
        code="InferencingClientCallFailed",
        what="The deployment failed in its first provisioning and is in a state that no update leaves.",
        matches=message(r"unrecoverable state|delete and re-?create"),
        advice="Delete the deployment and create it again: running it again never helps.",
        commands=("az ml online-deployment delete -e {endpoint} -n {deployment} -g {resource_group} -w {workspace}",),
        limits="It deletes no deployment to create it again: that loses what only its author knows.",
        examples=(
            Symptoms.of(
                "InferencingClientCallFailed",
                "Specified deployment [latest] failed during initial provisioning and is in an unrecoverable state. "
                "Delete and re-create.",
            ),
        ),
        source=f"{GUIDE}#error-inferencingclientcallfailed",
    ),
)
