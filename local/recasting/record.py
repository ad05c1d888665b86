"""What the trail and the evidence store hold of one incident that has ended: all that a scenario is made from."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from remediations.errors import MedicError
from remediations.model import (
    AuditRecord,
    End,
    Evidence,
    Incident,
    Reading,
    ResourceState,
    Status,
    Surroundings,
    Unknown,
)
from remediations.services import EvidenceStore
from remediations.situation import Situation
from remediations.trail import Ended, Trail


class NotRecorded(MedicError):
    """An incident of which the trail or the evidence store does not hold what a scenario needs."""


class Seen(Struct, frozen=True, kw_only=True):
    """What was read of the world at one time, after the evidence that was judged first.

    Attributes:
        after: How many writes of ours had been accepted by then.
        is_answered: Whether people had answered the question about it.
    """

    at: datetime
    resource: Reading[ResourceState]
    endpoint: Reading[ResourceState] = Unknown()
    surroundings: Surroundings = Surroundings()
    after: int = 0
    is_answered: bool = False


class Sent(Struct, frozen=True, kw_only=True):
    """One write that Azure was asked for, and what came of it.

    Attributes:
        is_rerun: Whether it ran the failed operation again.
    """

    action: str
    method: str
    path: str
    status: str
    codes: tuple[str, ...] = ()
    words: str = ""
    is_rerun: bool = False


class Recorded(Struct, frozen=True, kw_only=True):
    """One incident as it is on record.

    Attributes:
        evidence: What was judged first.
        situation: What the guards saw when it was first decided, as far as it is kept; None if nothing was planned, or
            nothing of it is kept any more.
        seen: What was read later, in order.
        answers: How people answered each question, in order; None for one that nobody answered in time.
        votes: How many people have approved anything.
    """

    incident: Incident
    opened_at: datetime
    evidence: Evidence
    ended: Ended
    records: tuple[AuditRecord, ...]
    situation: Situation | None = None
    seen: tuple[Seen, ...] = ()
    sent: tuple[Sent, ...] = ()
    answers: tuple[bool | None, ...] = ()
    votes: int = 0

    @property
    def cause(self) -> str:
        """The cause that was diagnosed first."""
        return next(str(one.facts.get("cause")) for one in self.records if one.stage == "diagnosis")

    @property
    def last_cause(self) -> str:
        """The cause that was diagnosed last."""
        return [str(one.facts.get("cause")) for one in self.records if one.stage == "diagnosis"][-1]

    @property
    def accepted(self) -> tuple[Sent, ...]:
        """The writes that took effect, in order."""
        return tuple(one for one in self.sent if one.status == Status.ACCEPTED)

    @property
    def failures(self) -> int:
        """How often the operation failed: at first, and each time that we ran it again in vain."""
        reruns = sum(one.is_rerun for one in self.accepted)
        return max(1, reruns + (self.ended.end is not End.REPAIRED))


def read(trail: Trail, evidence: EvidenceStore, incident_id: str) -> Recorded:
    """Give an incident as it is on record.

    Raises:
        NotRecorded: it has no end, or its evidence is not there any more; or it is an undo, or a storm.
    """
    opened, ended = trail.opened(incident_id), trail.ended(incident_id)
    if opened is None:
        raise NotRecorded(f"{incident_id} is not on the trail. `medic audit list` shows what is.")
    if opened.incident.undoes is not None:
        of = opened.incident.undoes.incident
        raise NotRecorded(
            f"{incident_id} undoes a call of {of}. Export {of}, and write the undo as a step: `do: undo`."
        )
    if opened.incident.storm is not None:
        parts = ", ".join(part.incident for part in trail.storms.of(opened.incident).members)
        raise NotRecorded(f"{incident_id} is a storm: its members are incidents of their own. Export one of {parts}.")
    if ended is None:
        words = f"{incident_id} has not ended: what came out is not known yet"
        raise NotRecorded(f"{words}. Export it once `medic audit list` shows its end.")
    records = trail.records(incident_id)
    judged = [str(record.facts.get("evidence")) for record in records if record.stage == "diagnosis"]
    first = evidence.find(Evidence, judged[0]) if judged else None
    if first is None:
        why = "it was never diagnosed" if not judged else f"its evidence {judged[0][:12]} has expired"
        raise NotRecorded(f"{incident_id} cannot be rebuilt: {why}. Export an incident before its evidence is deleted.")
    situations = _situations(records, evidence)
    return Recorded(
        incident=opened.incident,
        opened_at=opened.at,
        evidence=first,
        ended=ended,
        records=records,
        situation=next(iter(situations.values()), None),
        seen=tuple(_seen(records, evidence, situations, judged[0])),
        sent=tuple(_sent(records, opened.incident)),
        answers=tuple(_answer(record) for record in records if record.stage == "answer"),
        votes=sum(record.stage == "vote" and record.facts.get("approves") is True for record in records),
    )


def _situations(records: tuple[AuditRecord, ...], evidence: EvidenceStore) -> Mapping[int, Situation]:
    """Give what each decision saw, by the number of its record; without those whose time in the store is over."""
    digests = {record.seq: str(record.facts.get("situation")) for record in records if record.stage == "decision"}
    found = {seq: evidence.find(Situation, digest) for seq, digest in digests.items()}
    return {seq: situation for seq, situation in found.items() if situation is not None}


def _seen(
    records: tuple[AuditRecord, ...], evidence: EvidenceStore, situations: Mapping[int, Situation], first: str
) -> Iterator[Seen]:
    after, is_answered = 0, False
    for record in records:
        if record.stage == "outcome" and record.facts.get("status") == "accepted":
            after += 1
        is_answered = is_answered or record.stage == "answer"
        shown: Situation | Evidence | None = situations.get(record.seq)
        if record.stage in {"evidence", "verification"} and record.facts.get("evidence") != first:
            shown = evidence.find(Evidence, str(record.facts.get("evidence")))
        if shown is not None:
            yield Seen(
                at=record.at,
                resource=shown.resource,
                endpoint=shown.endpoint,
                surroundings=shown.surroundings,
                after=after,
                is_answered=is_answered,
            )


def _sent(records: tuple[AuditRecord, ...], incident: Incident) -> Iterator[Sent]:
    calls = {_key(record): str(record.facts.get("call")) for record in records if record.stage == "intent"}
    for record in records:
        if record.stage == "outcome" and _key(record) in calls:
            method, _, url = calls[_key(record)].partition(" ")
            path = url.partition("?")[0]
            codes = record.facts.get("codes")
            yield Sent(
                action=str(record.facts.get("action")),
                method=method,
                path=path,
                status=str(record.facts.get("status")),
                codes=tuple(str(code) for code in codes) if isinstance(codes, list) else (),
                words=str(record.facts.get("words")),
                is_rerun=path.lower() == incident.resource.key,
            )


def _key(record: AuditRecord) -> tuple[object, ...]:
    return tuple(record.facts.get(name) for name in ("plan", "step", "attempt"))


def _answer(record: AuditRecord) -> bool | None:
    approved = record.facts.get("approved")
    return approved if isinstance(approved, bool) else None
