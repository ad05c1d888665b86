"""What the tests against a live subscription are told, by ``MEDIC_LIVE_*``; see README.md here.

They speak to Azure with the app's own clients, signed in as whoever runs them, so an answer that surprises them would
surprise the app. Each says in its docstring what is asked, what the code assumes, where, and what to change otherwise.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from remediations import enrichment, settings
from remediations.adapters.arm import ArmReads, credential_of
from remediations.model import Evidence, Incident, Operation, ResourceId
from remediations.services import Services
from remediations.settings import Settings

NEEDS = {  # without it, nothing of the file is run
    "test_reading.py": "MEDIC_LIVE_DEPLOYMENT",
    "test_rights.py": "MEDIC_LIVE_DEPLOYMENT",
    "test_events.py": "MEDIC_LIVE_EVENTS",
    "test_app.py": "MEDIC_LIVE_APP",
    "test_store.py": "MEDIC_LIVE_CONTAINER",
    "test_writing.py": "MEDIC_LIVE_WRITE",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what nobody asked for, also of a file that was named; all of it in CI, or beside other processes."""
    is_barred = bool(
        os.environ.get("CI") or os.environ.get("PYTEST_XDIST_WORKER")
    )  # they build on one another, in order
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    unasked = [item for item in here if is_barred or os.environ.get(NEEDS[item.path.name], "no") in {"", "no"}]
    config.hook.pytest_deselected(items=unasked)
    items[:] = [item for item in items if item not in unasked]


@pytest.fixture(scope="session")
def chosen() -> Settings:
    """The settings of whoever runs the tests, read as the app reads its own."""
    return settings.load(os.environ)


@pytest.fixture(scope="session")
def reads(chosen: Settings) -> ArmReads:
    return ArmReads(chosen, credential_of(chosen))


@pytest.fixture(scope="session")
def own(chosen: Settings) -> Services:
    return Services(chosen)


@pytest.fixture(scope="session")
def deployment() -> ResourceId:
    """The online deployment that is Failed or Canceled."""
    return ResourceId.parse(os.environ["MEDIC_LIVE_DEPLOYMENT"])


@pytest.fixture(scope="session")
def evidence(deployment: ResourceId, reads: ArmReads) -> Evidence:
    """What one round of reads shows of it, as an incident would read it."""
    now = datetime.now(UTC)
    incident = Incident(
        id="inc-live", resource=deployment, operation=Operation.WRITE, failed_at=now, event_id="live", source="sweep"
    )
    return enrichment.enrich(incident, reads, now=now, own=reads.identity())
