"""Causes in the operation itself: canceled, in conflict with another, or beyond repair."""

from remediations.catalogue.cause import Cause, Symptoms, code, either, every, message
from remediations.catalogue.checks import (
    activity_log_shows_cancel,
    activity_log_shows_conflict,
    endpoint_is_busy,
    environment_is_not_from_a_registry,
    is_kubernetes,
    nobody_deleted,
    operation_did_not_fail,
    operation_says,
    operation_was_canceled,
    somebody_deleted,
)
from remediations.catalogue.words import SHOW_DEPLOYMENT, SHOW_ENDPOINT

_GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"

CAUSES = (
    Cause(
        id="canceled-higher-priority",
        code="OperationCanceled",
        what="Azure called the operation off in favor of one with a higher priority.",
        matches=message(r"cancell?ed by another operation that has a higher priority"),
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
        source=f"{_GUIDE}#error-operationcanceled",
    ),
    Cause(
        id="canceled-lock-confirmation",
        code="OperationCanceled",
        what="The operation is like another one that was still waiting for its lock, and Azure called it off.",
        matches=message(r"cancell?ed (because|due to) .{0,80}waiting for lock confirmation"),
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
        source=f"{_GUIDE}#error-operationcanceled",
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
        source=f"{_GUIDE}#error-operationcanceled",
    ),
    Cause(
        id="conflict-in-progress",
        code="Conflict",
        what="Another operation was in progress on the same endpoint or deployment.",
        matches=either(
            message(r"because it is in (?P<state>Creating|Updating|Scaling|Deleting) provisioning state"),
            message(r"(another|an?|this) operation is (already )?in progress"),
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
        source=f"{_GUIDE}#http-status-codes",
    ),
    Cause(
        id="role-assignment-pending",
        code="ACRSecretError",
        what="The role assignment of the cluster's identity was not effective yet.",
        matches=message(r"role assignment (takes some time|has not yet been completed|is not (yet )?completed)"),
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
        source=f"{_GUIDE}#error-acrsecreterror",
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
        source=f"{_GUIDE}#error-inferencingclientcallfailed",
    ),
)
