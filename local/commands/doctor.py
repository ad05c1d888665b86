"""``medic doctor``: whether what was set up can be used; and for what cannot, what is wrong and the command that helps.

It reads and connects. It writes no record, posts no message and publishes no event: what only such a thing would show
it says that it did not try.
"""

import os
import queue
import re
import shlex
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from azure.core.exceptions import AzureError
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.commands import held, terminal
from local.commands.setup import policy_warnings
from remediations.adapters import arm
from remediations.discovery import NotListed, workspaces
from remediations.errors import MedicError, StoreUnavailable
from remediations.model import Caller, Mode, Unknown
from remediations.proof import checkpoint
from remediations.rights import Right, Role
from remediations.services import Services
from remediations.settings import Settings, is_loopback

_PATIENCE = timedelta(seconds=10)
_PATIENCE_RIGHTS = timedelta(seconds=60)  # a read for each place
_CONNECT_S = 5.0
_NAMED = 3  # places of a missing right
_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}
_SIGN_IN = {302, 401, 403}
_REFUSED = re.compile(r"\b40[13]\b")
_COMMANDS = ("az ", "azd ", "curl ")
_SECRETS = {"MEDIC_TEAMS_URL": "medic-teams-url", "MEDIC_WEBHOOK_URL": "medic-webhook-url"}


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `state` is ``ok``, ``warn`` or ``fail``; `fix` says what to do."""

    name: str
    state: str
    words: str
    fix: str = ""


def doctor(*, as_json: bool) -> int:
    """Look whether settings, policy, store, Azure, our rights, the app, keys and channels can be used."""
    checks: list[Check] = []
    console = terminal.out()
    for check in _checks():
        checks.append(check)
        if not as_json:
            _show(console, check)
    failed = sum(check.state == "fail" for check in checks)
    if as_json:
        terminal.say_json({"ok": not failed, "checks": checks})
    else:
        warned = sum(check.state == "warn" for check in checks)
        told = [terminal.counted(count, noun) for count, noun in ((failed, "failure"), (warned, "warning")) if count]
        console.print(f"\n{' and '.join(told) or 'Nothing is wrong'}.", style="bold")
    return terminal.DIFFERS if failed else terminal.OK


def _show(console: Console, check: Check) -> None:
    """Print a check; its commands last, each on a line of its own that is not folded, so that it can be copied."""
    mark, colour = _MARKS[check.state]
    fixes = terminal.plain(check.fix).splitlines()
    commands = [line for line in fixes if line.startswith(_COMMANDS)]
    said = Text(terminal.plain(check.words))
    for line in fixes:
        if line not in commands:
            said.append(f"\n{line}", "bold" if check.state == "fail" else "")
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(style=colour, width=4)
    row.add_column(width=9)
    row.add_column(overflow="fold", ratio=1)
    row.add_row(mark, check.name, said)
    console.print(row)
    for command in commands:
        console.print(Text(f"    {command}", "bold" if check.state == "fail" else ""), soft_wrap=True)


def _checks() -> Iterator[Check]:
    try:
        own = terminal.own_services()
    except MedicError as error:
        yield Check(name="settings", state="fail", words=str(error), fix="The rest was not looked at.")
        return
    yield _settings(own.settings)
    policy = _one("policy", partial(_policy, own))
    yield policy
    yield _one("store", partial(_store, own))
    azure = _one("azure", partial(_azure, own))
    yield azure
    if azure.state != "fail" and policy.state != "fail":
        yield from _of_policy(own)
    yield _one("app", partial(_app, own.settings))
    yield _keys(own)
    yield _checkpoints(own)
    yield from _channels(own)


# --------------------------------------------------------------------------------------- settings, policy, store


def _settings(settings: Settings) -> Check:
    words = {
        Mode.OFF: "MEDIC_MODE is off: nothing is done at all",
        Mode.DRY_RUN: "MEDIC_MODE is dry-run: nothing is written to Azure",
        Mode.ASK: "MEDIC_MODE is ask: every repair asks a person",
        Mode.AUTO: "MEDIC_MODE is auto: policy alone decides",
    }
    return Check(name="settings", state="ok", words=words[settings.mode])


def _policy(own: Services) -> Check:
    policy = own.policy
    words = f"{own.settings.policy}, version {policy.version}"
    warnings = list(policy_warnings(policy))
    if not policy.subscriptions:
        warnings.append("subscriptions: none is listed, so the sweep looks at none, and rights cannot be looked up.")
    if warnings:
        return Check(name="policy", state="warn", words=words, fix="\n".join(warnings))
    return Check(name="policy", state="ok", words=words)


def _store(own: Services) -> Check:
    where = own.settings.store
    try:
        held_there = [next(iter(store.list("")), None) for store in (own.trail.store, own.evidence.store)]
    except StoreUnavailable as error:
        return Check(name="store", state="fail", words=str(error), fix=_store_fix(own, error.why))
    what = "it can be listed" if any(held_there) else "it can be listed; nothing is in it"
    if where.startswith("http"):
        return Check(name="store", state="ok", words=f"{where}: {what}. Writing was not tried")
    folder = Path(where).absolute()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK):
        fix = "Let this user write there, or name another place in MEDIC_STORE."
        return Check(name="store", state="fail", words=f"folder {folder}: {above} cannot be written", fix=fix)
    return Check(name="store", state="ok", words=f"folder {folder}: {what}")


def _store_fix(own: Services, why: str) -> str:
    """Give the commands that let us use the account, or show whether it can be reached at all."""
    where = own.settings.store
    if not where.startswith("http") or is_loopback(where):
        return ""
    account = _account(where)
    if _REFUSED.search(why):
        containers = f"{_id_of(account)}/blobServices/default/containers"
        return "\n".join(_assign(own, Role.STORE, f'"{containers}/{name}"') for name in ("trail", "evidence"))
    return f"az storage account show --name {account} --query '[publicNetworkAccess, networkRuleSet]'"


def _account(url: str) -> str:
    return shlex.quote((urlsplit(url).hostname or "").partition(".")[0])


def _id_of(account: str) -> str:
    return f"$(az storage account show --name {account} --query id -o tsv)"


# ------------------------------------------------------------------------------------------------------- Azure


def _azure(own: Services) -> Check:
    reads = terminal.own_reads(own)
    reading = reads.get("/subscriptions?api-version=2022-12-01")
    if isinstance(reading, Unknown):
        raise terminal.AzureUnreadable(own.settings.arm_url, reading.reason)
    return _identified(own.settings.arm_url, reads.identity(), _signed_in(own.settings))


def _identified(arm_url: str, who: Caller | None, signed_in: Caller | None) -> Check:
    """Tell who we are, and whether who is signed in here is somebody else."""
    if who is None:
        words = f"{arm_url} answers; who we are is not known"
        fix = "Set MEDIC_CLIENT_ID and MEDIC_PRINCIPAL_ID, or our own writes look like somebody else's."
        return Check(name="azure", state="warn", words=words, fix=fix)
    if signed_in is not None and signed_in.oid and who.oid and signed_in.oid.lower() != who.oid.lower():
        words = f"{arm_url} answers; the app is {_named(who)}, and signed in here is {_named(signed_in)}"
        fix = "The rights below are those of who is signed in here, not the app's."
        return Check(name="azure", state="warn", words=words, fix=fix)
    return Check(name="azure", state="ok", words=f"{arm_url} answers; we are {_named(who)}")


def _signed_in(settings: Settings) -> Caller | None:
    """Give who our token says that we are, whatever the settings say."""
    unnamed = replace(settings, client_id=None, principal_id=None)
    return arm.identity(unnamed, arm.credential_of(settings))


def _named(who: Caller) -> str:
    names = ((name, getattr(who, name)) for name in ("oid", "appid", "tid"))
    return ", ".join(f"{name} {value}" for name, value in names if value)


def _of_policy(own: Services) -> Iterator[Check]:
    """Look at what the policy names in Azure, and at our rights there."""
    rights = held.needed(own.policy, own.settings.mode)
    for subscription in own.policy.subscriptions:
        watched = _one("watched", partial(_watched, own, subscription))
        yield watched
        if watched.state != "fail" and rights:
            yield from _bounded("rights", partial(_rights, own, subscription, rights), _PATIENCE_RIGHTS)
    for container in own.policy.desired_specs.containers:
        yield _one("specs", partial(_specs, own, container))


def _watched(own: Services, subscription: str) -> Check:
    reads = own.reads()
    try:
        found = len(workspaces(reads, subscription))
    except NotListed as error:
        fix = _unread_fix(own, subscription, str(error))
        return Check(name="watched", state="fail", words=str(error), fix=fix)
    words = f"subscription {subscription}: {terminal.counted(found, 'workspace')}"
    return Check(name="watched", state="ok", words=words)


def _rights(own: Services, subscription: str, rights: tuple[Right, ...]) -> list[Check]:
    return [_held(own, subscription, found) for found in held.findings(own.reads(), subscription, rights)]


def _held(own: Services, subscription: str, found: held.Finding) -> Check:
    """Tell what one role gives; what is missing of it, each in a line."""
    if found.unknown:
        fix = _unread_fix(own, subscription, found.unknown)
        return Check(name="rights", state="fail", words=f"{found.role}: {found.unknown}", fix=fix)
    count = len(found.needed) - len(found.lacks)
    words = f"{found.role}: {count} of {terminal.counted(len(found.needed), 'right')} held in {subscription}"
    if not found.lacks:
        return Check(name="rights", state="ok", words=words)
    if all(lack.right.without for lack in found.lacks):
        return Check(name="rights", state="ok", words=f"{words}; without the rest, {found.lacks[0].right.without}")
    lines = [f"{lack.right.operation} is missing on {_names(lack)}, to {lack.right.what_for}" for lack in found.lacks]
    # A role that is given in some places and not in others may be meant so.
    state = "fail" if any(lack.missing == lack.looked for lack in found.lacks) else "warn"
    return Check(name="rights", state=state, words="\n".join((words, *lines)), fix=_role_fix(own, subscription, found))


def _names(lack: held.Lack) -> str:
    if len(lack.looked) == 1 and lack.looked[0].count("/") == 2:
        return "the subscription"
    names = [place.rsplit("/", 1)[-1] for place in lack.missing]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}, {len(names)} of {len(lack.looked)}"


def _role_fix(own: Services, subscription: str, found: held.Finding) -> str:
    """Give the commands that give a role. One that grants is never given by hand: its condition belongs to it."""
    if found.role is Role.READER:
        return _assign(own, found.role, shlex.quote(f"/subscriptions/{subscription}"))
    if found.role is Role.GRANTER:
        groups = _groups(place for lack in found.lacks for place in lack.looked)
        fix = f"azd env set ENDPOINT_MEDIC_GRANT_SCOPES {shlex.quote(','.join(groups))}\nazd provision"
        return f"List the groups where roles may be granted, and no others:\n{fix}"
    groups = _groups(place for lack in found.lacks for place in lack.missing)
    by_hand = "\n".join(_assign(own, found.role, shlex.quote(group)) for group in groups)
    deployed = f"azd env set MEDIC_MODE {own.settings.mode}, then azd provision"
    return f"Deploy it ({deployed}), or assign it by hand:\n{by_hand}"


def _unread_fix(own: Services, subscription: str, why: str) -> str:
    if not _REFUSED.search(why):
        return "Try again in a minute."
    assign = _assign(own, Role.READER, shlex.quote(f"/subscriptions/{subscription}"))
    return f"Let us read it, or take it out of the policy:\n{assign}"


def _groups(places: Iterable[str]) -> tuple[str, ...]:
    """Give the resource groups of resources; a subscription stays what it is."""
    return tuple(dict.fromkeys("/".join(place.split("/")[:5]) for place in places))


def _assign(own: Services, role: Role, scope: str) -> str:
    """Give the command that assigns a role on a scope, which is quoted for a shell.

    The name of one of ours ends in that of the deployment, so it is looked up.
    """
    who = own.own.oid if own.own is not None and own.own.oid else "<object id of our identity>"
    named = f"'{role}'"
    if role.startswith("Endpoint Medic "):
        query = f"[?starts_with(roleName, '{role}')].name | [0]"
        named = f'"$(az role definition list --custom-role-only true --query "{query}" -o tsv)"'
    return f"az role assignment create --assignee {who} --role {named} --scope {scope}"


def _specs(own: Services, container: str) -> Check:
    """Ask for a spec that is not there: who may read is told so, and who may not is refused."""
    reading = own.reads().fetch_spec(f"{container.rstrip('/')}/medic-doctor-asks")
    if not isinstance(reading, Unknown):
        return Check(name="specs", state="ok", words=f"{container} can be read")
    name = urlsplit(container).path.strip("/").partition("/")[0]
    scope = f'"{_id_of(_account(container))}/blobServices/default/containers/{name}"'
    words = f"{container} cannot be read: {reading.reason}"
    return Check(name="specs", state="fail", words=words, fix=_assign(own, Role.BLOB_READER, scope))


# ----------------------------------------------------------------------------------------------- app and sign-in


def _app(settings: Settings, transport: httpx.BaseTransport | None = None) -> Check:
    """Look whether the app answers, and whether it lets nobody in without a sign-in."""
    url = settings.app_url
    is_here = is_loopback(url)
    try:
        with httpx.Client(base_url=url, timeout=_CONNECT_S, follow_redirects=False, transport=transport) as client:
            health = client.get("/api/health")
            stranger = None if is_here else client.get("/api/incidents")
    except httpx.HTTPError as error:
        if is_here:
            words = f"nothing answers at {url}, where the links of messages lead; `medic serve` would"
            return Check(name="app", state="ok", words=words)
        fix = f"curl -i {url}/api/health\nIf the app moved, set MEDIC_APP_URL; else look at its log."
        return Check(name="app", state="fail", words=f"{url} does not answer: {type(error).__name__}", fix=fix)
    if stranger is not None and stranger.status_code == 200:
        words = f"{url} shows its incidents to everybody: nobody is asked to sign in"
        return Check(name="app", state="fail", words=words, fix="Deploy the sign-in again: azd provision")
    if health.status_code in _SIGN_IN:
        return Check(name="app", state="ok", words=f"{url} answers, and asks for a sign-in before it says anything")
    if health.status_code != 200:
        words = f"{url}/api/health answered {health.status_code}"
        fix = (
            "Its log tells which setting or line of the policy cannot be used: look for SettingsError and PolicyError."
        )
        return Check(name="app", state="fail", words=words, fix=fix)
    shown = _mode_of(health)
    words = f"{url} answers{shown}{'' if is_here else '; without a sign-in it shows nothing'}"
    return Check(name="app", state="ok", words=words)


def _mode_of(health: httpx.Response) -> str:
    try:
        body = health.json()
    except ValueError:
        return ""
    return f" in mode {body['mode']}" if isinstance(body, dict) and "mode" in body else ""


def _keys(own: Services) -> Check:
    settings = own.settings
    if settings.approval_keys:
        words = f"{terminal.counted(len(settings.approval_keys), 'key')}; {settings.approval_active_kid} signs"
        return Check(name="approvals", state="ok", words=words)
    if settings.mode.rank < Mode.ASK.rank:
        return Check(name="approvals", state="ok", words=f"no keys; none are needed while the mode is {settings.mode}")
    fix = 'Set MEDIC_APPROVAL_KEYS to {"k1": "<32 random bytes, base64url>"}, or nobody can answer a question.'
    return Check(name="approvals", state="warn", words="there is no key to sign approval links", fix=fix)


def _checkpoints(own: Services) -> Check:
    key = own.settings.anchor_key
    if key is not None:
        words = f"the trail is signed with the key whose public part is {checkpoint.public_of(key)}"
        return Check(name="signing", state="ok", words=words)
    fix = (
        "Set MEDIC_ANCHOR_KEY to what `medic audit key --new` makes, or a trail that was rewritten whole is not found."
    )
    return Check(name="signing", state="warn", words="there is no key to sign checkpoints of the trail", fix=fix)


# ---------------------------------------------------------------------------------------------------- channels


def _channels(own: Services) -> Iterator[Check]:
    settings = own.settings
    urls = {
        "MEDIC_TEAMS_URL": settings.teams_url,
        "MEDIC_WEBHOOK_URL": settings.webhook_url,
        "MEDIC_OUTCOME_TOPIC": settings.outcome_topic,
    }
    told = {setting: url for setting, url in urls.items() if url is not None}
    for setting, url in told.items():
        yield _one("channels", partial(_channel, setting, url))
    if settings.notices_folder is not None:
        words = f"messages go to folder {settings.notices_folder}; links to {settings.app_url}"
        yield Check(name="channels", state="ok", words=words)
    elif not told:
        fix = "Set MEDIC_TEAMS_URL, MEDIC_WEBHOOK_URL or MEDIC_OUTCOME_TOPIC, or nobody is told of anything."
        yield Check(name="channels", state="warn", words="there is no channel to people", fix=fix)


def _channel(setting: str, url: str, trusted: ssl.SSLContext | None = None) -> Check:
    """Connect to a channel as a message would, and post nothing."""
    parts = urlsplit(url)
    host, is_plain = parts.hostname or "", parts.scheme == "http"
    try:
        with socket.create_connection((host, parts.port or (80 if is_plain else 443)), _CONNECT_S) as connected:
            if not is_plain:
                with (trusted or ssl.create_default_context()).wrap_socket(connected, server_hostname=host):
                    pass
    except (OSError, UnicodeError) as error:  # no name, not found, refused, too slow, or with another's certificate
        why = getattr(error, "strerror", None) or str(error)
        words = f"{setting}: {host} cannot be reached: {why}"
        return Check(name="channels", state="fail", words=words, fix=_channel_fix(setting))
    not_tried = "whether we may publish shows with the first event" if setting not in _SECRETS else "nothing was posted"
    return Check(name="channels", state="ok", words=f"{setting}: {host} answers; {not_tried}")


def _channel_fix(setting: str) -> str:
    if setting not in _SECRETS:
        return "If it is another topic now, deploy again:\nazd provision"
    return (
        f"If it is another URL now (off Azure, set {setting}):\n"
        f"az keyvault secret set --vault-name <vault> --name {_SECRETS[setting]} --file <file with the URL>\n"
        "az functionapp restart --name <app> --resource-group <group>"
    )


def _one(name: str, look: Callable[[], Check]) -> Check:
    return _bounded(name, lambda: [look()])[0]


def _bounded(name: str, look: Callable[[], list[Check]], patience: timedelta = _PATIENCE) -> list[Check]:
    """Look in a thread that may be left behind: a sign-in can hang for a minute on a machine without one."""
    answers: queue.SimpleQueue[list[Check]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look())
        except (MedicError, AzureError, OSError, ValueError) as error:
            answers.put([Check(name=name, state="fail", words=str(error).split("\n", 1)[0])])

    threading.Thread(target=ask, daemon=True, name=f"doctor-{name}").start()
    try:
        return answers.get(timeout=patience.total_seconds())
    except queue.Empty:
        words = f"no answer in {terminal.span_words(patience)}"
        return [Check(name=name, state="fail", words=words, fix="Check the network and the sign-in, then try again.")]
