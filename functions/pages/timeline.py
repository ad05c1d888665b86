"""Audit records -> the blocks of an incident's page, in the order of the walk. Pure, but for what it is lent.

A record holds ids, digests and our own words; the texts of Azure and of logs come from the evidence, while it is kept.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from remediations import codec
from remediations.catalogue import CAUSES
from remediations.classification import UNKNOWN_CAUSE, classify
from remediations.headline import headline, text
from remediations.model import (
    AuditRecord,
    Diagnosis,
    ErrorDetail,
    Evidence,
    Found,
    OperationState,
    Reading,
    ResourceState,
    load_words,
    reading_words,
)
from remediations.trail import Question

type Lend = Callable[[str], "Evidence | str"]

EVIDENCE_OVER = "It was kept for 90 days, and they are over; its digest stays, and the trail proves what it was."
EVIDENCE_GONE = "It is gone, though it is to be kept for 90 days; its digest stays, and the trail proves what it was."
_MOST_ROWS = 50
_MOST_LINES = 400
_TITLES = {
    "incident": "Failure",
    "linked-event": "A further event",
    "evidence": "Evidence",
    "diagnosis": "Diagnosis",
    "plan": "Plan",
    "decision": "Decision",
    "question": "People are asked",
    "vote": "An answer",
    "answer": "The answer",
    "answer-refused": "An answer was refused",
    "wait": "Waiting",
    "unneeded": "A call is passed over",
    "intent": "Intent",
    "outcome": "Outcome",
    "verification": "Verification",
    "end": "End",
    "told": "People were told",
    "not-told": "People could not be told",
    "void": "The approval is void",
    "undo": "An undo was asked for",
    "undo-ended": "An undo ended",
    "undo-refused": "An undo was not begun",
    "stands-for": "It stands for older failures",
    "members": "What the storm is made of",
}
_WISH = "Somebody's wish"  # in the place of the failure
_TONES = {
    "repaired": "good",
    "accepted": "good",
    "run": "good",
    "not-repaired": "bad",
    "rejected": "bad",
    "forbidden": "bad",
    "refuse": "bad",
    "refused": "bad",
    "inconclusive": "warn",
    "unclear": "warn",
    "ask": "warn",
    "expired": "warn",
}


class Row(Struct, frozen=True):
    """One line of a block: `kind` is ``text``, ``code`` (exact, to copy), ``allow``, ``deny`` or ``unknown``."""

    label: str
    text: str
    kind: str = "text"


class Part(Struct, frozen=True, kw_only=True):
    """Lines that belong together; `lines` are of a text as it was written, one each."""

    title: str
    rows: tuple[Row, ...] = ()
    lines: tuple[str, ...] = ()
    is_folded: bool = False


class Block(Struct, frozen=True, kw_only=True):
    """What one record tells.

    Attributes:
        since: Time since the failure.
        tone: ``good``, ``bad``, ``warn`` or nothing.
    """

    number: int
    stage: str
    title: str
    at: datetime
    since: timedelta
    words: str
    tone: str = ""
    parts: tuple[Part, ...] = ()


def blocks(
    records: Sequence[AuditRecord],
    began_at: datetime,
    lend: Lend,
    question_of: Callable[[str], Question | None],
) -> tuple[Block, ...]:
    """Give a block for each record.

    Args:
        lend: Gives the evidence of a digest, or why it cannot be shown.
        question_of: Gives the question about a plan.
    """
    return tuple(_block(record, began_at, lend, question_of) for record in records)


def _block(record: AuditRecord, began_at: datetime, lend: Lend, question_of: Callable[[str], Question | None]) -> Block:
    facts = record.facts
    match record.stage:
        case "evidence":
            parts = tuple(_of_evidence(facts, lend))
        case "diagnosis":
            parts = tuple(_of_diagnosis(facts, lend))
        case "plan" if "none" not in facts:
            parts = tuple(_of_plan(facts))
        case "decision":
            parts = tuple(_of_decision(facts))
        case "question":
            parts = tuple(_of_question(facts, question_of(text(facts.get("plan")))))
        case (
            "intent"
            | "outcome"
            | "verification"
            | "vote"
            | "answer"
            | "answer-refused"
            | "incident"
            | "undo"
            | "undo-ended"
            | "undo-refused"
        ):
            parts = tuple(_of_ids(record))
        case _:
            parts = ()
    tone = _TONES.get(text(facts.get("status") or facts.get("end") or facts.get("verdict")), "")
    if record.stage in {"vote", "answer"}:
        approves = facts.get("approves", facts.get("approved"))
        tone = "good" if approves is True else "bad" if approves is False else ""
    return Block(
        number=record.seq,
        stage=record.stage,
        title=_WISH if "undoes" in facts else _TITLES.get(record.stage, record.stage),
        at=record.at,
        since=record.at - began_at,
        words=headline(record),
        tone=tone,
        parts=parts,
    )


# ------------------------------------------------------------------------------------------------ the parts


def _of_ids(record: AuditRecord) -> Iterator[Part]:
    """Give what identifies a call, an answer or the failure, for whoever looks for it in Azure's own logs."""
    stage, facts = record.stage, record.facts
    wanted: dict[str, str] = {
        "call": "call",
        "client_request_id": "client request id",
        "service_request_id": "service request id",
        "correlation_id": "correlation id",
        "receipt": "receipt",
        "plan": "plan",
        "evidence": "evidence",
        "event_id": "event id",
        "undo": "undo",
    }
    rows = [Row(label, text(facts[name]), "code") for name, label in wanted.items() if facts.get(name)]
    rows += [Row("code", text(code), "code") for code in _items(facts.get("codes"))]
    by = {"oid": record.actor.oid, "tid": record.actor.tid} if record.actor.who == "person" else {}
    for name, who in (("by", by), ("caller", facts.get("caller"))):
        if isinstance(who, dict):
            rows += [Row(f"{name} {kind}", text(value), "code") for kind, value in who.items() if value]
    if rows:
        title = "The call, and its ids" if stage in {"intent", "outcome"} else "Ids"
        yield Part(title=title, rows=tuple(rows), is_folded=stage not in {"intent", "outcome"})


def _of_plan(facts: dict[str, object]) -> Iterator[Part]:
    calls = [Row(f"call {number}", text(call), "code") for number, call in enumerate(_items(facts.get("calls")), 1)]
    rows = [*calls, Row("undo", text(facts.get("undo")))]
    if facts.get("needs_person"):
        rows.append(Row("a person decides", text(facts["needs_person"])))
    if isinstance(wait := facts.get("wait_s"), int | float) and wait:
        rows.append(Row("wait before it", f"{wait:g} s"))
    rows.append(Row("try", text(facts.get("try_number", 1))))
    yield Part(title="Exact calls, and undo", rows=tuple(rows))
    details = [
        Row(f"{text(name)}", text(value), "code")
        for group in ("parameters", "fingerprint")
        for name, value in _pairs(facts.get(group))
    ]
    details.append(Row("plan", text(facts.get("plan")), "code"))
    yield Part(title="Parameters and fingerprint", rows=tuple(details), is_folded=True)


def _of_decision(facts: dict[str, object]) -> Iterator[Part]:
    answers = [one for one in _items(facts.get("guards")) if isinstance(one, dict)]
    rows = [
        Row(
            text(one.get("guard")),
            text(one.get("words")),
            kind if (kind := text(one.get("answer"))) in {"allow", "deny"} else "unknown",
        )
        for one in answers
    ]
    held = [row for row in rows if row.kind != "allow"]
    if held:
        yield Part(title=f"{len(held)} of {len(rows)} guards do not allow it", rows=tuple(held))
    allowed = [row for row in rows if row.kind == "allow"]
    if allowed:
        all_words = f"All {len(rows)} guards allow it" if not held else f"{len(allowed)} guards allow it"
        yield Part(title=all_words, rows=tuple(allowed), is_folded=True)
    calls = [Row(f"call {number}", text(call), "code") for number, call in enumerate(_items(facts.get("calls")), 1)]
    ids = [Row(name, text(facts[name]), "code") for name in ("plan", "situation") if facts.get(name)]
    yield Part(title="What was decided on", rows=(*calls, *ids), is_folded=True)


def _of_question(facts: dict[str, object], question: Question | None) -> Iterator[Part]:
    rows = [Row("approvals that are needed", text(facts.get("quorum", 1)))]
    if facts.get("voids"):
        rows.append(Row("in the place of plan", text(facts["voids"]), "code"))
        rows += [Row("has changed", text(words)) for words in _items(facts.get("differences"))]
    if question is not None:
        for touch in question.touches:
            rows.append(Row("reaches", touch.path, "code"))
            rows += [Row("", words) for words in touch.says]
    rows.append(Row("plan", text(facts.get("plan")), "code"))
    yield Part(title="What is asked", rows=tuple(rows))


def _of_diagnosis(facts: dict[str, object], lend: Lend) -> Iterator[Part]:
    is_unknown = facts.get("cause") == UNKNOWN_CAUSE
    rows = [
        Row(label, f"{text(one.get('read'))}: {text(one.get('says'))}")
        for name, label in (("supporting", "for"), ("opposing", "against" if is_unknown else "rules out another"))
        for one in _items(facts.get(name))
        if isinstance(one, dict)
    ]
    rows += [Row("rival", text(rival)) for rival in _items(facts.get("rivals"))]
    if facts.get("would_tell"):
        rows.append(Row("would tell them apart", text(facts["would_tell"])))
    yield Part(title="What speaks for and against it", rows=tuple(rows) or (Row("", "nothing that was read"),))
    digest = text(facts.get("evidence"))
    evidence = lend(digest)
    if isinstance(evidence, str):
        yield Part(title="Advice", rows=(Row("", f"It is made of the evidence. {evidence}"),))
        return
    yield from _of_advice(classify(evidence, CAUSES, evidence_digest=digest), text(facts.get("cause")))


def _of_advice(diagnosis: Diagnosis, cause: str) -> Iterator[Part]:
    if diagnosis.cause_id != cause:
        words = f"By today's knowledge the same evidence shows {diagnosis.cause_id}; what follows is about that."
        yield Part(title="The knowledge has changed", rows=(Row("", words),))
    rows = [Row("what", diagnosis.what)] if diagnosis.what else []
    rows += [Row("error", diagnosis.message)] if diagnosis.message else []
    rows += [Row(name, str(value), "code") for name, value in diagnosis.facts.named.items()]
    rows.append(Row("advice", diagnosis.advice))
    rows += [Row("run", command, "code") for command in diagnosis.commands]
    rows += [Row("note", note) for note in diagnosis.notes]
    rows += [Row("what medic does", diagnosis.limits)] if diagnosis.limits else []
    rows.append(Row("source", diagnosis.source, "code"))
    yield Part(title="Advice", rows=tuple(rows))


def _of_evidence(facts: dict[str, object], lend: Lend) -> Iterator[Part]:
    lacks = [Row("Azure refused us", text(name), "code") for name in _items(facts.get("missing_permissions"))]
    if lacks:
        yield Part(title="Permissions that are missing", rows=tuple(lacks))
    digest = text(facts.get("evidence"))
    evidence = lend(digest)
    if isinstance(evidence, str):
        yield Part(title="What was read", rows=(Row("", evidence), Row("digest", digest, "code")))
        return
    rows = [*_of_state("resource", evidence.resource), *_of_state("endpoint", evidence.endpoint)]
    rows += _of_operation(evidence.operation)
    rows += [_error(one) for one in evidence.report[:_MOST_ROWS]]
    if evidence.incident.is_scoring:
        rows.append(Row("answers", load_words(evidence.load)))
    rows.append(Row("digest", digest, "code"))
    yield Part(title="What was read", rows=tuple(rows), is_folded=True)
    if isinstance(evidence.activity, Found) and evidence.activity.value:
        activity = [
            Row(f"{row.at:%H:%M:%S} {row.status}", f"{row.operation_name} {row.code or ''}".rstrip(), "code")
            for row in evidence.activity.value[:_MOST_ROWS]
        ]
        yield Part(title="Activity Log of the operation", rows=tuple(activity), is_folded=True)
    around = _surroundings(evidence)
    if around:
        yield Part(title="What lies around it", rows=around, is_folded=True)
    for name, log in evidence.logs.items():
        lines = tuple(log.value.splitlines()[-_MOST_LINES:]) if isinstance(log, Found) else (reading_words(log),)
        yield Part(title=f"Last lines of {name}, redacted", lines=lines, is_folded=True)


def _of_state(label: str, reading: Reading[ResourceState]) -> Iterator[Row]:
    if not isinstance(reading, Found):
        yield Row(label, reading_words(reading))
        return
    state = reading.value
    by = {True: ", by us", False: ", not by us", None: ""}[state.modified_by_us]
    written = "" if state.last_modified_at is None else f"; last written {state.last_modified_at:%H:%M:%S} UTC{by}"
    yield Row(label, f"{state.provisioning_state} ({state.kind}){written}")
    shown = (
        ("instances", f"{state.capacity} of {state.instance_type}" if state.instance_type else None),
        ("environment", state.environment),
        ("model", state.model),
        ("identity", state.identity),
        ("traffic", text(state.traffic) if state.traffic else None),
        ("cannot be rebuilt", state.not_rebuildable),
    )
    yield from (Row(f"{label} {name}", value, "code") for name, value in shown if value)


def _of_operation(reading: Reading[OperationState]) -> Iterator[Row]:
    if not isinstance(reading, Found):
        yield Row("operation", reading_words(reading))
        return
    yield Row("operation", f"{reading.value.status}{f' ({reading.value.code})' if reading.value.code else ''}")
    yield from (_error(one) for one in reading.value.errors[:_MOST_ROWS])


def _error(error: ErrorDetail) -> Row:
    return Row(f"error {error.code or ''}".rstrip(), error.message or "without a text")


def _surroundings(evidence: Evidence) -> tuple[Row, ...]:
    """Give what was read of the surroundings; what was not asked for is left out."""
    rows: list[Row] = []
    for name in evidence.surroundings.__struct_fields__:
        reading = getattr(evidence.surroundings, name)
        if isinstance(reading, Found):
            plain = codec.dump(reading.value)
            items = plain if isinstance(plain, list) else [plain]
            rows += [Row(name, text(item), "code") for item in items[:_MOST_ROWS]]
        elif reading_words(reading) != "unknown (not read)":
            rows.append(Row(name, reading_words(reading)))
    return tuple(rows)


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


def _pairs(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []
