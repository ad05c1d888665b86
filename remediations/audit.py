"""Record: any value of the walk -> `AuditRecord`, on the incident's trail.

A record holds ids, digests, enumerated words and our own sentences; the texts of errors and logs stay in the evidence
store, under the digest that is written here. Recording the same thing twice leaves one record.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from msgspec import Struct

from remediations import codec
from remediations.model import (
    Actor,
    AuditRecord,
    Caller,
    Decision,
    Diagnosis,
    End,
    Evidence,
    Found,
    Incident,
    Mode,
    NoPlan,
    Outcome,
    Plan,
    Verification,
    load_words,
    reading_words,
)
from remediations.ports import Delivery, Message
from remediations.storms import Group
from remediations.trail import (
    Answered,
    Intent,
    Question,
    Trail,
    Vote,
    answer_name,
    claim_name,
    intent_name,
    outcome_name,
    question_name,
    vote_name,
)

# What a record can be of, in the order of the walk.
STAGES = (
    "incident",
    "linked-event",
    "evidence",
    "diagnosis",
    "plan",
    "decision",
    "question",
    "vote",
    "answer",
    "answer-refused",
    "void",
    "wait",
    "unneeded",
    "intent",
    "outcome",
    "verification",
    "end",
    "told",
    "not-told",
    "undo",
    "undo-ended",
    "undo-refused",
    "stands-for",
    "members",
)


class Journal(Struct, frozen=True):
    """Writes the records of one app: its trail, its mode and policy, what time it is, and who we are."""

    trail: Trail
    mode: Mode
    policy_version: str
    clock: Callable[[], datetime]
    own: Callable[[], Caller | None]

    def record(self, incident_id: str, stage: str, key: str, by: Caller | None = None, /, **facts: object) -> bool:
        """Put one record on the trail; False if there is one of its key. Raises StoreError, after which nothing that
        needs it may happen.

        Args:
            by: The person who did it; None: we did.
        """
        record = AuditRecord(
            seq=0,
            at=self.clock(),
            incident=incident_id,
            stage=stage,
            key=f"{stage}:{key}",
            actor=_actor("medic", self.own()) if by is None else _actor("person", by),
            mode=self.mode,
            policy_version=self.policy_version,
            facts=codec.dump(facts),
            previous="",
        )
        return self.trail.append_record(record)

    def _beside(self, name: str) -> dict[str, object]:
        """Give what a record says of what was created before it, so that nobody changes or removes that unseen."""
        digest = self.trail.digest(name)
        return {} if digest is None else {"beside": {"name": name, "sha256": digest}}

    def opened(self, incident: Incident) -> None:
        self.record(
            incident.id,
            "incident",
            "opened",
            resource=incident.resource.path,
            operation=incident.operation,
            failed_at=incident.failed_at,
            correlation_id=incident.correlation_id,
            source=incident.source,
            event_id=incident.event_id,
            caller=incident.caller,
            **({} if incident.scoring is None else {"scoring": incident.scoring}),
            **({} if incident.undoes is None else {"undoes": incident.undoes}),
            **({} if incident.storm is None else {"storm": incident.storm}),
            **self._beside(claim_name(incident.id)),
        )

    def collected(self, evidence: Evidence, digest: str, polls: int) -> None:
        operation = evidence.operation
        self.record(
            evidence.incident.id,
            "evidence",
            digest,
            evidence=digest,
            polls=polls,
            resource=evidence.resource.value.provisioning_state
            if isinstance(evidence.resource, Found)
            else reading_words(evidence.resource),
            operation=operation.value.status if isinstance(operation, Found) else reading_words(operation),
            activity=len(evidence.activity.value)
            if isinstance(evidence.activity, Found)
            else reading_words(evidence.activity),
            missing_permissions=evidence.missing_permissions,
            **({"load": load_words(evidence.load)} if evidence.incident.is_scoring else {}),
        )

    def diagnosed(self, diagnosis: Diagnosis) -> None:
        self.record(
            diagnosis.incident.id,
            "diagnosis",
            diagnosis.evidence,
            evidence=diagnosis.evidence,
            cause=diagnosis.cause_id,
            code=diagnosis.code,
            level=diagnosis.level,
            supporting=diagnosis.supporting,
            opposing=diagnosis.opposing,
            rivals=diagnosis.rivals,
            would_tell=diagnosis.would_tell,
            action=diagnosis.action,
        )

    def planned(self, plan: Plan | NoPlan, *, declined: str | None = None) -> None:
        """Keep what is planned; or why nothing is, and the digest of the `Declined`, if policy had a say in it."""
        diagnosis = plan.diagnosis
        if isinstance(plan, NoPlan):
            kept = {} if declined is None else {"declined": declined}
            self.record(diagnosis.incident.id, "plan", diagnosis.evidence, none=plan.end, words=plan.words, **kept)
            return
        self.record(
            diagnosis.incident.id,
            "plan",
            plan.digest,
            plan=plan.digest,
            action=plan.action,
            effect=plan.effect,
            undo=plan.undo,
            calls=[str(call) for call in plan.calls],
            parameters=plan.parameters,
            fingerprint=plan.fingerprint,
            needs_person=plan.needs_person,
            try_number=plan.try_number,
            wait_s=round(plan.wait.total_seconds(), 3),
        )

    def decided(self, decision: Decision, *, when: str, kept: str | None = None) -> None:
        """Keep a decision: `when` is ``deciding``, or ``before call <number>, attempt <attempt>``, with
        ``, approved`` behind it if a person has approved the plan.

        Args:
            kept: Digest of the decision in the evidence store that holds the same plan; None: this one's own.
        """
        self.record(
            decision.plan.diagnosis.incident.id,
            "decision",
            f"{when}:{decision.situation}",
            when=when,
            plan=decision.plan.digest,
            cause=decision.plan.diagnosis.cause_id,
            action=decision.plan.action,
            verdict=decision.verdict,
            would=decision.would,
            held_mode=decision.mode,
            mode_words=decision.mode_words,
            guards=decision.answers,
            situation=decision.situation,
            decision=kept or codec.digest_of(decision),
            calls=[str(call) for call in decision.plan.calls],
        )

    def asked(self, question: Question) -> None:
        self.record(
            question.incident_id,
            "question",
            question.plan,
            plan=question.plan,
            expires_at=question.expires_at,
            quorum=question.quorum,
            voids=question.voids,
            differences=question.differences,
            **self._beside(question_name(question.plan)),
        )

    def voted(self, incident_id: str, vote: Vote) -> None:
        self.record(
            incident_id,
            "vote",
            f"{vote.plan}:{vote.by.tid}:{vote.by.oid}",
            vote.by,
            plan=vote.plan,
            approves=vote.approves,
            comment=vote.comment,
            **self._beside(vote_name(vote)),
        )

    def voided(self, incident_id: str, plan: str, words: str) -> None:
        """Keep why an approval is void."""
        self.record(incident_id, "void", plan, plan=plan, words=words)

    def answer_refused(self, incident_id: str, plan: str, why: str, by: Caller, nonce: str) -> None:
        """Keep an attempt to answer a question that was refused, and why."""
        self.record(incident_id, "answer-refused", nonce, by, plan=plan, why=why)

    def told(self, message: Message, channel: str, delivery: Delivery, *, attempt: int) -> None:
        """Keep whether a channel took a message: once that it did, and each time that it did not."""
        stage = "told" if delivery.taken else "not-told"
        key = f"{message.key}:{channel}" if delivery.taken else f"{message.key}:{channel}:{attempt}"
        words, goes_on = delivery.words, delivery.taken is False
        self.record(
            message.incident_id, stage, key, kind=message.kind, channel=channel, words=words, is_tried_again=goes_on
        )

    def answered(self, incident_id: str, answered: Answered) -> None:
        self.record(
            incident_id,
            "answer",
            answered.plan,
            answered.by if answered.by.oid else None,  # without a person, the clock gave the answer
            plan=answered.plan,
            approved=answered.approved,
            words=answered.words,
            **self._beside(answer_name(answered.plan)),
        )

    def waits(self, plan: Plan, number: int, words: str) -> None:
        """Keep why a step waits; the same reason once."""
        key = f"{plan.digest}:{number}:{words}"
        self.record(plan.diagnosis.incident.id, "wait", key, plan=plan.digest, step=number, words=words)

    def unneeded(self, plan: Plan, number: int, words: str) -> None:
        """Keep why a step was passed over: nothing was intended, so there is no outcome."""
        key = f"{plan.digest}:{number}"
        self.record(plan.diagnosis.incident.id, "unneeded", key, plan=plan.digest, step=number, words=words)

    def intended(self, intent: Intent) -> None:
        self.record(
            intent.incident_id,
            "intent",
            f"{intent.plan}:{intent.step}:{intent.attempt}",
            plan=intent.plan,
            step=intent.step,
            attempt=intent.attempt,
            action=intent.action,
            call=intent.call,
            client_request_id=intent.request_id,
            receipt=intent.receipt,
            **self._beside(intent_name(intent.plan, intent.step, intent.attempt)),
        )

    def came_of(self, intent: Intent, outcome: Outcome) -> None:
        self.record(
            intent.incident_id,
            "outcome",
            f"{intent.plan}:{intent.step}:{intent.attempt}",
            plan=intent.plan,
            step=intent.step,
            attempt=intent.attempt,
            action=intent.action,
            status=outcome.status,
            words=outcome.words,
            client_request_id=outcome.request_id,
            service_request_id=outcome.service_request_id,
            correlation_id=outcome.correlation_id,
            codes=outcome.codes,
            **self._beside(outcome_name(intent.plan, intent.step, intent.attempt)),
        )

    def verified(self, plan: Plan, number: int, verification: Verification) -> None:
        self.record(
            plan.diagnosis.incident.id,
            "verification",
            f"{plan.digest}:{number}",
            plan=plan.digest,
            step=number,
            end=verification.end,
            words=verification.words,
            evidence=verification.evidence,
        )

    def linked(self, incident_id: str, event_id: str, event_type: str) -> None:
        self.record(incident_id, "linked-event", event_id, event_id=event_id, event_type=event_type)

    def undo_asked(self, undo: Incident, call: str) -> None:
        """Keep on an incident's trail that somebody asked for a call of it to be undone, and under which incident."""
        if undo.undoes is not None:
            of, by = undo.undoes, undo.caller
            self.record(of.incident, "undo", undo.id, by, undo=undo.id, call=call, comment=of.comment)

    def undo_ended(self, undo: Incident, end: End, words: str) -> None:
        """Keep on an incident's trail how an undo of a call of it ended."""
        if undo.undoes is not None:
            self.record(undo.undoes.incident, "undo-ended", undo.id, undo=undo.id, end=end, words=words)

    def undo_refused(self, incident_id: str, why: str, by: Caller, nonce: str) -> None:
        """Keep an attempt to have a call undone that was not taken, and why."""
        self.record(incident_id, "undo-refused", nonce, by, why=why)

    def stands_for(self, incident_id: str, older: list[str]) -> None:
        """Keep which older failures of the same resource an incident stands for: they are judged with it."""
        self.record(incident_id, "stands-for", "stands-for", incidents=older)

    def gathered(self, incident_id: str, group: Group) -> None:
        """Keep of which incidents a storm's is made, and what was decided about them."""
        names = ("incident", "resource", "plan", "decision")
        members = [{name: getattr(part, name) for name in names} for part in group.members]
        self.record(incident_id, "members", "members", verdict=group.verdict, members=members)

    def ended(self, incident_id: str, end: End, words: str) -> tuple[End, str]:
        """Record how an incident ended, and give what is on the record: a walk that died then had the first word."""
        if self.record(incident_id, "end", "end", end=end, words=words, escalated=end.is_escalated):
            return end, words
        facts = self.trail.records(incident_id, ("end",))[0].facts
        return End(str(facts["end"])), str(facts["words"])


def _actor(who: Literal["medic", "person"], caller: Caller | None) -> Actor:
    return Actor(who=who) if caller is None else Actor(who=who, oid=caller.oid, appid=caller.appid, tid=caller.tid)
