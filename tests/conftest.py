"""What all tests share: the storage emulator, and the research folder where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.emulator import Azurite

ROOT = Path(__file__).parents[1]
RESEARCH = os.environ.get("MEDIC_RESEARCH")

# How long an example takes says nothing on a machine that others use too; slowness has tests of its own.
settings.register_profile("medic", deadline=None)
settings.load_profile("medic")

collect_ignore_glob = [] if RESEARCH else ["*test_*research*.py"]
if not os.environ.get("MEDIC_LIVE_DEPLOYMENT"):
    collect_ignore_glob += ["live/*", "*/live/*"]


@pytest.fixture(scope="session")
def research() -> Path:
    """The folder of real messages, events and responses that MEDIC_RESEARCH names."""
    assert RESEARCH is not None, "only tests in test_*research*.py may ask for the research folder"
    return Path(RESEARCH)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """A blob service in memory, one for each test process."""
    with Azurite() as running:
        yield running
