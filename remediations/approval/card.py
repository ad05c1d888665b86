"""Write: Notice -> the card that Teams shows, as the body of a Workflows webhook. Pure.

Teams reads Markdown in a TextBlock and in a Fact, and not in a TextRun. So a TextBlock holds nothing but constants of
this file, and all that is not one stands in a TextRun, through `literal`. ``{{DATE()}}`` is read in a TextRun as well:
no run holds two braces. The only URL is the notice's own link.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format
https://learn.microsoft.com/connectors/teams/#microsoft-teams-webhook
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from remediations import codec
from remediations.approval.notice import Kind, Notice, Share
from remediations.literal import literal
from remediations.model import (
    Answer,
    Decision,
    Diagnosis,
    Finding,
    GuardAnswer,
    Incident,
    Json,
    Operation,
    Plan,
    ResourceId,
    Risk,
    Touch,
    Undoes,
)
from remediations.trail import Question, Vote

MAX_BYTES: Final = 24 * 1024  # Teams refuses some 28 KB, its own wrapping included
_MAX_SUBJECT = 150
_MAX_LINK = 2048
_MOST_LINES = 60  # of one list; more would not fit whatever they say
_REST_BYTES = 200  # of the line that says how many more there are
_BETWEEN_BRACES: Final = re.compile(r"(?<=\{)(?=\{)")
_ID, _NAME, _SENTENCE, _CALL = 80, 200, 400, 700

_TITLES = {
    Kind.ASKED: "Approve a repair?",
    Kind.APPROVED: "Repair approved",
    Kind.REJECTED: "Repair rejected",
    Kind.EXPIRED: "Repair not approved in time",
    Kind.SUPERSEDED: "Question withdrawn: a newer failure took its place",
    Kind.REPAIRED: "Repaired",
    Kind.NOT_REPAIRED: "Not repaired: a person has to look",
    Kind.INCONCLUSIVE: "Repair inconclusive: a person has to look",
    Kind.ADVISED: "No repair by itself: a person has to act",
    Kind.REFUSED: "Repair refused: a person has to look",
    Kind.NOTHING_TO_DO: "Nothing left to repair",
}
_DELETES = "Approve a repair that deletes?"
_ALL_DELETE = "Approve many repairs that delete?"
_UNDO_TITLES = {
    **_TITLES,
    Kind.ASKED: "Approve an undo?",
    Kind.APPROVED: "Undo approved",
    Kind.REJECTED: "Undo rejected",
    Kind.EXPIRED: "Undo not approved in time",
    Kind.REPAIRED: "Undone",
    Kind.NOT_REPAIRED: "Not undone: a person has to look",
    Kind.INCONCLUSIVE: "Undo inconclusive: a person has to look",
    Kind.ADVISED: "No undo by itself: a person has to act",
    Kind.REFUSED: "Undo refused: a person has to look",
    Kind.NOTHING_TO_DO: "Nothing left to undo",
}
_STORM_TITLES = {
    **_TITLES,
    Kind.ASKED: "Approve many repairs at once?",
    Kind.APPROVED: "Many repairs approved at once",
    Kind.REJECTED: "Many repairs rejected at once",
    Kind.EXPIRED: "Many repairs not approved in time",
    Kind.NOT_REPAIRED: "Not all repaired: a person has to look",
    Kind.INCONCLUSIVE: "Repairs inconclusive: a person has to look",
    Kind.ADVISED: "Many failures, no repair by itself: a person has to act",
    Kind.REFUSED: "Many repairs refused: a person has to look",
}
_STYLES = {
    Kind.ASKED: "accent",
    Kind.REPAIRED: "good",
    Kind.NOTHING_TO_DO: "good",
    Kind.NOT_REPAIRED: "attention",
    Kind.INCONCLUSIVE: "warning",
    Kind.EXPIRED: "warning",
    Kind.ADVISED: "warning",
    Kind.REFUSED: "warning",
}
_OPERATIONS = {
    Operation.WRITE: "Its creation or update failed",
    Operation.DELETE: "Its deletion failed",
    Operation.SCORE: "It fails to answer requests",
}
_RISKS = {
    Risk.REPEATABLE: "It may be repeated without harm.",
    Risk.REVERSIBLE: "It can be undone by a person.",
    Risk.DESTRUCTIVE: "It deletes what only a person can create again.",
}
_MARKS = {Answer.ALLOW: "✓", Answer.DENY: "✗", Answer.UNKNOWN: "?"}
_COLORS = {Answer.ALLOW: "Good", Answer.DENY: "Attention", Answer.UNKNOWN: "Warning"}
_NONE_RULED_OUT = "No other cause had to be ruled out."
_NOBODY_KNOWN = "Nobody knows who started the operation that failed, so one approval more is needed than usual."
_NOT_BY_ASKER = "Who asked for it may reject it, and may not approve it."
_NOT_BY_CALLER = "Who started the operation that failed may reject it, and may not approve it."

type _Element = dict[str, Json]


class _Section(Struct, kw_only=True):
    """A part of the card: what always stands in it, and a list that may be shortened from its end.

    Attributes:
        heading: A constant.
        rank: Lists of a lower rank are shortened first.
        least: Lines that stay when all else is gone.
        left: How many lines stand on the page alone.
    """

    heading: str = ""
    fixed: list[_Element] = []
    lines: list[_Element] = []
    rank: int = 0
    least: int = 0
    left: int = 0
    style: str = ""


def message(notice: Notice) -> dict[str, Json]:
    """Give the whole body of the request to the webhook: at most `MAX_BYTES`, as `codec.encode` writes it."""
    sections = list(_asked(notice) if notice.kind is Kind.ASKED else _told(notice))
    _shorten(sections, MAX_BYTES - len(codec.encode(_wrapped(notice, sections))))
    return _wrapped(notice, sections)


def subject(notice: Notice) -> str:
    """Give what it is about in one line, for an e-mail or a list."""
    title = _titles(notice)[notice.kind]
    label = literal(notice.incident.label, most=_NAME // 2)
    plan, diagnosis = _plan_of(notice), _diagnosis_of(notice)
    cause = "" if diagnosis is None else f", {diagnosis.cause_id}"
    action = "" if plan is None else f", {plan.action}"
    return literal(f"{title}{'' if title.endswith('?') else ':'} {label}{cause}{action}", most=_MAX_SUBJECT)


# ------------------------------------------------------------------------------------------------- the parts


def _asked(notice: Notice) -> Iterable[_Section]:
    question, decision = notice.question, notice.decision
    plan, diagnosis = _plan_of(notice), _diagnosis_of(notice)
    yield _title(notice)
    yield _failure(notice)
    yield _members(notice)
    if question is not None and question.voids is not None:
        yield _void(question)
    if question is not None:
        yield _approvals(question, notice)
    if diagnosis is not None:
        yield from _cause(diagnosis)
    if plan is not None:
        yield _repair(plan, "The first one's plan" if notice.members else "Plan")
    if question is not None:
        yield _reach(question)
    if plan is not None:
        tried = _line(_run("Try ", isSubtle=True), _run(str(plan.try_number)))
        is_command = plan.undo.startswith("az ")
        undo = _mono(plan.undo, most=_CALL, size="Small") if is_command else _run(plan.undo, most=_CALL)
        yield _Section(heading="Undo", fixed=[_line(undo), tried])
    if decision is not None:
        yield _Section(heading="Why a person is asked", fixed=[_line(_run(decision.mode_words))])
        yield _guards(decision, is_whole=True)


def _told(notice: Notice) -> Iterable[_Section]:
    plan, diagnosis = _plan_of(notice), _diagnosis_of(notice)
    yield _title(notice)
    yield _failure(notice)
    yield _members(notice)
    if notice.words:
        yield _Section(heading="What came of it", fixed=[_line(_run(notice.words, most=_CALL))])
    if diagnosis is not None:
        yield _Section(heading="Cause", fixed=_cause_lines(diagnosis))
    if plan is not None:
        yield _Section(heading="Plan", fixed=[_line(_run(plan.effect, most=_CALL))])
    if notice.decision is not None and notice.decision.refusals and notice.kind is Kind.REFUSED:
        yield _guards(notice.decision, is_whole=False)
    if diagnosis is not None and notice.kind.wants_person:
        yield from _advice(diagnosis)


def _title(notice: Notice) -> _Section:
    plan = _plan_of(notice)
    is_deletion = notice.kind is Kind.ASKED and plan is not None and plan.risk is Risk.DESTRUCTIVE
    words = (_ALL_DELETE if notice.members else _DELETES) if is_deletion else _titles(notice)[notice.kind]
    title = _constant(words, style="heading", size="Large", weight="Bolder")
    return _Section(fixed=[title], style=_STYLES.get(notice.kind, "emphasis"))


def _failure(notice: Notice) -> _Section:
    incident = notice.incident
    since = f" since {_time(incident.began_at)}" if incident.is_scoring else f" at {_time(incident.began_at)}"
    lines = [
        _line(_mono(incident.label, most=_NAME, weight="Bolder")),
        _line(_run(_happened(incident)), _run(f"{since}.")),
    ]
    if incident.undoes is not None:
        lines += _wish(incident, incident.undoes)
    if incident.failed_at > incident.began_at:
        lines.append(_line(_run(f"It failed again at {_time(incident.failed_at)}.")))
    return _Section(fixed=lines)


def _happened(incident: Incident) -> str:
    if incident.storm is not None:
        return "They failed for the same cause, the first of them"
    return "Its undo was asked for" if incident.is_undo else _OPERATIONS[incident.operation]


def _members(notice: Notice) -> _Section:
    """Give what a storm is made of, with what would be done about each."""
    return _list("All of them", notice.members, _member, rank=7, least=2)


def _member(share: Share) -> _Element:
    end = "" if share.end is None else f": {share.end}"
    runs = [_mono(share.resource.label, most=_NAME, size="Small"), _run(end, size="Small")]
    if share.plan is not None:
        runs.append(_run(f": {share.plan.effect}", size="Small"))
    return _line(*runs, spacing="None")


def _wish(incident: Incident, undoes: Undoes) -> list[_Element]:
    """Give who asked for an undo, of which incident's call, and why."""
    by, of = incident.caller.oid or "somebody", undoes.incident
    return [
        _line(_run("Asked for by "), _mono(by, most=_ID), _run(", who says: "), _run(undoes.comment, most=_CALL)),
        _line(_run(f"{undoes.action} did it in "), _mono(of, most=_ID), _run(".")),
    ]


def _cause(diagnosis: Diagnosis) -> Iterable[_Section]:
    error = [_line(_run("The error says: ", isSubtle=True), _run(diagnosis.message))] if diagnosis.message else []
    yield _Section(heading="Cause", fixed=[*_cause_lines(diagnosis), *error])
    yield _list("Evidence for it", diagnosis.supporting, _finding, rank=0)
    against = _list("Other causes that were ruled out", diagnosis.opposing, _finding, rank=3)
    if not diagnosis.opposing:
        against.fixed.append(_line(_run(_NONE_RULED_OUT)))
    if diagnosis.rivals:
        rivals = _listing(diagnosis.rivals)
        against.fixed.append(_line(_run("Rivals that no read ruled out: "), _mono(rivals, most=_SENTENCE)))
    yield against


def _cause_lines(diagnosis: Diagnosis) -> list[_Element]:
    known = f" ({diagnosis.level})"
    lines = [_line(_mono(diagnosis.cause_id, most=_ID, weight="Bolder"), _run(known, isSubtle=True))]
    return [*lines, _line(_run(diagnosis.what))] if diagnosis.what else lines


def _finding(finding: Finding) -> _Element:
    return _line(_run(f"{finding.read}: ", most=_NAME, isSubtle=True), _run(finding.says))


def _repair(plan: Plan, heading: str) -> _Section:
    risk = _RISKS[plan.risk]
    is_destructive = plan.risk is Risk.DESTRUCTIVE
    looks: dict[str, Json] = {"color": "Attention", "weight": "Bolder"} if is_destructive else {}
    fixed = [_line(_run(plan.effect, most=_CALL)), _line({**_run(risk), **looks})]
    steps = [(number, plan.wait if number == 0 else step.wait) for number, step in enumerate(plan.steps)]
    shown = _list(heading, steps, lambda one: _call(plan, *one), rank=8, least=1)
    shown.fixed = fixed
    return shown


def _call(plan: Plan, number: int, wait: timedelta) -> _Element:
    waits = f"after {_span(wait)}: " if wait else ""
    return _line(
        _run(f"{number + 1}. {waits}", isSubtle=True),
        _mono(str(plan.steps[number].call), most=_CALL, size="Small"),
    )


def _reach(question: Question) -> _Section:
    lines = [
        line for touch in question.touches[:_MOST_LINES] for line in (_touched(touch), *map(_bullet, touch.says[:20]))
    ]
    unsaid = len(question.touches[_MOST_LINES:]) + sum(len(touch.says[20:]) for touch in question.touches)
    section = _list("What it touches", lines, lambda line: line, rank=7, least=2, most=2 * _MOST_LINES)
    section.left += unsaid
    return section


def _touched(touch: Touch) -> _Element:
    return _line(_mono(_label(touch.path), most=_SENTENCE, weight="Bolder", size="Small"))


def _bullet(words: str) -> _Element:
    return _line(_run(f"• {words}"), spacing="None")


def _void(question: Question) -> _Section:
    voided = _line(
        _run("An approval of plan "),
        _mono(_short(question.voids or ""), most=_ID),
        _run(" is void, because what it was about has changed since. This asks anew."),
    )
    shown = _list(
        "An earlier approval is void",
        question.differences,
        lambda words: _line(_mono(words, most=_SENTENCE, size="Small")),
        rank=6,
        least=1,
    )
    shown.fixed, shown.style = [voided], "warning"
    return shown


def _guards(decision: Decision, *, is_whole: bool) -> _Section:
    refusals = decision.refusals
    allows = [answer for answer in decision.answers if answer.answer is Answer.ALLOW]
    shown = _list("Guards", (*refusals, *allows) if is_whole else refusals, _guard, rank=1)
    words = f"{len(allows)} of {len(decision.answers)} allow it."
    shown.fixed = [_line(_run(words, weight="Bolder" if refusals else "Default"))]
    return shown


def _guard(answer: GuardAnswer) -> _Element:
    return _line(
        _run(f"{_MARKS[answer.answer]} {answer.answer} ", color=_COLORS[answer.answer], size="Small"),
        _mono(answer.guard, most=_ID, size="Small"),
        _run(f": {answer.words}", size="Small"),
        spacing="None",
    )


def _approvals(question: Question, notice: Notice) -> _Section:
    shown = _list("Until when, and by how many", notice.votes, _vote, rank=2)
    words = f"{question.quorum} approval{'' if question.quorum == 1 else 's'} needed, {notice.approvals} given."
    shown.fixed = [
        _line(_run("Until "), _run(f"{_time(question.expires_at)}.", weight="Bolder")),
        _line(_run(words)),
    ]
    known = _NOT_BY_ASKER if question.is_undo else _NOT_BY_CALLER
    shown.fixed.append(_line(_run(known if question.callers else _NOBODY_KNOWN, isSubtle=True)))
    return shown


def _vote(vote: Vote) -> _Element:
    said = "✓ approved by " if vote.approves else "✗ rejected by "
    comment = f": {vote.comment}" if vote.comment else ""
    return _line(
        _run(said, size="Small"),
        _mono(vote.by.oid or "somebody", most=_ID, size="Small"),
        _run(f" at {_time(vote.at)}{comment}", size="Small"),
        spacing="None",
    )


def _advice(diagnosis: Diagnosis) -> Iterable[_Section]:
    yield _Section(heading="What to do", fixed=[_line(_run(diagnosis.advice, most=_CALL))])
    yield _list(
        "Commands",
        diagnosis.commands,
        lambda words: _line(_mono(words, most=_CALL, size="Small")),
        rank=5,
        least=1,
    )
    yield _list("What the incident adds", diagnosis.notes, _bullet, rank=4)
    if diagnosis.limits:
        yield _Section(heading="What is left to a person", fixed=[_line(_run(diagnosis.limits))])


def _footer(notice: Notice) -> _Element:
    plan = notice.question.plan if notice.question is not None else None
    plan = notice.decision.plan.digest if plan is None and notice.decision is not None else plan
    version = notice.question.policy_version if notice.question is not None else None
    version = notice.decision.plan.policy_version if version is None and notice.decision is not None else version
    facts = [("mode ", str(notice.mode)), ("policy ", version), ("incident ", notice.incident.id)]
    facts.append(("plan ", None if plan is None else _short(plan)))
    runs: list[_Element] = []
    for name, value in facts:
        if value is not None:
            runs += [_run(f"{' · ' if runs else ''}{name}"), _mono(value, most=_ID)]
    return _line(*({**one, "size": "Small", "isSubtle": True} for one in runs), spacing="Medium", separator=True)


# -------------------------------------------------------------------------------------------------- the card


def _wrapped(notice: Notice, sections: Iterable[_Section]) -> dict[str, Json]:
    body: list[Json] = [container for one in sections if (container := _container(one)) is not None]
    card: dict[str, Json] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": _titles(notice)[notice.kind],
        "msteams": {"width": "Full"},
        "body": [*body, _footer(notice)],
        "actions": _actions(notice),
    }
    attachment: dict[str, Json] = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": card,
    }
    return {"type": "message", "attachments": [attachment]}


def _actions(notice: Notice) -> list[Json]:
    link = notice.link
    if link is None or not _is_link(link):
        return []
    if notice.kind is Kind.ASKED:
        return [{"type": "Action.OpenUrl", "title": "Review and decide", "url": link, "style": "positive"}]
    return [{"type": "Action.OpenUrl", "title": "Open the incident", "url": link}]


def _is_link(link: str) -> bool:
    """Tell whether a link is one that a browser opens as it stands; nothing that is made of it could be."""
    is_plain = link.isascii() and link.isprintable() and not set(link) & set(' "<>\\^`{|}')
    return is_plain and len(link) <= _MAX_LINK and link.startswith(("https://", "http://"))


def _container(section: _Section) -> _Element | None:
    items: list[Json] = [*section.fixed, *section.lines]
    if section.left:
        rest = f"… and {section.left} more, on the page." if section.lines else f"{section.left} more, on the page."
        items.append(_line(_run(rest, isSubtle=True, size="Small")))
    if not items:
        return None
    if section.heading:
        items.insert(0, _constant(section.heading, style="heading", size="Default", weight="Bolder"))
    made: _Element = {"type": "Container", "items": items, "spacing": "Medium"}
    return {**made, "style": section.style} if section.style else made


def _shorten(sections: Iterable[_Section], free: int) -> None:
    """Take lines away from the ends of lists, the least important list first, until no bytes are lacking."""
    for section in sorted(sections, key=lambda one: one.rank):
        if free < 0 and section.left == 0 and len(section.lines) > section.least:
            free -= _REST_BYTES
        while free < 0 and len(section.lines) > section.least:
            free += len(codec.encode(section.lines.pop())) + 1
            section.left += 1


def _list[T](
    heading: str,
    items: Sequence[T],
    line: Callable[[T], _Element],
    *,
    rank: int,
    least: int = 0,
    most: int = _MOST_LINES,
) -> _Section:
    return _Section(
        heading=heading,
        fixed=[],
        lines=[line(one) for one in items[:most]],
        rank=rank,
        least=least,
        left=len(items[most:]),
    )


def _constant(text: str, **looks: Json) -> _Element:
    """Give a block of text that Teams reads Markdown in: of constants alone."""
    return {"type": "TextBlock", "text": text, "wrap": True, **looks}


def _line(*runs: _Element, **looks: Json) -> _Element:
    inlines: list[Json] = [part for run in runs for part in _unbraced(run)]
    return {"type": "RichTextBlock", "inlines": inlines, "spacing": "Small", **looks}


def _unbraced(run: _Element) -> Iterable[_Element]:
    """Give a run as several, none of which holds two opening braces: nothing is read as a function across runs."""
    for text in _BETWEEN_BRACES.split(str(run["text"])):
        yield {**run, "text": text}


def _run(text: str, *, most: int = _SENTENCE, **looks: Json) -> _Element:
    return {"type": "TextRun", "text": literal(text, most=most), **looks}


def _mono(text: str, *, most: int, **looks: Json) -> _Element:
    return _run(text, most=most, fontType="Monospace", **looks)


# ------------------------------------------------------------------------------------------------- the words


def _titles(notice: Notice) -> dict[Kind, str]:
    if notice.incident.storm is not None:
        return _STORM_TITLES
    return _UNDO_TITLES if notice.incident.is_undo else _TITLES


def _plan_of(notice: Notice) -> Plan | None:
    return None if notice.decision is None else notice.decision.plan


def _diagnosis_of(notice: Notice) -> Diagnosis | None:
    if notice.diagnosis is None and notice.decision is not None:
        return notice.decision.plan.diagnosis
    return notice.diagnosis


def _label(path: str) -> str:
    """Give what people call a resource: workspace, endpoint and deployment, or the whole ID of anything else."""
    try:
        return ResourceId.parse(path).label
    except ValueError:
        return path


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_LINES])


def _short(digest: str) -> str:
    return digest[:12]


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(wait: timedelta) -> str:
    seconds = max(1, round(wait.total_seconds()))
    parts = [f"{seconds // 60} min"] if seconds >= 60 else []
    return " ".join([*parts, f"{seconds % 60} s"] if seconds % 60 or not parts else parts)
