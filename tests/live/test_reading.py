"""Questions that reading one failed deployment answers. Nothing is written: getLogs is the only POST."""

from datetime import UTC, datetime, timedelta

import pytest

from remediations import capacity, discovery, preflight, surroundings
from remediations.adapters.arm import ArmReads
from remediations.enrichment import API_VERSION, log_of
from remediations.intake import _OPERATION_URL
from remediations.model import (
    Absent,
    Area,
    Call,
    Evidence,
    Found,
    ProvisioningState,
    ResourceId,
    ResourceState,
    Surroundings,
    Unknown,
)
from remediations.services import Services
from tests.live.asking import found, shown

pytestmark = pytest.mark.azure


@pytest.fixture(scope="module")
def state(evidence: Evidence) -> ResourceState:
    return found(evidence.resource, "the deployment")


@pytest.fixture(scope="module")
def around(evidence: Evidence, reads: ArmReads, own: Services) -> Surroundings:
    """What lies around it, but for other deployments."""
    areas = set(Area) - {Area.IDLE}
    return surroundings.look(evidence, areas, reads, policy=own.policy, now=evidence.collected_at, own=own.own)


def test_our_identity_may_read_all_that_a_diagnosis_needs(evidence):
    """
    Question: are the names of the rights in infra/rbac those that Azure checks?
    Assumed: subscription-reader.role.json and reader.role.json are enough for every read of an incident.
    Where: remediations/enrichment.py enrich
    Otherwise: the failure names what Azure refused: put that name into the role, and into docs/actions.md.
    """
    assert evidence.missing_permissions == ()


def test_a_state_is_one_that_is_known(state):
    """
    Question: how does Azure ML spell the state of a failed or canceled deployment?
    Assumed: `Failed`, `Canceled`.
    Where: remediations/model.py ProvisioningState
    Otherwise: add the spelling there; until then the sweep does not see such a deployment.
    """
    assert state.provisioning_state in {ProvisioningState.FAILED, ProvisioningState.CANCELED}


def test_the_sweep_finds_it_by_lists_alone(deployment, reads):
    """
    Question: do lists show `provisioningState` and `systemData` as a GET does?
    Assumed: yes, so that the sweep asks nothing of single deployments.
    Where: remediations/discovery.py failed_below
    Otherwise: let the sweep GET each deployment that its list does not tell of.
    """
    listed = discovery.failed(reads, deployment.workspace_path, source="sweep", now=datetime.now(UTC))
    assert deployment.key in {incident.resource.key for incident, _ in listed}


def test_what_get_shows_can_be_put_again(state):
    """
    Question: does GET mask environment variables, or any other value of the body?
    Assumed: values come as they were sent; a masked or null one makes a re-run impossible, which is safe.
    Where: remediations/spec.py rebuild
    Otherwise: `retry` of creates needs CI's spec where variables are masked; say so in docs/actions.md.
    """
    assert state.not_rebuildable is None
    assert state.shows_environment


def test_the_operation_is_named_and_its_record_is_still_there(evidence, state):
    """
    Question: does a deployment name its operation by a URL with `od:`, and how long can that be read?
    Assumed: the form below; the record can be read for as long as an incident lives, two hours.
    Where: remediations/enrichment.py _operation
    Otherwise: if the form differs, widen _OPERATION_URL in remediations/intake.py; if the record is gone early, nothing
    breaks: the Activity Log is read instead, which confirms less.
    """
    assert state.operation_url is not None
    assert _OPERATION_URL.fullmatch(state.operation_url), state.operation_url
    assert "/od:" in state.operation_url.lower()
    found(evidence.operation, f"the record of the operation, last written {state.last_modified_at}")


def test_a_canceled_operation_says_so(reads, state):
    """
    Question: what do status and code of a canceled operation read?
    Assumed: status `Canceled` or `Cancelled`, code `OperationCanceled`.
    Where: remediations/enrichment.py _status
    Otherwise: add the spelling there, and the code to the causes in remediations/catalogue/operations.py.
    """
    if state.provisioning_state != ProvisioningState.CANCELED:
        pytest.skip("name a deployment that is Canceled")
    body = shown(reads.get(state.operation_url), "the operation")
    assert body["status"] in {"Canceled", "Cancelled"}
    assert body["error"]["code"] == "OperationCanceled"


def test_the_activity_log_tells_the_failure_with_its_code(deployment, reads, state):
    """
    Question: how do its rows spell the status of a failure or cancellation, and is the code in `statusMessage`?
    Assumed: `Failed`, `Canceled` or `Cancelled`, and JSON in a string that holds `error.code`.
    Where: remediations/enrichment.py activity_row
    Otherwise: read the new shape there; remediations/messages.py unwraps nested texts.
    """
    assert state.last_modified_at is not None
    began = state.last_modified_at - timedelta(hours=3)
    rows = found(log_of(reads, deployment.path, began, datetime.now(UTC)), "the Activity Log")
    failed = [row for row in rows if row.status in {"Failed", "Canceled"}]
    assert failed, {row.status for row in rows}
    assert any(detail.code for row in failed for detail in row.errors)


def test_rows_of_the_activity_log_name_the_caller_by_an_id(deployment, reads, state):
    """
    Question: is `caller` of a row an object id, a client id, or a name?
    Assumed: an id for applications, a name for people; a name is kept as a digest.
    Where: remediations/enrichment.py _anonymous
    Otherwise: four eyes and `nobody-intervened` rest on it: compare what is shown with `systemData.lastModifiedBy`.
    """
    assert state.last_modified_at is not None
    began = state.last_modified_at - timedelta(hours=3)
    rows = found(log_of(reads, deployment.path, began, datetime.now(UTC)), "the Activity Log")
    assert {row.caller for row in rows} - {None}


@pytest.mark.parametrize("container", ["InferenceServer", "StorageInitializer"])
def test_logs_can_be_read_of_what_never_ran(container, deployment, reads):
    """
    Question: what does getLogs answer where a container has not started?
    Assumed: 200 with a text, perhaps empty, or 404.
    Where: remediations/enrichment.py _with_logs
    Otherwise: an answer with another status is unknown, and keeps a diagnosis at a lower level; map it there.
    """
    asked = reads.ask(f"{deployment.path}/getLogs?api-version={API_VERSION}", {"containerType": container, "tail": 100})
    assert not isinstance(asked, Unknown), asked.reason
    assert isinstance(asked, Absent) or isinstance(shown(asked, "the log")["content"], str)


@pytest.mark.parametrize("area", ["workspace", "registry", "network", "model", "access", "quota"])
def test_what_lies_around_it_can_be_read(area, around, deployment):
    """
    Question: do these answers have the shapes that Microsoft documents: diagnose, the registry's `roleAssignmentMode`,
    role assignments by `assignedTo`, usages named `<family> Cluster Dedicated vCPUs`?
    Assumed: yes; names of families are compared without blanks and capitals.
    Where: remediations/surroundings.py look
    Otherwise: the failure says what is odd; read it in surroundings.py, for quota in capacity.py. Until then it is
    unknown, so nothing is synced, granted or deleted on it.
    """
    reading = getattr(around, area)
    assert not isinstance(reading, Unknown), f"{area} of {deployment.label}: {reading.reason}"
    if area == "access" and isinstance(reading, Found):
        assert [access.words for access in reading.value if access.held is None] == []


def test_metrics_of_every_deployment_of_its_endpoint_can_be_judged(deployment, reads, record_property):
    """
    Question: without requests, does RequestsPerMinute show zeros, points without a value, or no series?
    Assumed: any of the three; none of them proves anything unless DeploymentCapacity is above zero every day.
    Where: remediations/capacity.py _Metrics
    Otherwise: an answer in another shape is unknown, and delete-idle keeps what it judges: read it in metrics.series.
    """
    now = datetime.now(UTC)
    judged = capacity._Metrics(capacity._Sparing(reads), now - timedelta(days=7), now)
    listed = found(reads.get_all(f"{deployment.endpoint_path}/deployments?api-version={API_VERSION}", most=50), "list")
    unread = {}
    for each in listed:
        assert isinstance(each, dict)
        requests, alive = judged.of(ResourceId.parse(str(each["id"])))
        record_property(str(each["name"]), f"requests: {requests}, alive: {alive}")
        if isinstance(requests, Unknown) or isinstance(alive, Unknown):
            unread[each["name"]] = (requests, alive)
    assert unread == {}


def test_our_own_permissions_can_be_read(deployment, reads):
    """
    Question: does the permissions API answer for a single deployment, with globs in `actions`?
    Assumed: yes, without a filter, for whoever asks.
    Where: remediations/preflight.py lacking
    Otherwise: nobody is asked for an approval (unknown is no): ask at the scope that answers, and say so there.
    """
    call = Call(method="PUT", path=deployment.path, api_version=API_VERSION)
    assert not isinstance(preflight.lacking((call,), reads), Unknown)
