"""Before anything is created: refuse what cannot work, find what stands already, make the app registration.

All that is wrong is told at once, each with the command that puts it right, and nothing is changed until nothing is.
A second run changes nothing. Followed pages:
https://learn.microsoft.com/azure/azure-functions/flex-consumption-how-to (regions and runtimes),
https://learn.microsoft.com/azure/azure-resource-manager/management/resource-providers-and-types,
https://learn.microsoft.com/azure/event-grid/system-topics (one for each source),
https://learn.microsoft.com/rest/api/authorization/permissions (what whoever deploys may do),
https://learn.microsoft.com/azure/key-vault/general/key-vault-recovery (a deleted vault keeps its name).
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from az import Cli, CommandFailed, Problem, Refused, listed, main, say, token_of
from postprovision import SECRET_IDS, TOLD, names_of, told_problems
from registration import NotAllowed, Registration, cloud_of, tenant_problems

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.13"
# Every namespace that infra/ has a resource of; Microsoft.Authorization and Microsoft.Resources are always registered.
PROVIDERS = (
    "Microsoft.EventGrid",
    "Microsoft.Insights",
    "Microsoft.KeyVault",
    "Microsoft.ManagedIdentity",
    "Microsoft.OperationalInsights",
    "Microsoft.Storage",
    "Microsoft.Web",
)
# What the template does in each subscription that it touches.
OPERATIONS = (
    "Microsoft.Authorization/roleAssignments/write",
    "Microsoft.Authorization/roleDefinitions/write",
    "Microsoft.Resources/deployments/write",
)
# … and where it makes the app, or a topic.
MAKING = "Microsoft.Resources/subscriptions/resourceGroups/write"
HOOK_ONLY = ("ENDPOINT_MEDIC_REGISTER_PROVIDERS",)
# Values of which there are only some, the default first: those that main.bicep allows, and the hook's own.
ALLOWED = {
    "AZURE_PRINCIPAL_TYPE": ("User", "ServicePrincipal"),
    "ENDPOINT_MEDIC_MODE": ("dry-run", "off", "ask", "auto"),
    "ENDPOINT_MEDIC_TEAMS": ("false", "true"),
    "ENDPOINT_MEDIC_WEBHOOK": ("false", "true"),
    "ENDPOINT_MEDIC_OUTCOME_TOPIC": ("false", "true"),
    "ENDPOINT_MEDIC_RECORDS_SKU": ("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"),
    "ENDPOINT_MEDIC_TRAIL_LOCKED": ("false", "true"),
    "ENDPOINT_MEDIC_REGISTER_PROVIDERS": ("false", "true"),
}
ABBREVIATIONS: dict[str, str] = json.loads(
    (Path(__file__).resolve().parents[1] / "abbreviations.json").read_text(encoding="utf-8")
)

_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_SUBSCRIPTION = rf"/subscriptions/({_GUID})"
_GROUP = rf"{_SUBSCRIPTION}/(?i:resourceGroups)/[\w().-]{{1,90}}(?<!\.)"
_WORKSPACE = rf"{_GROUP}/(?i:providers/Microsoft\.MachineLearningServices/workspaces)/[A-Za-z0-9][A-Za-z0-9_-]{{2,32}}"
_EMPTY_SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
_NOT_THERE = ("ResourceGroupNotFound", "ResourceNotFound", "ContainerNotFound")
_RESOURCE = re.compile(r"(?:/[^/]+){8}")  # /subscriptions/…/resourceGroups/…/providers/…/<type>/<name>


class Form(NamedTuple):
    """What each part of a list is.

    Attributes:
        words: What a part that does not match the pattern is not.
        example: What a person fills in where nothing better is known.
        hint: Where that is found.
    """

    pattern: str
    words: str
    example: str
    hint: str = ""


LISTS = {
    "ENDPOINT_MEDIC_WATCH": Form(f"{_GROUP}|{_SUBSCRIPTION}", "an id of this form", _EMPTY_SUBSCRIPTION),
    "ENDPOINT_MEDIC_MODEL_EVENTS": Form(
        f"[a-z0-9]+={_WORKSPACE}",
        "<region>=<id of a workspace>",
        "westeurope=<id>",
        "     (az resource list --resource-type Microsoft.MachineLearningServices/workspaces --query [].id)",
    ),
    "ENDPOINT_MEDIC_GRANT_SCOPES": Form(_GROUP, "an id of this form", f"{_EMPTY_SUBSCRIPTION}/resourceGroups/<group>"),
    "ENDPOINT_MEDIC_UNDO_PRINCIPALS": Form(
        _GUID,
        "the object id of an identity",
        "<object id>",
        "     (az identity show --ids <the identity's id> --query principalId)",
    ),
}


@dataclass(frozen=True)
class Wanted:
    """What the azd environment asks for, once it is well-formed.

    Attributes:
        watched: Ids of subscriptions and resource groups.
        workspaces: Location by id of each workspace whose ModelDeployed events are wanted.
        grantable: Ids of resource groups.
        token: What the template ends names in; empty before it was deployed.
    """

    environment: str
    subscription: str
    location: str
    watched: tuple[str, ...]
    workspaces: Mapping[str, str]
    grantable: tuple[str, ...]
    token: str

    @property
    def group(self) -> str:
        """The name of the app's resource group."""
        return f"{ABBREVIATIONS['resourceGroup']}medic-{self.environment}"

    def makes_group(self, subscription: str, name: str) -> bool:
        """Tell whether the template makes a resource group of this name; elsewhere than at home for topics alone."""
        if subscription.lower() == self.subscription:
            return name.lower() == self.group.lower()
        return bool(self.token) and name.lower() == f"{self.group}-{self.token}".lower()

    @property
    def sources(self) -> tuple[str, ...]:
        """What a system topic is needed for."""
        return (*self.watched, *self.workspaces)

    @property
    def topic_subscriptions(self) -> tuple[str, ...]:
        return _subscriptions(self.sources)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Every subscription that the template touches, the app's own first."""
        others = _subscriptions((*self.sources, *self.grantable))
        return (self.subscription, *(other for other in others if other != self.subscription))


def run(cli: Cli) -> None:
    """Check, then do."""
    wanted, problems = read(cli.environ)
    signed_in = _sign_in_problems(cli)
    if wanted is None or signed_in:
        raise Refused(*problems, *signed_in)
    account, trouble = _account(cli, wanted)
    if account is None:
        raise Refused(*problems, *trouble)
    problems += trouble
    problems += _region_problems(cli, wanted)
    unreadable, trouble = _scope_problems(cli, wanted)
    problems += trouble
    readable = [one for one in wanted.subscriptions if one == wanted.subscription or one not in unreadable]
    unregistered, trouble = _providers(cli, wanted, readable)
    problems += trouble
    # Where a provider is not registered nothing of its kind is, and asking for it fails.
    searchable = [one for one in readable if ("Microsoft.EventGrid", one) not in unregistered]
    standing, trouble = _standing_topics(cli, wanted, searchable)
    problems += trouble
    problems += _permission_problems(cli, wanted, readable, standing)
    problems += _group_problems(cli, wanted)
    if ("Microsoft.KeyVault", wanted.subscription) not in unregistered:
        problems += _vault_problems(cli, wanted)
    problems += _secret_problems(cli, wanted)
    problems += _trail_problems(cli)
    problems += _bicep_problems(cli)
    registration, trouble = _registration(cli, wanted, account["environmentName"])
    problems += trouble
    if problems:
        raise Refused(*problems)

    for warning in (*policy_warnings(ROOT / "policy.yaml", wanted), *_principal_warnings(cli, account["user"])):
        say(f"Note: {warning}")
    if registration is not None:
        registration.ensure()
        if registration.client_id is not None:
            cli.keep("ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID", registration.client_id)
    for namespace, subscription in unregistered:
        words = f"register {namespace} in {subscription}"
        call = ("provider", "register", "--namespace", namespace, "--subscription", subscription, "--wait")
        cli.change(words, *call, "--output", "none", timeout_s=900)
    kind = "ServicePrincipal" if account["user"]["type"] == "servicePrincipal" else "User"
    if kind != (cli.environ.get("AZURE_PRINCIPAL_TYPE") or "User"):
        cli.keep("AZURE_PRINCIPAL_TYPE", kind)
    cli.keep("ENDPOINT_MEDIC_TOPICS", ",".join(f"{source}={topic}" for source, topic in standing.items()))
    say("Nothing stands in the way of provisioning.")
    say(what_comes(cli.environ, wanted))


# ---------------------------------------------------------------------------------------- the values, read offline


def read(environ: Mapping[str, str]) -> tuple[Wanted | None, list[Problem]]:
    """Give what is wanted, and what is wrong with how it is written; None where that is too much to go on."""
    problems: list[Problem] = []
    environment = environ.get("AZURE_ENV_NAME", "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}(?<!\.)", environment):
        what = f"AZURE_ENV_NAME is {environment!r}: names of resources take 1 to 32 letters, digits, '-', '_' and '.'"
        problems.append(Problem(what, "azd env new <name>"))
    subscription = environ.get("AZURE_SUBSCRIPTION_ID", "")
    if not re.fullmatch(_GUID, subscription):
        what = f"AZURE_SUBSCRIPTION_ID is {subscription!r}: not the id of a subscription"
        problems.append(Problem(what, "azd env set AZURE_SUBSCRIPTION_ID $(az account show --query id --output tsv)"))
    location = environ.get("AZURE_LOCATION", "")
    if not re.fullmatch(r"[a-z0-9]+", location):
        what = f"AZURE_LOCATION is {location!r}: not the short name of a region"
        fix = "azd env set AZURE_LOCATION <region>     (of: az functionapp list-flexconsumption-locations)"
        problems.append(Problem(what, fix))
    tenant = environ.get("AZURE_TENANT_ID", "")
    if tenant and not re.fullmatch(_GUID, tenant):
        what = f"AZURE_TENANT_ID is {tenant!r}: not the id of a tenant"
        problems.append(Problem(what, "azd env set AZURE_TENANT_ID $(az account show --query tenantId --output tsv)"))
    broken = bool(problems)
    problems += _value_problems(environ)
    problems += unknown_names(environ)
    watched = _parts(environ, "ENDPOINT_MEDIC_WATCH", problems)
    problems += _overlaps(environ, watched)
    events = _parts(environ, "ENDPOINT_MEDIC_MODEL_EVENTS", problems)
    workspaces = {workspace: location for location, workspace in (each.split("=") for each in events)}
    grantable = _parts(environ, "ENDPOINT_MEDIC_GRANT_SCOPES", problems)
    _parts(environ, "ENDPOINT_MEDIC_UNDO_PRINCIPALS", problems)
    if broken:
        return None, problems
    watched = watched or (f"/subscriptions/{subscription}",)
    lists = (watched, workspaces, grantable)
    return Wanted(environment, subscription.lower(), location, *lists, token_of(environ)), problems


def _value_problems(environ: Mapping[str, str]) -> Iterable[Problem]:
    for name, allowed in ALLOWED.items():
        value = environ.get(name) or allowed[0]
        if value not in allowed:
            what = f"{name} is {value!r}: it is one of {', '.join(allowed)}"
            yield Problem(what, f"azd env set {name} {allowed[0]}")
    principal = environ.get("AZURE_PRINCIPAL_ID", "")
    if principal and not re.fullmatch(_GUID, principal):
        what = f"AZURE_PRINCIPAL_ID is {principal!r}: not the object id of whoever deploys"
        yield Problem(what, "azd env set AZURE_PRINCIPAL_ID ''     (azd fills in whoever is signed in to it)")
    client_id = environ.get("ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID", "")
    if client_id and not re.fullmatch(_GUID, client_id):
        what = f"ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID is {client_id!r}: not the client id of an app registration"
        yield Problem(what, "azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID ''     (then one is made)")
    kid = environ.get("ENDPOINT_MEDIC_APPROVAL_KID", "")
    if not re.fullmatch(r"[\w-]{0,32}", kid):
        what = f"ENDPOINT_MEDIC_APPROVAL_KID is {kid!r}: the id of a key has letters, digits, '-' and '_'"
        yield Problem(what, "azd env set ENDPOINT_MEDIC_APPROVAL_KID k1")
    email = environ.get("ENDPOINT_MEDIC_ALERT_EMAIL", "")
    if email and not re.fullmatch(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+", email):
        what = f"ENDPOINT_MEDIC_ALERT_EMAIL is {email!r}: not one address"
        yield Problem(what, "azd env set ENDPOINT_MEDIC_ALERT_EMAIL <address>     (a list's, for several people)")


def unknown_names(environ: Mapping[str, str]) -> Iterable[Problem]:
    """Tell of values that nothing reads: neither the template nor a hook."""
    read_by_template = re.findall(r"\$\{(\w+)", (ROOT / "infra" / "main.parameters.json").read_text(encoding="utf-8"))
    given = re.findall(r"^output (\w+)", (ROOT / "infra" / "main.bicep").read_text(encoding="utf-8"), re.MULTILINE)
    known = {*read_by_template, *given, *HOOK_ONLY}
    for name in sorted(environ):
        if name.startswith("ENDPOINT_MEDIC_") and environ[name] and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            fix = f"azd env set {near[0]} <value>, and then: " if near else ""
            yield Problem(f"nothing reads {name}", f"{fix}azd env set {name} ''")


def _parts(environ: Mapping[str, str], name: str, problems: list[Problem]) -> tuple[str, ...]:
    """Give the parts of a list that are well-formed, each once; tell of the others."""
    form = LISTS[name]
    fix = _set(name, corrected(environ, name))
    good: dict[str, str] = {}
    for each in listed(environ.get(name, "")):
        if not re.fullmatch(form.pattern, each):
            problems.append(Problem(f"{name} names {each!r}: not {form.words}", fix + form.hint))
        elif _key(each) in good:
            problems.append(Problem(f"{name} names {good[_key(each)]} and {each}, which are the same to Azure", fix))
        else:
            good[_key(each)] = each
    return tuple(good.values())


def corrected(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Give a list as it should be: each part once, mended if it can be guessed what was meant, else an example."""
    form = LISTS[name]
    found: dict[str, str] = {}
    for number, each in enumerate(listed(environ.get(name, ""))):
        bare = each.rstrip("/")
        guesses = (each, bare, f"/subscriptions/{bare.lstrip('/')}")
        right = next((guess for guess in guesses if re.fullmatch(form.pattern, guess)), None)
        found.setdefault(str(number) if right is None else _key(right), right or form.example)
    return tuple(found.values())


def _key(part: str) -> str:
    """Give what no two parts of a list may share: an id in lower case, without the region of a workspace."""
    return part.rpartition("=")[2].lower()


def _set(name: str, parts: Iterable[str]) -> str:
    """Give the command that sets a list, all of it."""
    return f"azd env set {name} {shlex.quote(','.join(parts))}"


def _overlaps(environ: Mapping[str, str], watched: tuple[str, ...]) -> Iterable[Problem]:
    name = "ENDPOINT_MEDIC_WATCH"
    pairs = [(one, other) for one in watched for other in watched if other.lower().startswith(f"{one.lower()}/")]
    within = {_key(other) for _, other in pairs}
    fix = _set(name, (each for each in corrected(environ, name) if _key(each) not in within))
    for one, other in pairs:
        yield Problem(f"{name} names {one} and {other}: each event would come twice", fix)


# ------------------------------------------------------------------------------------------------ what Azure says


def _sign_in_problems(cli: Cli) -> list[Problem]:
    try:
        answer = cli.azd("auth", "login", "--check-status", "--output", "json", like={"status": str})
    except CommandFailed as error:  # not every version says so in JSON
        return [Problem(f"azd is not signed in, or does not tell: {error.words}", "azd auth login")]
    if answer["status"] != "success":
        return [Problem("azd is not signed in", "azd auth login")]
    return []


def _account(cli: Cli, wanted: Wanted) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Give how `az` is signed in, proved by a call; None if it is not, or not to this subscription."""
    tenant = cli.environ.get("AZURE_TENANT_ID", "")
    login = f"az login --tenant {tenant or '<tenant>'}"
    form = {"state": str, "tenantId": str, "environmentName": str, "user": {"type": str, "name": str}}
    try:
        account: dict[str, Any] = cli.az("account", "show", "--subscription", wanted.subscription, like=form)
        elsewhere = tenant_problems(cli, wanted.subscription, account["tenantId"])
        cli.az("rest", "--method", "get", "--url", f"/subscriptions/{wanted.subscription}?api-version=2022-12-01")
    except CommandFailed as error:
        what = f"`az` cannot use the subscription {wanted.subscription}: {error.words}"
        return None, [Problem(what, f"{login}     (that of azd is another)")]
    if elsewhere:
        return None, elsewhere
    problems = []
    if account["state"] != "Enabled":
        what = f"the subscription {wanted.subscription} is {account['state']}"
        problems.append(Problem(what, "azd env set AZURE_SUBSCRIPTION_ID <one that is enabled>"))
    if tenant and account["tenantId"].lower() != tenant.lower():
        what = f"`az` is signed in to the tenant {account['tenantId']}, and the azd environment is of {tenant}"
        problems.append(Problem(what, login))
    return account, problems


def _region_problems(cli: Cli, wanted: Wanted) -> list[Problem]:
    own = ("--subscription", wanted.subscription)
    found = cli.az("functionapp", "list-flexconsumption-locations", *own, like=[{"name": str}])
    regions = sorted(one["name"] for one in found)
    if wanted.location not in regions:
        near = difflib.get_close_matches(wanted.location, regions, n=1)
        what = f"AZURE_LOCATION is {wanted.location!r}: Flex Consumption is not offered there"
        fix = f"azd env set AZURE_LOCATION {near[0] if near else '<region>'}     (one of: {', '.join(regions)})"
        return [Problem(what, fix)]
    where = ("--location", wanted.location, "--runtime", "python")
    found = cli.az("functionapp", "list-flexconsumption-runtimes", *where, *own, like=[{"version": str}])
    offered = [one["version"] for one in found]
    if PYTHON not in offered:
        what = f"Flex Consumption in {wanted.location} offers Python {', '.join(offered) or 'not at all'}, not {PYTHON}"
        return [Problem(what, "azd env set AZURE_LOCATION <another region>")]
    return []


def _scope_problems(cli: Cli, wanted: Wanted) -> tuple[frozenset[str], list[Problem]]:
    """Give the subscriptions of what is named and cannot be read, and tell of it."""
    named = {
        "ENDPOINT_MEDIC_WATCH": wanted.watched,
        "ENDPOINT_MEDIC_MODEL_EVENTS": tuple(wanted.workspaces),
        "ENDPOINT_MEDIC_GRANT_SCOPES": wanted.grantable,
    }
    unreadable = []
    problems = []
    for name, scope in ((name, scope) for name, scopes in named.items() for scope in scopes):
        region = wanted.workspaces.get(scope)
        version = "2022-09-01" if region is None else "2024-04-01"
        form = {} if region is None else {"location": str}
        try:
            found = cli.az("rest", "--method", "get", "--url", f"{scope}?api-version={version}", like=form)
        except CommandFailed as error:
            unreadable.append(scope)
            what = f"{name} names {scope}, which cannot be read: {error.words}"
            fix = "Name one that exists, in the tenant that you are signed in to, or have the role Reader on it"
            problems.append(Problem(what, fix))
            continue
        if region is not None and found["location"] != region:
            what = f"{name} says that {scope} is in {region}; it is in {found['location']}"
            right = f"{found['location']}={scope}"
            parts = (right if _key(each) == _key(scope) else each for each in corrected(cli.environ, name))
            problems.append(Problem(what, _set(name, parts)))
    return frozenset(_subscriptions(unreadable)), problems


def _providers(cli: Cli, wanted: Wanted, subscriptions: Iterable[str]) -> tuple[list[tuple[str, str]], list[Problem]]:
    """Give the resource providers that are to be registered; tell of them unless the hook may do that."""
    missing: list[tuple[str, str]] = []
    for subscription in subscriptions:
        query = ("--query", "[].{namespace:namespace,state:registrationState}")
        form = [{"namespace": str, "state": str}]
        found = cli.az("provider", "list", "--subscription", subscription, *query, like=form)
        states = {one["namespace"].lower(): one["state"] for one in found}
        needed: tuple[str, ...] = ()
        if subscription == wanted.subscription:
            needed = PROVIDERS
        elif subscription in wanted.topic_subscriptions:
            needed = ("Microsoft.EventGrid",)
        missing += [(one, subscription) for one in needed if states.get(one.lower()) != "Registered"]
    if not missing or cli.environ.get("ENDPOINT_MEDIC_REGISTER_PROVIDERS") == "true":
        return missing, []
    let_us = "(azd env set ENDPOINT_MEDIC_REGISTER_PROVIDERS true lets this hook do it)"
    return missing, [
        Problem(
            f"{namespace} is not registered in the subscription {subscription}",
            f"az provider register --namespace {namespace} --subscription {subscription} --wait     {let_us}",
        )
        for namespace, subscription in missing
    ]


def _permission_problems(
    cli: Cli, wanted: Wanted, subscriptions: Iterable[str], standing: Mapping[str, str]
) -> Iterable[Problem]:
    """Tell what whoever is signed in may not do. Conditions of roles are not looked into: Azure may still refuse."""
    makes = {wanted.subscription, *_subscriptions(source for source in wanted.sources if source not in standing)}
    for subscription in subscriptions:
        wants = (*OPERATIONS, MAKING) if subscription in makes else OPERATIONS
        url = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
        form = {"value": [{"actions": ([str], None), "notActions": ([str], None)}]}
        answer = cli.az("rest", "--method", "get", "--url", url, like=form)
        lacking = [one for one in wants if not any(_permits(each, one) for each in answer["value"])]
        if lacking and not answer.get("nextLink"):
            what = f"you may not do {', '.join(lacking)} in the subscription {subscription}"
            scope = f"--scope /subscriptions/{subscription}"
            fix = f"Ask an owner: az role assignment create --assignee <you> --role Owner {scope}"
            yield Problem(what, f"{fix}     (or Contributor and User Access Administrator)")


def _group_problems(cli: Cli, wanted: Wanted) -> Iterable[Problem]:
    """Tell of the app's resource group in another region: a group stays where it was made.

    The name of each other group that the template makes derives from the region as well.
    """
    id_ = f"/subscriptions/{wanted.subscription}/resourceGroups/{wanted.group}"
    found, trouble = _there(cli, id_, "2022-09-01", {"location": str})
    yield from trouble
    region = wanted.location if found is None else found["location"].replace(" ", "").lower()
    if region != wanted.location:
        what = f"the resource group {id_} is in {region}, and AZURE_LOCATION is {wanted.location}"
        yield Problem(what, f"azd env set AZURE_LOCATION {region}     (or another environment: azd env new <name>)")


def _trail_problems(cli: Cli) -> Iterable[Problem]:
    """Tell of a trail that is locked and not said to be: Azure would refuse the template halfway."""
    name = "ENDPOINT_MEDIC_TRAIL_LOCKED"
    records = cli.environ.get("ENDPOINT_MEDIC_RECORDS_ID")
    if not records or cli.environ.get(name) == "true":
        return
    policy = f"{records}/blobServices/default/containers/trail/immutabilityPolicies/default"
    found, trouble = _there(cli, policy, "2023-05-01", {"properties": {"state": (str, None)}})
    yield from trouble
    if found is not None and found["properties"].get("state") == "Locked":
        what = f"the trail's immutability policy is locked, and {name} is not true: Azure lets nobody deploy it again"
        yield Problem(what, f"azd env set {name} true")


def _there(cli: Cli, id_: str, version: str, like: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Give a resource, None if it is not there; tell if that cannot be known."""
    try:
        return cli.az("rest", "--method", "get", "--url", f"{id_}?api-version={version}", like=like), []
    except CommandFailed as error:
        if any(sign in error.words for sign in _NOT_THERE):
            return None, []
        what = f"whether there is {id_} cannot be read: {error.words}"
        return None, [Problem(what, "Try again, or ask an owner for the role Reader on it")]


def _bicep_problems(cli: Cli) -> list[Problem]:
    """Tell if `az` has no Bicep, which is not that of azd: it would have to fetch it when everything else is there."""
    try:
        cli.text("bicep", "version")
    except CommandFailed as error:
        what = f"`az` has no Bicep, with which the postdeploy hook subscribes to events: {error.words}"
        return [Problem(what, "az bicep install")]
    return []


def _principal_warnings(cli: Cli, user: Mapping[str, str]) -> Iterable[str]:
    """Tell if `az`, with which hooks set secrets, may not be who is given the right to.

    That is whoever azd is signed in as: it puts that one's id in place of the value here, which may be an older one.
    """
    known = cli.environ.get("AZURE_PRINCIPAL_ID", "")
    if not known:
        return
    is_program = user["type"] == "servicePrincipal"
    call = ("sp", "show", "--id", user["name"]) if is_program else ("signed-in-user", "show")
    try:
        found: str = cli.az("ad", *call, like={"id": str})["id"]
    except CommandFailed as error:
        yield f"whether `az` is signed in as AZURE_PRINCIPAL_ID is not known: {error.words}"
        return
    if found.lower() != known.lower():
        yield (
            f"`az` is signed in as {found}, and AZURE_PRINCIPAL_ID is {known}. Who `azd` is signed in as may set the "
            "vault's secrets: if that is another than `az` says, sign in to both as the same"
        )


def _permits(permission: Mapping[str, Any], operation: str) -> bool:
    """Tell whether one role's permissions hold an operation: what it excludes, another role may still give."""

    def matches(globs: list[str] | None) -> bool:
        return any(fnmatchcase(operation.lower(), glob.lower()) for glob in globs or ())

    return matches(permission.get("actions")) and not matches(permission.get("notActions"))


def _standing_topics(cli: Cli, wanted: Wanted, subscriptions: Iterable[str]) -> tuple[dict[str, str], list[Problem]]:
    """Give the topic of each source that somebody else has made one for."""
    standing: dict[str, str] = {}
    problems: list[Problem] = []
    by_id = {source.lower(): source for source in wanted.sources}
    identity = ({"type": (str, None)}, None)
    form = [{"id": _RESOURCE, "source": (str, None), "tags": (dict, None), "identity": identity}]
    for subscription in (one for one in subscriptions if one in wanted.topic_subscriptions):
        for topic in cli.az("eventgrid", "system-topic", "list", "--subscription", subscription, like=form):
            source = by_id.get((topic.get("source") or "").lower())
            if source is None or is_ours(wanted, "eventGridSystemTopic", topic["id"], topic.get("tags")):
                continue
            standing[source] = topic["id"]
            kind = (topic.get("identity") or {}).get("type") or "None"
            if "systemassigned" not in kind.replace(" ", "").lower():
                what = f"the system topic {topic['id']} of {source} has no identity to write dead letters with"
                fix = f"az eventgrid system-topic update --ids {topic['id']} --mi-system-assigned"
                problems.append(Problem(what, fix))
    return standing, problems


def is_ours(wanted: Wanted, kind: str, id_: str, tags: Mapping[str, str] | None) -> bool:
    """Tell whether a resource is one that main.bicep made for this environment, by its group, its name and its tag.

    The tag alone does not tell: every template for azd sets it.
    """
    subscription, group, name = (id_.split("/")[place] for place in (2, 4, 8))
    return (
        wanted.makes_group(subscription, group)
        and name.lower().startswith(f"{ABBREVIATIONS[kind]}medic-")
        and (tags or {}).get("azd-env-name") == wanted.environment
    )


def _vault_problems(cli: Cli, wanted: Wanted) -> Iterable[Problem]:
    """Tell of a deleted vault of this environment, which keeps its name."""
    own = ("--subscription", wanted.subscription)
    vault = cli.environ.get("ENDPOINT_MEDIC_VAULT", "")
    form = [{"name": str, "properties": {"location": str, "vaultId": _RESOURCE, "tags": (dict, None)}}]
    for deleted in cli.az("keyvault", "list-deleted", "--resource-type", "vault", *own, like=form):
        properties = deleted["properties"]
        is_known = deleted["name"] == vault
        if not is_known and not is_ours(wanted, "keyVault", properties["vaultId"], properties.get("tags")):
            continue
        if properties["location"].replace(" ", "").lower() != wanted.location:
            continue  # its name derives from the region too
        group = properties["vaultId"].split("/")[4]
        kept = str(properties.get("scheduledPurgeDate") or "it is purged")[:10]
        what = f"the vault {deleted['name']} of this environment was deleted, and keeps its name till {kept}"
        where = f"--name {deleted['name']} --location {wanted.location}"
        fix = (
            f"az group create --name {group} --location {wanted.location} --tags azd-env-name={wanted.environment}\n"
            f"   and: az keyvault recover {where}     (with its keys)\n"
            "   then: azd provision --no-state && azd deploy     (azd alone does not see what is gone)"
        )
        yield Problem(what, fix)


def _secret_problems(cli: Cli, wanted: Wanted) -> list[Problem]:
    """Tell of secrets that are said to be in the vault and are not: the template would make the app wait for them."""
    asked = {name: secret for name, secret in TOLD.items() if cli.environ.get(name) == "true"}
    if not asked:
        return []
    vault = cli.environ.get("ENDPOINT_MEDIC_VAULT") or _vault_of(cli, wanted)
    if vault is None:
        return [
            Problem(
                f"{name} is true, and there is no vault yet that could hold the secret {secret}",
                f"azd env set {name} false     (till the vault is there and holds it)",
            )
            for name, secret in asked.items()
        ]
    try:
        ids = cli.az("keyvault", "secret", "list", "--vault-name", vault, "--query", "[].id", like=SECRET_IDS)
    except CommandFailed as error:
        say(
            f"Note: whether the vault {vault} has {', '.join(asked.values())} is seen after provisioning: {error.words}"
        )
        return []
    return told_problems(cli, vault, names_of(ids))


def _vault_of(cli: Cli, wanted: Wanted) -> str | None:
    """Give the vault of the environment where azd does not know it, as on a machine that is new each time."""
    form = [{"id": _RESOURCE, "name": str, "tags": (dict, None)}]
    call = ("keyvault", "list", "--resource-type", "vault", "--subscription", wanted.subscription)
    found = cli.az(*call, like=form)
    ours = [one["name"] for one in found if is_ours(wanted, "keyVault", one["id"], one.get("tags"))]
    return ours[0] if len(ours) == 1 else None


def _registration(cli: Cli, wanted: Wanted, cloud_name: str) -> tuple[Registration | None, list[Problem]]:
    """Give the app registration as it stands; None if it is there and not ours to read."""
    client_id = cli.environ.get("ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID") or None
    if client_id is not None and not re.fullmatch(_GUID, client_id):
        return None, []  # told already
    cloud = cloud_of(cli, cloud_name)
    registration = Registration(cli, cloud, wanted.environment, wanted.subscription, client_id)
    try:
        registration.find()
    except NotAllowed as error:
        if client_id is not None:
            say(f"Note: the app registration {client_id} is taken as it is: {error}.")
            return None, []
        fix = "azd env set ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID <client id>     (docs/sign-in.md tells how to make one)"
        return None, [Problem(f"you may not look for an app registration: {error}", fix)]
    return registration, registration.problems()


def what_comes(environ: Mapping[str, str], wanted: Wanted) -> str:
    """Tell the mode that is deployed and the rights to write that it brings, in one line."""
    mode = environ.get("ENDPOINT_MEDIC_MODE") or ALLOWED["ENDPOINT_MEDIC_MODE"][0]
    head = f"Mode to be deployed: {mode} (ENDPOINT_MEDIC_MODE)."
    if mode not in ("ask", "auto"):
        return f"{head} It brings no right to change anything; what an earlier ask or auto brought stays."
    rights = [f"Endpoint Medic Operator (changes and deletes online deployments) on {', '.join(wanted.watched)}"]
    granting = ", ".join(wanted.grantable)
    if granting:
        rights.append(f"Endpoint Medic Granter (gives roles) on {granting}")
    if granting and listed(environ.get("ENDPOINT_MEDIC_UNDO_PRINCIPALS", "")):
        rights.append(f"Endpoint Medic Undo (takes them back) on {granting}")
    return f"{head} It brings {'; '.join(rights)}."


# ----------------------------------------------------------------------------------------------------- the policy


def policy_warnings(path: Path, wanted: Wanted) -> Iterable[str]:
    """Tell what the sweep would not see: it goes through the subscriptions that policy.yaml names, and no others.

    A policy without that key takes every event that arrives; one with it ignores events of other subscriptions.
    """
    named = policy_subscriptions(path.read_text(encoding="utf-8"))
    missing = [one for one in _subscriptions(wanted.watched) if one not in named]
    if missing:
        where = "policy.yaml names no subscriptions" if not named else "policy.yaml does not name all that is watched"
        now = ", ".join((*named, *missing))
        effect = "failures that no event told of are not found" if not named else "events of the others are ignored"
        yield f"{where}: {effect}. Add this line to it: subscriptions: [{now}]"


def policy_subscriptions(text: str) -> tuple[str, ...]:
    """Give the subscriptions that a policy names, in lower case: there is no YAML reader in the standard library."""
    found = re.search(r"^subscriptions:[ \t]*(.*(?:\n(?:[ \t]+.*|[ \t]*-.*|[ \t]*#.*)?)*)", text, re.MULTILINE)
    lines = found[1].split("\n") if found else []
    return tuple(one.lower() for line in lines for one in re.findall(_GUID, line.split("#")[0]))


def _subscriptions(ids: Iterable[str]) -> tuple[str, ...]:
    """Give the subscriptions that ids are of, each once, in lower case."""
    return tuple(dict.fromkeys(id_.split("/")[2].lower() for id_ in ids))


if __name__ == "__main__":
    sys.exit(main("preprovision", __doc__, run))
