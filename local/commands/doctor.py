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
from functools import cache, partial
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
from remediations.errors import MedicError, PolicyError, StoreUnavailable
from remediations.model import Caller, Mode, Unknown
from remediations.proof import checkpoint
from remediations.rights import Right, Role
from remediations.services import Services
from remediations.settings import REFRESH, Settings, is_loopback

_PATIENCE = timedelta(seconds=10)
_PATIENCE_STORE = timedelta(seconds=40)  # the SDK tries five times, with 16 s or so of pauses
_PATIENCE_RIGHTS = timedelta(seconds=60)  # a read for each place
_CONNECT_S = 5.0
_NAMED = 3  # places of a missing right
_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}
_SIGN_IN = {302, 401, 403}
_NO_TOKEN = re.compile(
    r"\b401: our identity\b|\banswered 401\b|\bno token\b|\b(ClientAuthentication|CredentialUnavailable)Error\b"
)
_REFUSED = re.compile(r"\b403: our identity\b|\banswered 403\b")  # ids and names hold such numbers too
_NOT_TAKEN = re.compile(r"\b401: our identity lacks [^\s)]+")
_COMMANDS = ("az ", "azd ", "curl ", "export ", "medic ")
_SUBSCRIPTION = re.compile(r"/subscriptions/[^/']+")
_PRINCIPAL = "azd env get-value ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID"
_TRY_AGAIN = "Check the network and the sign-in, then try again:\naz account show"
_IN_THE_APP = "what the app has from its vault is not looked at from here: its log tells"
_IN_VAULT = {"MEDIC_TEAMS_URL": "medic-teams-url", "MEDIC_WEBHOOK_URL": "medic-webhook-url"}


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `state` is ``ok``, ``warn`` or ``fail``; `fix` says what to do."""

    name: str
    state: str
    words: str
    fix: str = ""


class SignedIn(Struct, frozen=True, kw_only=True):
    """Who looks here, and what is known of the app's identity.

    Attributes:
        who: Who our token says that we are; None: it does not tell.
        is_app: Whether that is known to be the app's identity.
        app: The principal of the app's identity, if it is known.
    """

    who: Caller | None = None
    is_app: bool = False
    app: str | None = None


type Look = Callable[[], SignedIn]  # asked where it is needed, since a sign-in can hang


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
        failed = _failed("settings", error)
        yield replace(failed, fix=f"{failed.fix}\nThe rest was not looked at.".lstrip())
        return
    look = cache(partial(_looking, own.settings))
    yield _settings(own.settings)
    policy = _one("policy", partial(_policy, own))
    yield policy
    too_slow = _store_fix(own, look, "no answer", "Check MEDIC_STORE and the network, then try again.")
    yield from _bounded("store", lambda: [_store(own, look)], _PATIENCE_STORE, too_slow)
    azure = _one("azure", partial(_azure, own, look))
    yield azure
    if azure.state != "fail" and policy.state != "fail":
        yield from _of_policy(own, look)
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
    try:
        policy = own.policy
    except PolicyError as error:
        failed = _failed("policy", error)
        return replace(failed, fix=f"{failed.fix}\nmedic policy check {shlex.quote(own.settings.policy)}")
    words = f"{own.settings.policy}, version {policy.version}"
    warnings = list(policy_warnings(policy))
    if not policy.subscriptions:
        warnings.append("subscriptions: none is listed, so the sweep looks at none, and rights cannot be looked up.")
    if warnings:
        return Check(name="policy", state="warn", words=words, fix="\n".join(warnings))
    return Check(name="policy", state="ok", words=words)


def _store(own: Services, look: Look) -> Check:
    where = own.settings.store
    try:
        held_there = [next(iter(store.list("")), None) for store in (own.trail.store, own.evidence.store)]
    except StoreUnavailable as error:
        failed = _failed("store", error)
        return replace(failed, fix=_store_fix(own, look, error.why, failed.fix))
    what = "it can be listed" if any(held_there) else "it can be listed; nothing is in it"
    if where.startswith("http"):
        return Check(name="store", state="ok", words=f"{where}: {what}. Writing was not tried")
    folder = Path(where).absolute()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK):
        fix = "Let this user write there, or name another place in MEDIC_STORE."
        return Check(name="store", state="fail", words=f"folder {folder}: {above} cannot be written", fix=fix)
    return Check(name="store", state="ok", words=f"folder {folder}: {what}")


def _store_fix(own: Services, look: Look, why: str, known: str) -> str:
    """Give the commands that let us use the account, or after what is known, show whether it can be reached at all."""
    where = own.settings.store
    if not where.startswith("http") or is_loopback(where):
        return known
    account = _account(where)
    shown = f"az storage account show --name {account} --query '[publicNetworkAccess, networkRuleSet]'"
    if _NO_TOKEN.search(why):
        return _sign_in_fix(own.settings, why)
    if not _REFUSED.search(why):
        return f"{known}\n{shown}"
    scopes = [f'"{_id_of(account)}/blobServices/default/containers/{container}"' for container in ("trail", "evidence")]
    signed_in = look()
    if signed_in.is_app:
        assign = _assign(signed_in, Role.STORE, *scopes)
        return f"Give us the role, and look at the account's network rules:\n{assign}\n{shown}"
    you = '"$(az ad signed-in-user show --query id -o tsv)"'
    lines = (
        f"az role assignment create --assignee {you} --role '{Role.BLOB_READER}' --scope {scope}" for scope in scopes
    )
    return "\n".join(("To read the app's records as who is signed in here:", *lines, shown))


def _account(url: str) -> str:
    return shlex.quote((urlsplit(url).hostname or "").partition(".")[0])


def _id_of(account: str) -> str:
    return f"$(az storage account show --name {account} --query id -o tsv)"


# ------------------------------------------------------------------------------------------------------- Azure


def _azure(own: Services, look: Look) -> Check:
    reads = terminal.own_reads(own)
    reading = reads.get("/subscriptions?api-version=2022-12-01")
    if isinstance(reading, Unknown):
        words = f"{own.settings.arm_url} cannot be read: {_said(reading.reason)}"
        return Check(name="azure", state="fail", words=words, fix=_azure_fix(own, look, reading.reason))
    return _identified(own.settings.arm_url, reads.identity(), look())


def _azure_fix(own: Services, look: Look, why: str) -> str:
    settings = own.settings
    if _NO_TOKEN.search(why):
        return _sign_in_fix(settings, why)
    if _REFUSED.search(why):
        return _refused_fix(look(), shlex.quote("/subscriptions/<subscription>"))
    if why.startswith("429"):
        return "Try again in a minute."
    return (
        "Look at MEDIC_ARM_URL (left out, it is https://management.azure.com) and at the network:\n"
        f"curl -i {shlex.quote(settings.arm_url)}"
    )


def _sign_in_fix(settings: Settings, why: str) -> str:
    """Give what gets a token that Azure takes."""
    if settings.arm_token is not None:
        return (
            "Set MEDIC_ARM_TOKEN to a token that the simulator knows, for instance:\nexport MEDIC_ARM_TOKEN=sim-medic"
        )
    if "401" in why:
        return "The token is no longer good, or of another tenant than the subscription:\naz login --tenant <tenant>"
    return "Sign in, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET:\naz login"


def _said(why: str) -> str:
    """Give the words of a reading: what refuses our token says nothing of our rights."""
    return _NOT_TAKEN.sub("401: our token is not accepted", why)


def _identified(arm_url: str, who: Caller | None, signed_in: SignedIn) -> Check:
    """Tell who we are, and whether who is signed in here is somebody else than the app."""
    answers = f"{arm_url} answers;"
    if signed_in.is_app and who is not None:
        return Check(name="azure", state="ok", words=f"{answers} we are {_named(who)}")
    here = "somebody whom the token does not tell" if signed_in.who is None else _named(signed_in.who)
    if signed_in.app is not None:
        words = f"{answers} signed in here is {here}, and the app is oid {signed_in.app}"
        fix = (
            "The rights below are the app's, as its role assignments give them. That the store, the workspaces and the "
            "specs can be read holds for who is signed in here."
        )
        return Check(name="azure", state="warn", words=words, fix=fix)
    if signed_in.who is None:
        words = f"{answers} who we are is not known"
        fix = "Set MEDIC_CLIENT_ID and MEDIC_PRINCIPAL_ID, or our own writes look like somebody else's."
        return Check(name="azure", state="warn", words=words, fix=fix)
    words = f"{answers} signed in here is {here}, which is not known to be the app's identity"
    fix = (
        f"The rights below are those of {here}, not of the app. To check the app's, set its identity:\n"
        f"export MEDIC_PRINCIPAL_ID=$({_PRINCIPAL})"
    )
    return Check(name="azure", state="warn", words=words, fix=fix)


def _looking(settings: Settings) -> SignedIn:
    """Tell who looks; AZURE_CLIENT_ID may name whoever deploys, so it does not tell who the app is."""
    named = settings if os.environ.get("MEDIC_CLIENT_ID") else replace(settings, client_id=None)
    return _compared(named, _signed_in(settings))


def _compared(settings: Settings, who: Caller | None) -> SignedIn:
    """Compare who our token says that we are with who the settings say that the app is."""
    pairs = ((settings.principal_id, who and who.oid), (settings.client_id, who and who.appid))
    if who is None:  # a simulator's token may say nothing
        is_app = settings.arm_token is not None and any(ours for ours, _ in pairs)
    else:
        is_app = next((ours.lower() == claimed.lower() for ours, claimed in pairs if ours and claimed), False)
    claimed_oid = who.oid if who is not None and is_app else None
    return SignedIn(who=who, is_app=is_app, app=settings.principal_id or claimed_oid)


def _signed_in(settings: Settings) -> Caller | None:
    """Give who our token says that we are, whatever the settings say."""
    unnamed = replace(settings, client_id=None, principal_id=None)
    return arm.identity(unnamed, arm.credential_of(settings))


def _named(who: Caller) -> str:
    names = ((name, getattr(who, name)) for name in ("oid", "appid", "tid"))
    return ", ".join(f"{name} {value}" for name, value in names if value)


def _of_policy(own: Services, look: Look) -> Iterator[Check]:
    """Look at what the policy names in Azure, and at our rights there."""
    rights = held.needed(own.policy, own.settings.mode)
    for subscription in own.policy.subscriptions:
        watched = _one("watched", partial(_watched, own, look, subscription))
        yield watched
        if watched.state != "fail" and rights:
            yield from _bounded("rights", partial(_rights, own, look, subscription, rights), _PATIENCE_RIGHTS)
    for container in own.policy.desired_specs.containers:
        yield _one("specs", partial(_specs, own, look, container))


def _watched(own: Services, look: Look, subscription: str) -> Check:
    reads = own.reads()
    try:
        found = sum(map(own.settings.watches, workspaces(reads, subscription)))
    except NotListed as error:
        fix = _unread_fix(own, look(), subscription, str(error))
        return Check(name="watched", state="fail", words=_said(str(error)), fix=fix)
    words = f"subscription {subscription}: {terminal.counted(found, 'workspace')}"
    return Check(name="watched", state="ok", words=words)


def _rights(own: Services, look: Look, subscription: str, rights: tuple[Right, ...]) -> list[Check]:
    signed_in = look()
    other = None if signed_in.is_app else signed_in.app
    found = held.findings(own.reads(), subscription, rights, other, watches=own.settings.watches)
    return [_held(own, signed_in, subscription, each) for each in found]


def _held(own: Services, signed_in: SignedIn, subscription: str, found: held.Finding) -> Check:
    """Tell what one role gives; what is missing of it, each in a line."""
    if found.unknown:
        fix = _unread_fix(own, signed_in, subscription, found.unknown)
        return Check(name="rights", state="fail", words=f"{found.role}: {_said(found.unknown)}", fix=fix)
    is_of_app = signed_in.is_app or signed_in.app is not None
    count = len(found.needed) - len(found.lacks)
    words = f"{found.role}: {count} of {terminal.counted(len(found.needed), 'right')} held in {subscription}"
    if not is_of_app:
        words += " by who is signed in here, who may not be the app"
    fix = ""
    if found.unseen:
        words += f"; {terminal.counted(found.unseen, 'place')} more were not looked at"
        fix = "A role on the subscription, as `azd up` gives it where all of it is watched, would show for all of them."
    if not found.lacks:
        return Check(name="rights", state="warn" if found.unseen else "ok", words=words, fix=fix)
    if all(lack.right.without for lack in found.lacks):
        return Check(name="rights", state="ok", words=f"{words}; without the rest, {found.lacks[0].right.without}")
    lines = [f"{lack.right.operation} is missing on {_names(lack)}, to {lack.right.what_for}" for lack in found.lacks]
    # A role that is given in some places and not in others may be meant so; and what a person lacks, the app may have.
    state = "fail" if is_of_app and any(lack.missing == lack.looked for lack in found.lacks) else "warn"
    fix = _role_fix(own, signed_in, subscription, found)
    return Check(name="rights", state=state, words="\n".join((words, *lines)), fix=fix)


def _names(lack: held.Lack) -> str:
    if len(lack.looked) == 1 and lack.looked[0].count("/") == 2:
        return "the subscription"
    names = [place.rsplit("/", 1)[-1] for place in lack.missing]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}, {len(names)} of {len(lack.looked)}"


def _role_fix(own: Services, signed_in: SignedIn, subscription: str, found: held.Finding) -> str:
    """Give the commands that give a role; one over role assignments never by hand: its condition belongs to it."""
    if found.role is Role.SUBSCRIPTION_READER:
        return _assign(signed_in, found.role, shlex.quote(f"/subscriptions/{subscription}"))
    if found.role is Role.UNDO:
        fix = "azd env set ENDPOINT_MEDIC_UNDO_PRINCIPALS '<object ids>'\nazd provision --no-state"
        return f"List the identities whose granted roles may be taken back, and no others:\n{fix}"
    if found.role is Role.GRANTER:
        seen = [
            place for place in _groups(place for lack in found.lacks for place in lack.looked) if place.count("/") > 2
        ]
        among = f" Those of the registries and storage accounts: {', '.join(seen)}." if seen else ""
        fix = "azd env set ENDPOINT_MEDIC_GRANT_SCOPES '<all of them, with commas between>'\nazd provision --no-state"
        return f"List the groups where roles may be granted, those of before too, and no others.{among}\n{fix}"
    groups = _groups(place for lack in found.lacks for place in lack.missing)
    by_hand = _assign(signed_in, found.role, *map(shlex.quote, groups))
    if found.role is Role.READER:
        return by_hand
    deployed = f"azd env set ENDPOINT_MEDIC_MODE {own.settings.mode}, then azd provision --no-state"
    return f"Deploy it ({deployed}), or assign it by hand:\n{by_hand}"


def _unread_fix(own: Services, signed_in: SignedIn, subscription: str, why: str) -> str:
    if _NO_TOKEN.search(why):
        return _sign_in_fix(own.settings, why)
    if not _REFUSED.search(why):
        return "Try again in a minute."
    return _refused_fix(signed_in, shlex.quote(f"/subscriptions/{subscription}"))


def _refused_fix(signed_in: SignedIn, scope: str) -> str:
    """Give what lets a subscription be read: the app by its role, a person by signing in as one who may."""
    if signed_in.is_app:
        return f"Let us read it, or take it out of the policy:\n{_assign(signed_in, Role.SUBSCRIPTION_READER, scope)}"
    return (
        "Who is signed in here may not read it; whether the app may is not known. Sign in as somebody who may, for "
        "instance with Azure's role Reader there:\naz login"
    )


def _groups(places: Iterable[str]) -> tuple[str, ...]:
    """Give the resource groups of resources; a subscription stays what it is."""
    return tuple(dict.fromkeys("/".join(place.split("/")[:5]) for place in places))


def _assign(signed_in: SignedIn, role: Role, *scopes: str) -> str:
    """Give the commands that assign a role of the app on scopes, which are quoted for a shell; each in a line.

    The name of one of ours ends in that of the deployment, so it is looked up, in the subscription of the scope: each
    has definitions of its own.
    """
    app = signed_in.app or '"<the app\'s identity>"'
    lines = []
    for scope in scopes:
        named = f"'{role}'"
        if role.startswith("Endpoint Medic "):
            query = f"[?starts_with(roleName, '{role}')].name | [0]"
            found = _SUBSCRIPTION.match(scope.lstrip("'"))
            where = shlex.quote(found[0]) if found else '"/subscriptions/$(az account show --query id -o tsv)"'
            options = f'--custom-role-only true --scope {where} --query "{query}" -o tsv'
            named = f'"$(az role definition list {options})"'
        lines.append(f"az role assignment create --assignee {app} --role {named} --scope {scope}")
    if signed_in.app is None:
        lines.insert(0, f"{_PRINCIPAL}  # tells the app's identity")
    return "\n".join(lines)


def _specs(own: Services, look: Look, container: str) -> Check:
    """Ask for a spec that is not there: who may read is told so, and who may not is refused."""
    reading = own.reads().fetch_spec(f"{container.rstrip('/')}/medic-doctor-asks")
    signed_in = look()
    by_whom = "" if signed_in.is_app else " by who is signed in here"
    if not isinstance(reading, Unknown):
        return Check(name="specs", state="ok", words=f"{container} can be read{by_whom}")
    words = f"{container} cannot be read{by_whom}: {_said(reading.reason)}"
    if _NO_TOKEN.search(reading.reason):
        return Check(name="specs", state="fail", words=words, fix=_sign_in_fix(own.settings, reading.reason))
    name = urlsplit(container).path.strip("/").partition("/")[0]
    scope = f'"{_id_of(_account(container))}/blobServices/default/containers/{name}"'
    fix = _assign(signed_in, Role.BLOB_READER, scope)
    return Check(name="specs", state="fail" if signed_in.is_app else "warn", words=words, fix=fix)


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
            return _not_here(settings, Check(name="app", state="ok", words=words))
        fix = f"curl -i {url}/api/health\nIf the app moved, set MEDIC_APP_URL; else look at its log."
        return Check(name="app", state="fail", words=f"{url} does not answer: {type(error).__name__}", fix=fix)
    if stranger is not None and stranger.status_code == 200:
        words = f"{url} shows its incidents to everybody: nobody is asked to sign in"
        return Check(name="app", state="fail", words=words, fix="Deploy the sign-in again: azd provision --no-state")
    if health.status_code in _SIGN_IN:
        return Check(name="app", state="ok", words=f"{url} answers, and asks for a sign-in before it says anything")
    if health.status_code != 200:
        words = f"{url}/api/health answered {health.status_code}"
        fix = (
            "Its log tells which setting or line of the policy cannot be used: look for SettingsError and PolicyError."
        )
        return Check(name="app", state="fail", words=words, fix=fix)
    mode = _mode_of(health)
    shown = "" if mode is None else f" in mode {mode}"
    check = Check(
        name="app",
        state="ok",
        words=f"{url} answers{shown}{'' if is_here else '; without a sign-in it shows nothing'}",
    )
    if mode is not None and mode is not settings.mode:
        fix = f"MEDIC_MODE here is {settings.mode}: policy and rights were looked at for that mode, not the app's.\n"
        check = replace(check, state="warn", fix=f"{fix}export MEDIC_MODE={mode}")
    return _not_here(settings, check)


def _not_here(settings: Settings, check: Check) -> Check:
    """Warn if the app on this machine was asked, while the records are those of one in Azure."""
    if not (is_loopback(settings.app_url) and settings.store.startswith("https://")):
        return check
    fix = (
        "The store is in Azure, and the app that was asked is the one on this machine. Set MEDIC_APP_URL:\n"
        "export MEDIC_APP_URL=$(azd env get-value SERVICE_MEDIC_URI)"
    )
    return replace(check, state="warn", fix=f"{check.fix}\n{fix}".lstrip())


def _mode_of(health: httpx.Response) -> Mode | None:
    try:
        return Mode(health.json()["mode"])
    except (ValueError, TypeError, LookupError):
        return None


def _is_away(settings: Settings) -> bool:
    """Tell whether the app whose records these are runs elsewhere: what its vault gives it is not set here."""
    return settings.store.startswith("https://") and not settings.is_azure


def _keys(own: Services) -> Check:
    settings = own.settings
    if settings.approval_keys:
        words = f"{terminal.counted(len(settings.approval_keys), 'key')}; {settings.approval_active_kid} signs"
        return Check(name="approvals", state="ok", words=words)
    if settings.mode.rank < Mode.ASK.rank:
        return Check(name="approvals", state="ok", words=f"no keys; none are needed while the mode is {settings.mode}")
    if _is_away(settings):
        return Check(name="approvals", state="ok", words=f"no keys here; {_IN_THE_APP}")
    fix = 'Set MEDIC_APPROVAL_KEYS to {"k1": "<32 random bytes, base64url>"}, or nobody can answer a question.'
    return Check(name="approvals", state="warn", words="there is no key to sign approval links", fix=fix)


def _checkpoints(own: Services) -> Check:
    key = own.settings.anchor_key
    if key is not None:
        words = f"the trail is signed with the key whose public part is {checkpoint.public_of(key)}"
        return Check(name="signing", state="ok", words=words)
    if _is_away(own.settings):
        return Check(name="signing", state="ok", words=f"no key here; {_IN_THE_APP}")
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
    elif not told and _is_away(settings):
        yield Check(name="channels", state="ok", words=f"none is set here; {_IN_THE_APP}")
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
    not_tried = (
        "whether we may publish shows with the first event" if setting not in _IN_VAULT else "nothing was posted"
    )
    return Check(name="channels", state="ok", words=f"{setting}: {host} answers; {not_tried}")


def _channel_fix(setting: str) -> str:
    if setting not in _IN_VAULT:
        return "If it is another topic now, deploy again:\nazd provision --no-state"
    secret = f"--vault-name <vault> --name {_IN_VAULT[setting]} --file <file with the URL>"
    site = "$(az functionapp show --name <app> --resource-group <group> --query id --output tsv)"
    return (
        f"If it is another URL now (off Azure, set {setting}):\n"
        f"az keyvault secret set {secret} --output none\n"
        f'az rest --method post --url "{site}/{REFRESH}"'
    )


def _one(name: str, look: Callable[[], Check]) -> Check:
    return _bounded(name, lambda: [look()])[0]


def _failed(name: str, error: Exception) -> Check:
    """Tell an error: what is wrong, and apart from that what to do."""
    fix = getattr(error, "fix", "")
    words = str(error).removesuffix(fix).rstrip().split("\n", 1)[0]
    return Check(name=name, state="fail", words=words, fix=fix or _TRY_AGAIN)


def _bounded(
    name: str, look: Callable[[], list[Check]], patience: timedelta = _PATIENCE, too_slow: str = _TRY_AGAIN
) -> list[Check]:
    """Look in a thread that may be left behind: a sign-in can hang for a minute on a machine without one.

    Args:
        too_slow: What to do if no answer comes.
    """
    answers: queue.SimpleQueue[list[Check]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look())
        except (MedicError, AzureError, OSError, ValueError) as error:
            answers.put([_failed(name, error)])
        except Exception as error:  # noqa: BLE001 - a fault of ours is told as one, not waited for as if nobody answered
            words = f"`medic doctor` itself failed: {type(error).__name__}: {error}"
            answers.put([Check(name=name, state="fail", words=words, fix="Please report it, with this line.")])

    threading.Thread(target=ask, daemon=True, name=f"doctor-{name}").start()
    try:
        return answers.get(timeout=patience.total_seconds())
    except queue.Empty:
        words = f"no answer in {terminal.span_words(patience)}"
        return [Check(name=name, state="fail", words=words, fix=too_slow)]
