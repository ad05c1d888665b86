"""How a judged failure looks, for ``medic plan`` and ``medic scan``."""

from rich.console import Console, RenderableType
from rich.text import Text

from local.commands.terminal import Exact, moment_words, plain, show, span_words
from local.commands.texts import labelled
from local.scan import Judged
from remediations import codec
from remediations.model import Answer, Decision, Diagnosis, Mode, NoPlan, Plan, Verdict, load_words

_MARKS = {
    Answer.ALLOW: ("\N{CHECK MARK} ", "green"),
    Answer.DENY: ("\N{BALLOT X} ", "red"),
    Answer.UNKNOWN: ("? ", "yellow"),
}
_WOULD = {
    "run": "act",
    "ask": "ask a person",
    "refuse": "refuse",
    "dry-run": "do nothing: policy says dry-run",
    "advise": "advise",
    "nothing": "do nothing",
}
_COLOURS = {"run": "green", "ask": "yellow", "refuse": "red"}


def would_words(would: str) -> Text:
    """Give what would be done, in a word or two."""
    return Text(_WOULD.get(would, would), style=_COLOURS.get(would, ""))


def show_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis with what speaks for and against it."""
    rows: list[tuple[str, RenderableType]] = [
        ("Cause", Text.assemble((diagnosis.cause_id, "bold"), f"  {diagnosis.code}, {diagnosis.level}")),
    ]
    rows += [("  what", diagnosis.what)] if diagnosis.what else []
    if diagnosis.message:
        rows.append(("  error", plain(diagnosis.message)))
    rows += [(f"  {name}", plain(str(value))) for name, value in diagnosis.facts.named.items()]
    rows += [("  for", plain(f"{finding.read}: {finding.says}")) for finding in diagnosis.supporting]
    rows += [("  against", plain(f"{finding.read}: {finding.says}")) for finding in diagnosis.opposing]
    if diagnosis.rivals:
        rows.append(("  rivals", f"{', '.join(diagnosis.rivals)}; to tell them apart: {diagnosis.would_tell}"))
    rows.append(("  advice", plain(diagnosis.advice)))
    rows += labelled("  type", map(Exact, diagnosis.commands))
    rows += labelled("  note", map(plain, diagnosis.notes))
    rows += [("  medic", plain(diagnosis.limits))] if diagnosis.limits else []
    show(console, *rows, ("  source", Exact(diagnosis.source)))


def show_plan(console: Console, plan: Plan | NoPlan) -> None:
    """Print a plan with its exact calls, or why there is none."""
    if isinstance(plan, NoPlan):
        show(console, ("Plan", Text.assemble(("none: ", "bold"), plain(plan.words))))
        return
    rows: list[tuple[str, RenderableType]] = [("Plan", Text.assemble((f"{plan.action}: ", "bold"), plain(plan.effect)))]
    for number, step in enumerate(plan.steps):
        wait = f"after {span_words(step.wait)}: " if number and step.wait else ""
        rows.append(("  call", Exact(f"{wait}{step.call}")))
    rows += [("  with", f"{name} {plain(value)}") for name, value in plan.parameters.items()]
    rows.append(("  undo", plan.undo))
    if plan.needs_person is not None:
        rows.append(("  person", plain(plan.needs_person)))
    rows.append(("  wait", f"{span_words(plan.wait)} before the first call"))
    show(console, *rows)


def show_decision(console: Console, decision: Decision) -> None:
    """Print a decision with every guard's answer."""
    would = Text("would ", style="bold") if decision.verdict != decision.would else Text()
    would.append_text(would_words(decision.would))
    show(console, ("Decision", would), ("  mode", plain(decision.mode_words)))
    rows: list[tuple[str, RenderableType]] = []
    for answer in decision.answers:
        mark, colour = _MARKS[answer.answer]
        rows.append((f"  {answer.guard}", Text.assemble((mark, colour), plain(answer.words))))
    show(console, *rows)


def verdict_words(decision: Decision) -> str:
    """Give what comes of a decision, in a sentence."""
    if decision.verdict is Verdict.RUN:
        return "The app would act now."
    if decision.verdict is Verdict.ASK:
        return "The app would ask a person now."
    if decision.verdict is Verdict.DRY_RUN:
        held = "MEDIC_MODE is dry-run" if decision.would is not Verdict.DRY_RUN else "policy says dry-run"
        return f"Nothing would be done: {held}."
    if decision.mode is Mode.OFF:
        return f"Nothing would be done: {decision.mode_words}."
    return f"Nothing would be done: {'; '.join(plain(answer.words) for answer in decision.refusals)}."


def as_json(judged: Judged) -> dict[str, object]:
    """Give a judged failure for programs."""
    incident, diagnosis, decision = judged.incident, judged.diagnosis, judged.decision
    plan = judged.plan if isinstance(judged.plan, Plan) else None
    return {
        "incident": incident.id,
        "resource": incident.resource.path,
        "state": judged.state,
        "operation": incident.operation,
        "scoring": codec.dump(incident.scoring),
        "load": load_words(judged.evidence.load) if incident.is_scoring else None,
        "failed_at": incident.failed_at,
        "correlation_id": incident.correlation_id,
        "diagnosis": {
            "cause": diagnosis.cause_id,
            "code": diagnosis.code,
            "level": diagnosis.level,
            "what": diagnosis.what,
            "message": diagnosis.message,
            "facts": diagnosis.facts,
            "for": codec.dump(diagnosis.supporting),
            "against": codec.dump(diagnosis.opposing),
            "rivals": diagnosis.rivals,
            "would_tell": diagnosis.would_tell,
            "advice": diagnosis.advice,
            "commands": diagnosis.commands,
            "notes": diagnosis.notes,
            "limits": diagnosis.limits,
            "source": diagnosis.source,
        },
        "would": judged.would,
        "action": plan.action if plan else None,
        "words": judged.plan.words if isinstance(judged.plan, NoPlan) else judged.plan.effect,
        "calls": [str(call) for call in plan.calls] if plan else [],
        "undo": plan.undo if plan else None,
        "needs_person": plan.needs_person if plan else None,
        "plan": plan.digest if plan else None,
        "verdict": decision.verdict if decision is not None else None,
        "mode": decision.mode if decision is not None else None,
        "mode_words": decision.mode_words if decision is not None else None,
        "guards": codec.dump(decision.answers) if decision is not None else [],
        "missing_permissions": judged.evidence.missing_permissions,
    }


def when_words(judged: Judged) -> str:
    """Give when a failure was, and how long ago that is."""
    incident = judged.incident
    age = span_words(judged.evidence.collected_at - incident.failed_at)
    return f"{moment_words(incident.failed_at)}, {age} ago"
