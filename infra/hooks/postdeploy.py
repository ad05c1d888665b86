"""After the code is there: subscribe its function to the events, and tell what was set up and what comes next.

Event Grid takes no subscription to a function before that function is there, so the template cannot make them. The same
template, deployed again, changes nothing. Followed pages:
https://learn.microsoft.com/azure/event-grid/handler-functions,
https://learn.microsoft.com/azure/azure-resource-manager/bicep/deploy-cli,
https://learn.microsoft.com/graph/api/serviceprincipal-post-approleassignedto.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from az import Cli, CommandFailed, OddAnswer, Problem, Refused, TookTooLong, listed, main, needed, private_file, say
from postprovision import app_id, registration_of, unresolved
from registration import NotAllowed

EVENTS = Path(__file__).resolve().parents[1] / "events"
FUNCTION = "on_deployment_failure"
NEEDED = (
    "AZURE_ENV_NAME",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP",
    "SERVICE_MEDIC_NAME",
    "SERVICE_MEDIC_URI",
    "ENDPOINT_MEDIC_RECORDS_ID",
    "ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID",
    "ENDPOINT_MEDIC_SYSTEM_TOPICS",
)
TOPIC = re.compile(
    r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.EventGrid/systemTopics/([^/]+)", re.IGNORECASE
)
# Event Grid says so while a function that is listed has not its key yet.
_NOT_READY = ("Endpoint validation", "Destination endpoint not found", "Supplied URL is invalid")
# What no waiting mends: a sign-in or a right that is missing, and a command that this `az` does not have or take.
_FOR_GOOD = (
    "AADSTS",
    "az login",
    "AuthorizationFailed",
    "is misspelled or not recognized",
    "unrecognized arguments",
    "the following arguments are required",
    "has a character that no argument may have",
    "it could not be started",
)


def run(cli: Cli) -> None:
    needed(cli.environ, *NEEDED)
    failures = listed(cli.environ["ENDPOINT_MEDIC_SYSTEM_TOPICS"])
    models = listed(cli.environ.get("ENDPOINT_MEDIC_WORKSPACE_TOPICS", ""))
    given = {"ENDPOINT_MEDIC_SYSTEM_TOPICS": failures, "ENDPOINT_MEDIC_WORKSPACE_TOPICS": models}
    problems = [
        Problem(
            f"{name} names {topic!r}: not the id of a system topic",
            "azd provision --no-state     (its outputs hold the value)",
        )
        for name, topics in given.items()
        for topic in topics
        if not TOPIC.fullmatch(topic)
    ]
    if problems:
        raise Refused(*problems)
    wait_for_function(cli)
    for topic in failures:
        subscribe(cli, topic, EVENTS / "failures.bicep")
    for topic in models:
        subscribe(cli, topic, EVENTS / "models.bicep")
    steps = next_steps(cli, failures, models)
    if not cli.is_dry_run:
        say("\n".join(steps))


def wait_for_function(cli: Cli) -> None:
    """Wait until the platform lists the function: it does so some time after the code was put there."""
    name, group = cli.environ["SERVICE_MEDIC_NAME"], cli.environ["AZURE_RESOURCE_GROUP"]
    own = ("--subscription", cli.environ["AZURE_SUBSCRIPTION_ID"])
    last = Problem("", "")

    def ask() -> bool | None:
        nonlocal last
        call = ("functionapp", "function", "list", "--name", name, "--resource-group", group, *own)
        try:
            found = cli.az(*call, like=([{"name": str}], None))
        except CommandFailed as error:
            if any(sign in error.words for sign in _FOR_GOOD):
                raise
            # The app is starting, or never will.
            what = f"whether the app {name} has the function {FUNCTION} is not known: {error}"
            last = Problem(what, "azd hooks run postdeploy     (once that command answers)")
            return None
        functions = sorted(one["name"].split("/")[-1] for one in found or ())
        listing = f"it lists {', '.join(functions) or 'none'}"
        last = Problem(f"the app {name} has no function {FUNCTION}: {listing}", "azd deploy")
        return True if FUNCTION in functions else None

    try:
        cli.wait(f"the function {FUNCTION} of {name}", ask, most_s=600, every_s=15)
    except TookTooLong as error:
        raise Refused(last, *_missing_settings(cli)) from error


def _missing_settings(cli: Cli) -> list[Problem]:
    """Tell of settings without which the app does not start, as far as the platform tells of them."""
    try:
        missing = unresolved(cli)
    except (CommandFailed, OddAnswer):  # what was waited for is the news, and this only a guess at its reason
        return []
    return [
        Problem(
            f"the app has no value for {setting}, which refers to the vault: {state}", "azd hooks run postprovision"
        )
        for setting, state in missing.items()
    ]


def subscribe(cli: Cli, topic: str, template: Path) -> None:
    """Deploy the event subscription of one topic, in the topic's own resource group and subscription."""
    _, _, subscription, _, group, _, _, _, name = topic.split("/")  # as TOPIC is
    values = {
        "topicName": name,
        "functionAppId": app_id(cli.environ),
        "recordsId": cli.environ["ENDPOINT_MEDIC_RECORDS_ID"],
    }
    parameters = json.dumps({key: {"value": value} for key, value in values.items()})
    failed: CommandFailed | None = None

    def attempt(file: str) -> bool | None:
        nonlocal failed
        where = ("--subscription", subscription, "--resource-group", group, "--name", f"events-{name}"[:64])
        what = ("--template-file", str(template), "--parameters", f"@{file}", "--no-prompt", "true")
        words = f"subscribe {FUNCTION} to {name} ({template.stem})"
        try:
            cli.change(words, "deployment", "group", "create", *where, *what, "--output", "none", timeout_s=900)
        except CommandFailed as error:
            failed = error
            if any(sign in error.words for sign in _NOT_READY):
                return None
            raise
        return True

    with private_file(parameters) as file:
        try:
            cli.wait("Event Grid to reach the function", lambda: attempt(file), most_s=600, every_s=30)
        except TookTooLong as error:
            raise failed or error from error


# ---------------------------------------------------------------------------------------------------- what comes next


def next_steps(cli: Cli, failures: tuple[str, ...], models: tuple[str, ...]) -> list[str]:
    """Give what was set up, and what a person does now."""
    environ = cli.environ
    mode = environ.get("ENDPOINT_MEDIC_MODE") or "dry-run"
    url = environ["SERVICE_MEDIC_URI"].rstrip("/")
    client_id = environ["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"]
    watched = (*listed(environ.get("ENDPOINT_MEDIC_WATCH", "")), f"/subscriptions/{environ['AZURE_SUBSCRIPTION_ID']}")[
        0
    ]
    acts = {
        "off": "it does nothing",
        "dry-run": "it reads, diagnoses and decides, and changes nothing",
        "ask": "it changes what people approve",
        "auto": "it changes what its policy permits",
    }
    return [
        "",
        f"Endpoint Medic {environ['SERVICE_MEDIC_NAME']} is set up. Its mode is {mode}: {acts.get(mode, 'not known')}.",
        *(f"  hears of failures from    {topic}" for topic in failures),
        *(f"  hears of deployments from {topic}" for topic in models),
        f"  people look at            {url}/api/overview",
        "",
        "Next:",
        f"  what has failed already, and what would be done: medic scan --subscription {watched.split('/')[2]}",
        *_sign_in_lines(cli, client_id),
        "  what it would have done after some days: medic report     (docs/runbook.md tells how to go on)",
    ]


def _sign_in_lines(cli: Cli, client_id: str) -> list[str]:
    """Give the commands that let people and programs in: nobody has a role by itself."""
    registration = registration_of(cli)
    problem, principal, graph = None, "<object id of the enterprise application>", registration.graph
    try:
        registration.find()
        found = registration.principal()
        if found is not None:
            principal = found["id"]
        problem = registration.ensure_consent()
    except NotAllowed as error:
        say(f"Note: {error}; the ids of roles below are those of infra/entra/app-roles.json.")
    roles = registration.role_ids()
    approver = json.dumps({"principalId": "<who>", "resourceId": principal, "appRoleId": roles["Medic.Approver"]})
    assigned = f"{graph}/v1.0/servicePrincipals/{principal}/appRoleAssignedTo"
    consent = [] if problem is None else [f"  {problem.what}:", f"    {problem.fix}"]
    return [
        *consent,
        "  let somebody approve, or only look, or submit (each a role; docs/sign-in.md):",
        f"    az rest --method post --url {assigned} --body '{approver}'",
        "      who:  az ad user show --id <address> --query id     CI:  az ad sp show --id <its client id> --query id",
        *(f"      {name:<15} {id_}" for name, id_ in roles.items()),
        "  what CI sends: a token for the app, and its event to POST /api/events",
        f"    az account get-access-token --scope api://{client_id}/.default --query accessToken --output tsv",
    ]


if __name__ == "__main__":
    sys.exit(main("postdeploy", __doc__, run))
