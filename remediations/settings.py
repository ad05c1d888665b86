"""Environment -> frozen `Settings`. Every setting has a safe default; a wrong one is refused, with the fix."""

import difflib
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from remediations.errors import SettingsError
from remediations.model import Mode
from remediations.proof import checkpoint

_ROOT = Path(__file__).parent.parent
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NOT_OURS = frozenset({"MEDIC_TASK_HUB", "MEDIC_RESEARCH"})
_LIVE = "MEDIC_LIVE_"  # what tests/live/ is told, in the environment of whoever runs it
_SECRETS = frozenset(
    {"MEDIC_APPROVAL_KEYS", "MEDIC_ANCHOR_KEY", "MEDIC_ARM_TOKEN", "MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL"}
)
_VISIBLE = re.compile(r"[!-~]+")  # what may stand in the request of a URL
_FROM_VAULT = ("MEDIC_APPROVAL_KEYS", "MEDIC_ANCHOR_KEY", "MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL")
_REFERENCE = "@microsoft.keyvault("
REFRESH = "config/configreferences/appsettings/refresh?api-version=2022-03-01"  # below the app: its secrets, at once
_REFERRED = re.compile(
    r"@Microsoft\.KeyVault\(VaultName=(?P<vault>[\w-]+);SecretName=(?P<secret>[\w-]+)\)", re.IGNORECASE
)
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WATCHABLE = re.compile(rf"/subscriptions/{_GUID.pattern}(/resourceGroups/[\w.()-]+)?", re.IGNORECASE)

DESCRIPTIONS: dict[str, str] = {
    "MEDIC_MODE": "The most that is permitted at all: off, dry-run (default), ask or auto",
    "MEDIC_STORE": "Where the trail and the evidence lie: a folder (default .medic) or an account's blob endpoint",
    "MEDIC_POLICY": "The policy file (default: policy.yaml beside the app)",
    "MEDIC_WATCH": "Ids of subscriptions and groups, with commas: no sweep looks beside them (default: anywhere)",
    "MEDIC_ARM_URL": "Azure Resource Manager (default https://management.azure.com); for sovereign clouds",
    "MEDIC_ARM_SCOPE": "The token scope for it (default: its URL and /.default)",
    "MEDIC_ARM_TOKEN": "A fixed token, for a simulator on loopback only; refused in Azure",
    "MEDIC_CLIENT_ID": "Client id of our identity, where its token does not tell (default: AZURE_CLIENT_ID)",
    "MEDIC_PRINCIPAL_ID": "Object id of our identity, where its token does not tell",
    "MEDIC_SEND_SECONDS": "The longest that one write may take, 1 to 120 (default 60)",
    "MEDIC_TIME_SCALE": "Divides the waits that policy chose; refused in Azure (default 1)",
    "MEDIC_APPROVAL_KEYS": 'Keys that sign approval links, as JSON: {"k1": "<32 random bytes, base64url>"}',
    "MEDIC_APPROVAL_ACTIVE_KID": "The key that signs; the others are still accepted",
    "MEDIC_ANCHOR_KEY": "Key that signs checkpoints of the trail: 32 random bytes, base64 (`medic audit key --new`)",
    "MEDIC_TEAMS_URL": "Where cards are posted: the secret URL of a Teams Workflow",
    "MEDIC_WEBHOOK_URL": "Where alerts are posted for paging and mail (common alert schema), a secret URL too",
    "MEDIC_OUTCOME_TOPIC": "Endpoint of an Event Grid topic that gets a CloudEvent of each message",
    "MEDIC_NOTICES": "A folder that keeps each message, or off (default: notices, beside the trail); refused in Azure",
    "MEDIC_APP_URL": "Where people reach this app (default: its host name as the platform gives it, or http://127.0.0.1:7071)",
    "MEDIC_DEV_SIGN_IN": "Object id of whoever uses this machine: signed in, with every role; refused in Azure",
}


_WHY_NOT_IN_AZURE = {
    "MEDIC_ARM_TOKEN": "a fixed token is for a simulator on loopback",
    "MEDIC_TIME_SCALE": "it shortens waits",
    "MEDIC_NOTICES": "a folder does not outlive an instance in Azure",
    "MEDIC_DEV_SIGN_IN": "it signs in whoever asks",
}
REFUSED_IN_AZURE = frozenset(_WHY_NOT_IN_AZURE)  # each other setting is an app setting in infra/


class Settings(Struct, frozen=True, kw_only=True):
    """How this app runs.

    Attributes:
        watch: Ids in lower case, of what the sweep keeps to; none: it looks wherever it may read.
        anchor_key: A secret: the private key of checkpoints (Ed25519), base64; None: none are written.
        teams_url, webhook_url: Secrets: whoever has one can post there.
        notices: The folder that is set; `notices_folder` is the one that is used.
        app_url: What the links in messages begin with, without a slash at its end.
        dev_sign_in: Who is taken as signed in on loopback; None in Azure.
    """

    mode: Mode = Mode.DRY_RUN
    store: str = ".medic"
    policy: str = str(_ROOT / "policy.yaml")
    watch: tuple[str, ...] = ()
    arm_url: str = "https://management.azure.com"
    arm_scope: str = "https://management.azure.com/.default"
    arm_token: str | None = None
    client_id: str | None = None
    principal_id: str | None = None
    send_within: timedelta = timedelta(seconds=60)
    time_scale: float = 1.0
    approval_keys: dict[str, str] = {}
    approval_active_kid: str | None = None
    anchor_key: str | None = None
    teams_url: str | None = None
    webhook_url: str | None = None
    outcome_topic: str | None = None
    notices: str | None = None
    app_url: str = "http://127.0.0.1:7071"
    dev_sign_in: str | None = None
    is_azure: bool = False

    @property
    def arm_is_loopback(self) -> bool:
        """Whether Azure Resource Manager is a simulator on this machine."""
        return is_loopback(self.arm_url)

    def watches(self, resource: str) -> bool:
        """Tell whether a resource lies in what is watched, by its id."""
        return not self.watch or any(f"{resource.lower()}/".startswith(f"{each}/") for each in self.watch)

    @property
    def notices_folder(self) -> Path | None:
        """The folder that keeps each message; None in Azure, where it is off, and beside a store that is no folder."""
        if self.notices == "off":
            return None
        if self.notices is not None:
            return Path(self.notices)
        return None if self.is_azure or self.store.startswith("http") else Path(self.store) / "notices"


def load(environment: Mapping[str, str]) -> Settings:
    """Give the settings in an environment; raises SettingsError."""
    # A secret that was set from a file often ends in a line end, which is none of it.
    environment = {**environment, **{name: environment[name].strip() for name in _FROM_VAULT if name in environment}}
    _refuse_unknown(environment)
    _refuse_unresolved(environment)
    is_azure = bool(environment.get("WEBSITE_INSTANCE_ID") or environment.get("WEBSITE_SITE_NAME"))
    arm_url = _url(environment, "MEDIC_ARM_URL", "https://management.azure.com").rstrip("/")
    keys = _keys(environment)
    settings = Settings(
        mode=_mode(environment),
        store=_store(environment, is_azure=is_azure),
        policy=environment.get("MEDIC_POLICY") or str(_ROOT / "policy.yaml"),
        watch=_watch(environment),
        arm_url=arm_url,
        arm_scope=environment.get("MEDIC_ARM_SCOPE") or f"{arm_url}/.default",
        arm_token=environment.get("MEDIC_ARM_TOKEN") or None,
        client_id=_guid(environment, "MEDIC_CLIENT_ID") or environment.get("AZURE_CLIENT_ID") or None,
        principal_id=_guid(environment, "MEDIC_PRINCIPAL_ID"),
        send_within=timedelta(seconds=_number(environment, "MEDIC_SEND_SECONDS", 60, 1, 120)),
        time_scale=_number(environment, "MEDIC_TIME_SCALE", 1, 1, 100_000),
        approval_keys=keys,
        approval_active_kid=_active_key(environment, keys),
        anchor_key=_anchor_key(environment),
        teams_url=_channel(environment, "MEDIC_TEAMS_URL", is_azure=is_azure),
        webhook_url=_channel(environment, "MEDIC_WEBHOOK_URL", is_azure=is_azure),
        outcome_topic=_channel(environment, "MEDIC_OUTCOME_TOPIC", is_azure=is_azure),
        notices=environment.get("MEDIC_NOTICES") or None,
        app_url=_app_url(environment, is_azure=is_azure),
        dev_sign_in=_guid(environment, "MEDIC_DEV_SIGN_IN", "Take yours: az ad signed-in-user show --query id."),
        is_azure=is_azure,
    )
    if is_azure:
        _refuse_in_azure(environment, settings)
    if settings.arm_is_loopback and settings.arm_token is None:
        raise SettingsError("MEDIC_ARM_TOKEN", None, "a simulator on loopback knows no sign-in", "Set it: sim-medic.")
    if settings.arm_token is not None and not settings.arm_is_loopback:
        raise SettingsError("MEDIC_ARM_TOKEN", "(hidden)", "a fixed token is for loopback only", "Remove it.")
    return settings


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine."""
    return _host(url) in _LOOPBACK


def _host(url: str) -> str | None:
    """Give the host that a URL names; None if it is malformed or names none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return host


def _refuse_in_azure(environment: Mapping[str, str], settings: Settings) -> None:
    for name, why in _WHY_NOT_IN_AZURE.items():
        if environment.get(name):
            shown = "(hidden)" if name in _SECRETS else environment[name]
            raise SettingsError(name, shown, why, "Remove it in Azure.")
    if settings.arm_is_loopback:
        raise SettingsError("MEDIC_ARM_URL", settings.arm_url, "no simulator runs in Azure", "Remove it in Azure.")


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    for name in environment:
        if name.startswith("MEDIC_") and not (name in DESCRIPTIONS or name in _NOT_OURS or name.startswith(_LIVE)):
            known = [other.removeprefix("MEDIC_") for other in DESCRIPTIONS]
            near = [f"MEDIC_{other}" for other in difflib.get_close_matches(name.removeprefix("MEDIC_"), known, n=1)]
            shown = "(hidden)" if not near or near[0] in _SECRETS else environment[name]
            fix = f"Did you mean {near[0]}?" if near else "Remove it; README.md lists the settings."
            raise SettingsError(name, shown, "no such setting", fix)


def _refuse_unresolved(environment: Mapping[str, str]) -> None:
    """Refuse a reference to Key Vault that the platform left as it is: it could not read the secret."""
    for name in DESCRIPTIONS:
        text = environment.get(name, "")
        if text.lower().startswith(_REFERENCE):
            named = _REFERRED.fullmatch(text)
            vault, secret = (named["vault"], named["secret"]) if named else ("<vault>", "<secret>")
            fix = (
                f"Let the secret exist (az keyvault secret set --vault-name {vault} --name {secret} --file FILE "
                "--output none), give the app's identity Key Vault Secrets User on the vault, and have it read again "
                f'(az rest --method post --url "<id of the app>/{REFRESH}").'
            )
            raise SettingsError(name, text[:200], "Azure could not read the secret that it refers to", fix)


def _mode(environment: Mapping[str, str]) -> Mode:
    text = environment.get("MEDIC_MODE") or Mode.DRY_RUN
    try:
        return Mode(text)
    except ValueError as error:
        fix = "Use one of off, dry-run, ask, auto."
        raise SettingsError("MEDIC_MODE", text, "no such mode", fix) from error


def _watch(environment: Mapping[str, str]) -> tuple[str, ...]:
    listed = [each.strip() for each in environment.get("MEDIC_WATCH", "").split(",") if each.strip()]
    for each in listed:
        if not _WATCHABLE.fullmatch(each):
            fix = "Give /subscriptions/<id> or /subscriptions/<id>/resourceGroups/<name>, several with commas between."
            raise SettingsError("MEDIC_WATCH", each, "it is no id of a subscription or a resource group", fix)
    return tuple(each.lower() for each in listed)


def _store(environment: Mapping[str, str], *, is_azure: bool) -> str:
    text = environment.get("MEDIC_STORE") or ""
    if "://" in text and set("@?#") & set(text):
        why = "it has a user, a query or a fragment, where secrets stand"
        fix = "Use the account's blob endpoint alone, https://<account>.blob.core.windows.net, and sign in."
        raise SettingsError("MEDIC_STORE", "(hidden)", why, fix)
    if is_azure and not text.startswith("https://"):
        fix = "Set it to the blob endpoint of a storage account: https://<account>.blob.core.windows.net."
        raise SettingsError("MEDIC_STORE", text or None, "a folder does not outlive an instance in Azure", fix)
    if text.startswith("http") and not (text.startswith("https://") or is_loopback(text)):
        raise SettingsError("MEDIC_STORE", text, "it is not https", "Use the https endpoint.")
    if text.startswith("http") and _host(text) is None:
        raise SettingsError("MEDIC_STORE", text, "it names no host", "Use the account's blob endpoint.")
    return text or ".medic"


def _url(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name) or default
    if not text.startswith("https://") and not (text.startswith("http://") and is_loopback(text)):
        raise SettingsError(name, text, "it is neither https nor on loopback", "Use an https URL.")
    if _host(text) is None:
        raise SettingsError(name, text, "it names no host", "Use an https URL.")
    if not _VISIBLE.fullmatch(text):
        raise SettingsError(name, text, "it holds a blank or what no URL may hold", "Copy it once more.")
    return text


def _app_url(environment: Mapping[str, str], *, is_azure: bool) -> str:
    host = environment.get("WEBSITE_HOSTNAME") or "127.0.0.1:7071"  # the host says where it is, also off Azure
    return _url(environment, "MEDIC_APP_URL", f"{'https' if is_azure else 'http'}://{host}").rstrip("/")


def _channel(environment: Mapping[str, str], name: str, *, is_azure: bool) -> str | None:
    """Give a URL that messages go to; no error shows one that is a secret."""
    text = environment.get(name) or None
    if text is None:
        return None
    shown = "(hidden)" if name in _SECRETS else text
    if not text.startswith("https://") and (is_azure or not (text.startswith("http://") and is_loopback(text))):
        raise SettingsError(name, shown, "it is not https", "Use an https URL, or one on loopback off Azure.")
    if _host(text) is None or not _VISIBLE.fullmatch(text):
        raise SettingsError(name, shown, "it is no URL", "Copy it once more from where it was made.")
    return text


def _guid(environment: Mapping[str, str], name: str, fix: str = "Copy it from the identity's overview.") -> str | None:
    text = environment.get(name) or None
    if text is not None and not _GUID.fullmatch(text):
        raise SettingsError(name, text, "it is not a GUID", fix)
    return text


def _number(environment: Mapping[str, str], name: str, default: float, least: float, most: float) -> float:
    text = environment.get(name) or str(default)
    try:
        number = float(text)
    except ValueError as error:
        raise SettingsError(name, text, "it is not a number", f"Use {least:g} to {most:g}.") from error
    if not least <= number <= most:
        raise SettingsError(name, text, "it is out of range", f"Use {least:g} to {most:g}.")
    return number


def _keys(environment: Mapping[str, str]) -> dict[str, str]:
    text = environment.get("MEDIC_APPROVAL_KEYS") or "{}"
    fix = 'Use JSON of this form: {"k1": "<32 random bytes, base64url>"}.'
    try:
        keys = json.loads(text)
    except ValueError as error:
        raise SettingsError("MEDIC_APPROVAL_KEYS", "(hidden)", "it is not JSON", fix) from error
    if not isinstance(keys, dict) or not all(isinstance(key, str) and len(key) >= 32 for key in keys.values()):
        raise SettingsError("MEDIC_APPROVAL_KEYS", "(hidden)", "a key is shorter than 32 characters", fix)
    if not all(re.fullmatch(r"[\w-]{1,32}", kid) for kid in keys):
        why = "an id of a key has other characters than letters, digits, - and _"
        raise SettingsError("MEDIC_APPROVAL_KEYS", "(hidden)", why, fix)
    return keys


def _anchor_key(environment: Mapping[str, str]) -> str | None:
    text = environment.get("MEDIC_ANCHOR_KEY") or None
    if text is not None and not checkpoint.is_key(text):
        fix = "Make one with `medic audit key --new`, and keep it in a vault."
        raise SettingsError("MEDIC_ANCHOR_KEY", "(hidden)", "it is not 32 bytes in base64", fix)
    return text


def _active_key(environment: Mapping[str, str], keys: Mapping[str, str]) -> str | None:
    kid = environment.get("MEDIC_APPROVAL_ACTIVE_KID") or next(iter(keys), None)
    if kid is not None and kid not in keys:
        raise SettingsError("MEDIC_APPROVAL_ACTIVE_KID", kid, "no key has this id", "Use a key of MEDIC_APPROVAL_KEYS.")
    return kid
