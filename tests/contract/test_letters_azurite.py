"""Dead letters in a container, as Event Grid lays them there."""

import json
import uuid

import pytest
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from local.cli import app

LETTER = {
    "id": "1",
    "eventType": "Microsoft.Resources.ResourceWriteFailure",
    "eventTime": "2026-11-20T05:00:00Z",
    "data": {},
    "deadLetterReason": "MaxDeliveryAttemptsExceeded",
}


@pytest.fixture
def container(azurite, monkeypatch):
    monkeypatch.setenv("AZURITE_ACCOUNTS", azurite.accounts)
    name = f"d{uuid.uuid4().hex}"
    with BlobServiceClient(azurite.endpoint, credential=azurite.credential) as client:
        made = client.create_container(name)
        made.upload_blob("MEDIC/2026/11/20/5/a.json", json.dumps([LETTER]))
        made.upload_blob("MEDIC/2026/11/21/5/b.json", json.dumps([LETTER | {"id": "2"}]))
        made.upload_blob("MEDIC/2026/11/21/5/b.txt", "no letter")
    return f"{azurite.endpoint}/{name}"


def replay(url):
    result = CliRunner().invoke(app, ["events", "replay", url, "--dry-run", "--json"])
    return result, json.loads(result.stdout or "null")


def test_the_letters_of_a_container_and_of_a_folder_in_it_are_read(container):
    result, told = replay(container)
    assert result.exit_code == 0
    assert [(one["file"], one["id"]) for one in told["events"]] == [
        ("MEDIC/2026/11/20/5/a.json", "1"),
        ("MEDIC/2026/11/21/5/b.json", "2"),
    ]
    _, told = replay(f"{container}/MEDIC/2026/11/21/")
    assert [one["id"] for one in told["events"]] == ["2"]


def test_a_container_that_is_not_there_is_exit_3(container):
    result, _ = replay(f"{container}x")
    assert result.exit_code == 3
    assert "cannot be read: The specified container does not exist." in result.stderr
