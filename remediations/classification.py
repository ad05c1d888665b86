"""Classify: Evidence -> Diagnosis. Pure.

Texts nominate causes, reads support them or rule them out. It abstains (`unknown`) when nothing matches, when the reads
rule out what the texts say, or when two causes stand; an answer with advice, never a guess.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from remediations.catalogue.cause import Cause, Clue, Facts, Symptoms
from remediations.catalogue.checks import is_kubernetes, is_managed
from remediations.messages import deepest
from remediations.model import Area, Diagnosis, ErrorDetail, Evidence, Finding, Found, Level

UNKNOWN_CAUSE = "unknown"
UNKNOWN_CODE = "Unknown"
_GUIDE = "https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints"
_UNKNOWN_ADVICE = "Read the error and the container logs; Endpoint Medic does not know this failure and does nothing."


def symptoms(evidence: Evidence) -> Symptoms:
    """Give the texts of a failure, the word of the operation itself first."""
    details: list[ErrorDetail] = []
    if isinstance(evidence.operation, Found):
        details.extend(evidence.operation.value.errors)
    if isinstance(evidence.activity, Found):
        details.extend(detail for row in evidence.activity.value for detail in row.errors)
    details.extend(evidence.report)
    logs = [reading.value for reading in evidence.logs.values() if isinstance(reading, Found)]
    return Symptoms(details=tuple(dict.fromkeys(details)), log="\n".join(logs))


def nominate(texts: Symptoms, causes: Sequence[Cause]) -> tuple[tuple[Cause, Facts], ...]:
    """Give the causes that the texts alone speak for, with the facts that they name.

    A cause that they only hint at needs a read that supports it, as if it always did.
    """
    found: list[tuple[Cause, Facts]] = []
    for cause in causes:
        if (facts := cause.matches(texts)) is not None:
            found.append((cause, facts))
        elif cause.hints is not None and (facts := cause.hints(texts)) is not None:
            found.append((replace(cause, needs_support=True), facts))
    return tuple(found)


def wanted(evidence: Evidence, causes: Sequence[Cause]) -> frozenset[Area]:
    """Give the surroundings to read: what tells apart the causes that the texts speak of and nothing rules out yet."""
    nominated = nominate(symptoms(evidence), causes)
    return frozenset(
        area for cause, _ in nominated if all(clue.supports for clue in _clues(cause, evidence)) for area in cause.asks
    )


class TextDiagnosis(Struct, frozen=True, kw_only=True):
    """What a text alone says about a cause. It nominates; only reads of Azure could confirm it.

    Attributes:
        message: The most specific error in the text.
        rivals: The causes that it nominates, when they are several and it abstains.
    """

    code: str
    cause_id: str
    level: Level
    action: str | None
    advice: str
    source: str
    message: str = ""
    facts: dict[str, str] = {}
    rivals: tuple[str, ...] = ()


def classify_text(texts: Symptoms, causes: Sequence[Cause], *, compute: str | None = None) -> TextDiagnosis:
    """Give the one cause that some texts speak for; `unknown` if there is none, or more than one.

    Args:
        compute: ``managed`` rules out what happens on Kubernetes alone, and ``kubernetes`` what happens on managed
            compute alone; anything else rules out nothing.
    """
    told = deepest(texts.details)
    words = "" if told is None else told.message
    elsewhere = {"managed": is_kubernetes, "kubernetes": is_managed}.get(compute or "")
    nominated = [
        (cause, facts)
        for cause, facts in nominate(texts, causes)
        if not cause.needs_support and elsewhere not in cause.checks
    ]
    if len(nominated) != 1:
        rivals = tuple(cause.id for cause, _ in nominated)
        advice = f"Read {nominated[0][0].tells}: it tells {' from '.join(rivals)}." if rivals else _UNKNOWN_ADVICE
        return TextDiagnosis(
            code=UNKNOWN_CODE,
            cause_id=UNKNOWN_CAUSE,
            level=Level.TEXT_ONLY,
            action=None,
            advice=advice,
            source=_GUIDE,
            message=words,
            rivals=rivals,
        )
    cause, facts = nominated[0]
    return TextDiagnosis(
        code=cause.code,
        cause_id=cause.id,
        level=Level.TEXT_ONLY,
        action=cause.action if cause.may_help(facts) else None,
        advice=_filled(cause.advice, facts),
        source=cause.source,
        message=words,
        facts=facts,
    )


def classify(evidence: Evidence, causes: Sequence[Cause], *, evidence_digest: str) -> Diagnosis:
    """Give the cause of an incident, what speaks for and against it, and how well that stands."""
    texts = symptoms(evidence)
    nominated = [(cause, facts, _clues(cause, evidence)) for cause, facts in nominate(texts, causes)]
    standing = [(cause, facts, clues) for cause, facts, clues in nominated if _stands(cause, clues)]
    told = deepest(texts.details)
    words = "" if told is None else told.message
    if len(standing) == 1:
        cause, facts, clues = standing[0]
        level = _level(clues)
        ruled_out = [(other, clue) for other, _, others in nominated if other is not cause for clue in others]
        return Diagnosis(
            incident=evidence.incident,
            evidence=evidence_digest,
            cause_id=cause.id,
            code=cause.code,
            level=level,
            advice=_filled(cause.advice, facts),
            source=cause.source,
            message=words,
            facts=facts,
            supporting=_findings(clues, supports=True),
            opposing=tuple(
                dict.fromkeys(
                    Finding(read=clue.read, says=f"not {other.id}: {clue.says}")
                    for other, clue in ruled_out
                    if not clue.supports
                )
            ),
            action=cause.action if level is not Level.TEXT_ONLY or cause.may_help(facts) else None,
        )
    clues = [clue for _, _, found in nominated for clue in found]
    return Diagnosis(
        incident=evidence.incident,
        evidence=evidence_digest,
        cause_id=UNKNOWN_CAUSE,
        code=UNKNOWN_CODE,
        level=Level.TEXT_ONLY,
        advice=_abstention(evidence, [cause for cause, _, _ in standing], [cause for cause, _, _ in nominated]),
        source=_GUIDE,
        message=words,
        supporting=_findings(clues, supports=True),
        opposing=_findings(clues, supports=False),
        rivals=tuple(cause.id for cause, _, _ in standing),
        would_tell=standing[0][0].tells if standing else None,
    )


def _clues(cause: Cause, evidence: Evidence) -> list[Clue]:
    return [clue for check in cause.checks if (clue := check(evidence)) is not None]


def _stands(cause: Cause, clues: list[Clue]) -> bool:
    opposed = any(not clue.supports for clue in clues)
    return not opposed and (not cause.needs_support or bool(clues))


def _level(clues: list[Clue]) -> Level:
    reads = {clue.read for clue in clues if clue.supports}
    return (Level.TEXT_ONLY, Level.TEXT_AND_READ, Level.TWO_READS)[min(len(reads), 2)]


def _findings(clues: list[Clue], *, supports: bool) -> tuple[Finding, ...]:
    return tuple(Finding(read=clue.read, says=clue.says) for clue in clues if clue.supports is supports)


def _filled(advice: str, facts: Facts) -> str:
    for name, text in facts.items():
        advice = advice.replace("{" + name + "}", text)
    return advice


def _abstention(evidence: Evidence, standing: list[Cause], nominated: list[Cause]) -> str:
    if evidence.missing_permissions:
        return f"Grant Endpoint Medic {', '.join(evidence.missing_permissions)}: without it the failure cannot be read."
    if standing:
        return f"Read {standing[0].tells}: it tells {' from '.join(cause.id for cause in standing)}."
    if nominated:
        names = ", ".join(cause.id for cause in nominated)
        return f"The text speaks of {names}, but what Azure shows does not confirm it. {_UNKNOWN_ADVICE}"
    return _UNKNOWN_ADVICE
