"""Every researched event goes through the decoder of azure-functions without loss."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from azure.functions.eventgrid import EventGridEventInConverter
from azure.functions.meta import Datum

from functions.events import _plain
from remediations import intake
from tests.conftest import RESEARCH

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def events():
    """Each Event Grid event and CloudEvent of the research folder, alone, by file and place."""
    for path in sorted((Path(RESEARCH or "") / "azure/events").glob("*.json")):
        payload = json.loads(path.read_text("utf-8")).get("payload")
        for number, event in enumerate(payload if isinstance(payload, list) else [payload]):
            # A dead letter in Event Grid's schema is a blob: no trigger decodes it.
            if (
                isinstance(event, dict)
                and ("eventType" in event or "specversion" in event)
                and "deadLetterReason" not in event
            ):
                yield pytest.param(event, id=f"{path.stem}-{number}")


FOUND = list(events())


def test_there_are_events_of_both_schemas():
    assert sum("eventType" in param.values[0] for param in FOUND) >= 10
    assert sum("specversion" in param.values[0] for param in FOUND) >= 4


@pytest.mark.parametrize("event", FOUND)
def test_decoding_loses_nothing_that_intake_reads(event):
    seen = EventGridEventInConverter.decode(Datum(type="json", value=json.dumps(event)), trigger_metadata=None)
    assert intake.receive(_plain(seen), received_at=NOW) == intake.receive(event, received_at=NOW)
