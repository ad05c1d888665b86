"""Before `azd down`: refuse it, always, and print what removes Endpoint Medic and nothing else.

azd deletes the resource group of everything that is in the record of its deployment, also of what was deployed into
groups that were there before: https://github.com/Azure/azure-dev/issues/2916 and …/4785. The templates assign roles in
such groups. It changes nothing.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping

from az import Cli, Problem, Refused, listed, main, token_of
from postdeploy import TOPIC

WHY = (
    "`azd down` deletes whole resource groups, and among them each in which the templates assigned a role: groups that "
    "you listed in ENDPOINT_MEDIC_GRANT_SCOPES or ENDPOINT_MEDIC_WATCH, with all that is in them. Which these are it "
    "takes from Azure's record of the deployment and not from today's values, so no look at those could let it pass"
)
# What names a subscription in which something of ours is, or was.
_SCOPES = (
    "ENDPOINT_MEDIC_WATCH",
    "ENDPOINT_MEDIC_GRANT_SCOPES",
    "ENDPOINT_MEDIC_MODEL_EVENTS",
    "ENDPOINT_MEDIC_SYSTEM_TOPICS",
    "ENDPOINT_MEDIC_WORKSPACE_TOPICS",
)


def run(cli: Cli) -> None:
    group = cli.environ.get("AZURE_RESOURCE_GROUP") or "<AZURE_RESOURCE_GROUP>"
    token = token_of(cli.environ) or "<token>"
    lines = "\n     ".join(commands(cli.environ))
    fix = f"Remove only what is ours, in this order (docs/runbook.md tells what stays):\n     {lines}"
    earlier = (
        "A subscription in which something was watched or granted on earlier, and is not now, has roles of ours too, "
        f"and perhaps a group {group}-{token} with a topic"
    )
    raise Refused(Problem(WHY, f"{fix}\n   {earlier}."))


def commands(environ: Mapping[str, str]) -> list[str]:
    """Give the commands that remove what is ours; in place of what the azd environment does not hold, its name."""

    def value(name: str) -> str:
        return shlex.quote(environ.get(name) or f"<{name}>")

    home = environ.get("AZURE_SUBSCRIPTION_ID", "").lower() or "<AZURE_SUBSCRIPTION_ID>"
    environment = environ.get("AZURE_ENV_NAME") or "<AZURE_ENV_NAME>"
    named = re.findall(r"/subscriptions/([\w-]+)", ",".join(environ.get(name, "") for name in _SCOPES))
    subscriptions = [shlex.quote(one) for one in dict.fromkeys([home, *(one.lower() for one in named)])]
    token = token_of(environ) or "<token>"
    ours = environ.get("AZURE_RESOURCE_GROUP", "").lower()

    def is_ours(topic: re.Match[str]) -> bool:
        return topic[2].lower() == (ours if topic[1].lower() == home else f"{ours}-{token}")

    names = ("ENDPOINT_MEDIC_SYSTEM_TOPICS", "ENDPOINT_MEDIC_WORKSPACE_TOPICS")
    topics = [found for name in names for each in listed(environ.get(name, "")) if (found := TOPIC.fullmatch(each))]
    theirs = [topic for topic in topics if not is_ours(topic)]
    groups = dict.fromkeys((each[1].lower(), each[2]) for each in topics if is_ours(each) and each[1].lower() != home)
    assignee = value("ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID")
    roles = f"starts_with(roleName, 'Endpoint Medic') && contains(roleName, '({environment} {token}')"
    return [
        *(
            f'az role assignment list --all --assignee {assignee} --subscription {one} --query "[].id" --output tsv'
            " | xargs -r -n 1 az role assignment delete --ids"
            for one in subscriptions
        ),
        *(
            f"az eventgrid system-topic event-subscription delete --name {value('SERVICE_MEDIC_NAME')}"
            f" --resource-group {shlex.quote(topic[2])} --system-topic-name {shlex.quote(topic[3])}"
            f" --subscription {shlex.quote(topic[1])}"
            for topic in theirs
        ),
        f"az group delete --name {value('AZURE_RESOURCE_GROUP')} --subscription {shlex.quote(home)}",
        *(f"az group delete --name {shlex.quote(name)} --subscription {shlex.quote(one)}" for one, name in groups),
        *(
            f"az role definition list --custom-role-only true --subscription {one} --output tsv"
            f' --query "[?{roles}].name" | xargs -r -n 1 az role definition delete --subscription {one} --name'
            for one in subscriptions
        ),
        f"az ad app delete --id {value('ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID')}     # if nothing else uses it",
    ]


if __name__ == "__main__":
    sys.exit(main("predown", __doc__, run))
