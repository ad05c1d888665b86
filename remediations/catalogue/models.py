"""Causes in the model: not there, not to be downloaded, or crashing when it runs."""

from remediations.catalogue.cause import Cause, Symptoms, either, every, message, without
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    did_not_end_with,
    model_is_missing,
    model_is_there,
    no_role_is_fresh,
    reading_is_granted,
)
from remediations.catalogue.texts import (
    CRASHED,
    DOWNLOAD_FAILED,
    GUIDE,
    NO_MANIFEST,
    NO_MODEL,
    NO_MODEL_OR_CODE,
    NO_SPACE,
)
from remediations.catalogue.words import DEPLOY_LOCALLY, GET_INIT_LOGS, GET_LOGS, SHOW_DEPLOYMENT
from remediations.model import Area

_ASKS = (Area.MODEL, Area.ACCESS)
_PROBE_FAILED = message(r"(liveness|readiness|startup) probe failed")
_SCRIPT_FAILED = message(
    r"ModuleNotFoundError|ImportError|SyntaxError|No such file or directory|init\(\)|register\(\)|conda"
)
_no_container_ran = did_not_end_with(*CONTAINER_RAN)

CAUSES = (
    Cause(
        id="model-not-found",
        code="BadArgument",
        what="The model of the deployment is not registered in its workspace.",
        matches=without(NO_MODEL, NO_MODEL_OR_CODE, NO_SPACE, CRASHED),
        hints=without(either(NO_MODEL_OR_CODE, DOWNLOAD_FAILED), NO_SPACE, CRASHED),
        checks=(model_is_missing, _no_container_ran),
        asks=_ASKS,
        advice="Register the model in the workspace of the deployment, or name a version that is there.",
        commands=("az ml model list -g {resource_group} -w {workspace} -o table",),
        limits="It registers no models.",
        tells="the model in the workspace",
        examples=(Symptoms.of("BadArgument", "Unable to download user model"),),
        source=f"{GUIDE}#unable-to-download-user-model",
    ),
    Cause(
        id="model-download-failed",
        code="ResourceNotFound",
        what="The files of the model or the code could not be fetched, though the model is registered.",
        matches=without(
            every(NO_MODEL_OR_CODE, either(NO_MANIFEST, message(r"storage blob container"))), NO_SPACE, CRASHED
        ),
        hints=without(either(NO_MODEL, DOWNLOAD_FAILED), NO_SPACE, CRASHED),
        checks=(model_is_there, reading_is_granted, no_role_is_fresh, _no_container_ran),
        asks=_ASKS,
        advice="Check that the files of the model and the code are in the storage account, and that it can be reached.",
        commands=(
            GET_INIT_LOGS,
            "az storage blob exists --account-name ACCOUNT --container-name CONTAINER --name BLOB --auth-mode login",
        ),
        limits="It copies no files.",
        tells="the model's files in the storage account",
        examples=(
            Symptoms.of(
                "ResourceNotFound",
                "Unable to download user model/code artifacts, storage blob container <redacted>",
            ),
        ),
        source=f"{GUIDE}#unable-to-download-user-model",
    ),
    Cause(
        id="container-crash",
        code="ResourceNotReady",
        what="The container of the deployment crashed; its log says why, if anything does.",
        matches=without(message(r"user container has crashed"), _PROBE_FAILED, _SCRIPT_FAILED),
        advice="Read the container's log, and run the deployment locally until its scoring script starts.",
        commands=(GET_LOGS, DEPLOY_LOCALLY),
        limits="It changes no code, and runs nothing again that would crash again.",
        tells="the container's log",
        examples=(
            Symptoms.of("BadArgument", "User container has crashed or terminated."),
            Symptoms.of("ResourceNotReady", "User container has crashed or terminated."),
        ),
        source=f"{GUIDE}#error-resourcenotready",
    ),
    Cause(
        id="probe-failure",
        code="ResourceNotReady",
        what="A probe of the container failed: it did not start, or not in time.",
        matches=every(message(r"user container has crashed"), _PROBE_FAILED),
        advice="Read the container's log; give the probes more time if the model is still loading when they begin.",
        commands=(GET_LOGS, SHOW_DEPLOYMENT),
        limits="It changes no probes: they are part of the specification.",
        tells="the container's log",
        examples=(
            Symptoms.of(
                "BadArgument",
                "User container has crashed or terminated: Liveness probe failed: HTTP probe failed with statuscode: "
                "502.",
            ),
        ),
        source=f"{GUIDE}#error-resourcenotready",
    ),
)
