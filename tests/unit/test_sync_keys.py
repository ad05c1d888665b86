"""What a sync of keys does, when one serves many, and above all when there is none."""

from datetime import timedelta
from typing import Any

import pytest

from remediations import guards
from remediations.actions import sync_keys
from remediations.actions.action import Body, Go, Proposal, Unneeded
from remediations.actions.sync_keys import SYNC_KEYS
from remediations.adapters import ml
from remediations.model import (
    Absent,
    Answer,
    Call,
    End,
    Found,
    Mode,
    NoPlan,
    Registry,
    Status,
    Step,
    Surroundings,
    Unknown,
)
from remediations.policy import ActionPolicy, Policy
from remediations.situation import PastEffect
from remediations.trail import Settled
from tests.builders import (
    DEPLOYMENT,
    FAILED_AT,
    NOON,
    WORKSPACE,
    FakeReads,
    make_call,
    make_diagnosis,
    make_evidence,
    make_incident,
    make_operation,
    make_plan,
    make_situation,
    make_state,
)

POLICY = Policy(actions={"sync-keys": ActionPolicy(mode=Mode.AUTO)})
ALLOW, DENY, UNKNOWN = Answer.ALLOW, Answer.DENY, Answer.UNKNOWN
MINUTE = timedelta(minutes=1)
BEGAN = FAILED_AT - 3 * MINUTE
REGISTRY = Registry(
    path=f"{WORKSPACE.partition('/providers/')[0]}/providers/Microsoft.ContainerRegistry/registries/crprod",
    login_server="crprod.azurecr.io",
    admin_user=True,
)
SYNC = Step(
    call=Call(method="POST", path=f"{WORKSPACE}/resyncKeys", api_version="2024-10-01-preview", via="ml"),
    target=(WORKSPACE.lower(), DEPLOYMENT.lower()),
)
RERUN = Step(call=make_call(), target=(DEPLOYMENT.lower(),), is_rerun=True)


def around(registry: Any = REGISTRY) -> Surroundings:
    return Surroundings(registry=registry if isinstance(registry, Absent | Unknown) else Found(registry))


def proposed(**changes):
    evidence = make_evidence(**({"surroundings": around()} | changes))
    return sync_keys.propose(make_diagnosis(cause_id="acr-authorization", action="sync-keys"), evidence, POLICY)


def planned(**changes):
    diagnosis = make_diagnosis(cause_id="acr-authorization", action="sync-keys")
    fields = {"steps": (SYNC, RERUN), "parameters": {"body": "live", "began": BEGAN.isoformat()}, "action": "sync-keys"}
    return make_plan(diagnosis=diagnosis, **{**fields, **changes})


def synced(at, **changes):
    fields = {
        "at": at,
        "incident_id": "inc-other",
        "action": "sync-keys",
        "cause_id": "acr-authorization",
        "plan": "p",
        "counts": True,
        "is_open": False,
        "targets": (WORKSPACE.lower(),),
        "status": Status.ACCEPTED,
        "settled": Settled(at=at + timedelta(seconds=20), held=True),
    }
    return PastEffect(**{**fields, **changes})


def test_the_keys_are_synced_and_the_deployment_is_run_again():
    proposal = proposed()
    assert isinstance(proposal, Proposal)
    assert proposal.steps == (SYNC, RERUN)
    assert proposal.effect.startswith("sync the keys of workspace mlw-prod, then deploy mlw-prod/credit-scoring/green")
    assert proposal.parameters == {"body": "live", "registry": REGISTRY.path, "began": BEGAN.isoformat()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"surroundings": around(Absent())}, "is absent: there are no keys to sync", id="registry gone"),
        pytest.param({"surroundings": around(Unknown("429"))}, "unknown (429)", id="registry unknown"),
        pytest.param({"resource": Absent(), "operation": Unknown()}, "rejected at once", id="nothing to run again"),
    ],
)
def test_without_a_registry_or_a_re_run_there_is_no_sync(changes, words):
    plan = proposed(**changes)
    assert isinstance(plan, NoPlan)
    assert (plan.end, words in plan.words) == ("advised", True)


@pytest.mark.parametrize(
    ("registry", "answer"),
    [
        pytest.param(REGISTRY, ALLOW, id="on"),
        pytest.param(Registry(path="/r", login_server="r", admin_user=False), DENY, id="off"),
        pytest.param(Registry(path="/r", login_server="r"), UNKNOWN, id="not shown"),
        pytest.param(Absent(), DENY, id="no registry"),
        pytest.param(Unknown("500"), UNKNOWN, id="unknown"),
    ],
)
def test_only_keys_of_an_admin_user_are_synced(registry, answer):
    assert sync_keys.admin_user_is_on(planned(), make_situation(surroundings=around(registry))).answer is answer


@pytest.mark.parametrize(
    ("faults", "answer"),
    [
        pytest.param((), ALLOW, id="none"),
        pytest.param(("containerRegistryResults: DnsFault: it does not resolve",), DENY, id="one"),
        pytest.param(None, UNKNOWN, id="not diagnosed"),
    ],
)
def test_a_network_fault_is_not_cured_by_keys(faults, answer):
    assert sync_keys.no_network_fault(planned(), make_situation(network_faults=faults)).answer is answer


POLICY_HOUR = ActionPolicy(mode=Mode.AUTO, cooldown=timedelta(hours=1))


@pytest.mark.parametrize(
    ("effects", "answer"),
    [
        pytest.param((), ALLOW, id="never synced"),
        pytest.param((synced(BEGAN - 9 * MINUTE),), DENY, id="synced before the failure began"),
        pytest.param((synced(BEGAN - 61 * MINUTE),), ALLOW, id="that long ago the keys may have changed since"),
        pytest.param((synced(BEGAN + MINUTE),), ALLOW, id="synced after the failure began"),
        pytest.param((synced(BEGAN - 9 * MINUTE, status=Status.REJECTED),), ALLOW, id="Azure refused that one"),
        pytest.param((synced(BEGAN - 9 * MINUTE, targets=("/another",)),), ALLOW, id="another workspace"),
        pytest.param((synced(BEGAN - 9 * MINUTE, settled=None),), DENY, id="nobody looked whether it came out well"),
        pytest.param((synced(BEGAN - 9 * MINUTE, step=1),), ALLOW, id="that was a re-run"),
    ],
)
def test_what_a_sync_did_not_help_another_does_not_help(effects, answer):
    seen = make_situation(effects=effects, permission=POLICY_HOUR)
    assert sync_keys.not_synced_in_vain(planned(), seen).answer is answer


def test_after_the_sync_its_own_sync_does_not_stop_the_re_run():
    own = synced(BEGAN - MINUTE, plan=planned().digest)
    seen = make_situation(effects=(own,), permission=POLICY_HOUR, step=1)
    assert sync_keys.not_synced_in_vain(planned(), seen).answer is ALLOW


@pytest.mark.parametrize(
    ("effects", "is_shared"),
    [
        pytest.param((), False, id="none"),
        pytest.param((synced(BEGAN + MINUTE),), True, id="over after the failure began"),
        pytest.param((synced(BEGAN - timedelta(seconds=5)),), True, id="begun before, over after"),
        pytest.param((synced(BEGAN - MINUTE),), False, id="over before the failure began"),
        pytest.param((synced(BEGAN + MINUTE, settled=None),), False, id="not over yet"),
        pytest.param((synced(BEGAN + MINUTE, settled=Settled(at=NOON, held=False)),), False, id="it failed"),
        pytest.param((synced(BEGAN + MINUTE, targets=("/another",)),), False, id="another workspace"),
    ],
)
def test_ten_incidents_share_one_sync(effects, is_shared):
    turn = sync_keys.turn(planned(), 0, make_situation(effects=effects))
    assert isinstance(turn, Unneeded if is_shared else Go)
    assert isinstance(sync_keys.turn(planned(), 1, make_situation(effects=effects)), Go)


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        pytest.param((SYNC, RERUN), ALLOW, id="sync and re-run"),
        pytest.param((RERUN,), DENY, id="no sync"),
        pytest.param((SYNC, SYNC, RERUN), DENY, id="two syncs"),
        pytest.param((SYNC, Step(call=make_call(path=DEPLOYMENT + "x"), target=())), DENY, id="another resource"),
        pytest.param(
            (Step(call=Call(method="POST", path="/w/resyncKeys", api_version="v"), target=()), RERUN),
            DENY,
            id="another workspace",
        ),
    ],
)
def test_the_blast_radius_is_its_own_workspace_and_the_failed_resource(steps, answer):
    assert sync_keys.within_workspace(planned(steps=steps), make_situation()).answer is answer


def test_what_must_not_change_is_the_deployment_and_before_the_sync_the_registry():
    evidence = make_evidence(surroundings=around())
    before, after = sync_keys.fingerprint((SYNC, RERUN), evidence), sync_keys.fingerprint((RERUN,), evidence)
    assert before.pop("registry") == f"{REGISTRY.path.lower()}, admin user True"
    assert before == after


def test_a_sync_has_no_body_and_a_lost_answer_is_no_harm():
    assert sync_keys.prepare(planned(), 0, FakeReads()) == Body(None)
    assert sync_keys.landed(planned(), 0, make_evidence()) is Status.AGAIN
    assert sync_keys.landed(planned(), 1, make_evidence()) is Status.NOT_DONE


def test_whether_it_helped_the_re_run_shows():
    assert sync_keys.verify(planned(), 0, make_evidence())[0] is None
    done = make_state(provisioning_state="Succeeded", modified_by_us=True)
    assert sync_keys.verify(planned(), 1, make_evidence(resource=Found(done)))[0] is End.REPAIRED
    failed = make_state(provisioning_state="Failed", modified_by_us=True)
    assert sync_keys.verify(planned(), 1, make_evidence(resource=Found(failed)))[0] is End.NOT_REPAIRED


def test_when_nobody_says_when_the_operation_began_its_end_counts():
    proposal = proposed(operation=Found(make_operation(started_at=None)), activity=Unknown())
    assert isinstance(proposal, Proposal)
    assert proposal.parameters["began"] == make_incident().failed_at.isoformat()


def test_its_guards_are_the_common_ones_and_its_own():
    assert SYNC_KEYS.guards[: len(guards.COMMON)] == guards.COMMON
    names = [guard.__name__ for guard in SYNC_KEYS.guards[len(guards.COMMON) :]]
    assert names == ["admin_user_is_on", "no_network_fault", "not_synced_in_vain", "within_workspace"]


def test_the_sdk_sends_the_api_version_that_the_plan_names():
    assert sync_keys.API_VERSION == ml.SYNC_API_VERSION
