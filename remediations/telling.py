"""Tell: what happened to an incident -> `Notice`, and the `Message` that channels take. Reads trail and evidence.

A notice is made when it is told, so what crosses to the orchestrator is small, and a question that was answered in the
meantime is asked of nobody any more.
"""

from typing import Any

from remediations import codec
from remediations.approval import card, token
from remediations.approval.notice import Kind, Notice
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import Decision, Diagnosis, Evidence, Json
from remediations.ports import Message
from remediations.services import Services
from remediations.trail import Question

type Order = dict[str, Any]

_QUESTIONS = frozenset({Kind.ASKED, Kind.APPROVED, Kind.REJECTED, Kind.EXPIRED, Kind.SUPERSEDED})


def order(own: Services, incident_id: str, kind: Kind, step: Order) -> Order | None:
    """Give what is to be told, small enough for a queue; None where there is no channel."""
    if not own.notifiers:
        return None
    kept: Order = {name: step[name] for name in ("plan", "evidence", "scale") if name in step}
    return {**kept, "incident": incident_id, "kind": str(kind), "told": [], "attempt": 0}


def message(own: Services, order: Order) -> Message | None:
    """Give the message of an order; None if it has become pointless: nobody is asked what is answered."""
    kind = Kind(order["kind"])
    found = notice(own, order["incident"], kind, plan=order.get("plan"), evidence=order.get("evidence"))
    if found is None or (kind is Kind.ASKED and _is_answered(own, found.question)):
        return None
    key = codec.digest_of([found.incident.id, kind, order.get("plan")])[:32]
    return Message(
        key=key,
        kind=kind,
        at=found.at,
        subject=card.subject(found),
        incident_id=found.incident.id,
        resource=found.incident.resource.path,
        wants_person=kind.wants_person,
        is_over=kind.is_over,
        link=found.link,
        card=card.message(found),
        facts=_facts(found),
    )


def notice(
    own: Services, incident_id: str, kind: Kind, *, plan: str | None = None, evidence: str | None = None
) -> Notice | None:
    """Give what there is to tell about an incident, by the trail; None if it is not on the trail.

    Args:
        plan: Digest of the plan that a question was about.
        evidence: Digest of the evidence that the diagnosis rests on.
    """
    opened = own.trail.opened(incident_id)
    if opened is None:
        return None
    question = own.trail.question(plan) if plan is not None else None
    answered = own.trail.answered(plan) if question is not None and plan is not None else None
    ended = own.trail.ended(incident_id)
    decision = own.evidence.find(Decision, question.decision) if question is not None else None
    if kind in _QUESTIONS and answered is not None:
        at, words = answered.at, answered.words
    elif kind is not Kind.ASKED and ended is not None:
        at, words = ended.at, ended.words
    else:
        at, words = (own.clock() if question is None else question.at), ""
    diagnosis = _diagnosis(own, evidence) if decision is None else decision.plan.diagnosis
    return Notice(
        kind=kind,
        at=at,
        incident=opened.incident,
        mode=own.settings.mode,
        words=words,
        diagnosis=diagnosis,
        decision=decision,
        question=question,
        votes=() if question is None else own.trail.votes(question.plan),
        link=link(own, question) if kind is Kind.ASKED and question is not None else page(own, incident_id),
    )


def link(own: Services, question: Question) -> str | None:
    """Give where a question is answered; None where no key signs links."""
    keys, active = own.settings.approval_keys, own.settings.approval_active_kid
    if active is None:
        return None
    asked = token.Token(
        incident_id=question.incident_id,
        plan=question.plan,
        policy_version=question.policy_version,
        expires_at=question.expires_at,
    )
    return f"{own.settings.app_url}/api/approvals/{token.sign(asked, keys, active)}"


def page(own: Services, incident_id: str) -> str:
    """Give where an incident is shown."""
    return f"{own.settings.app_url}/api/incidents/{incident_id}"


def _diagnosis(own: Services, digest: str | None) -> Diagnosis | None:
    """Give the diagnosis of some evidence again: it is a pure function of it."""
    evidence = own.evidence.find(Evidence, digest) if digest is not None else None
    return None if evidence is None else classify(evidence, CAUSES, evidence_digest=digest or "")


def _is_answered(own: Services, question: Question | None) -> bool:
    return question is None or own.trail.answered(question.plan) is not None


def _facts(notice: Notice) -> dict[str, Json]:
    """Give the same for programs: ids, names and our own words."""
    incident, question = notice.incident, notice.question
    plan = None if notice.decision is None else notice.decision.plan
    facts: dict[str, Json] = {
        "kind": str(notice.kind),
        "incident": incident.id,
        "resource": incident.resource.path,
        "failedAt": incident.began_at.isoformat(),
        "at": notice.at.isoformat(),
        "mode": str(notice.mode),
        "words": notice.words,
        "cause": None if notice.diagnosis is None else notice.diagnosis.cause_id,
        "action": None if plan is None else plan.action,
        "effect": None if plan is None else plan.effect,
        "plan": None if plan is None else plan.digest,
        "expiresAt": None if question is None else question.expires_at.isoformat(),
        "link": notice.link,
    }
    return facts
