"""``medic approvals``: the questions that wait for a person, and how to answer them."""

import json
import os
import secrets
from pathlib import Path
from shlex import quote

from msgspec import Struct
from rich.console import Console, RenderableType
from rich.text import Text

from local.commands import terminal
from local.commands.sending import checked
from remediations import settings as environment
from remediations.approval import token
from remediations.errors import SettingsError
from remediations.model import Decision, Incident
from remediations.services import Services
from remediations.settings import Settings
from remediations.trail import Question

_NO_KEY = "no key signs links here: set MEDIC_APPROVAL_KEYS as the app has it; `medic serve` keeps its own in its store"


class Open(Struct, frozen=True, kw_only=True):
    """One open question.

    Attributes:
        decision: What would be done; None if it cannot be read, and then nobody is to approve it.
        link: Where to answer; None without a key.
    """

    question: Question
    incident: Incident | None
    decision: Decision | None
    link: str | None


def approvals(*, to: str, as_json: bool) -> int:
    """List the open questions with the exact calls that answer them."""
    base = checked(to).rstrip("/")
    own = terminal.own_services()
    keys = _signing(own.settings)
    found = [
        _open(own, question, keys, base)
        for question in sorted(own.trail.open_questions(), key=lambda question: question.at)
        if question.expires_at > own.clock() and own.trail.ended(question.incident_id) is None
    ]
    if as_json:
        terminal.say_json({"questions": [_as_json(one) for one in found]})
        return terminal.OK
    console = terminal.out()
    for one in found:
        _show(console, one)
    console.print(f"{terminal.counted(len(found), 'open question')}." if found else "No question is open.")
    if found and not keys.approval_keys:
        terminal.complain(_NO_KEY)
    return terminal.OK


def keys_file(store: str) -> Path | None:
    """Give where `medic serve` keeps the keys that it made: beside its store, if that is a folder."""
    return None if store.startswith("http") else Path(store) / "approval-keys.json"


def new_keys() -> str:
    """Give a fresh key, in the form of MEDIC_APPROVAL_KEYS."""
    return json.dumps({"serve": secrets.token_urlsafe(32)})


def keep_keys(file: Path, keys: str) -> None:
    """Keep keys for `medic approvals` of this user alone: never readable by others, and never half written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(keys)
    aside.replace(file)


def _signing(settings: Settings) -> Settings:
    """Give settings with the keys that sign: the environment's own, else those that `medic serve` keeps."""
    file = keys_file(settings.store)
    if settings.approval_keys or file is None or not file.exists():
        return settings
    try:
        return environment.load({"MEDIC_APPROVAL_KEYS": file.read_text("utf-8")})
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        words = f"the keys in {file} cannot be used: {error}. Start `medic serve` again: it makes fresh ones."
        raise terminal.CommandError(words) from error


def _open(own: Services, question: Question, keys: Settings, base: str) -> Open:
    opened = own.trail.opened(question.incident_id)
    link = None
    if keys.approval_active_kid is not None:
        asked = token.Token(
            incident_id=question.incident_id, plan=question.plan, policy_version=question.policy_version
        )
        link = f"{base}/api/approvals/{token.sign(asked, keys.approval_keys, keys.approval_active_kid)}"
    return Open(
        question=question,
        incident=None if opened is None else opened.incident,
        decision=_decision(own, question),
        link=link,
    )


def _decision(own: Services, question: Question) -> Decision | None:
    """Give what a person is asked about; None if it is gone, was changed, or is about another plan."""
    try:
        decision = own.evidence.find(Decision, question.decision)
    except ValueError:
        return None
    return decision if decision is not None and decision.plan.digest == question.plan else None


def _call(one: Open, answer: str) -> str | None:
    if one.link is None or (answer == "approve" and one.decision is None):
        return None
    return f"curl -X POST {quote(one.link)} -d {quote(json.dumps({'decision': answer}))}"


def _as_json(one: Open) -> dict[str, object]:
    plan = one.decision.plan if one.decision is not None else None
    return {
        "incident": one.question.incident_id,
        "resource": one.incident.resource.path if one.incident is not None else None,
        "asked_at": one.question.at,
        "expires_at": one.question.expires_at,
        "plan": one.question.plan,
        "cause": plan.diagnosis.cause_id if plan is not None else None,
        "action": plan.action if plan is not None else None,
        "effect": plan.effect if plan is not None else None,
        "calls": [str(call) for call in plan.calls] if plan is not None else [],
        "undo": plan.undo if plan is not None else None,
        "why": one.decision.mode_words if one.decision is not None else None,
        "approve": _call(one, "approve"),
        "reject": _call(one, "reject"),
    }


def _show(console: Console, one: Open) -> None:
    console.print(Text(one.question.incident_id, "bold"))
    rows: list[tuple[str, RenderableType]] = []
    if one.incident is not None:
        rows.append(("resource", terminal.Exact(one.incident.resource.path)))
    if one.decision is None:
        rows.append(("asked", "what would be done cannot be read any more; do not approve it"))
    else:
        plan = one.decision.plan
        rows += [("cause", plan.diagnosis.cause_id), ("would", f"{plan.action}: {terminal.plain(plan.effect)}")]
        rows += [("call", terminal.Exact(str(call))) for call in plan.calls]
        rows += [("undo", terminal.plain(plan.undo)), ("why", terminal.plain(one.decision.mode_words))]
    rows.append(("until", terminal.moment_words(one.question.expires_at)))
    for answer in ("approve", "reject"):
        call = _call(one, answer)
        rows += [(answer, terminal.Exact(call))] if call is not None else []
    terminal.show(console, *rows)
    console.print()
