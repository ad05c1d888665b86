"""Nobody is asked to approve what our identity may not do."""

import pytest

from remediations.guards import permitted_by_azure
from remediations.model import Absent, Answer, Found, Unknown, operation_of
from remediations.preflight import lacking, permits
from tests.builders import (
    DELETE,
    DEPLOYMENT,
    ENDPOINT,
    REGISTRY,
    WORKSPACE,
    WRITE,
    FakeReads,
    make_call,
    make_plan,
    make_situation,
)

PERMISSIONS = "/providers/Microsoft.Authorization/permissions"
GRANT = "Microsoft.Authorization/roleAssignments/write"
ASSIGNMENT = f"{REGISTRY}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-000000000001"


def role(*actions: str, but: tuple[str, ...] = ()) -> dict:
    return {"actions": list(actions), "notActions": list(but), "dataActions": []}


def lacks(*roles, calls=None):
    reads = FakeReads({f"{scope}{PERMISSIONS}": Found(roles) for scope in (WORKSPACE, REGISTRY)})
    return lacking(calls or (make_call(),), reads)


@pytest.mark.parametrize(
    ("roles", "missing"),
    [
        pytest.param((role(WRITE),), Absent(), id="the very operation"),
        pytest.param((role(WRITE.lower()),), Absent(), id="in another casing"),
        pytest.param((role("Microsoft.MachineLearningServices/*"),), Absent(), id="by a glob"),
        pytest.param((role("*"),), Absent(), id="everything"),
        pytest.param((role("*/read"), role("*/write")), Absent(), id="one of two roles"),
        pytest.param((role("*/read"),), Found((f"{WRITE} on {WORKSPACE}",)), id="another operation"),
        pytest.param((role("*", but=(WRITE,)),), Found((f"{WRITE} on {WORKSPACE}",)), id="excluded"),
        pytest.param((role("*", but=(WRITE,)), role(WRITE)), Absent(), id="excluded by one, given by another"),
        pytest.param((), Found((f"{WRITE} on {WORKSPACE}",)), id="no role at all"),
        pytest.param(({"actions": "*"},), Found((f"{WRITE} on {WORKSPACE}",)), id="of another form"),
    ],
)
def test_what_roles_give_is_compared_with_what_the_call_needs(roles, missing):
    assert lacks(*roles) == missing


BLOB_READ = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"


@pytest.mark.parametrize(
    ("of_control", "of_data", "is_given"),
    [
        pytest.param(role(), role("*/blobs/read"), True, id="given"),
        pytest.param(role(), role("*", but=(BLOB_READ,)), False, id="excluded from what is given of the data"),
        pytest.param(role(but=(BLOB_READ,)), role("*"), True, id="excluded from what is given of the other plane"),
        pytest.param(role("*"), role(), False, id="given of the other plane alone"),
    ],
)
def test_what_roles_give_of_data_is_looked_up_apart(of_control, of_data, is_given):
    data = {"dataActions": of_data["actions"], "notDataActions": of_data["notActions"]}
    assert permits(({**of_control, **data},), BLOB_READ, is_data=True) is is_given


def test_every_call_is_looked_at_on_what_it_needs_a_role_for():
    calls = (make_call(method="PUT", path=ASSIGNMENT, via="roles"), make_call())
    assert lacks(role(WRITE), calls=calls) == Found((f"{GRANT} on {REGISTRY}",))
    assert lacks(role(WRITE, GRANT), calls=calls) == Absent()


def test_each_scope_is_read_once():
    reads = FakeReads({f"{WORKSPACE}{PERMISSIONS}": Found((role("*"),))})
    delete = make_call(method="DELETE", path=f"{ENDPOINT}/deployments/old")
    assert lacking((delete, make_call()), reads) == Absent()
    assert len(reads.asked) == 1


def test_what_cannot_be_read_is_unknown():
    found = lacking((make_call(),), FakeReads({f"{WORKSPACE}{PERMISSIONS}": Unknown("no answer")}))
    assert found == Unknown(f"what our identity may do on {WORKSPACE} is unknown (no answer)")


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        pytest.param("PUT", DEPLOYMENT, WRITE, id="deploy"),
        pytest.param("DELETE", DEPLOYMENT, DELETE, id="delete"),
        pytest.param(
            "POST",
            f"{WORKSPACE}/resyncKeys",
            "Microsoft.MachineLearningServices/workspaces/resyncKeys/action",
            id="sync keys",
        ),
        pytest.param("PUT", ASSIGNMENT, GRANT, id="grant"),
    ],
)
def test_a_call_names_the_operation_that_it_is(method, path, operation):
    assert operation_of(method, path) == operation
    assert make_call(method=method, path=path).operation == operation


@pytest.mark.parametrize(
    ("found", "answer", "words"),
    [
        pytest.param(Absent(), Answer.ALLOW, "Azure refused us nothing", id="nothing is missing"),
        pytest.param(Found(("x/write on y",)), Answer.DENY, "our identity lacks x/write on y", id="missing"),
        pytest.param(Unknown("not told"), Answer.UNKNOWN, "not told", id="unknown is no yes"),
    ],
)
def test_the_guard_says_it_before_anybody_is_asked(found, answer, words):
    said = permitted_by_azure(make_plan(), make_situation(preflight=found))
    assert (said.answer, said.words) == (answer, words)
