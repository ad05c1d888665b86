"""Tell: what happened to an incident -> `Notice`, and the `Message` that channels take. Reads trail and evidence.

A notice is made when it is told, so what crosses to the orchestrator is small, and a question that was answered in the
meantime is asked of nobody any more.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from remediations import codec
from remediations.approval import card, token
from remediations.approval.notice import Kind, Notice, Share
from remediations.catalogue import CAUSES
from remediations.classification import classify
from remediations.model import AuditRecord, Decision, Diagnosis, End, Evidence, Incident, Json
from remediations.ports import Message
from remediations.services import Services
from remediations.trail import Question, asked_about

type Order = dict[str, Any]

_OF_ONE_PLAN = frozenset({Kind.ASKED, Kind.APPROVED})


def order(own: Services, incident_id: str, kind: Kind, *, plan: str | None = None) -> Order | None:
    """Give what is to be told, small enough for a queue; None where there is no channel.

    Args:
        plan: Digest of the plan that is asked about or was approved; how an incident ended is told once.
    """
    if not own.notifiers:
        return None
    told_of = plan if kind in _OF_ONE_PLAN else None
    key = codec.digest_of([incident_id, kind, told_of])[:32]
    scale = own.settings.time_scale
    return {
        "key": key,
        "incident": incident_id,
        "kind": str(kind),
        "plan": told_of,
        "scale": scale,
        "told": [],
        "attempt": 0,
    }


def of_end(own: Services, incident_id: str, end: End) -> Order | None:
    """Give what is to be told of the end of an incident; None if nobody is to be told.

    That a failure is over by itself is for whoever was asked about it.
    """
    kind = Kind.of(end)
    if kind is None or (kind is Kind.NOTHING_TO_DO and not asked_about(own.trail.records(incident_id))):
        return None
    return order(own, incident_id, kind)


def done(own: Services, order: Order) -> set[str]:
    """Give the channels that have taken a message already, or never will, by the trail."""
    found: set[str] = set()
    for record in own.trail.records(order["incident"]):
        is_of_it = record.key.startswith(f"{record.stage}:{order['key']}:")
        if is_of_it and (record.stage == "told" or record.facts.get("is_tried_again") is False):
            found.add(str(record.facts.get("channel")))
    return found


def message(own: Services, order: Order) -> Message | None:
    """Give the message of an order; None if it has become pointless: nobody is asked what is answered."""
    kind = Kind(order["kind"])
    found = notice(own, order["incident"], kind, plan=order["plan"])
    if found is None or (kind is Kind.ASKED and _is_answered(own, found.question)):
        return None
    if "since" in order:  # what turned out about an effect once the incident had ended
        found = replace(found, words=f"{found.words}. Since: {order['since']}")
    return Message(
        key=order["key"],
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


def notice(own: Services, incident_id: str, kind: Kind, *, plan: str | None = None) -> Notice | None:
    """Give what there is to tell about an incident, by the trail; None if it is not on the trail.

    Args:
        plan: Digest of the plan that a question is about; None: of the last one.
    """
    opened = own.trail.opened(incident_id)
    if opened is None:
        return None
    records = () if kind is Kind.ASKED else own.trail.records(incident_id)
    plan = plan or _last(records, "question", "plan")
    question = own.trail.question(plan) if plan is not None else None
    answered = own.trail.answered(plan) if kind is Kind.APPROVED and plan is not None else None
    ended = None if kind in _OF_ONE_PLAN else own.trail.ended(incident_id)
    decision = own.evidence.find(Decision, question.decision) if question is not None else None
    if answered is not None:
        at, words = answered.at, answered.words
    elif ended is not None:
        at, words = ended.at, ended.words
    else:
        at, words = (own.clock() if question is None else question.at), ""
    evidence = _last(records, "diagnosis", "evidence")
    return Notice(
        kind=kind,
        at=at,
        incident=opened.incident,
        mode=own.settings.mode,
        words=words,
        diagnosis=_diagnosis(own, evidence) if decision is None else decision.plan.diagnosis,
        decision=decision,
        question=question,
        votes=() if question is None else own.trail.votes(question.plan),
        link=link(own, question) if kind is Kind.ASKED and question is not None else page(own, incident_id),
        members=members(own, opened.incident, question if kind is Kind.ASKED else None),
    )


def members(own: Services, incident: Incident, question: Question | None = None) -> tuple[Share, ...]:
    """Give the members of a storm, with their plans if a question about them is to be shown; none for any other."""
    if incident.storm is None:
        return ()
    asked = {} if question is None else {one.incident: one.decision for one in question.members}
    found: list[Share] = []
    for part in own.trail.storms.of(incident).members:
        ended = own.trail.ended(part.incident)
        decision = own.evidence.find(Decision, asked[part.incident]) if part.incident in asked else None
        plan, end = None if decision is None else decision.plan, None if ended is None else ended.end
        found.append(Share(incident=part.incident, path=part.resource, plan=plan, end=end))
    return tuple(found)


def _last(records: Sequence[AuditRecord], stage: str, name: str) -> str | None:
    """Give a fact of the last record of a stage."""
    found = next((record.facts.get(name) for record in reversed(records) if record.stage == stage), None)
    return found if isinstance(found, str) else None


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
    if notice.members:
        facts["members"] = [{"incident": one.incident, "resource": one.path} for one in notice.members]
    return facts
