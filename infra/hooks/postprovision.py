"""After the resources are there: keys in the vault, once; sign-in that trusts the app's identity; settings fetched.

A secret that is there is neither read nor written. A second run changes nothing. Followed pages:
https://learn.microsoft.com/azure/key-vault/general/rbac-guide (a new assignment takes minutes to hold),
https://learn.microsoft.com/azure/app-service/app-service-key-vault-references (fetched once in 24 hours),
https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad (an identity in place of a secret).
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import sys
from collections.abc import Container, Iterable, Mapping
from typing import Any, Callable

from az import Cli, CommandFailed, OddAnswer, Problem, Refused, TookTooLong, main, needed, private_file, say
from registration import NotAllowed, Registration, cloud_of, tenant_problems

NEEDED = (
    "AZURE_ENV_NAME",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "AZURE_RESOURCE_GROUP",
    "SERVICE_MEDIC_NAME",
    "SERVICE_MEDIC_URI",
    "ENDPOINT_MEDIC_VAULT",
    "ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID",
    "ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID",
)
# Secrets that a person puts there, by what says that they are.
TOLD = {"ENDPOINT_MEDIC_TEAMS": "medic-teams-url", "ENDPOINT_MEDIC_WEBHOOK": "medic-webhook-url"}

_NO_RIGHT_YET = ("ForbiddenByRbac", "Caller is not authorized to perform action on resource")
_NO_NAME_YET = ("Failed to resolve", "Name or service not known", "getaddrinfo failed", "nodename nor servname")
# How `az keyvault secret list --query [].id` answers: what it does not name, the hook would make.
SECRET_IDS = [re.compile(r"https://[^/]+/secrets/[^/]+(?:/.*)?")]
_REFERENCES = "config/configreferences/appsettings"


def run(cli: Cli) -> None:
    needed(cli.environ, *NEEDED)
    missing = keep_secrets(cli)
    trust(cli)
    if missing:
        raise Refused(*missing)
    resolve(cli)


# ------------------------------------------------------------------------------------------------------- secrets


def anchor_key() -> str:
    """Give what signs checkpoints of the trail, as MEDIC_ANCHOR_KEY takes it."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def approval_keys() -> str:
    """Give what signs approval links, as MEDIC_APPROVAL_KEYS takes it."""
    return json.dumps({"k1": secrets.token_urlsafe(32)})


def keep_secrets(cli: Cli) -> list[Problem]:
    """Make the keys that are not there; tell of the secrets that a person has to put there."""
    vault = cli.environ["ENDPOINT_MEDIC_VAULT"]
    held = _names(cli, "list")
    absent = {"medic-anchor-key": anchor_key, "medic-approval-keys": approval_keys}
    absent = {name: make for name, make in absent.items() if name not in held}
    deleted = _names(cli, "list-deleted") if absent else frozenset()
    problems = [
        Problem(
            f"the secret {name} of the vault {vault} was deleted, and keeps its name",
            f"az keyvault secret recover --vault-name {vault} --name {name}",
        )
        for name in absent
        if name in deleted
    ]
    for name, make in absent.items():
        if name not in deleted:
            _make(cli, name, make())
    return [*problems, *told_problems(cli, vault, held)]


def told_problems(cli: Cli, vault: str, held: Container[str]) -> list[Problem]:
    """Tell of the secrets that a person says are in the vault, and that are not."""
    problems = []
    for name, secret in TOLD.items():
        if cli.environ.get(name) == "true" and secret not in held:
            what = f"{name} is true, and the vault {vault} has no secret {secret}"
            source = "<file with the URL, without a line end>"
            command = f"az keyvault secret set --vault-name {vault} --name {secret} --file {source} --output none"
            problems.append(Problem(what, f"{command}\n   or: azd env set {name} false"))
    return problems


def _names(cli: Cli, verb: str) -> frozenset[str]:
    """Give the names of the vault's secrets."""
    call = ("keyvault", "secret", verb, "--vault-name", cli.environ["ENDPOINT_MEDIC_VAULT"], "--query", "[].id")
    return names_of(_permitted(cli, lambda: cli.az(*call, like=SECRET_IDS)))


def names_of(ids: Iterable[str]) -> frozenset[str]:
    """Give the names of secrets: https://<vault>/secrets/<name>."""
    return frozenset(id_.split("/")[4] for id_ in ids)


def _make(cli: Cli, name: str, value: str) -> None:
    """Set a secret that is not there: the value is in a file, never on a command line, and `az` does not show it."""
    with private_file(value, suffix=".txt") as file:
        call = ("keyvault", "secret", "set", "--vault-name", cli.environ["ENDPOINT_MEDIC_VAULT"], "--name", name)
        quietly = ("--file", file, "--encoding", "utf-8", "--output", "none")
        _permitted(cli, lambda: cli.change(f"make the secret {name}", *call, *quietly))


def _permitted(cli: Cli, call: Callable[[], Any]) -> Any:
    """Make a call to the vault, once the right to it holds: each of its servers learns of that in its own time."""
    vault = cli.environ["ENDPOINT_MEDIC_VAULT"]

    def ask() -> tuple[Any] | None:
        try:
            return (call(),)
        except CommandFailed as error:
            if any(sign in error.words for sign in (*_NO_RIGHT_YET, *_NO_NAME_YET)):
                return None
            if "ForbiddenByFirewall" in error.words or "ForbiddenByConnection" in error.words:
                what = f"the vault {vault} lets nobody in from this network"
                fix = "Run this from a network that it lets in: azd hooks run postprovision"
                raise Refused(Problem(what, fix)) from error
            raise

    try:
        return cli.wait(f"the right to the secrets of {vault}", ask, most_s=600, every_s=15)[0]
    except TookTooLong as error:
        what = f"you have no right to the secrets of the vault {vault}; AZURE_PRINCIPAL_ID was given it: {error}"
        scope = f"{_group(cli.environ)}/providers/Microsoft.KeyVault/vaults/{vault}"
        fix = f'az role assignment create --assignee <you> --role "Key Vault Secrets Officer" --scope {scope}'
        raise Refused(Problem(what, fix)) from error


# ------------------------------------------------------------------------------------------------------- sign-in


def registration_of(cli: Cli) -> Registration:
    """Give the app registration of this environment, not read yet; raises Refused if another tenant would be asked."""
    environ = cli.environ
    subscription = environ["AZURE_SUBSCRIPTION_ID"]
    form = {"environmentName": str, "tenantId": str}
    account = cli.az("account", "show", "--subscription", subscription, like=form)
    elsewhere = tenant_problems(cli, subscription, account["tenantId"])
    if elsewhere:
        raise Refused(*elsewhere)
    client_id = environ["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"]
    return Registration(
        cli, cloud_of(cli, account["environmentName"]), environ["AZURE_ENV_NAME"], subscription, client_id
    )


def trust(cli: Cli) -> None:
    """Let people come back from the sign-in page, and the app's identity sign for the registration."""
    environ = cli.environ
    registration = registration_of(cli)
    try:
        if registration.find() is None:
            raise Refused(*registration.problems())
        registration.ensure_redirect(environ["SERVICE_MEDIC_URI"])
        registration.ensure_credential(environ["AZURE_TENANT_ID"], environ["ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID"])
    except NotAllowed as error:
        again = "If nobody can sign in, ask one of its owners to run: azd hooks run postprovision"
        say(f"Note: the app registration {registration.client_id} is taken as it is: {error}. {again}")


# ------------------------------------------------------------------------------------------------------ settings


def app_id(environ: Mapping[str, str]) -> str:
    """Give the resource id of the function app."""
    return f"{_group(environ)}/providers/Microsoft.Web/sites/{environ['SERVICE_MEDIC_NAME']}"


def _group(environ: Mapping[str, str]) -> str:
    return f"/subscriptions/{environ['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{environ['AZURE_RESOURCE_GROUP']}"


def unresolved(cli: Cli) -> dict[str, str]:
    """Give the status of each setting that refers to the vault and that the platform has no value for."""
    url = f"{app_id(cli.environ)}/{_REFERENCES}?api-version=2022-03-01"
    form = {"value": [{"name": str, "properties": {"status": (str, None)}}]}
    found = cli.az("rest", "--method", "get", "--url", url, like=form)
    states = {one["name"]: one["properties"].get("status") or "unknown" for one in found["value"]}
    return {name: state for name, state in sorted(states.items()) if state != "Resolved"}


def resolve(cli: Cli) -> None:
    """Have the settings fetched that refer to the vault: the app's were set before the secrets were made."""
    url = f"{app_id(cli.environ)}/{_REFERENCES}/refresh?api-version=2022-03-01"
    try:
        left = unresolved(cli)
        if not left:
            return
        cli.change("fetch the settings from the vault", "rest", "--method", "post", "--url", url, "--output", "none")
        if not cli.is_dry_run:
            cli.wait("the settings", lambda: None if unresolved(cli) else True, most_s=300, every_s=15)
    except (CommandFailed, OddAnswer) as error:
        words = error.words if isinstance(error, OddAnswer) else str(error)
        say(f"Note: whether the app has its settings from the vault is not known: {words}")
    except TookTooLong:
        states = ", ".join(f"{name} {state}" for name, state in unresolved(cli).items())
        say(f"Note: the app, which needs them to start, does not have all its settings from the vault yet: {states}.")
        say(f"Have them fetched once more: az rest --method post --url {url}")


if __name__ == "__main__":
    sys.exit(main("postprovision", __doc__, run))
