"""What lies where on the trail, and the compare-and-sets that the promises rest on. All through the port `Store`.

==========================================  =========================================================================
``intake/<day>/<event>-<nonce>``            one delivered event and how it ended; ``-none``: it starts nothing
``incidents/<id>/opened``                   the claim: whoever creates it runs the incident
``incidents/<id>/joined/<event>``           what a further event of the same failure adds
``incidents/<id>/ended``                    how the incident ended
``audit/<id>/<nnnn>.jsonl``                 its audit records, one a line, chained (`proof.chain`)
``resources/<resource>/<id>``               incidents of a resource, and of its endpoint
``effects/<plan>/<step>/<attempt>/intent``  who creates it sends, once
``effects/<plan>/<step>/<attempt>/outcome`` what came of it; ``/recorded``: an audit record tells so
``effects/<plan>/<step>/<attempt>/settled`` whether the operation that it began came out well
``targets/<resource>/<plan>-<step>-<n>``    the effects on a resource: written before the intent
``requests/<request id>``                   which intent an ``x-ms-client-request-id`` belongs to
``budget/<scope>/<action>/<hour>/<n>``      a taken slot
``results/<scope>/<action>/<day>/<id>-<n>``  whether a repair helped: the breaker reads it
``approvals/<plan>/asked``, ``/decided``    a question to people and its final answer
``approvals/<plan>/votes/<person>``         what one of them answered
``refused/<day>/<nonce>``                   an attempt to answer a question that named none
``pauses/<until>-<nonce>``                  a scope in which nothing is done
``days/<day>/<n>``                          the register: what a list of incidents needs (`register`)
``checkpoints/<nnnn>.jsonl``                signed states of all audit records (`proof.checkpoint`)
``storms/…``, ``members/…``                 failures that are judged together (`storms`)
==========================================  =========================================================================
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from remediations import codec, rolls, storms
from remediations.errors import AlreadyExists, AppendConflict, NotFound, RecordUnreadable, StoreError
from remediations.model import AuditRecord, Caller, Disposition, End, Incident, Mode, Outcome, Status, Touch
from remediations.policy import Approvers, Pause
from remediations.ports import Store
from remediations.proof import chain
from remediations.register import Kind, Line, Register
from remediations.storms import Storms

_DAY, _KEY, _ID = r"\d{4}-\d{2}-\d{2}", r"[0-9a-f]{32}", r"[\w-]{1,200}"
_OURS = re.compile(
    rf"intake/{_DAY}/{_ID}|incidents/{_ID}/(?:opened|ended|joined/{_KEY})|audit/{_ID}/\d{{4}}\.jsonl"
    rf"|resources/{_KEY}/{_ID}|targets/{_KEY}/{_ID}|effects/{_ID}/\d+/\d+/(?:intent|outcome|recorded|settled)"
    rf"|requests/{_ID}"
    rf"|budget/{_KEY}/{_ID}/\d{{8}}T\d{{2}}/\d{{4}}|results/{_KEY}/{_ID}/{_DAY}/{_ID}"
    rf"|approvals/{_ID}/(?:asked|decided|votes/{_KEY})|refused/{_DAY}/{_ID}|pauses/\d{{8}}T\d{{6}}Z-{_ID}"
    rf"|days/{_DAY}/\d{{4,}}|checkpoints/\d{{4}}\.jsonl",
    re.ASCII,
)
_APPENDS = 20
_STARTS_NONE = "-none"
_KEPT_ENDS = 1_000
_STAGE = b'"stage":"'  # as `codec.encode` writes it
_NOTHING_DONE = frozenset({Status.BUSY, Status.THROTTLED, Status.UNSENT, Status.REFUSED})


class Intake(Struct, frozen=True, kw_only=True):
    """One delivery of one event, and how it ended.

    Attributes:
        storm: The storm that it is judged in, if it is parked for one.
    """

    at: datetime
    event_id: str
    event_type: str
    disposition: Disposition
    words: str = ""
    resource: str | None = None
    operation_name: str | None = None
    caller: Caller = Caller()
    incident: Incident | None = None
    incident_id: str | None = None
    storm: str | None = None


class Opened(Struct, frozen=True, kw_only=True):
    """The claim of an incident."""

    at: datetime
    nonce: str
    incident: Incident


class Joined(Struct, frozen=True, kw_only=True):
    """What a further event of the same failure adds: CI's own word, and where its spec lies."""

    event_id: str
    source: str
    report: str | None = None
    operation_url: str | None = None
    desired_spec_url: str | None = None


class Ended(Struct, frozen=True, kw_only=True):
    """The end of an incident, for the sweep, the report and the list.

    Attributes:
        mode: ``MEDIC_MODE`` at its end.
        diagnosed_at: When it was first diagnosed; filled in from its records where it is left out.
    """

    at: datetime
    end: End
    words: str
    incident: Incident
    cause_id: str | None = None
    action: str | None = None
    effects: int = 0
    mode: Mode | None = None
    diagnosed_at: datetime | None = None


class Effect(Struct, frozen=True, kw_only=True):
    """One effect on one target, as the guards count it."""

    at: datetime
    incident_id: str
    action: str
    cause_id: str
    plan: str
    step: int
    attempt: int


class Settled(Struct, frozen=True, kw_only=True):
    """How the long-running operation came out that an effect began."""

    at: datetime
    held: bool


class Intent(Struct, frozen=True, kw_only=True):
    """That one call is about to be sent, by whoever created this.

    Attributes:
        decision: Digest of the decision that it carries out, in the evidence store.
        receipt: Digest of what undoing it needs, there too.
    """

    at: datetime
    nonce: str
    incident_id: str
    plan: str
    attempt: int
    decision: str
    action: str
    call: str
    request_id: str
    body_digest: str | None = None
    step: int = 0
    receipt: str | None = None


class Slot(Struct, frozen=True, kw_only=True):
    """One taken slot of a budget."""

    plan: str
    incident_id: str


class Result(Struct, frozen=True, kw_only=True):
    """Whether one repair helped."""

    at: datetime
    end: End
    cause_id: str


class Asked(Struct, frozen=True, kw_only=True):
    """One of the plans that a storm's question is about.

    Attributes:
        decision: Its digest in the evidence store.
    """

    incident: str
    plan: str
    decision: str


class Question(Struct, frozen=True, kw_only=True):
    """What people are asked.

    Attributes:
        plan: What an answer names; for a storm, the digest of its members' plans.
        decision: Digest of the decision in the evidence store: what would be done, and what each guard said.
        quorum: How many of them have to approve.
        approvers: Who may: somebody whom each of these includes.
        callers: Object ids and client ids of who started the failed operation, or asked for the undo: none of them may
            approve.
        touches: What the plan reaches.
        voids: The approved plan in whose place this one is asked about, and `differences` what has changed since.
        is_undo: Whether it is about an undo that somebody asked for.
        members: Every plan that a storm's question is about; then `decision` and `touches` are those of the first.
    """

    at: datetime
    incident_id: str
    plan: str
    decision: str
    policy_version: str
    expires_at: datetime
    quorum: int = 1
    approvers: tuple[Approvers, ...] = (Approvers(),)
    callers: tuple[str, ...] = ()
    touches: tuple[Touch, ...] = ()
    voids: str | None = None
    differences: tuple[str, ...] = ()
    is_undo: bool = False
    members: tuple[Asked, ...] = ()

    @property
    def bell(self) -> str:
        """The name of its doorbell: an event to the orchestration; the answer itself is in the store."""
        return bell_of(self.plan)


class Vote(Struct, frozen=True, kw_only=True):
    """One person's answer to a question; each has one.

    Attributes:
        by: Object id and tenant.
        comment: Theirs; without control characters.
    """

    at: datetime
    plan: str
    by: Caller
    approves: bool
    comment: str = ""


class Refusal(Struct, frozen=True, kw_only=True):
    """An attempt to answer that named no question which its sender may answer."""

    at: datetime
    why: str
    by: Caller = Caller()


class Answered(Struct, frozen=True, kw_only=True):
    """The final answer to a question. `approved` is None when it was superseded or expired.

    Attributes:
        by: Who gave the last answer that it took; nobody where none did.
    """

    at: datetime
    plan: str
    approved: bool | None
    words: str
    by: Caller = Caller()


class Trail:
    """The trail, by name."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.register = Register(store)
        self.storms = Storms(store)
        self._ends = _Ends()

    # --- events and incidents ---

    def record_intake(self, intake: Intake, nonce: str) -> None:
        """Keep how one delivery ended. A fresh nonce makes a fresh record, so no delivery hides another."""
        starts = "" if intake.incident is not None else _STARTS_NONE
        self._create(f"intake/{intake.at:%Y-%m-%d}/{codec.digest(intake.event_id)[:24]}-{nonce}{starts}", intake)

    def intakes(self, day: datetime) -> Iterator[Intake]:
        """Give the deliveries of one UTC day."""
        return map(self.intake, self.intake_names(day))

    def intake_names(self, day: datetime) -> Iterator[str]:
        """Give the names of one UTC day's deliveries, for whoever is to get past one that cannot be read."""
        return iter(self.store.list(f"intake/{day:%Y-%m-%d}/"))

    def starting_names(self, day: datetime) -> Iterator[str]:
        """Give the names of those that may start an incident, from their names alone."""
        return (name for name in self.intake_names(day) if not name.endswith(_STARTS_NONE))

    def intake(self, name: str) -> Intake:
        """Give the delivery of a name; raises ValueError if it cannot be read."""
        return codec.decode(Intake, self.store.read(name))

    def open_incident(self, incident: Incident, nonce: str, now: datetime, *, mode: Mode | None = None) -> bool:
        """Claim an incident; False if another nonce holds it. Asking again with the same nonce is True again."""
        keys = {incident.resource.key, incident.resource.endpoint_id.key}
        for key in keys if incident.storm is None else ():  # a storm's members stand there
            self._create(f"resources/{_short(key)}/{incident.id}", incident)
        opened = Opened(at=now, nonce=nonce, incident=incident)
        if not self._create(claim_name(incident.id), opened):
            holder = self.opened(incident.id)
            if holder is None or holder.nonce != nonce:
                return False
            opened = holder
        self.register.note(replace(_line(Kind.OPENED, opened.at, opened.incident), mode=mode), now)
        return True

    def opened(self, incident_id: str) -> Opened | None:
        return self._read(Opened, claim_name(incident_id))

    def join(self, incident_id: str, joined: Joined) -> None:
        self._create(f"incidents/{incident_id}/joined/{_short(joined.event_id)}", joined)

    def with_joined(self, incident: Incident) -> Incident:
        """Give the incident with what further events of the same failure have added."""
        names = list(self.store.list(f"incidents/{incident.id}/joined/"))
        for joined in (codec.decode(Joined, self.store.read(name)) for name in names):
            incident = replace(
                incident,
                report=incident.report or joined.report,
                operation_url=incident.operation_url or joined.operation_url,
                desired_spec_url=incident.desired_spec_url or joined.desired_spec_url,
            )
        return incident

    def end_incident(self, ended: Ended, now: datetime | None = None) -> None:
        """Keep how an incident ended, and a line of the register that tells so; the first word stands.

        Args:
            now: When that is, where it is not the time of the end.
        """
        incident_id = ended.incident.id
        line = self._known(Kind.ENDED, ended.at, incident_id, ended.incident)
        diagnosed_at = ended.diagnosed_at or line.diagnosed_at
        kept = replace(ended, diagnosed_at=diagnosed_at)
        if not self._create(f"incidents/{incident_id}/ended", kept):
            kept = self.ended(incident_id) or kept
        self.register.note(
            replace(
                line,
                at=kept.at,
                mode=kept.mode or line.mode,
                cause_id=kept.cause_id or line.cause_id,
                action=kept.action or line.action,
                end=kept.end,
                effects=kept.effects,
                diagnosed_at=kept.diagnosed_at,
            ),
            now or ended.at,
        )

    def ended(self, incident_id: str) -> Ended | None:
        return self._read(Ended, f"incidents/{incident_id}/ended")

    def incidents(self) -> Iterator[str]:
        """Give the ids of all incidents that were opened."""
        for name in self.store.list("incidents/"):
            if name.endswith("/opened"):
                yield name.split("/")[1]

    def standing(self) -> Iterator[tuple[str, bool]]:
        """Give the ids of all incidents that were opened, and whether each has ended, from their names alone."""
        parts = (name.split("/") for name in self.store.list("incidents/"))
        for incident_id, group in groupby(parts, key=lambda part: part[1]):
            held = {"/".join(part[2:]) for part in group}
            if "opened" in held:
                yield incident_id, "ended" in held

    def unended(self) -> tuple[str, ...]:
        """Give the ids of the incidents that were opened and have no end, from their names alone."""
        return tuple(incident_id for incident_id, has_ended in self.standing() if not has_ended)

    def incidents_of(self, resource_key: str) -> Iterator[Incident]:
        """Give the incidents of a resource, or of an endpoint's deployments."""
        for name in self.store.list(f"resources/{_short(resource_key)}/"):
            yield codec.decode(Incident, self.store.read(name))

    def incidents_on(self, resource_key: str) -> tuple[Incident, ...]:
        """Give the incidents of the very same resource."""
        return tuple(incident for incident in self.incidents_of(resource_key) if incident.resource.key == resource_key)

    # --- audit records ---

    def append_record(self, record: AuditRecord) -> bool:
        """Add a record to its incident's, chained to the last; False if its key is there already: the first one stands.

        Raises:
            StoreError: nothing is known about the record; nothing that needs it may happen.
        """
        with self._ends.of(record.incident) as end:
            for left in reversed(range(_APPENDS)):
                place = end.place or end.read(*rolls.read(self.store, audit_folder(record.incident)))
                if record.key in end.keys:
                    return False
                line, digest = chain.seal(replace(record, seq=len(end.keys)), end.hash)
                end.place = None  # whatever goes wrong now, the end is read again
                try:
                    end.place = rolls.append(self.store, audit_folder(record.incident), line, place)
                except AppendConflict:
                    if left == 0:
                        raise
                    continue
                end.keys.add(record.key)
                end.hash = digest
                return True
        raise AssertionError("the last round returns or raises")

    def records(
        self, incident_id: str, stages: Collection[str] = (), *, is_checked: bool = False
    ) -> tuple[AuditRecord, ...]:
        """Give an incident's records in order; none if there are none.

        Args:
            stages: Only those of these stages, found without reading the others; none: all.
            is_checked: Only if each is as its hash says, in its place, and follows the record before it.

        Raises:
            RecordUnreadable: one cannot be read, or does not pass that check.
        """
        lines = self.record_lines(incident_id).splitlines()
        wanted = {stage.encode() for stage in stages}
        found: list[AuditRecord] = []
        for number, line in enumerate(lines):
            if stages and line.rpartition(_STAGE)[2].partition(b'"')[0] not in wanted:
                continue
            try:
                record = codec.decode(AuditRecord, line)
            except ValueError as error:
                raise RecordUnreadable(incident_id, number, f"cannot be read ({error})") from error
            if is_checked and not _is_held(line, record, incident_id, number, lines[number - 1] if number else None):
                raise RecordUnreadable(incident_id, number, "was changed")
            if not stages or record.stage in stages:
                found.append(record)
        return tuple(found)

    def digest(self, name: str) -> str | None:
        """Give the SHA-256 of what lies under a name, for the record that tells of it; None if nothing does."""
        try:
            return codec.digest(self.store.read(name))
        except NotFound:
            return None

    def record_lines(self, incident_id: str) -> bytes:
        """Give an incident's records as they lie there, one a line."""
        return rolls.read(self.store, audit_folder(incident_id))[0]

    # --- effects ---

    def open_intent(self, effect: Effect, intent: Intent, targets: tuple[str, ...]) -> bool:
        """Create an intent; True for the one caller that did. The index entries come first: an intent that nobody
        could find by its target would not count."""
        for target in targets:
            self._create(f"targets/{_short(target)}/{effect.plan}-{effect.step}-{effect.attempt}", effect)
        self._create(f"requests/{intent.request_id}", Slot(plan=effect.plan, incident_id=effect.incident_id))
        return self._create(intent_name(effect.plan, effect.step, effect.attempt), intent)

    def intent(self, plan: str, step: int, attempt: int) -> Intent | None:
        return self._read(Intent, intent_name(plan, step, attempt))

    def close_intent(self, plan: str, step: int, attempt: int, outcome: Outcome) -> Outcome:
        """Keep an intent's outcome; the first one stands and is given back."""
        name = outcome_name(plan, step, attempt)
        self._create(name, outcome)
        return codec.decode(Outcome, self.store.read(name))

    def outcome(self, plan: str, step: int, attempt: int) -> Outcome | None:
        return self._read(Outcome, outcome_name(plan, step, attempt))

    def settle(self, plan: str, step: int, attempt: int, settled: Settled) -> None:
        """Keep how the operation that an effect began came out; the first word stands."""
        self._create(f"{_effect_name(plan, step, attempt)}/settled", settled)

    def settled(self, plan: str, step: int, attempt: int) -> Settled | None:
        """Give how the operation that an effect began came out; None if nobody has looked."""
        return self._read(Settled, f"{_effect_name(plan, step, attempt)}/settled")

    def effects_on(self, target: str) -> tuple[tuple[Effect, Outcome | None], ...]:
        """Give the effects on a target that were at least intended, oldest first, with their outcomes."""
        found: list[tuple[Effect, Outcome | None]] = []
        for name in self.store.list(f"targets/{_short(target)}/"):
            effect = codec.decode(Effect, self.store.read(name))
            if self.intent(effect.plan, effect.step, effect.attempt) is not None:
                found.append((effect, self.outcome(effect.plan, effect.step, effect.attempt)))
        return tuple(sorted(found, key=lambda pair: pair[0].at))

    def effects_of(self, incident: Incident) -> tuple[tuple[Effect, Outcome | None], ...]:
        """Give the same of one incident: each of its effects stands under its own resource, too."""
        effects = self.effects_on(incident.resource.key)
        return tuple(pair for pair in effects if pair[0].incident_id == incident.id)

    def is_worked_on(self, incident: Incident) -> bool:
        """Tell whether an incident has sent something and has not ended."""
        if self.ended(incident.id) is not None:
            return False
        outcomes = (outcome for _, outcome in self.effects_of(incident))
        return any(outcome is None or outcome.status is Status.ACCEPTED for outcome in outcomes)

    def mark_recorded(self, plan: str, step: int, attempt: int) -> None:
        """Keep that an audit record tells what came of an intent: nobody has to look after it any more."""
        self._create(f"{_effect_name(plan, step, attempt)}/recorded", {})

    def is_recorded(self, plan: str, step: int, attempt: int) -> bool:
        return self.digest(f"{_effect_name(plan, step, attempt)}/recorded") is not None

    def open_intents(self) -> tuple[str, ...]:
        """Give the names of the intents without an outcome, or with one that no audit record tells yet."""
        names = [name.rpartition("/") for name in self.store.list("effects/")]
        closed = {base for base, _, last in names if last == "recorded"}
        return tuple(f"{base}/{last}" for base, _, last in names if last == "intent" and base not in closed)

    def intent_named(self, name: str) -> Intent:
        """Give the intent of a name; raises ValueError if it cannot be read."""
        return codec.decode(Intent, self.store.read(name))

    def intents(self) -> Iterator[tuple[Intent, Outcome | None]]:
        """Give every intent with its outcome, for the checkers."""
        for name in self.store.list("effects/"):
            if name.endswith("/intent"):
                intent = codec.decode(Intent, self.store.read(name))
                yield intent, self._read(Outcome, name.removesuffix("intent") + "outcome")

    def request(self, request_id: str) -> str | None:
        """Give the incident whose write carried this ``x-ms-client-request-id``."""
        slot = self._read(Slot, f"requests/{request_id}") if _is_name(request_id) else None
        return None if slot is None else slot.incident_id

    # --- budgets, results, pauses ---

    def take_budget(self, scope: str, action: str, now: datetime, slot: Slot, limit: int) -> bool:
        """Take a slot of this hour's budget; a repeat finds its own. False if none is free."""
        base = f"budget/{_short(scope)}/{action}/{now:%Y%m%dT%H}"
        for number in range(limit):
            name = f"{base}/{number:04d}"
            if self._create(name, slot) or codec.decode(Slot, self.store.read(name)) == slot:
                return True
        return False

    def budget_used(self, scope: str, action: str, now: datetime, slot_of: str) -> int:
        """Give how many slots of this hour others than plan `slot_of` have taken."""
        return sum(slot.plan != slot_of for slot in self.slots(scope, action, now))

    def slots(self, scope: str, action: str, now: datetime) -> Iterator[Slot]:
        """Give the taken slots of this hour's budget."""
        for name in self.store.list(f"budget/{_short(scope)}/{action}/{now:%Y%m%dT%H}/"):
            yield codec.decode(Slot, self.store.read(name))

    def record_result(self, scope: str, action: str, name: str, result: Result) -> None:
        self._create(f"results/{_short(scope)}/{action}/{result.at:%Y-%m-%d}/{name}", result)

    def results(self, scope: str, action: str, since: datetime, now: datetime) -> tuple[Result, ...]:
        """Give the results of an action in a scope since a time, oldest first."""
        days = {(since + timedelta(days=number)).date() for number in range((now.date() - since.date()).days + 1)}
        found: list[Result] = []
        for day in sorted(days):
            names = self.store.list(f"results/{_short(scope)}/{action}/{day:%Y-%m-%d}/")
            found.extend(codec.decode(Result, self.store.read(name)) for name in names)
        return tuple(sorted((result for result in found if result.at >= since), key=lambda result: result.at))

    def pause(self, pause: Pause, nonce: str) -> None:
        self._create(f"pauses/{pause.until:%Y%m%dT%H%M%SZ}-{nonce}", pause)

    def pauses(self, now: datetime) -> tuple[Pause, ...]:
        """Give the pauses that hold now."""
        found = (codec.decode(Pause, self.store.read(name)) for name in self.store.list("pauses/"))
        return tuple(pause for pause in found if pause.until > now)

    # --- questions ---

    def ask(self, question: Question) -> None:
        kept = question
        if not self._create(question_name(question.plan), question):
            kept = self.question(question.plan) or question
        line = self._known(Kind.ASKED, kept.at, kept.incident_id)
        self.register.note(replace(line, plan=kept.plan, expires_at=kept.expires_at), question.at)

    def question(self, plan: str) -> Question | None:
        return self._read(Question, question_name(plan)) if _is_name(plan) else None

    def answer(self, answered: Answered) -> Answered:
        """Keep the answer to a question; the first one stands and is given back."""
        self._create(answer_name(answered.plan), answered)
        kept = self.answered(answered.plan) or answered
        with suppress(StoreError, ValueError):  # it stands all the same, and the register learns of the incident's end
            question = self.question(kept.plan)
            if question is not None:
                line = self._begun(Kind.ANSWERED, kept.at, question.incident_id)
                self.register.note(replace(line, plan=kept.plan, approved=kept.approved), answered.at)
        return kept

    def vote(self, vote: Vote) -> Vote:
        """Keep one person's answer; their first one stands and is given back."""
        self._create(vote_name(vote), vote)
        return codec.decode(Vote, self.store.read(vote_name(vote)))

    def votes(self, plan: str) -> tuple[Vote, ...]:
        """Give what people have answered so far, oldest first."""
        names = self.store.list(f"approvals/{plan}/votes/")
        return tuple(sorted((codec.decode(Vote, self.store.read(name)) for name in names), key=lambda vote: vote.at))

    def answered(self, plan: str) -> Answered | None:
        """Give the final answer to a question; raises ValueError if what lies there is about another one."""
        kept = self._read(Answered, answer_name(plan))
        if kept is not None and kept.plan != plan:
            msg = f"what lies under approvals/{plan} is about plan {kept.plan}: it was put there by somebody else"
            raise ValueError(msg)
        return kept

    def record_refusal(self, refusal: Refusal, nonce: str) -> None:
        """Keep an attempt to answer that named no question."""
        self._create(f"refused/{refusal.at:%Y-%m-%d}/{refusal.at:%H%M%S}-{nonce}", refusal)

    def refusals(self, day: datetime) -> Iterator[Refusal]:
        """Give the attempts of one UTC day that named no question."""
        for name in self.store.list(f"refused/{day:%Y-%m-%d}/"):
            yield codec.decode(Refusal, self.store.read(name))

    def open_questions(self) -> Iterator[Question]:
        """Give the questions that nobody and nothing has answered."""
        names = [name.rpartition("/") for name in self.store.list("approvals/")]
        answered = {base for base, _, last in names if last == "decided"}
        for base, _, last in names:
            if last == "asked" and base not in answered:
                yield codec.decode(Question, self.store.read(f"{base}/asked"))

    def open_questions_of(self, incident_id: str) -> Iterator[Question]:
        """Give the open questions of one incident, by its own records: how many others wait costs nothing.

        One that was kept and whose walk died before its record is found by the plan that it is about.
        """
        records = self.records(incident_id, {"plan", "question"})
        for plan in dict.fromkeys(str(record.facts["plan"]) for record in records if "plan" in record.facts):
            question = self.question(plan)
            if question is not None and self.answered(plan) is None:
                yield question

    def voted(self) -> frozenset[str]:
        """Give the plans about which somebody has answered anything, from names alone."""
        parts = (name.split("/") for name in self.store.list("approvals/"))
        return frozenset(part[1] for part in parts if part[-1] != "asked")

    # --- the parts ---

    def _begun(self, kind: Kind, at: datetime, incident_id: str, incident: Incident | None = None) -> Line:
        """Give a line of the register about an incident; what cannot be read is left out of it, and stops nothing."""
        opened: Opened | None = None
        with suppress(ValueError):
            opened = self.opened(incident_id)
        if opened is not None:
            return replace(_line(kind, at, opened.incident), opened_at=opened.at)
        return Line(kind=kind, at=at, incident=incident_id) if incident is None else _line(kind, at, incident)

    def _known(self, kind: Kind, at: datetime, incident_id: str, incident: Incident | None = None) -> Line:
        """Give the same with what the incident's records say of its diagnosis."""
        line = self._begun(kind, at, incident_id, incident)
        records: tuple[AuditRecord, ...] = ()
        with suppress(ValueError):
            records = self.records(incident_id)
        diagnosed = [record for record in records if record.stage == "diagnosis"]
        if not diagnosed:
            return line
        cause, action = (diagnosed[-1].facts.get(name) for name in ("cause", "action"))
        return replace(
            line,
            cause_id=cause if isinstance(cause, str) else None,
            action=action if isinstance(action, str) else None,
            diagnosed_at=diagnosed[0].at,
            mode=diagnosed[-1].mode,
        )

    def _create(self, name: str, value: object) -> bool:
        try:
            self.store.create(name, codec.encode(value))
        except AlreadyExists:
            return False
        return True

    def _read[T](self, type_: type[T], name: str) -> T | None:
        try:
            return codec.decode(type_, self.store.read(name))
        except NotFound:
            return None


class _End:
    """The end of one incident's records, as this process last knew it.

    What others have added since, the position of the next append finds out.

    Attributes:
        place: Where the next line goes; None: to be read.
        keys: Of all records, as many as there are.
        hash: Of the last one.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.place: rolls.Place | None = None
        self.keys: set[str] = set()
        self.hash = chain.FIRST

    def read(self, lines: bytes, place: rolls.Place) -> rolls.Place:
        """Take the end from all lines, and give where the next one goes; raises ValueError if one cannot be read."""
        known = [_KEYED.decode(line) for line in lines.splitlines()]
        self.keys = {one.key for one in known}
        self.hash = known[-1].hash if known else chain.FIRST
        self.place = place
        return place


class _Ends:
    """The ends of the incidents that this process wrote to last. One thread at a time adds to an incident."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _End] = OrderedDict()

    @contextmanager
    def of(self, incident_id: str) -> Iterator[_End]:
        """Hold the end of an incident's records."""
        with self._lock:
            end = self._known.setdefault(incident_id, _End())
            self._known.move_to_end(incident_id)
            if len(self._known) > _KEPT_ENDS:
                self._known.popitem(last=False)
        with end.lock:
            yield end


class _Keyed(Struct, frozen=True, gc=False):
    key: str
    hash: str


_KEYED = codec.decoder(_Keyed)


def _is_held(line: bytes, record: AuditRecord, incident_id: str, number: int, before: bytes | None) -> bool:
    """Tell whether a line is as its hash says, in its place, and names the hash that ends the line before it."""
    if not chain.is_whole(line) or record.incident != incident_id or record.seq != number:
        return False
    return record.previous == chain.FIRST if before is None else before.endswith(b'"%b"}' % record.previous.encode())


def _line(kind: Kind, at: datetime, incident: Incident) -> Line:
    return Line(
        kind=kind,
        at=at,
        incident=incident.id,
        resource=incident.resource.path,
        operation=incident.operation,
        failed_at=incident.began_at,
        storm="" if incident.storm is None else incident.storm.label,
    )


def claim_name(incident_id: str) -> str:
    return f"incidents/{incident_id}/opened"


def question_name(plan: str) -> str:
    return f"approvals/{plan}/asked"


def vote_name(vote: Vote) -> str:
    return f"approvals/{vote.plan}/votes/{_short(f'{vote.by.tid} {vote.by.oid}')}"


def answer_name(plan: str) -> str:
    return f"approvals/{plan}/decided"


def intent_name(plan: str, step: int, attempt: int) -> str:
    return f"{_effect_name(plan, step, attempt)}/intent"


def outcome_name(plan: str, step: int, attempt: int) -> str:
    return f"{_effect_name(plan, step, attempt)}/outcome"


def is_ours(name: str) -> bool:
    """Tell whether a record of such a name can be one of the trail's."""
    return _OURS.fullmatch(name) is not None or storms.is_name(name)


def asked_about(records: Iterable[AuditRecord]) -> tuple[str, ...]:
    """Give the plans that people were asked about, in order, by the records of an incident."""
    return tuple(str(record.facts.get("plan")) for record in records if record.stage == "question")


def audit_folder(incident_id: str) -> str:
    """Give the folder of an incident's audit records."""
    return f"audit/{incident_id}"


def bell_of(plan: str) -> str:
    """Give the name of the doorbell of the question about a plan."""
    return f"decided:{plan[:32]}"


def counts_as_attempt(outcome: Outcome | None) -> bool:
    """Tell whether an effect counts: not if Azure was busy or throttled us, nor if nothing was sent."""
    return outcome is None or outcome.status not in _NOTHING_DONE


def _effect_name(plan: str, step: int, attempt: int) -> str:
    return f"effects/{plan}/{step}/{attempt}"


def _short(text: str) -> str:
    return codec.digest(text.lower())[:32]


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 64 and text.replace("-", "").isalnum() and text.isascii() and not text.startswith(".")
