"""Questions that only writing answers, on an endpoint of their own in a scratch workspace, which they delete again.

``MEDIC_LIVE_WRITE`` is the resource ID of that workspace, ``MEDIC_LIVE_SPEC`` a file with the body of a managed
deployment that works there: one instance of it runs for the time of the tests. They build on one another, in order.
"""

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediations import spec
from remediations.actions import delete_idle
from remediations.adapters.arm import ArmReads, ArmWrites, credential_of
from remediations.enrichment import API_VERSION, log_of, read_resource
from remediations.execution import outcome_of
from remediations.model import Absent, Call, Found, Json, ProvisioningState, ResourceId, Status, Unknown
from remediations.ports import Reply
from remediations.settings import Settings
from tests.live.asking import eventually, found, shown

pytestmark = pytest.mark.azure

HOUR = 3600.0
OVER = {ProvisioningState.SUCCEEDED, ProvisioningState.FAILED, ProvisioningState.CANCELED}
VARIABLE, VALUE = "MEDIC_LIVE", "a value to find again"


class Scratch:
    """An endpoint of our own, and what the tests do to it."""

    def __init__(self, workspace: str, chosen: Settings, reads: ArmReads) -> None:
        name = f"medic-live-{uuid.uuid4().hex[:8]}"
        self.endpoint = ResourceId.parse(f"{workspace.rstrip('/')}/onlineEndpoints/{name}")
        self.reads = reads
        self._writes = ArmWrites(chosen, credential_of(chosen))
        self._pause_s = 0.1 if chosen.arm_is_loopback else 15.0

    def deployment(self, name: str) -> ResourceId:
        return ResourceId.parse(f"{self.endpoint.path}/deployments/{name}")

    def send(self, method: Any, resource: ResourceId, body: Json = None) -> Reply:
        call = Call(method=method, path=resource.path, api_version=API_VERSION)
        return self._writes.send(call, body, request_id=f"medic-live-{uuid.uuid4().hex[:20]}")

    def body(self, resource: ResourceId) -> dict[str, Any]:
        return shown(self.reads.get(f"{resource.path}?api-version={API_VERSION}"), resource.label)

    def state(self, resource: ResourceId) -> str | None:
        """Give the state of a resource; None if there is none."""
        reading = read_resource(self.reads, resource, None)
        assert not isinstance(reading, Unknown), reading.reason
        return reading.value.provisioning_state if isinstance(reading, Found) else None

    def settled(self, resource: ResourceId) -> str:
        """Wait until nothing is done to a resource any more; give its state, or ``gone``."""

        def ask() -> str | None:
            state = self.state(resource)
            return "gone" if state is None else state if state in OVER else None

        return eventually(ask, f"the end of what is done to {resource.label}", within_s=HOUR, every_s=self._pause_s)

    def until[T](self, ask: Any, what: str) -> Any:
        return eventually(ask, what, within_s=HOUR / 2, every_s=self._pause_s)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The body that works, with an environment variable of known value."""
    body = json.loads(Path(os.environ["MEDIC_LIVE_SPEC"]).read_text("utf-8"))
    body["properties"].setdefault("environmentVariables", {})[VARIABLE] = VALUE
    body["tags"] = {**body.get("tags", {}), "medic": "off"}  # an app that watches this workspace leaves it alone
    return dict(body)


@pytest.fixture(scope="module")
def scratch(chosen: Settings, reads: ArmReads, plain: dict[str, Any]) -> Iterator[Scratch]:
    """The endpoint; whatever the tests came to, it is deleted with all its deployments."""
    made = Scratch(os.environ["MEDIC_LIVE_WRITE"], chosen, reads)
    body = {
        "location": plain["location"],
        "tags": {"medic": "off"},
        "kind": "Managed",
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": "Key"},
    }
    try:
        reply = made.send("PUT", made.endpoint, body)
        assert reply.status in {200, 201}, (reply.status, reply.errors)
        assert made.settled(made.endpoint) == "Succeeded"
        yield made
    finally:
        if made.state(made.endpoint) is not None:
            if made.body(made.endpoint)["properties"].get("traffic"):
                made.send("PUT", made.endpoint, {**body, "properties": {**body["properties"], "traffic": {}}})
                made.settled(made.endpoint)
            made.send("DELETE", made.endpoint)
            made.until(lambda: made.state(made.endpoint) is None or None, f"{made.endpoint.path} to be deleted")


def test_what_is_rejected_at_once_leaves_nothing_to_read_but_its_row(scratch, plain):
    """
    Question: does a create that is refused with 400 leave nothing to GET, and a failed row in the Activity Log?
    Assumed: both; without CI's spec there is only advice then.
    Where: remediations/actions/rerun.py _put_desired
    Otherwise: if something is there, `retry` could rebuild it: drop the branch. If no row comes, four eyes does not
    know who asked.
    """
    one, began = scratch.deployment("rejected"), datetime.now(UTC)
    reply = scratch.send("PUT", one, {**plain, "sku": {**plain["sku"], "capacity": 10_000}})
    assert reply.status == 400, (reply.status, reply.errors)
    assert reply.errors
    assert scratch.state(one) is None

    def failed_row() -> bool | None:
        rows = found(log_of(scratch.reads, one.path, began - timedelta(hours=1), datetime.now(UTC)), "the log")
        return any(row.status == "Failed" and row.errors for row in rows) or None

    assert scratch.until(failed_row, "a failed row in the Activity Log")


def test_an_accepted_create_names_its_operation_and_shows_its_variables(scratch, plain):
    """
    Question: does the answer to a PUT name the operation, and does GET show the values of environment variables?
    Assumed: `Azure-AsyncOperation` with `od:`; values as they were sent.
    Where: remediations/spec.py rebuild
    Otherwise: masked values are refused as they should be; then creates with variables need CI's spec, and
    delete-idle's receipts name nothing that undo-delete could not.
    """
    blue = scratch.deployment("blue")
    reply = scratch.send("PUT", blue, plain)
    assert reply.status in {200, 201}, (reply.status, reply.errors)
    assert reply.operation_url is not None
    assert "/od:" in reply.operation_url.lower()
    body = scratch.body(blue)
    assert body["properties"]["environmentVariables"] == {VARIABLE: VALUE} | body["properties"]["environmentVariables"]
    assert body["properties"]["environmentVariables"][VARIABLE] == VALUE
    assert isinstance(spec.rebuild(body, is_endpoint=False), spec.Spec)


def test_a_second_write_while_one_runs_is_answered_409(scratch, plain):
    """
    Question: what does Azure ML answer to a PUT while an operation runs on the endpoint?
    Assumed: 409, which waits and counts as no attempt.
    Where: remediations/execution.py outcome_of
    Otherwise: map that answer to BUSY there; until then it ends a repair as rejected, which is safe.
    """
    if scratch.state(scratch.deployment("blue")) in OVER:
        pytest.skip("the create was over too soon")
    reply = scratch.send("PUT", scratch.deployment("green"), plain)
    outcome = outcome_of(reply, "live", scratch.deployment("green").path)
    assert (reply.status, outcome.status) == (409, Status.BUSY), [error.message for error in reply.errors]


def test_a_create_ends_as_the_spec_that_was_sent(scratch, plain):
    """
    Question: does GET show every field that was sent, once the deployment is there?
    Assumed: yes; what the service adds is no difference.
    Where: remediations/spec.py differences
    Otherwise: a repair from CI's spec ends inconclusive: leave out the field that the service rewrites there.
    """
    blue = scratch.deployment("blue")
    assert scratch.settled(blue) == "Succeeded"
    sent = spec.rebuild(plain, is_endpoint=False)
    assert isinstance(sent, spec.Spec), sent
    assert list(spec.differences(sent.body, scratch.body(blue))) == []


def test_deleting_what_has_traffic_is_refused_in_words_that_are_known(scratch):
    """
    Question: how does Azure ML refuse to delete a deployment that has traffic?
    Assumed: 4xx with words that delete-idle knows; it then deletes nothing more.
    Where: remediations/actions/delete_idle.py answer
    Otherwise: add the words to _HAS_TRAFFIC there; until then the refusal ends the incident as rejected.
    """
    blue, body = scratch.deployment("blue"), scratch.body(scratch.endpoint)
    kept = {name: body[name] for name in ("location", "tags", "kind", "identity") if name in body}
    properties = {"authMode": body["properties"]["authMode"]}
    for weight in (100, 0):
        traffic = {"blue": weight} if weight else {}
        reply = scratch.send("PUT", scratch.endpoint, {**kept, "properties": {**properties, "traffic": traffic}})
        assert reply.status in {200, 201}, (reply.status, reply.errors)
        assert scratch.settled(scratch.endpoint) == "Succeeded"
        if weight:
            refusal = scratch.send("DELETE", blue)
            assert refusal.status is not None
            assert 400 <= refusal.status < 500
            assert any(delete_idle._HAS_TRAFFIC in error.message.lower() for error in refusal.errors), refusal.errors


def test_after_a_failed_update_get_shows_the_old_spec(scratch, plain):
    """
    Question: what does GET show after an update that was accepted and failed: the old spec, or the new one?
    Assumed: perhaps the old one, so that such an update is run again only from CI's spec or after a person.
    Where: remediations/actions/rerun.py _put_again
    Otherwise: if it always is the new one, a failed update may be rebuilt from GET like a create.
    """
    if "codeConfiguration" not in plain["properties"]:
        pytest.skip("the spec has no codeConfiguration to break")
    blue = scratch.deployment("blue")
    code = {**plain["properties"]["codeConfiguration"], "scoringScript": "medic-live-no-such-file.py"}
    reply = scratch.send("PUT", blue, {**plain, "properties": {**plain["properties"], "codeConfiguration": code}})
    assert reply.status in {200, 201}, (reply.status, reply.errors)
    assert scratch.settled(blue) == "Failed"
    script = scratch.body(blue)["properties"]["codeConfiguration"]["scoringScript"]
    assert script == plain["properties"]["codeConfiguration"]["scoringScript"]


def test_a_create_that_somebody_deletes_is_canceled(scratch, plain):
    """
    Question: how does a create end that is deleted while it runs?
    Assumed: as Canceled, or the delete waits (409) until the create is over.
    Where: remediations/catalogue/operations.py
    Otherwise: what its operation says then is another cause: add its text there.
    """
    green = scratch.deployment("green")
    reply = scratch.send("PUT", green, plain)
    assert reply.status in {200, 201}, (reply.status, reply.errors)
    deleted = scratch.send("DELETE", green)
    assert deleted.status in {200, 202, 409}, (deleted.status, deleted.errors)

    def ended() -> str | None:
        status = str(shown(scratch.reads.get(reply.operation_url), "the create's operation")["status"])
        return None if status == "InProgress" else status

    if deleted.status == 409:
        scratch.settled(green)
        assert scratch.send("DELETE", green).status in {200, 202}
    else:
        assert scratch.until(ended, "the end of the create") in {"Canceled", "Cancelled"}
    scratch.until(lambda: scratch.state(green) is None or None, "green to be gone")


def test_deleting_what_is_gone_is_answered_204(scratch):
    """
    Question: what does DELETE of a deployment answer that is not there?
    Assumed: 204.
    Where: remediations/execution.py outcome_of
    Otherwise: a 404 would end a deletion as rejected: map it there.
    """
    reply = scratch.send("DELETE", scratch.deployment("green"))
    assert reply.status == 204
    assert isinstance(read_resource(scratch.reads, scratch.deployment("green"), None), Absent)
