"""Causes in what an identity may do: the endpoint's own, which pulls and reads, and that of whoever deploys."""

from remediations.catalogue.cause import Cause, Check
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    TURNED_DOWN,
    Need,
    did_not_end_with,
    ended_with,
    endpoint_is_user_assigned,
    given,
    image_is_the_workspace_s,
    image_is_there,
    is_managed,
    model_is_there,
    role_is_fresh,
    roles_missing,
)
from remediations.catalogue.matchers import Groups, Symptoms, either, every, message, without
from remediations.catalogue.texts import (
    CRASHED,
    DOWNLOAD_FAILED,
    GUIDE,
    NO_IMAGE,
    NO_MANIFEST,
    NO_MODEL,
    NO_PULL,
    NO_SPACE,
    PULL_FAILED,
    PULL_REFUSED,
    STARTUP_REFUSED,
)
from remediations.catalogue.words import ASSIGN_PULL, ASSIGN_READ, ASSIGNMENTS, IDENTITY
from remediations.model import Area

_SOURCE = f"{GUIDE}#authorization-error"
_ASKS = (Area.ACCESS, Area.IMAGE, Area.MODEL)
_TELLS = "the role assignments of the endpoint's identity"
_MANY_CAUSES = (CRASHED, NO_SPACE, NO_MANIFEST, message(r"when mdc is enabled"))


def _checks(*missing: Need) -> tuple[Check, ...]:
    """Only missing roles support; that the identity is a user's and the image or model is there adds to that."""
    decisive = roles_missing(*missing)
    reading: tuple[Check, ...] = (given(decisive, model_is_there),) if "read" in missing else ()
    pulling: tuple[Check, ...] = (image_is_the_workspace_s,) if "pull" in missing else ()
    return (
        decisive,
        given(decisive, endpoint_is_user_assigned),
        given(decisive, image_is_there),
        *reading,
        *pulling,
        is_managed,
        did_not_end_with(*CONTAINER_RAN, *TURNED_DOWN, "OutOfQuota", "ImageBuildFailure"),
    )


def _never(_groups: Groups) -> bool:
    """The text names no right and no identity: only reads can tell whether a grant would help."""
    return False


CAUSES = (
    Cause(
        id="identity-missing-acrpull",
        code="BadArgument",
        what="The endpoint's identity may not pull images from the registry.",
        matches=without(NO_PULL, *_MANY_CAUSES),
        hints=without(either(STARTUP_REFUSED, NO_IMAGE, PULL_REFUSED, PULL_FAILED), *_MANY_CAUSES),
        checks=_checks("pull"),
        asks=_ASKS,
        advice="Grant the endpoint's user-assigned identity the right to pull from the workspace's registry.",
        commands=(IDENTITY, ASSIGNMENTS, ASSIGN_PULL),
        tells=_TELLS,
        action="grant-roles",
        examples=(
            Symptoms.of("BadArgument", "Endpoint identity does not have pull permission on the registry."),
            Symptoms.of(
                "BadArgument",
                "Endpoint identity does not have pull permission on the registry. For System Assigned Identity case "
                "and workspace ACR, platform will wire up the permissions but if user is creating deployment with User "
                "Assigned Identity or if using non-workspace ACR, then User should grant pull permissions to identity "
                "on the registry.",
            ),
        ),
        source=_SOURCE,
    ),
    Cause(
        id="identity-missing-storage-reader",
        code="BadArgument",
        what="The endpoint's identity may not read the workspace's storage account.",
        matches=without(either(NO_PULL, STARTUP_REFUSED, NO_MODEL, DOWNLOAD_FAILED), *_MANY_CAUSES),
        checks=_checks("read"),
        asks=_ASKS,
        needs_support=True,
        advice="Grant the endpoint's user-assigned identity Storage Blob Data Reader on the workspace's storage.",
        commands=(IDENTITY, ASSIGNMENTS, ASSIGN_READ),
        tells=_TELLS,
        action="grant-roles",
        examples=(Symptoms.of("ERR_1300", "Unable to download user model/code artifacts"),),
        source=_SOURCE,
    ),
    Cause(
        id="identity-missing-roles",
        code="BadArgument",
        what="The endpoint's identity may neither pull images from the registry nor read the storage account.",
        matches=without(either(STARTUP_REFUSED, every(PULL_FAILED, DOWNLOAD_FAILED)), *_MANY_CAUSES),
        hints=without(either(NO_PULL, NO_IMAGE, NO_MODEL, PULL_REFUSED, PULL_FAILED, DOWNLOAD_FAILED), *_MANY_CAUSES),
        checks=_checks("pull", "read"),
        asks=_ASKS,
        advice="Grant the endpoint's user-assigned identity the right to pull from the workspace's registry, and "
        "Storage Blob Data Reader on its storage account.",
        commands=(IDENTITY, ASSIGNMENTS, ASSIGN_PULL, ASSIGN_READ),
        tells=_TELLS,
        action="grant-roles",
        may_help=_never,
        examples=(
            Symptoms.of("BadArgument", "Startup task failed due to authorization error."),
            Symptoms.of("BadArgument", "Startup task failed due to incorrect role assignments on resource."),
            Symptoms(
                log=(
                    "Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: InProgress\n"
                    "ModelDownload: InProgress\nUserContainerStart: Waiting\n\nContainer events:\n"
                    "Kind: Pod, Name: DownloadFailed, Type: Warning, Time: 2022-09-15T07:56:51.008386Z, Message: Model "
                    "download failed, retrying. Please check model-mount log for detail.\n"
                    "Kind: Pod, Name: ImagePullFailed, Type: Warning, Time: 2022-09-15T07:57:01.05333Z, Message: Image "
                    "pull failed, retrying. Please check image-fetcher log for detail.\n"
                )
            ),
        ),
        source=_SOURCE,
    ),
    Cause(
        id="role-not-effective",
        code="BadArgument",
        what="The roles are there, but one was given so lately that it may not have been effective.",
        matches=without(
            either(NO_PULL, STARTUP_REFUSED, NO_IMAGE, NO_MODEL, PULL_REFUSED, PULL_FAILED, DOWNLOAD_FAILED),
            *_MANY_CAUSES,
        ),
        checks=(
            role_is_fresh,
            given(role_is_fresh, endpoint_is_user_assigned),
            is_managed,
            did_not_end_with(*CONTAINER_RAN, *TURNED_DOWN, "OutOfQuota", "ImageBuildFailure"),
        ),
        asks=_ASKS,
        needs_support=True,
        advice="Wait until the role is effective, up to ten minutes after it was given, then run the deployment again.",
        commands=(IDENTITY, ASSIGNMENTS),
        tells=_TELLS,
        action="grant-roles",
        examples=(Symptoms.of("BadArgument", "Endpoint identity does not have pull permission on the registry."),),
        source=_SOURCE,
    ),
    Cause(
        id="caller-missing-role",
        code="AuthorizationFailed",
        what="Whoever deploys lacks a right.",
        matches=without(
            message(
                r"does not have (authorization|permission) to perform action "
                r"'(?P<operation>[A-Za-z]{1,40}(?:\.[A-Za-z]{1,40}){0,4}(?:/[A-Za-z*]{1,60}){1,9})'"
            ),
            CRASHED,
        ),
        checks=(ended_with("AuthorizationFailed", "LinkedAuthorizationFailed"),),
        needs_support=True,
        advice="Grant whoever deploys the right to {operation}: the caller lacks it, not the endpoint's identity.",
        commands=("az role assignment list --assignee CALLER --all -o table",),
        limits="It grants nothing to people or pipelines.",
        tells="the code of the refused request",
        examples=(
            Symptoms.of(
                "AuthorizationFailed",
                "The client '<redacted>' with object id '<redacted>' does not have authorization to perform action "
                "'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write' over scope "
                "'<redacted>' or the scope is invalid.",
            ),
        ),
        source=f"{GUIDE}#error-badargument",
    ),
)
