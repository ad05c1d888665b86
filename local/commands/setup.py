"""``medic policy`` and ``medic doctor``: whether what was set up can be used."""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from azure.core.exceptions import AzureError
from msgspec import Struct
from rich.table import Table
from rich.text import Text

from local.commands import terminal
from remediations import policy as policies
from remediations import settings as environment
from remediations.actions import ACTIONS
from remediations.discovery import NotListed, workspaces
from remediations.errors import MedicError
from remediations.model import Mode, Unknown
from remediations.policy import Policy
from remediations.proof import checkpoint
from remediations.services import Services
from remediations.settings import Settings

_PATIENCE_S = 10.0
_MARKS = {"ok": ("ok", "green"), "warn": ("warn", "yellow"), "fail": ("fail", "red")}


# ----------------------------------------------------------------------------------------------- policy


def policy_check(file: str | None, *, as_json: bool) -> int:
    """Read a policy as the app would, and tell what it says."""
    path = Path(file or os.environ.get("MEDIC_POLICY") or environment.Settings().policy)
    policy = policies.load(path)
    policies.refuse_unknown_actions(policy, ACTIONS, str(path))
    warnings = tuple(_warnings(policy))
    if as_json:
        actions = {name: {"mode": one.mode, "attempts": one.attempts} for name, one in policy.actions.items()}
        answer = {"file": str(path), "version": policy.version, "actions": actions, "warnings": warnings}
        terminal.say_json(answer)
    else:
        _show_policy(path, policy, warnings)
    return terminal.DIFFERS if warnings else terminal.OK


def policy_schema() -> int:
    """Write the JSON Schema of policy.yaml."""
    sys.stdout.write(json.dumps(policies.schema(), indent=2) + "\n")
    return terminal.OK


def _warnings(policy: Policy) -> Iterator[str]:
    for name in ACTIONS:
        if name not in policy.actions:
            yield f"actions: {name} is not listed, so it is off. List it as 'off' if that is meant."


def _show_policy(path: Path, policy: Policy, warnings: tuple[str, ...]) -> None:
    console = terminal.out()
    console.print(f"{path}: valid, version {policy.version}", style="bold", soft_wrap=True)
    listed = terminal.table("Action", "Mode", ">Attempts", ">Per hour", ">Backoff", ">Ceiling")
    for name, one in policy.actions.items():
        spans = (terminal.span_words(one.backoff), terminal.span_words(one.ceiling))
        attempts = f"{one.attempts} in {terminal.span_words(one.within)}"
        listed.add_row(name, str(one.mode), attempts, str(one.budget_per_hour), *spans)
    console.print(listed)
    counts = {
        "rule": len(policy.rules),
        "pause": len(policy.pauses),
        "freeze": len(policy.freezes),
        "maintenance window": len(policy.windows),
        "protected tag": len(policy.protected),
        "spec container": len(policy.desired_specs.containers),
    }
    watched = ", ".join(policy.subscriptions) or "every one whose events arrive; the sweep and `medic scan` need names"
    set_up = ", ".join(terminal.counted(count, name) for name, count in counts.items() if count)
    terminal.show(console, ("watches", watched), ("holds", set_up or "nothing besides"))
    for words in warnings:
        console.print(Text.assemble(("warning: ", "yellow"), words))


# ----------------------------------------------------------------------------------------------- doctor


class Check(Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `state` is ``ok``, ``warn`` or ``fail``; `fix` says what to do."""

    name: str
    state: str
    words: str
    fix: str = ""


def doctor(*, as_json: bool) -> int:
    """Look whether settings, policy, store, Azure, keys and channels can be used."""
    checks: list[Check] = []
    console = terminal.out()
    for check in _checks():
        checks.append(check)
        if not as_json:
            console.print(_line(check))
    has_failed = any(check.state == "fail" for check in checks)
    if as_json:
        terminal.say_json({"ok": not has_failed, "checks": checks})
    return terminal.DIFFERS if has_failed else terminal.OK


def _line(check: Check) -> Table:
    mark, colour = _MARKS[check.state]
    said = Text(terminal.plain(check.words))
    if check.fix:
        said.append(f"\n{terminal.plain(check.fix)}", "bold" if check.state == "fail" else "")
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(style=colour, width=4)
    line.add_column(width=9)
    line.add_column(overflow="fold", ratio=1)
    line.add_row(mark, check.name, said)
    return line


def _checks() -> Iterator[Check]:
    try:
        own = terminal.own_services()
    except MedicError as error:
        yield Check(name="settings", state="fail", words=str(error), fix="The rest was not looked at.")
        return
    yield _settings(own.settings)
    policy = _bounded("policy", lambda: _policy(own))
    yield policy
    yield _bounded("store", lambda: _store(own))
    reads = _bounded("azure", lambda: _azure(own))
    yield reads
    if reads.state != "fail" and policy.state != "fail":
        for subscription in own.policy.subscriptions:
            yield _bounded("watched", lambda subscription=subscription: _watched(own, subscription))  # type: ignore[misc]
    yield _keys(own)
    yield _checkpoints(own)
    yield _channels(own)


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
    warnings = list(_warnings(policy))
    words = f"{own.settings.policy}, version {policy.version}"
    if warnings:
        return Check(name="policy", state="warn", words=words, fix=" ".join(warnings))
    return Check(name="policy", state="ok", words=words)


def _store(own: Services) -> Check:
    where = own.settings.store
    held = next(iter(own.trail.store.list("incidents/")), None)
    what = "it can be listed" if held is not None else "it can be listed; no incident is in it"
    if where.startswith("http"):
        return Check(name="store", state="ok", words=f"{where}: {what}")
    folder = Path(where).absolute()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK):
        fix = "Let this user write there, or name another place in MEDIC_STORE."
        return Check(name="store", state="fail", words=f"folder {folder}: {above} cannot be written", fix=fix)
    return Check(name="store", state="ok", words=f"folder {folder}: {what}")


def _azure(own: Services) -> Check:
    reads = terminal.own_reads(own)
    reading = reads.get("/subscriptions?api-version=2022-12-01")
    if isinstance(reading, Unknown):
        raise terminal.AzureUnreadable(own.settings.arm_url, reading.reason)
    who = reads.identity()
    if who is None:
        words = f"{own.settings.arm_url} answers; who we are is not known"
        fix = "Set MEDIC_CLIENT_ID and MEDIC_PRINCIPAL_ID, or our own writes look like somebody else's."
        return Check(name="azure", state="warn", words=words, fix=fix)
    names = ((name, getattr(who, name)) for name in ("oid", "appid", "tid"))
    told = ", ".join(f"{name} {value}" for name, value in names if value)
    return Check(name="azure", state="ok", words=f"{own.settings.arm_url} answers; we are {told}")


def _watched(own: Services, subscription: str) -> Check:
    reads = own.reads()
    try:
        found = len(workspaces(reads, subscription))
    except NotListed as error:
        fix = "Grant Reader on the subscription, or take it out of the policy."
        return Check(name="watched", state="fail", words=str(error), fix=fix)
    return Check(name="watched", state="ok", words=f"subscription {subscription}: {found} workspaces")


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


def _channels(own: Services) -> Check:
    settings = own.settings
    named = (("Teams", settings.teams_url), ("a webhook", settings.webhook_url), ("a topic", settings.outcome_topic))
    told = [name for name, url in named if url is not None]
    told += [] if settings.notices_folder is None else [f"folder {settings.notices_folder}"]
    if told:
        words = f"messages go to {', '.join(told)}; links to {settings.app_url}"
        return Check(name="channels", state="ok", words=words)
    fix = "Set MEDIC_TEAMS_URL, MEDIC_WEBHOOK_URL or MEDIC_OUTCOME_TOPIC, or nobody is told of anything."
    return Check(name="channels", state="warn", words="there is no channel to people", fix=fix)


def _bounded(name: str, look: Callable[[], Check], patience: timedelta = timedelta(seconds=_PATIENCE_S)) -> Check:
    """Look in a thread that may be left behind: a sign-in can hang for a minute on a machine without one."""
    answers: queue.SimpleQueue[Check] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look())
        except (MedicError, AzureError, OSError, ValueError) as error:
            answers.put(Check(name=name, state="fail", words=str(error).split("\n", 1)[0]))

    threading.Thread(target=ask, daemon=True, name=f"doctor-{name}").start()
    try:
        return answers.get(timeout=patience.total_seconds())
    except queue.Empty:
        words = f"no answer in {terminal.span_words(patience)}"
        return Check(name=name, state="fail", words=words, fix="Check the network and the sign-in, then try again.")
