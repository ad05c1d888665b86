"""The trail on a blob service: signed and verified there, and in a copy that was downloaded from it."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from local.cli import app
from remediations.adapters.blobs import BlobStore
from remediations.proof import anchoring, checking, proving
from remediations.trail import Trail
from tests.builders import NOON
from tests.commands import settle
from tests.trails import CHECKPOINTS, KEY, MINUTE, PUBLIC, QUARTER, fill, make_record, verified


@pytest.fixture
def container(azurite):
    return f"t{uuid.uuid4().hex}"


@pytest.fixture
def store(azurite, container):
    return BlobStore(azurite.endpoint, container, azurite.credential)


@pytest.fixture
def client(azurite, container):
    """Somebody else who can write to the container."""
    with BlobServiceClient(azurite.endpoint, azurite.credential) as service:
        yield service.get_container_client(container)


def download(client, root: Path) -> Path:
    for blob in client.list_blobs():
        file = root / blob.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(client.download_blob(blob.name).readall())
    return root


def test_a_container_and_a_copy_of_it_hold_as_a_folder_does(store, client, tmp_path):
    notes = fill(store)
    for verdict in (
        checking.verify(store, keys=[PUBLIC], outside=notes[0]),
        verified(download(client, tmp_path / "copy"), keys=[PUBLIC], outside=notes[0]),
    ):
        assert (verdict.ok, verdict.incidents, verdict.records) == (True, 3, 12)
        assert (verdict.anchored, verdict.after_anchor, verdict.last) == (11, 1, notes[2])
    assert not anchoring.anchor(store, KEY, NOON + 4 * QUARTER).findings
    proof = proving.prove(store, "inc-c", 1)
    assert not isinstance(proof, str), proof
    assert proving.why_unproved(proof) is None


def test_a_blob_that_was_replaced_removed_or_put_in_is_named(store, client):
    fill(store)
    name = "audit/inc-c/0000.jsonl"
    content = client.download_blob(name).readall()
    client.upload_blob("audit/inc-c/odd name.txt", b"foreign")
    client.upload_blob(name, content.replace(b'"number":1', b'"number":7'), overwrite=True)
    client.delete_blob("audit/inc-b/0000.jsonl")
    verdict = checking.verify(store)
    assert [(one.what, one.file, one.incident, one.record) for one in verdict.findings] == [
        ("changed", name, "inc-c", 1),
        ("removed", None, "inc-b", None),
        ("foreign", "audit/inc-c/odd name.txt", None, None),
    ]


def test_many_who_append_and_anchor_at_once_leave_one_line(store):
    def work(number):
        trail = Trail(store)
        for turn in range(4):
            trail.append_record(make_record(0, "inc-a", key=f"{number}-{turn}"))
            anchoring.anchor(store, KEY, NOON + MINUTE)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    anchoring.anchor(store, KEY, NOON + MINUTE)
    verdict = checking.verify(store, keys=[PUBLIC])
    assert (verdict.ok, verdict.records, verdict.anchored) == (True, 12, 12)
    assert store.read(CHECKPOINTS).count(b"\n") == verdict.checkpoints


def test_the_command_verifies_a_container(azurite, monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path, AZURITE_ACCOUNTS=azurite.accounts, MEDIC_STORE=azurite.endpoint)
    store = BlobStore(azurite.endpoint, "trail", azurite.credential)
    fill(store)
    holds = checking.verify(store)  # other tests may have written to the container of that name
    done = CliRunner().invoke(app, ["audit", "verify", "--store", azurite.endpoint, "--key", PUBLIC, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["ok"], found["records"], found["anchored"]) == (True, holds.records, holds.records - 1)
    assert holds.records >= 12
