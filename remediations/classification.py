"""Classify: Evidence -> Diagnosis. Pure.

Texts nominate causes, reads support them or rule them out. It abstains (`unknown`) when nothing matches, when the reads
rule out what the texts say, or when two causes stand; an answer with advice, never a guess.
"""

import re
from functools import lru_cache

from msgspec import Struct

from remediations import advising, facts, undoing
from remediations.catalogue.cause import Cause, Clue
from remediations.catalogue.checks import is_kubernetes, is_managed
from remediations.catalogue.index import Catalogue
from remediations.catalogue.matchers import Groups, Symptoms
from remediations.catalogue.texts import ELSEWHERE, GUIDE
from remediations.messages import deepest
from remediations.model import (
    Area,
    Diagnosis,
    ErrorDetail,
    Evidence,
    Facts,
    Finding,
    Found,
    Level,
)

UNKNOWN_CAUSE = "unknown"
UNKNOWN_CODE = "Unknown"
# What an error calls itself where the guide, on the same page, calls it by another name.
_OTHER_NAMES = {
    "crashloopbackoff": "KubernetesCrashLoopBackOff",
    "unschedulable": "PodUnschedulable",
    "imagepullbackoff": "ImagePullLoopBackOff",
}
# Codes that arise on Kubernetes compute alone, and on managed compute alone; the others on both.
_ON_KUBERNETES = frozenset(
    {
        *("KubernetesCrashLoopBackOff", "PodUnschedulable", "ImagePullLoopBackOff", "ScoringFeUnhealthy"),
        *("http-409", "http-502", "http-503", "http-504", "PodOutOfMemory"),
    }
)
_ON_MANAGED = frozenset({"http-408", "http-424", "http-429"})

_STATUS = re.compile(r"\b[45]\d\d\b")
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
    is_scoring = evidence.incident.is_scoring
    return Symptoms(
        details=tuple(dict.fromkeys(details)),
        log="\n".join(logs),
        phase="invoke" if is_scoring else "start" if any(logs) else None,
        statuses=_statuses(evidence),
    )


@lru_cache(maxsize=16)  # an incident is looked at twice: to know what to read, and to judge
def nominate(texts: Symptoms, causes: Catalogue) -> tuple[tuple[Cause, Groups], ...]:
    """Give the causes that the texts alone speak for, with what they name.

    A cause that they only hint at needs a read that supports it, as if it always did.
    """
    found: list[tuple[Cause, Groups]] = []
    for cause in causes.candidates(texts):
        if (groups := cause.matches(texts)) is not None:
            found.append((cause, groups))
        elif cause.hints is not None and (groups := cause.hints(texts)) is not None:
            found.append((causes.hinted[cause.id], groups))
    return tuple(found)


def wanted(evidence: Evidence, causes: Catalogue) -> frozenset[Area]:
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
    what: str = ""
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    limits: str = ""
    facts: Facts = Facts()
    rivals: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    """The short answer about a text: all that `medic classify --jsonl` prints.

    Attributes:
        cause: None if there is none, or more than one; then `rivals` are those.
    """

    code: str
    action: str | None
    cause: Cause | None = None
    groups: dict[str, str] = {}
    rivals: tuple[Cause, ...] = ()

    @property
    def cause_id(self) -> str:
        return UNKNOWN_CAUSE if self.cause is None else self.cause.id


def judge_text(texts: Symptoms, causes: Catalogue, *, compute: str | None = None) -> Verdict:
    """Give the one cause that some texts speak for; `unknown` if there is none, or more than one.

    Args:
        compute: ``managed`` rules out what happens on Kubernetes alone, and ``kubernetes`` what happens on managed
            compute alone; anything else rules out nothing.
    """
    elsewhere = {"managed": is_kubernetes, "kubernetes": is_managed}.get(compute or "")
    spoken_for = [(cause, groups) for cause, groups in nominate(texts, causes) if not cause.needs_support]
    nominated = _finest([(cause, groups) for cause, groups in spoken_for if elsewhere not in cause.checks])
    actions = {cause.action for cause, _ in spoken_for if cause.action is not None}
    if len(nominated) != 1:
        return Verdict(code=UNKNOWN_CODE, action=None, rivals=tuple(cause for cause, _ in nominated))
    cause, groups = nominated[0]
    is_clear = len(actions) == 1 and cause.may_help(groups) and _is_about_deploying(texts, cause)
    action = cause.action if is_clear else None
    return Verdict(code=_code(cause, texts, compute), action=action, cause=cause, groups=groups)


def classify_text(texts: Symptoms, causes: Catalogue, *, compute: str | None = None) -> TextDiagnosis:
    """Give what `judge_text` does, with all that a person should know."""
    verdict = judge_text(texts, causes, compute=compute)
    told = deepest(texts.details)
    words = "" if told is None else told.message
    if verdict.cause is None:
        rivals = tuple(cause.id for cause in verdict.rivals)
        advice = f"Read {verdict.rivals[0].tells}: it tells {' from '.join(rivals)}." if rivals else _UNKNOWN_ADVICE
        return TextDiagnosis(
            code=verdict.code,
            cause_id=UNKNOWN_CAUSE,
            level=Level.TEXT_ONLY,
            action=None,
            advice=advice,
            source=GUIDE,
            message=words,
            rivals=rivals,
        )
    cause, known = verdict.cause, facts.read(texts, verdict.groups)
    return TextDiagnosis(
        code=verdict.code,
        cause_id=cause.id,
        level=Level.TEXT_ONLY,
        action=verdict.action,
        advice=advising.filled(cause.advice, known),
        source=cause.source,
        message=words,
        what=cause.what,
        commands=advising.commands(cause, None, known),
        notes=advising.end_of("the text", texts.log),
        limits=advising.limits(cause),
        facts=known,
    )


def classify(evidence: Evidence, causes: Catalogue, *, evidence_digest: str) -> Diagnosis:
    """Give the cause of an incident, what speaks for and against it, and how well that stands."""
    if evidence.incident.is_undo:
        return undoing.diagnose(evidence, evidence_digest=evidence_digest)
    texts = symptoms(evidence)
    nominated = [(cause, groups, _clues(cause, evidence)) for cause, groups in nominate(texts, causes)]
    stands = [(cause, groups) for cause, groups, clues in nominated if _stands(cause, clues)]
    standing = _finest(stands)
    told = deepest(texts.details)
    words = "" if told is None else told.message
    incident = evidence.incident
    if len(standing) == 1:
        cause, groups = standing[0]
        clues = next(found for other, _, found in nominated if other is cause)
        level = _level(clues)
        ruled_out = [(other, clue) for other, _, others in nominated if other is not cause for clue in others]
        known = facts.read(texts, groups)
        may_act = not incident.is_scoring
        acts = may_act and _is_said(texts, cause) and (level is not Level.TEXT_ONLY or cause.may_help(groups))
        return Diagnosis(
            incident=incident,
            evidence=evidence_digest,
            cause_id=cause.id,
            code=_code(cause, texts, _compute(evidence)),
            level=level,
            advice=advising.filled(cause.advice, known),
            source=cause.source,
            message=words,
            what=cause.what,
            commands=advising.commands(cause, incident.resource, known, registry=_registry(evidence)),
            notes=advising.notes(cause.id, evidence),
            limits=advising.limits(cause, may_act=may_act),
            facts=known,
            supporting=_findings(clues, supports=True),
            opposing=tuple(
                dict.fromkeys(
                    Finding(read=clue.read, says=f"not {other.id}: {clue.says}")
                    for other, clue in ruled_out
                    if not clue.supports
                )
            ),
            action=cause.action if acts else None,
        )
    clues = [clue for _, _, found in nominated for clue in found]
    return Diagnosis(
        incident=incident,
        evidence=evidence_digest,
        cause_id=UNKNOWN_CAUSE,
        code=UNKNOWN_CODE,
        level=Level.TEXT_ONLY,
        advice=_abstention(evidence, [cause for cause, _ in standing], [cause for cause, _, _ in nominated]),
        source=GUIDE,
        message=words,
        notes=advising.notes(UNKNOWN_CAUSE, evidence),
        supporting=_findings(clues, supports=True),
        opposing=_findings(clues, supports=False),
        rivals=tuple(cause.id for cause, _ in standing),
        would_tell=standing[0][0].tells if standing else None,
    )


def _finest(standing: list[tuple[Cause, Groups]]) -> list[tuple[Cause, Groups]]:
    """Leave out the causes that another one refines, and what catches all where anything else stands."""
    broader = {name for cause, _ in standing for name in cause.refines}
    finer = [(cause, groups) for cause, groups in standing if cause.id not in broader]
    return [(cause, groups) for cause, groups in finer if not cause.is_catch_all] or finer


def _is_said(texts: Symptoms, cause: Cause) -> bool:
    """Tell whether the texts say what a cause asks of them before its action may run."""
    return cause.says is None or cause.says(texts) is not None


def _is_about_deploying(texts: Symptoms, cause: Cause) -> bool:
    """Tell whether a text may nominate an action: not what requests, a container or another service say."""
    is_started = texts.phase == "start" and not texts.codes and cause.action != "grant-roles"
    return _is_said(texts, cause) and texts.phase != "invoke" and not is_started and ELSEWHERE(texts) is None


def _code(cause: Cause, texts: Symptoms, compute: str | None) -> str:
    """Give the code under which a cause arises here: one that stands in the texts, else one that fits the compute."""
    if not cause.also:
        return cause.code
    on_kubernetes = (compute or "").lower() == "kubernetes"
    codes = sorted((cause.code, *cause.also), key=lambda name: not (on_kubernetes and name in _ON_KUBERNETES))
    told = {_OTHER_NAMES.get(name, name).lower() for name in texts.codes} | {f"http-{one}" for one in texts.statuses}
    words = f"{texts.told.flat} {texts.logged.flat}"
    if "crashloopbackoff" in words and not any("crashloopbackoff" in name for name in told):
        told.add("kubernetescrashloopbackoff")
    if not texts.statuses:
        told.update(f"http-{status}" for status in _STATUS.findall(words))
    elsewhere = {"managed": _ON_KUBERNETES, "kubernetes": _ON_MANAGED}.get((compute or "").lower(), frozenset())
    fitting = [name for name in codes if name not in elsewhere] or [cause.code]
    return next((name for name in fitting if name.lower() in told), fitting[0])


def _compute(evidence: Evidence) -> str | None:
    return evidence.resource.value.kind if isinstance(evidence.resource, Found) else None


def _registry(evidence: Evidence) -> str | None:
    registry = evidence.surroundings.registry
    return registry.value.login_server if isinstance(registry, Found) else None


def _statuses(evidence: Evidence) -> tuple[str, ...]:
    """Give the status codes with which the endpoint failed to answer: by its metrics, else as the alert says."""
    scoring = evidence.incident.scoring
    if scoring is None:
        return ()
    if isinstance(evidence.load, Found):
        failing = [one.status for one in evidence.load.value.answers if one.status[:1] in {"4", "5"} and one.most > 0]
        named = scoring.status
        fitting = [status for status in failing if named is None or status == named or f"{status[:1]}xx" == named]
        if fitting:
            return tuple(dict.fromkeys(fitting))
    return () if scoring.status is None else (scoring.status,)


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


def _abstention(evidence: Evidence, standing: list[Cause], nominated: list[Cause]) -> str:
    if evidence.missing_permissions:
        return f"Grant Endpoint Medic {', '.join(evidence.missing_permissions)}: without it the failure cannot be read."
    if standing:
        return f"Read {standing[0].tells}: it tells {' from '.join(cause.id for cause in standing)}."
    if nominated:
        names = ", ".join(cause.id for cause in nominated)
        return f"The text speaks of {names}, but what Azure shows does not confirm it. {_UNKNOWN_ADVICE}"
    return _UNKNOWN_ADVICE
