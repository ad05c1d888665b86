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

_ROOT = Path(__file__).parent.parent
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NOT_OURS = frozenset({"MEDIC_TASK_HUB", "MEDIC_RESEARCH", "MEDIC_LIVE_DEPLOYMENT"})
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

DESCRIPTIONS: dict[str, str] = {
    "MEDIC_MODE": "The most that is permitted at all: off, dry-run (default), ask or auto",
    "MEDIC_STORE": "Where the trail and the evidence lie: a folder (default .medic) or an account's blob endpoint",
    "MEDIC_POLICY": "The policy file (default: policy.yaml beside the app)",
    "MEDIC_ARM_URL": "Azure Resource Manager (default https://management.azure.com); for sovereign clouds",
    "MEDIC_ARM_SCOPE": "The token scope for it (default: its URL and /.default)",
    "MEDIC_ARM_TOKEN": "A fixed token, for a simulator on loopback only",
    "MEDIC_CLIENT_ID": "Client id of our identity, where its token does not tell (default: AZURE_CLIENT_ID)",
    "MEDIC_PRINCIPAL_ID": "Object id of our identity, where its token does not tell",
    "MEDIC_SEND_SECONDS": "The longest that one write may take, 1 to 120 (default 60)",
    "MEDIC_TIME_SCALE": "Divides the waits that policy chose; refused in Azure (default 1)",
    "MEDIC_APPROVAL_KEYS": 'Keys that sign approval links, as JSON: {"k1": "<32 random bytes, base64url>"}',
    "MEDIC_APPROVAL_ACTIVE_KID": "The key that signs; the others are still accepted",
}


class Settings(Struct, frozen=True, kw_only=True):
    """How this app runs."""

    mode: Mode = Mode.DRY_RUN
    store: str = ".medic"
    policy: str = str(_ROOT / "policy.yaml")
    arm_url: str = "https://management.azure.com"
    arm_scope: str = "https://management.azure.com/.default"
    arm_token: str | None = None
    client_id: str | None = None
    principal_id: str | None = None
    send_within: timedelta = timedelta(seconds=60)
    time_scale: float = 1.0
    approval_keys: dict[str, str] = {}
    approval_active_kid: str | None = None
    is_azure: bool = False

    @property
    def arm_is_loopback(self) -> bool:
        """Whether Azure Resource Manager is a simulator on this machine."""
        return is_loopback(self.arm_url)


def load(environment: Mapping[str, str]) -> Settings:
    """Give the settings in an environment; raises SettingsError."""
    _refuse_unknown(environment)
    is_azure = bool(environment.get("WEBSITE_INSTANCE_ID") or environment.get("WEBSITE_SITE_NAME"))
    arm_url = _url(environment, "MEDIC_ARM_URL", "https://management.azure.com").rstrip("/")
    keys = _keys(environment)
    settings = Settings(
        mode=_mode(environment),
        store=_store(environment, is_azure=is_azure),
        policy=environment.get("MEDIC_POLICY") or str(_ROOT / "policy.yaml"),
        arm_url=arm_url,
        arm_scope=environment.get("MEDIC_ARM_SCOPE") or f"{arm_url}/.default",
        arm_token=environment.get("MEDIC_ARM_TOKEN") or None,
        client_id=_guid(environment, "MEDIC_CLIENT_ID") or environment.get("AZURE_CLIENT_ID") or None,
        principal_id=_guid(environment, "MEDIC_PRINCIPAL_ID"),
        send_within=timedelta(seconds=_number(environment, "MEDIC_SEND_SECONDS", 60, 1, 120)),
        time_scale=_number(environment, "MEDIC_TIME_SCALE", 1, 1, 100_000),
        approval_keys=keys,
        approval_active_kid=_active_key(environment, keys),
        is_azure=is_azure,
    )
    if is_azure and settings.time_scale != 1:
        raise SettingsError(
            "MEDIC_TIME_SCALE", environment["MEDIC_TIME_SCALE"], "it shortens waits", "Remove it in Azure."
        )
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
        return urlsplit(url).hostname
    except ValueError:
        return None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    for name in environment:
        if name.startswith("MEDIC_") and name not in DESCRIPTIONS and name not in _NOT_OURS:
            known = [other.removeprefix("MEDIC_") for other in DESCRIPTIONS]
            near = difflib.get_close_matches(name.removeprefix("MEDIC_"), known, n=1)
            fix = f"Did you mean MEDIC_{near[0]}?" if near else "Remove it; README.md lists the settings."
            raise SettingsError(name, environment[name], "no such setting", fix)


def _mode(environment: Mapping[str, str]) -> Mode:
    text = environment.get("MEDIC_MODE") or Mode.DRY_RUN
    try:
        return Mode(text)
    except ValueError as error:
        fix = "Use one of off, dry-run, ask, auto."
        raise SettingsError("MEDIC_MODE", text, "no such mode", fix) from error


def _store(environment: Mapping[str, str], *, is_azure: bool) -> str:
    text = environment.get("MEDIC_STORE") or ""
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
    return text


def _guid(environment: Mapping[str, str], name: str) -> str | None:
    text = environment.get(name) or None
    if text is not None and not _GUID.fullmatch(text):
        raise SettingsError(name, text, "it is not a GUID", "Copy it from the identity's overview.")
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


def _active_key(environment: Mapping[str, str], keys: Mapping[str, str]) -> str | None:
    kid = environment.get("MEDIC_APPROVAL_ACTIVE_KID") or next(iter(keys), None)
    if kid is not None and kid not in keys:
        raise SettingsError("MEDIC_APPROVAL_ACTIVE_KID", kid, "no key has this id", "Use a key of MEDIC_APPROVAL_KEYS.")
    return kid
