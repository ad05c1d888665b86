"""Replay: a stored incident, and a policy -> what it would decide beside what was decided. Reads its stores alone.

The plan is proposed anew on the recorded evidence. If its steps are the recorded ones, the guards see the recorded
situation with what the policy says of it; if not, one that is surveyed on the trail as it stood then.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec, guards, idle, planning
from remediations.actions.action import Action
from remediations.approval import rules
from remediations.errors import RecordUnreadable
from remediations.hindsight import TrailThen
from remediations.model import (
    Absent,
    Answer,
    AuditRecord,
    Caller,
    Decision,
    Diagnosis,
    Evidence,
    Found,
    GuardAnswer,
    Mode,
    NoPlan,
    Plan,
    Step,
    Surroundings,
    Verdict,
)
from remediations.policy import Approvers, Pause, Policy
from remediations.situation import Declined, Situation, survey, under
from remediations.trail import Trail

_DIGEST = re.compile(r"[0-9a-f]{64}")
_DECIDING = "deciding"
_NOT_REACHED = "not-reached"
_UNTOLD = "the record does not say why"
_STAGES = ("incident", "diagnosis", "plan", "decision")


class Kept(Protocol):
    """The evidence store, as far as it is read."""

    def find[T](self, type_: type[T], digest: str) -> T | None: ...


class WhatIf(Struct, frozen=True, kw_only=True):
    """What is laid over the past.

    Attributes:
        mode: A ceiling in place of the recorded ``MEDIC_MODE``; None: the recorded one.
        since, until: When what is replayed was decided: the first is inside, the second is not.
    """

    policy: Policy
    actions: Mapping[str, Action]
    since: datetime
    until: datetime
    mode: Mode | None = None


class Kind(StrEnum):
    """What became of one recorded decision."""

    SAME = "same"  # to the letter
    REWORDED = "reworded"  # the same verdict and answers, some of them in other words
    CHANGED = "changed"
    EXPIRED = "expired"  # what it rests on is gone from the evidence store
    OLDER = "older"  # its record does not name all that it rests on
    UNREADABLE = "unreadable"

    @property
    def is_told(self) -> bool:
        """Whether it could be replayed."""
        return self in {Kind.SAME, Kind.REWORDED, Kind.CHANGED}


class Side(Struct, frozen=True, kw_only=True):
    """What was decided, or would be.

    Attributes:
        verdict: ``run``, ``ask``, ``refuse`` or ``dry-run``; ``advised`` or ``nothing-to-do`` where nothing is planned;
            ``not-reached`` for a call that the other policy does not plan.
        would: The verdict without the ceiling of ``MEDIC_MODE``.
        words: Why nothing is planned, or why it is not reached.
        plan: Digest of the plan.
    """

    verdict: str
    would: str | None = None
    mode: str | None = None
    mode_words: str = ""
    words: str = ""
    plan: str | None = None


class GuardChange(Struct, frozen=True, kw_only=True):
    """A guard that answers otherwise, or in other words. None: it was not asked."""

    guard: str
    before: GuardAnswer | None
    after: GuardAnswer | None

    @property
    def is_another(self) -> bool:
        """Whether it is another answer, not the same one in other words."""
        return _answer(self.before) != _answer(self.after)


class Replayed(Struct, frozen=True, kw_only=True):
    """One recorded decision, replayed.

    Attributes:
        when: ``deciding`` or ``before call …``, as on the record.
        resource: Resource ID of what failed; empty if the incident's records do not say it.
        policy_version: Of the policy that it was decided under.
        after: None if it could not be replayed; `words` then say why.
        guards: Those that answer otherwise, and those that do it in other words.
        plan: What is otherwise in the plan, in words.
        asks: How many other people, or which others, are asked, in words.
    """

    incident: str
    at: datetime
    kind: Kind
    when: str = _DECIDING
    resource: str = ""
    cause: str | None = None
    action: str | None = None
    policy_version: str = ""
    before: Side | None = None
    after: Side | None = None
    guards: tuple[GuardChange, ...] = ()
    plan: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    words: str = ""

    @property
    def by(self) -> tuple[str, ...]:
        """What makes the difference: the guards that answer otherwise, ``mode``, ``plan`` and ``people``.

        A record whose verdict does not follow from what it says says nothing of it.
        """
        if self.kind is not Kind.CHANGED or self.before is None or self.after is None:
            return ()
        found = [one.guard for one in self.guards if one.is_another]
        is_planned = self.before.mode is not None and self.after.mode is not None
        found += ["mode"] * (is_planned and self.before.mode != self.after.mode)
        found += ["plan"] * bool(self.plan)
        found += ["people"] * bool(self.asks)
        if not found and self.before.verdict == self.after.verdict and self.before.mode_words != self.after.mode_words:
            found = ["mode"]  # without the ceiling, which is the same
        return tuple(found) or (_UNTOLD,)


class Totals(Struct, frozen=True, kw_only=True):
    """How many of each kind; `by` counts what makes the difference, an entry for each decision that it changes."""

    incidents: int
    decisions: int
    kinds: dict[Kind, int]
    by: dict[str, int]


class _Facts(Struct, frozen=True, kw_only=True):
    """What the record of a decision says, as far as it is looked at."""

    verdict: str
    would: str
    held_mode: str
    mode_words: str
    plan: str
    guards: tuple[GuardAnswer, ...]
    situation: str
    decision: str | None = None


class _Lost(Struct, frozen=True):
    """Why something cannot be replayed."""

    kind: Kind
    words: str


def replay(incident_id: str, asked: WhatIf, trail: Trail, kept: Kept) -> tuple[Replayed, ...]:
    """Give each decision of an incident as it would be; none if nothing was decided in that time."""
    try:
        records = trail.records(incident_id, _STAGES, is_checked=True)
    except RecordUnreadable as error:
        return (Replayed(incident=incident_id, at=asked.since, kind=Kind.UNREADABLE, words=str(error)),)
    return tuple(_Incident(records, asked, trail, kept).replayed())


def totals(replayed: Iterable[Replayed]) -> Totals:
    """Count what was replayed."""
    kinds: Counter[Kind] = Counter(dict.fromkeys(Kind, 0))
    by: Counter[str] = Counter()
    incidents: set[str] = set()
    for one in replayed:
        incidents.add(one.incident)
        kinds[one.kind] += 1
        by.update(one.by)
    return Totals(incidents=len(incidents), decisions=kinds.total(), kinds=dict(kinds), by=dict(by.most_common()))


class _Incident:
    """One incident's records; each value that they name is read once."""

    def __init__(self, records: tuple[AuditRecord, ...], asked: WhatIf, trail: Trail, kept: Kept) -> None:
        self._records = records
        self._asked = asked
        self._trail = trail
        self._kept = kept
        self._evidence: dict[str, Evidence] = {}
        self._plans: dict[str, tuple[Plan, Plan | NoPlan]] = {}

    def replayed(self) -> Iterator[Replayed]:
        diagnosed: Mapping[str, object] = {}
        resource = ""
        for record in self._records:
            if record.stage == "incident":
                resource = str(record.facts.get("resource", ""))
            elif record.stage == "diagnosis":
                diagnosed = record.facts
            is_judged = record.stage == "decision" or (record.stage == "plan" and "none" in record.facts)
            if is_judged and self._asked.since <= record.at < self._asked.until:
                facts = diagnosed if record.stage == "plan" else record.facts
                base = Replayed(
                    incident=record.incident,
                    at=record.at,
                    kind=Kind.SAME,
                    when=_text(record.facts.get("when")) or _DECIDING,
                    resource=resource,
                    cause=_text(facts.get("cause")),
                    action=_text(facts.get("action")),
                    policy_version=record.policy_version,
                )
                try:
                    yield self._declined(record, base) if record.stage == "plan" else self._decided(record, base)
                except RecordUnreadable as error:  # of another incident, that the trail of that time rests on
                    yield _not_told(base, _Lost(Kind.UNREADABLE, str(error)))

    # --- nothing was planned ---

    def _declined(self, record: AuditRecord, base: Replayed) -> Replayed:
        """Replay why nothing was planned. A cause that calls for no action leads to none under any policy."""
        before = Side(verdict=str(record.facts["none"]), words=str(record.facts.get("words", "")))
        base = replace(base, before=before)
        if base.action is None and "declined" not in record.facts:
            return replace(base, after=before)
        declined = self._read(Declined, record.facts.get("declined"), "what it rests on")
        if isinstance(declined, _Lost):
            return _not_told(base, declined)
        diagnosis = declined.no_plan.diagnosis
        evidence = self._evidence_of(diagnosis)
        if isinstance(evidence, _Lost):
            return _not_told(base, evidence)
        proposed = self._proposed(diagnosis, evidence, declined.try_number)
        if isinstance(proposed, NoPlan):
            after = _side_of(proposed)
            kind = Kind.CHANGED if after.verdict != before.verdict else Kind.REWORDED
            plan = (f"{after.verdict}, not {before.verdict}",) * (kind is Kind.CHANGED)
            return replace(base, after=after, plan=plan, kind=Kind.SAME if after == before else kind)
        ceiling = self._asked.mode or record.mode
        decision = self._surveyed(
            proposed, evidence, ceiling, now=declined.now, own=declined.own, pauses=declined.trail_pauses
        )
        return _changed(base, decision, tuple(f"new: {step.call}" for step in proposed.steps), ())

    # --- a plan was decided on ---

    def _decided(self, record: AuditRecord, base: Replayed) -> Replayed:
        try:
            facts = codec.load(_Facts, record.facts)
        except ValueError as error:
            return _not_told(base, _Lost(Kind.UNREADABLE, f"its record cannot be read: {error}"))
        base = replace(
            base,
            before=Side(
                verdict=facts.verdict,
                would=facts.would,
                mode=facts.held_mode,
                mode_words=facts.mode_words,
                plan=facts.plan,
            ),
        )
        found = self._planned(facts.plan, facts.decision)
        if isinstance(found, _Lost):
            return _not_told(base, found)
        plan, proposed = found
        seen = self._read(Situation, facts.situation, "the situation")
        if isinstance(seen, _Lost):
            return _not_told(base, seen)
        differences = _differences(plan, proposed)
        if isinstance(proposed, Plan) and proposed.steps == plan.steps:
            return self._again(plan, proposed, seen, replace(base, plan=differences), facts.guards)
        if isinstance(proposed, NoPlan):
            return replace(base, kind=Kind.CHANGED, after=_side_of(proposed), plan=differences)
        if base.when != _DECIDING:
            after = Side(verdict=_NOT_REACHED, words="another plan is made", plan=proposed.digest)
            return replace(base, kind=Kind.CHANGED, after=after, plan=differences)
        evidence = self._evidence_of(proposed.diagnosis)
        if isinstance(evidence, _Lost):
            return _not_told(base, evidence)
        ceiling = self._asked.mode or seen.ceiling
        decision = self._surveyed(proposed, evidence, ceiling, now=seen.now, own=seen.own, pauses=seen.trail_pauses)
        return _changed(base, decision, differences, facts.guards)

    def _again(
        self, plan: Plan, proposed: Plan, seen: Situation, base: Replayed, answers: tuple[GuardAnswer, ...]
    ) -> Replayed:
        """Decide on the same steps, in the situation that was recorded."""
        same = replace(proposed, digest=plan.digest)  # effects on the trail, and the approval, name this one
        seen_now = self._seen_now(same, seen)
        decision = replace(self._decide(same, seen_now), plan=proposed)
        asks = self._asks(base, decision, seen, seen_now)
        if isinstance(asks, _Lost):
            return _not_told(replace(base, plan=()), asks)
        return _compared(replace(base, asks=asks), answers, decision)

    def _asks(self, base: Replayed, decision: Decision, old: Situation, new: Situation) -> tuple[str, ...] | _Lost:
        """Give whom else a question is put to, in words; none if not both ask, or would without a ceiling."""
        was_asked = base.before is not None and Verdict.ASK in {base.before.verdict, base.before.would}
        is_asked = Verdict.ASK in {decision.verdict, decision.would}
        if not (was_asked and is_asked) or (old.quorum, old.approvers) == (new.quorum, new.approvers):
            return ()
        evidence = self._evidence_of(decision.plan.diagnosis)
        if isinstance(evidence, _Lost):
            return evidence
        callers = rules.callers_of(evidence)
        were, are = (rules.quorum_of(decision.plan.risk, seen.quorum, callers) for seen in (old, new))
        found = [f"asks {are} {'person' if are == 1 else 'people'} where {were} {'was' if were == 1 else 'were'} asked"]
        found = found * (were != are) + ["asks other approvers"] * (_listed(old.approvers) != _listed(new.approvers))
        return tuple(found)

    def _planned(self, digest: str, decision: object) -> tuple[Plan, Plan | NoPlan] | _Lost:
        """Give a recorded plan, and what is proposed in its place."""
        if digest in self._plans:
            return self._plans[digest]
        kept = self._read(Decision, decision, "the decision")
        if isinstance(kept, _Lost):
            return kept
        plan = kept.plan
        if plan.digest != digest:
            return _Lost(Kind.UNREADABLE, f"its record names plan {digest[:12]}, and its decision {plan.digest[:12]}")
        proposed = self._proposed_for(plan)
        if isinstance(proposed, _Lost):
            return proposed
        self._plans[digest] = (plan, proposed)
        return plan, proposed

    def _proposed_for(self, plan: Plan) -> Plan | NoPlan | _Lost:
        if plan.action not in self._asked.actions:
            return _Lost(Kind.UNREADABLE, f"there is no action {plan.action} in this version")
        if plan.action != plan.diagnosis.action:
            return plan  # not what the diagnosis called for: somebody asked for it
        evidence = self._evidence_of(plan.diagnosis)
        return evidence if isinstance(evidence, _Lost) else self._proposed(plan.diagnosis, evidence, plan.try_number)

    # --- the parts ---

    def _proposed(self, diagnosis: Diagnosis, evidence: Evidence, try_number: int) -> Plan | NoPlan:
        asked = self._asked
        return planning.propose(diagnosis, evidence, asked.actions, asked.policy, try_number=try_number)

    def _decide(self, plan: Plan, seen: Situation) -> Decision:
        return guards.decide(plan, seen, self._asked.actions[plan.action].guards, situation_digest="")

    def _seen_now(self, plan: Plan, seen: Situation) -> Situation:
        """Give the recorded situation with what the policy says of it."""
        policy = self._asked.policy
        around = _as_far_as_read(seen.surroundings, policy)
        was = seen.permission.breaker_within
        seen = under(policy, plan, replace(seen, ceiling=self._asked.mode or seen.ceiling, surroundings=around))
        within = seen.permission.breaker_within
        if within == was:
            return seen
        results, since = seen.results, seen.now - within
        if within > was:
            then = TrailThen(self._trail, seen.now, ())
            results = then.results(plan.diagnosis.incident.resource.subscription, plan.action, since, seen.now)
        return replace(seen, results=tuple(result for result in results if result.at >= since))

    def _surveyed(
        self,
        plan: Plan,
        evidence: Evidence,
        ceiling: Mode,
        *,
        now: datetime,
        own: Caller | None,
        pauses: tuple[Pause, ...],
    ) -> Decision:
        """Decide on a plan that was not made then, as its survey would have come out."""
        seen = survey(
            plan,
            evidence,
            self._asked.actions[plan.action].fingerprint(plan.steps, evidence),
            policy=self._asked.policy,
            ceiling=ceiling,
            trail=TrailThen(self._trail, now, pauses),
            own=own,
            now=now,
        )
        return self._decide(plan, seen)

    def _evidence_of(self, diagnosis: Diagnosis) -> Evidence | _Lost:
        """Give the evidence of a diagnosis, as far as the policy would have let it be read."""
        digest = diagnosis.evidence
        if digest in self._evidence:
            return self._evidence[digest]
        evidence = self._read(Evidence, digest, "the evidence")
        if isinstance(evidence, _Lost):
            return evidence
        policy, url = self._asked.policy, evidence.incident.desired_spec_url
        if isinstance(evidence.desired, Found) and (url is None or not policy.lists_spec(url)):
            evidence = replace(evidence, desired=Absent())
        evidence = replace(evidence, surroundings=_as_far_as_read(evidence.surroundings, policy))
        self._evidence[digest] = evidence
        return evidence

    def _read[T](self, type_: type[T], digest: object, what: str) -> T | _Lost:
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            return _Lost(Kind.OLDER, f"its record does not name {what}: an older version wrote it")
        try:
            found = self._kept.find(type_, digest)
        except ValueError as error:
            return _Lost(Kind.UNREADABLE, f"{what} cannot be read: {error}")
        return _Lost(Kind.EXPIRED, f"{what} ({digest[:12]}) has expired") if found is None else found


def _as_far_as_read(surroundings: Surroundings, policy: Policy) -> Surroundings:
    """Give the surroundings with what the metrics of candidates prove for the policy's idle window."""
    if not isinstance(surroundings.candidates, Found):
        return surroundings
    candidates = tuple(idle.as_far_as_read(one, policy.idle.window) for one in surroundings.candidates.value)
    return replace(surroundings, candidates=Found(candidates))


# ------------------------------------------------------------------------------------------- comparing


def _not_told(base: Replayed, lost: _Lost) -> Replayed:
    return replace(base, kind=lost.kind, words=lost.words)


def _changed(
    base: Replayed, decision: Decision, differences: tuple[str, ...], answers: tuple[GuardAnswer, ...]
) -> Replayed:
    """Give what another plan comes to."""
    guards_now = _guard_changes(answers, decision.answers)
    return replace(base, kind=Kind.CHANGED, after=_side(decision), guards=guards_now, plan=differences)


def _compared(base: Replayed, answers: tuple[GuardAnswer, ...], decision: Decision) -> Replayed:
    """Give what the same steps come to."""
    before, after = base.before, _side(decision)
    changes = () if answers == decision.answers else _guard_changes(answers, decision.answers)
    if before is not None and (before.verdict, before.would, before.mode) == (after.verdict, after.would, after.mode):
        is_another = bool(base.plan or base.asks) or any(one.is_another for one in changes)
        is_reworded = bool(changes) or before.mode_words != after.mode_words
        kind = Kind.CHANGED if is_another else Kind.REWORDED if is_reworded else Kind.SAME
    else:
        kind = Kind.CHANGED
    return replace(base, kind=kind, after=after, guards=changes)


def _side(decision: Decision) -> Side:
    return Side(
        verdict=str(decision.verdict),
        would=str(decision.would),
        mode=str(decision.mode),
        mode_words=decision.mode_words,
        plan=decision.plan.digest,
    )


def _side_of(no_plan: NoPlan) -> Side:
    return Side(verdict=no_plan.end, words=no_plan.words)


def _guard_changes(before: tuple[GuardAnswer, ...], after: tuple[GuardAnswer, ...]) -> tuple[GuardChange, ...]:
    was, is_now = ({one.guard: one for one in answers} for answers in (before, after))
    names = dict.fromkeys([*was, *is_now])
    changes = (GuardChange(guard=name, before=was.get(name), after=is_now.get(name)) for name in names)
    return tuple(change for change in changes if change.before != change.after)


def _answer(one: GuardAnswer | None) -> Answer:
    """Give what a guard answers; one that was not asked holds nothing back."""
    return Answer.ALLOW if one is None else one.answer


def _differences(old: Plan, new: Plan | NoPlan) -> tuple[str, ...]:
    """Give what is otherwise in a plan, in words; the policy's version alone makes no difference."""
    if isinstance(new, NoPlan):
        return (f"nothing is planned: {new.words}",)
    if old.digest == new.digest and (old.needs_person, old.wait) == (new.needs_person, new.wait):
        return ()
    found: list[str] = []
    if old.steps != new.steps:
        found += (f"no more: {_call(step, new.steps)}" for step in old.steps if step not in new.steps)
        found += (f"new: {_call(step, old.steps)}" for step in new.steps if step not in old.steps)
    if old.needs_person != new.needs_person:
        found.append(f"a person decides: {new.needs_person}" if new.needs_person else "no person has to decide")
    if old.wait != new.wait:
        found.append(f"waits {new.wait.total_seconds():.0f} s first, not {old.wait.total_seconds():.0f} s")
    for name in sorted({*old.parameters, *new.parameters}) if old.parameters != new.parameters else ():
        was, is_now = (plan.parameters.get(name, "nothing") for plan in (old, new))
        found += [f"{name}: {is_now}, not {was}"] * (was != is_now)
    if not found and old.policy_version == new.policy_version:
        found.append(f"its digest is {new.digest[:12]}, not {old.digest[:12]}")
    return tuple(found)


def _listed(approvers: Iterable[Approvers]) -> frozenset[object]:
    """Give who is listed, whatever the order and the case."""
    return frozenset(
        (one.role, *(frozenset(name.lower() for name in names) for names in (one.users, one.groups)))
        for one in approvers
    )


def _call(step: Step, others: tuple[Step, ...]) -> str:
    """Give the call of a step, and whether the other plan has the same one with another body."""
    is_there = any(str(step.call) == str(other.call) for other in others)
    return f"{step.call} with another body" if is_there else str(step.call)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
