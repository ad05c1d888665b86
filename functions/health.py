"""Routes: whether this app is alive, and in which mode."""

import azure.functions as func

from remediations import codec
from remediations.errors import MedicError
from remediations.services import services


def health() -> func.HttpResponse:
    """Give 200 with mode and policy version, or 503 if the policy cannot be used.

    A setting that cannot be used ends the start of the app, before there is any function: then the platform answers,
    with 404 or 503 and without this JSON, and the log tells which setting it is.
    """
    try:
        own = services()
        body: dict[str, object] = {"status": "ok", "mode": own.settings.mode, "policy": own.policy.version}
    except MedicError:
        return func.HttpResponse(
            codec.encode({"status": "misconfigured"}), status_code=503, mimetype="application/json"
        )
    return func.HttpResponse(codec.encode(body), status_code=200, mimetype="application/json")
