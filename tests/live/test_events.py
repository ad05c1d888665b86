"""Questions that the trail of a deployed app answers: which events told of a failure. Nothing is written.

The app may run in dry run. It has to have run when the deployment failed.
"""

from datetime import UTC, datetime, timedelta

import pytest

from remediations.enrichment import log_of
from remediations.model import Disposition, Evidence, ResourceId
from remediations.services import Services
from remediations.trail import Intake
from tests.live.asking import found

pytestmark = pytest.mark.azure

KINDS = ("Write", "Delete", "Action")
FILTERED = {f"Microsoft.Resources.Resource{kind}{end}" for kind in KINDS for end in ("Failure", "Cancel")}
_HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def deliveries(own: Services, deployment: ResourceId, evidence: Evidence) -> list[Intake]:
    """What Event Grid delivered about the deployment since it was last written, but for what our own writes caused."""
    written = found(evidence.resource, "the deployment").last_modified_at
    assert written is not None
    days = {written + timedelta(days=number) for number in range(3)}
    kept = (intake for day in days for intake in own.trail.intakes(day))
    return [
        one
        for one in kept
        if one.event_type.startswith("Microsoft.Resources.")
        and (one.resource or "").lower() == deployment.key
        and one.at > written - _HOUR
        and one.disposition is not Disposition.LINKED
    ]


def test_an_event_told_of_the_failure(deliveries, record_property):
    """
    Question: does Azure ML's failure or cancellation raise an event of Resource Manager at all, also one that was
    refused at once with 400, and of which type is it?
    Assumed: ResourceWriteFailure or ResourceWriteCancel; for deletes the same with Delete.
    Where: infra/events/failures.bicep
    Otherwise: if another type came, add it to the filter; if none came, only the sweep finds such a failure, a quarter
    of an hour later, and one that left no deployment nobody finds: let CI send its own event (README.md).
    """
    types = {one.event_type for one in deliveries}
    record_property("types", ", ".join(sorted(types)))
    assert types
    assert types <= FILTERED


def test_the_event_names_who_wrote(deliveries):
    """
    Question: do the claims of the event hold object id or client id?
    Assumed: `oid` (or its long name) and `appid`.
    Where: remediations/intake.py _CLAIMS
    Otherwise: add the name of the claim there: without it four eyes rests on the Activity Log alone, and one more
    approval is asked for.
    """
    assert deliveries
    assert all(one.caller.oid or one.caller.appid for one in deliveries)


def test_the_event_has_the_correlation_id_of_the_activity_log(deliveries, deployment, reads):
    """
    Question: is `data.correlationId` that of the rows of the Activity Log?
    Assumed: yes; one failure is one incident by it.
    Where: remediations/intake.py incident_id
    Otherwise: the same failure told by an event and by an alert would be two incidents: read what they share there.
    """
    ids = {one.incident.correlation_id for one in deliveries if one.incident is not None}
    assert ids
    first = min(one.at for one in deliveries)
    rows = found(log_of(reads, deployment.path, first - 3 * _HOUR, datetime.now(UTC)), "the Activity Log")
    assert ids <= {row.correlation_id.lower() for row in rows}


def test_the_event_came_before_the_sweep(deliveries, evidence):
    """
    Question: how long after the end of the operation does the event come?
    Assumed: within ten minutes, after which the sweep looks for what no event told of.
    Where: remediations/discovery.py is_due
    Otherwise: raise the ten minutes there, or the sweep opens incidents that events join.
    """
    assert deliveries
    operation = found(evidence.operation, "the operation")
    assert operation.ended_at is not None
    assert min(one.at for one in deliveries) - operation.ended_at < timedelta(minutes=10)
