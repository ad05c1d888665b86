"""What all tests share: the storage emulator, and the research folder where there is one."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from structlog.testing import capture_logs

from tests.emulator import Azurite

ROOT = Path(__file__).parents[1]
RESEARCH = os.environ.get("MEDIC_RESEARCH")

# How long an example takes says nothing on a machine that others use too; slowness has tests of its own.
settings.register_profile("medic", deadline=None)
settings.load_profile("medic")

collect_ignore_glob = [] if RESEARCH else ["*test_*research*.py"]
if not any(name.startswith("MEDIC_LIVE_") for name in os.environ):
    collect_ignore_glob += ["live/*", "*/live/*"]

# What mostly waits comes first, so that what computes fills the waits, and nothing long is left for the end.
LONGEST_FIRST = ("e2e", "browser", "workflow", "contract", "infra", "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest folders begin: `make test` hands out the files in this order."""

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=place)


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


@pytest.fixture
def logged(monkeypatch) -> Iterator[list[Any]]:
    """What the timers log in a test: a logger keeps the settings of its first use, so they get a fresh one."""
    from functions import timers

    before = structlog.get_config()
    level = structlog.make_filtering_bound_logger(logging.INFO)
    structlog.configure(wrapper_class=level, cache_logger_on_first_use=False)
    monkeypatch.setattr(timers, "log", structlog.get_logger())
    with capture_logs() as found:
        yield found
    structlog.configure(**before)
