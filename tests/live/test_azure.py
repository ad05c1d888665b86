"""Questions that only a live subscription answers; never collected without ``MEDIC_LIVE_DEPLOYMENT``.

Name the resource ID of an online deployment that is Failed or Canceled, sign in with ``az login``, and run
``MEDIC_LIVE_DEPLOYMENT=/subscriptions/… .venv/bin/pytest tests/live``. They read only.
"""

import os
from datetime import UTC, datetime

import pytest

from remediations import enrichment, intake
from remediations.adapters.arm import ArmReads, credential_of
from remediations.model import Found, Incident, Operation, ResourceId
from remediations.settings import Settings

pytestmark = pytest.mark.azure


@pytest.fixture(scope="module")
def evidence():
    """What one round of reads shows of the named deployment."""
    resource = ResourceId.parse(os.environ["MEDIC_LIVE_DEPLOYMENT"])
    now = datetime.now(UTC)
    incident = Incident(
        id=intake.incident_id(resource, "live"),
        resource=resource,
        operation=Operation.WRITE,
        failed_at=now,
        event_id="live",
        source="sweep",
    )
    reads = ArmReads(Settings(), credential_of(Settings()))
    return enrichment.enrich(incident, reads, now=now, own=reads.identity())


def test_our_identity_may_read_all_that_a_diagnosis_needs(evidence):
    assert evidence.missing_permissions == ()


def test_a_failed_deployment_can_be_rebuilt_from_what_get_shows(evidence):
    assert isinstance(evidence.resource, Found)
    assert evidence.resource.value.not_rebuildable is None


def test_a_deployment_names_its_operation_and_the_record_can_be_read(evidence):
    assert isinstance(evidence.resource, Found)
    assert evidence.resource.value.operation_url is not None
    assert isinstance(evidence.operation, Found)
    assert evidence.operation.value.status in {"Failed", "Canceled"}


def test_the_activity_log_tells_the_failure_with_its_code(evidence):
    assert isinstance(evidence.activity, Found)
    assert any(detail.code for row in evidence.activity.value for detail in row.errors)
