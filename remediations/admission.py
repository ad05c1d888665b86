"""Admit: Reception -> Admission: which incident an event belongs to, if any. Reads the trail; starts nothing.

One failure is one incident: events of the same failure carry the same correlation id, and an event without one gets it
from the Activity Log's row of about that time, else joins the open incident of that resource whose failure is not older
than its last write. Where that came first, what carries the id joins it.

Requests that fail are no failed operation: an alert about them is an incident beside all others of its resource. It
waits for none of them, ends none, and none joins it. So is an undo that somebody asked for: what fails meanwhile is an
incident of its own, and the desks keep the two apart.

Where many failures of one workspace come at once, the first go their own way and the others are judged together
(`storms`): this takes their places.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from remediations import enrichment, intake
from remediations.model import (
    Absent,
    ActivityRow,
    Caller,
    Disposition,
    End,
    Evidence,
    Found,
    Incident,
    Reception,
    ResourceId,
)
from remediations.policy import Storms as Limits
from remediations.ports import Reads
from remediations.trail import Joined, Trail

_CORROBORATES = timedelta(hours=24)
_LATEST_DELIVERY = timedelta(hours=25)  # Event Grid tries for 24 hours, and so long may an operation have run before
_SAME_FAILURE = timedelta(minutes=10)  # so far apart may two tellings of one failure date it
_LATE_ROW = timedelta(minutes=5)  # so long after a failure may the Activity Log date it
_NO_STORMS = Limits(first=0)
_OWN_READS = ("/getlogs/action", "/diagnose/action")


class Admission(Struct, frozen=True, kw_only=True):
    """What is to be done with one event.

    Attributes:
        incident: To start, or to park; None for everything else.
        incident_id: The incident that the event belongs to.
        superseded: Plans whose question a newer failure has made pointless.
        storm: The storm that the incident is judged in, if it is in one; it may have to be called to muster.
    """

    disposition: Disposition
    words: str = ""
    incident: Incident | None = None
    incident_id: str | None = None
    superseded: tuple[tuple[str, str], ...] = ()
    storm: str | None = None


def admit(
    reception: Reception,
    *,
    trail: Trail,
    own: Callable[[], Caller | None],
    reads: Callable[[], Reads],
    now: datetime,
    report: str | None = None,
    limits: Limits = _NO_STORMS,
) -> Admission:
    """Give where an event belongs.

    Args:
        own: Gives our identity; asked only for events that could be ours.
        reads: Gives a reader; asked only for an event without a correlation id.
        report: Digest of what the sender said, if it said something.
        limits: What policy says of storms.
    """
    if reception.handshake is not None:
        return Admission(disposition=Disposition.HANDSHAKE, words="subscription handshake answered")
    if reception.repaired is not None:
        return _corroborated(*reception.repaired, trail=trail, now=now)
    incident = reception.incident
    if incident is not None and incident.is_scoring:
        return _in_place(_scored(incident, reception, trail), trail=trail, now=now, limits=limits)
    linked = _linked(reception, trail=trail, own=own, now=now)
    if linked is not None:
        return linked
    if incident is None:
        return Admission(disposition=Disposition.IGNORED, words=reception.ignored or "nothing of ours")
    incident, row = _correlated(replace(incident, report=report), trail=trail, reads=reads, now=now)
    if reception.caller == Caller():
        holder = _behind(incident, row, trail=trail, own=own)
        if holder is not None:
            _keep_word(holder, incident, trail)
            return Admission(disposition=Disposition.LINKED, words="our own write failed", incident_id=holder)
    first = _told_before(incident, trail)
    if first is not None:
        trail.join(first.id, _joined(incident))
        words = f"the failure is known from {first.source}, which did not know its correlation id"
        return Admission(disposition=Disposition.JOINED, words=words, incident_id=first.id)
    _keep_word(incident.id, incident, trail)
    return _in_place(_placed(incident, reception, trail), trail=trail, now=now, limits=limits)


def _in_place(admitted: Admission, *, trail: Trail, now: datetime, limits: Limits) -> Admission:
    """Give what is to be done with a new failure: by itself, or with many others of its workspace."""
    if admitted.disposition is not Disposition.INCIDENT or admitted.incident is None:
        return admitted
    storm = trail.storms.taken(admitted.incident, now, limits)
    if storm is None:
        return admitted
    member = trail.storms.enlist(storm, admitted.incident, now)
    words = f"one of many failures in workspace {admitted.incident.resource.workspace}; judged together with them"
    return replace(admitted, disposition=Disposition.PARKED, words=words, storm=member.storm)


def _scored(incident: Incident, reception: Reception, trail: Trail) -> Admission:
    """Place an alert about requests: it is known by its own firing, or new."""
    known = _known(incident, reception, trail)
    if known is not None:
        words = "the same firing of the alert was delivered before"
        return replace(known, disposition=Disposition.DUPLICATE, words=words)
    return Admission(disposition=Disposition.INCIDENT, incident=incident, incident_id=incident.id)


def _operations_on(resource: ResourceId, trail: Trail) -> Iterator[Incident]:
    """Give the incidents of the very same resource that are about a failed operation on it."""
    return (other for other in trail.incidents_on(resource.key) if not other.is_scoring and not other.is_undo)


def _keep_word(incident_id: str, incident: Incident, trail: Trail) -> None:
    """Keep what CI adds to an incident, whoever told of it first."""
    if incident.source == "ci" or incident.desired_spec_url is not None:
        trail.join(incident_id, _joined(incident))


def _known(incident: Incident, reception: Reception, trail: Trail) -> Admission | None:
    """Give where an event belongs whose incident is there already, open or waiting to be judged with others."""
    opened = trail.opened(incident.id)
    member = None if opened is not None else trail.storms.member(incident.id)
    known = opened or member
    if known is None:
        return None
    same = known.incident.event_id == reception.event_id
    words = "the same event was delivered before" if same else f"the failure is known from {known.incident.source}"
    disposition = Disposition.DUPLICATE if same else Disposition.JOINED
    storm = None if member is None else member.storm
    return Admission(disposition=disposition, words=words, incident_id=incident.id, storm=storm)


def _placed(incident: Incident, reception: Reception, trail: Trail) -> Admission:
    known = _known(incident, reception, trail)
    if known is not None:
        return known
    superseded: list[tuple[str, str]] = []
    for other in _operations_on(incident.resource, trail):
        if other.id == incident.id or trail.opened(other.id) is None or trail.ended(other.id) is not None:
            continue
        if trail.is_worked_on(other):
            words = f"incident {other.id} is working on this resource; judged again when it ends"
            return Admission(disposition=Disposition.PARKED, words=words, incident=incident, incident_id=incident.id)
        superseded += [(other.id, question.plan) for question in trail.open_questions_of(other.id)]
        storm = trail.storms.over(other.id)
        for question in () if storm is None else trail.open_questions_of(storm.id):
            superseded += [(other.id, one.plan) for one in question.members if one.incident == other.id]
    return Admission(
        disposition=Disposition.INCIDENT,
        incident=incident,
        incident_id=incident.id,
        superseded=tuple(superseded),
    )


def _linked(reception: Reception, *, trail: Trail, own: Callable[[], Caller | None], now: datetime) -> Admission | None:
    """Tell an event that our own write caused: it belongs to that write's incident and never starts one."""
    request = reception.client_request_id or ""
    holder = trail.request(request)
    if reception.caller == Caller() and holder is None:
        return None
    us = own()
    if not intake.is_ours(reception, us):
        # Somebody else's identity with our request id is somebody else's event; it counts only while we do not know
        # who we are.
        if us is None and holder is not None:
            return Admission(disposition=Disposition.LINKED, words="caused by our own write", incident_id=holder)
        return None
    if not request:
        holder = _by_target(reception, trail, now)
    if holder is not None:
        return Admission(disposition=Disposition.LINKED, words="caused by our own write", incident_id=holder)
    if (reception.operation_name or "").lower().endswith(_OWN_READS):
        return Admission(disposition=Disposition.IGNORED, words="caused by our own reading of logs")
    words = "our identity caused it, and no intent on the trail says so: somebody may be using our identity"
    return Admission(disposition=Disposition.ALARM, words=words)


def _by_target(reception: Reception, trail: Trail, now: datetime) -> str | None:
    """Find our write by its target: the event of a first create carries no request id, and may come a day late."""
    try:
        key = ResourceId.parse(reception.resource or "").key
    except ValueError:
        return None
    recent = [effect for effect, _ in trail.effects_on(key) if now - effect.at < _LATEST_DELIVERY]
    return recent[-1].incident_id if recent else None


def _correlated(
    incident: Incident, *, trail: Trail, reads: Callable[[], Reads], now: datetime
) -> tuple[Incident, ActivityRow | None]:
    """Give the incident under the id of its failure, and the row that tells of the failure if one had to be read."""
    if incident.correlation_id is not None:
        return incident, None
    evidence = enrichment.enrich(incident, reads(), now=now, own=None)
    row = _row_of(incident, evidence)
    if row is not None:
        correlation = row.correlation_id.lower()
        known = intake.incident_id(incident.resource, correlation)
        failed_at = row.at if incident.source == "sweep" else incident.failed_at
        return replace(incident, id=known, correlation_id=correlation, failed_at=failed_at), row
    if isinstance(evidence.resource, Found) and evidence.resource.value.last_modified_at is not None:
        since = evidence.resource.value.last_modified_at
    elif isinstance(evidence.resource, Absent):
        since = incident.failed_at - _SAME_FAILURE
    else:
        return incident, None
    same = [
        other
        for other in _operations_on(incident.resource, trail)
        if other.failed_at >= since and _may_join(incident, other, trail)
    ]
    return (replace(incident, id=max(same, key=lambda other: other.failed_at).id) if same else incident), None


def _row_of(incident: Incident, evidence: Evidence) -> ActivityRow | None:
    """Give the row of this very failure: dated about as the event dates it, and not from before the last write."""
    rows = evidence.activity.value if isinstance(evidence.activity, Found) else ()
    written = evidence.resource.value.last_modified_at if isinstance(evidence.resource, Found) else None
    earliest = incident.began_at - _SAME_FAILURE
    since = earliest if written is None else max(earliest, written)
    fitting = [
        row
        for row in rows
        if row.correlation_id
        and row.resource.lower() == incident.resource.key
        and since <= row.at <= incident.failed_at + _LATE_ROW
    ]
    return fitting[-1] if fitting else None


def _may_join(incident: Incident, other: Incident, trail: Trail) -> bool:
    """Tell whether an event may join another incident of its resource, though nothing but the time speaks for it.

    An incident that has ended is joined by its own event, and by the sweep: nobody has written since, so the state that
    the sweep finds is the one that it ended with.
    """
    is_its_own = other.event_id == incident.event_id or incident.source == "sweep"
    return is_its_own or trail.ended(other.id) is None


def _told_before(incident: Incident, trail: Trail) -> Incident | None:
    """Find the open incident of the same failure that was told of without its correlation id."""
    if incident.correlation_id is None or trail.opened(incident.id) is not None:
        return None
    same = [
        other
        for other in _operations_on(incident.resource, trail)
        if other.correlation_id is None
        and other.began_at - _SAME_FAILURE <= incident.failed_at <= other.failed_at + _SAME_FAILURE
        and trail.opened(other.id) is not None
        and trail.ended(other.id) is None
    ]
    return max(same, key=lambda other: other.failed_at, default=None)


def _behind(
    incident: Incident, row: ActivityRow | None, *, trail: Trail, own: Callable[[], Caller | None]
) -> str | None:
    """Find the incident whose repair it was that failed: of an event that does not say who wrote."""
    holder = trail.request(row.client_request_id or "") if row is not None else None
    if holder is None and incident.correlation_id is not None:
        ours = [
            effect.incident_id
            for effect, outcome in trail.effects_on(incident.resource.key)
            if outcome is not None and (outcome.correlation_id or "").lower() == incident.correlation_id
        ]
        holder = ours[-1] if ours else None
    if holder is None or row is None or row.caller is None:
        return holder
    # Somebody else's write with our ids is somebody else's; told only where Azure and we both name who.
    us = own()
    names = {name.lower() for name in (us.oid, us.appid) if name} if us is not None and us.oid is not None else set()
    return None if names and row.caller not in names else holder


def _corroborated(workspace: str, service: str, *, trail: Trail, now: datetime) -> Admission:
    nothing = Admission(
        disposition=Disposition.IGNORED, words="it reports a deployed model, and no repair of ours waits for that"
    )
    try:
        key = ResourceId.parse(f"{workspace}/onlineEndpoints/{service}").key
    except ValueError:
        return nothing
    for incident in trail.incidents_of(key):
        ended = trail.ended(incident.id)
        if ended is not None and ended.end is End.REPAIRED and now - ended.at < _CORROBORATES:
            words = "Azure ML reports the model as deployed after our repair"
            return Admission(disposition=Disposition.CORROBORATED, words=words, incident_id=incident.id)
    return nothing


def _joined(incident: Incident) -> Joined:
    return Joined(
        event_id=incident.event_id,
        source=incident.source,
        report=incident.report,
        operation_url=incident.operation_url,
        desired_spec_url=incident.desired_spec_url,
    )
