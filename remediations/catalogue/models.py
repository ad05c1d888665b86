"""Causes in the model: not there, not to be downloaded, or crashing when it runs."""

from remediations.catalogue.cause import Cause
from remediations.catalogue.checks import (
    CONTAINER_RAN,
    did_not_end_with,
    model_is_missing,
    model_is_there,
    no_role_is_fresh,
    reading_is_granted,
)
from remediations.catalogue.matchers import Symptoms, code, either, every, message, without
from remediations.catalogue.texts import (
    CRASHED,
    DOWNLOAD_FAILED,
    GUIDE,
    NO_MODEL,
    NO_MODEL_OR_CODE,
    NO_SPACE,
)
from remediations.catalogue.words import GET_INIT_LOGS
from remediations.model import Area

_ASKS = (Area.MODEL, Area.ACCESS)
_no_container_ran = did_not_end_with(*CONTAINER_RAN)

CAUSES = (
    Cause(
        id="model-not-found",
        code="BadArgument",
        what="The model of the deployment is not registered in its workspace.",
        matches=without(
            either(
                NO_MODEL,
                code("ModelNotFound"),
                message(r"\bmodel (?:container )?with name:? ?(?P<model>[\w.-]{1,120})[^\n]{0,80} not found"),
                message(
                    r"specified model \[[^\]\n]{1,120}\] was not found"
                    r"|\bmodel [^\n]{1,160} (?:could not be found|is not registered|not found) in "
                    r"(?:provided )?workspace"
                ),
            ),
            *(NO_MODEL_OR_CODE, NO_SPACE, CRASHED),
        ),
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
        code="BadArgument",
        also=("ResourceNotFound",),
        what="The files of the model or the code could not be fetched, though the model is registered.",
        matches=without(
            either(
                NO_MODEL_OR_CODE,
                message(r"model artifacts[^\n]{0,80}not be downloaded"),
                every(NO_MODEL, message(r"specified blob does not exist|\.blob\.core\.")),
            ),
            NO_SPACE,
            CRASHED,
        ),
        hints=without(either(NO_MODEL, DOWNLOAD_FAILED), NO_SPACE, CRASHED),
        refines=("model-not-found",),
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
)
