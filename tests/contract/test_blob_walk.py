"""One walk with its trail and evidence in blobs: the same as in a folder."""

import pytest
from azure.storage.blob import BlobServiceClient

from remediations import codec
from remediations.adapters.blobs import BlobStore
from remediations.model import Evidence, Found
from remediations.services import EvidenceStore
from remediations.trail import Trail
from tests.workflow.theatre import Theatre


@pytest.fixture(scope="module")
def blobs(azurite):
    """The service with both containers empty, as the deployment makes them."""
    with BlobServiceClient(azurite.endpoint, credential=azurite.credential) as client:
        present = {container.name for container in client.list_containers()}
        for name in {"trail", "evidence"} - present:
            client.create_container(name)
        yield azurite


@pytest.fixture(scope="module")
def told(blobs, tmp_path_factory):
    """A repaired incident, once with blobs and once with a folder: stages, names, and the trail that holds them."""
    name, key = blobs.credential.named_key
    walks = {}
    for kind, store in (("blobs", blobs.endpoint), ("folder", None)):
        folder = tmp_path_factory.mktemp(kind)
        with Theatre(folder, store=store, env={"AZURITE_ACCOUNTS": f"{name}:{key}"}) as theatre:
            if store is not None:
                theatre.trail = Trail(BlobStore(store, "trail", blobs.credential))
            story = theatre.tell()
            story.put()
            assert story.ending()[0] == "repaired", story.said()
            assert story.effects() == ["PUT green"]
            story.check_promises()
            walks[kind] = (story.stages(), _shape(story), story.incident(), story.trail, list(folder.iterdir()))
            story.world.close()
    return walks


def _shape(story):
    """The first and the last part of each name on the trail; what differs from walk to walk is left out."""
    said = {"opened", "ended", "0000.jsonl", "intent", "outcome"}
    parts = [name.split("/") for name in story.trail.store.list("")]
    return sorted((first, last if last in said else "*") for first, *_, last in parts)


def test_the_trail_in_blobs_has_the_shape_of_that_in_a_folder(told):
    blobs, folder = told["blobs"], told["folder"]
    assert blobs[0] == folder[0]
    assert blobs[1] == folder[1]
    assert {("audit", "0000.jsonl"), ("incidents", "ended"), ("effects", "intent"), ("effects", "outcome")} <= {
        *blobs[1]
    }
    assert blobs[0] == [
        "incident",
        "evidence",
        "diagnosis",
        "plan",
        "decision",
        "decision",
        "intent",
        "outcome",
        "verification",
        "end",
    ]


def test_nothing_is_written_to_a_folder_beside_the_blobs(told):
    assert sorted(path.name for path in told["blobs"][4]) == ["policy.yaml", "worker.log"]
    assert sorted(path.name for path in told["folder"][4]) == ["evidence", "policy.yaml", "trail", "worker.log"]


def test_what_the_trail_in_blobs_names_is_in_the_evidence(told, blobs):
    _, _, incident, trail, _ = told["blobs"]
    evidence = EvidenceStore(BlobStore(blobs.endpoint, "evidence", blobs.credential))
    records = {record.stage: record.facts for record in trail.records(incident)}
    seen = evidence.get(Evidence, records["evidence"]["evidence"])
    assert seen.incident.id == incident
    after = evidence.get(Evidence, records["verification"]["evidence"])
    assert isinstance(after.resource, Found)
    assert after.resource.value.provisioning_state == "Succeeded"
    ended = trail.ended(incident)
    assert (str(ended.end), ended.effects, ended.cause_id) == ("repaired", 1, "canceled-higher-priority")
    assert codec.digest(codec.encode(seen)) == records["evidence"]["evidence"]
