"""What holds of any event, whatever it says: the law that fuzz tests of own and of real events share."""

from typing import Any

from remediations import codec
from remediations.admission import admit
from remediations.intake import is_ours, receive
from remediations.model import Disposition, Reception, ResourceId
from remediations.trail import Intake
from tests.builders import NOON, US, FakeReads, make_trail

PERSONAL = ("Ada Lovelace", "ada@contoso.com", "203.0.113.77")


def assert_received_well(raw: Any) -> Reception:
    """The event is one thing, the same one twice, small, without personal data, and ends on the trail."""
    reception = receive(raw, received_at=NOON)
    assert reception == receive(raw, received_at=NOON)
    ends = (reception.incident, reception.ignored, reception.handshake, reception.repaired)
    assert sum(end is not None for end in ends) == 1
    content = codec.encode(reception)
    assert codec.decode(Reception, content) == reception
    assert not any(one.encode() in content for one in PERSONAL)
    assert max(len(reception.event_id), len(reception.event_type), len(reception.operation_name or "")) <= 200
    assert len(reception.resource or "") <= 1_024
    assert len(reception.ignored or "") <= 1_000
    _assert_incident_well(reception)
    watched = receive(raw, received_at=NOON, subscriptions=("another",))
    assert watched.incident is None
    assert (watched.ignored is None) == (reception.incident is None and reception.ignored is None)
    _assert_admitted_well(reception)
    return reception


def _assert_incident_well(reception: Reception) -> None:
    incident = reception.incident
    if incident is None:
        return
    assert ResourceId.parse(incident.resource.path) == incident.resource
    assert incident.id.startswith("inc-")
    assert len(incident.id) == 28
    assert incident.id.removeprefix("inc-").isalnum()
    assert incident.failed_at <= NOON


def _assert_admitted_well(reception: Reception) -> None:
    trail = make_trail()
    admission = admit(reception, trail=trail, own=lambda: US, reads=FakeReads, now=NOON)
    assert (admission.disposition is Disposition.INCIDENT) == (admission.incident is not None)
    assert admission.incident is None or not is_ours(reception, US)
    record = Intake(
        at=NOON,
        event_id=reception.event_id,
        event_type=reception.event_type,
        disposition=admission.disposition,
        words=admission.words,
        resource=reception.resource,
        incident=admission.incident,
        incident_id=admission.incident_id,
    )
    trail.record_intake(record, "nonce")
    assert list(trail.intakes(NOON)) == [record]
