"""The roles in infra/rbac give the operations that remediations/rights.py declares: all of them, and nothing else.

What is declared is compared with the calls themselves elsewhere: tests/e2e (each story, by the simulator's account),
tests/test_docs.py (the page that people read) and tests/unit/test_services.py (no other write can be sent).
"""

import json
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from remediations.actions import ACTIONS
from remediations.model import Call
from remediations.ports import Reads
from remediations.rights import LISTED_AS, RIGHTS, Role, Scope, is_asked, is_write
from tests.test_docs import plans

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "rbac"
OURS = tuple(role for role in Role if role.startswith("Endpoint Medic "))
WORKSPACES = "Microsoft.MachineLearningServices/workspaces"


def definitions() -> dict[str, dict[str, Any]]:
    """The role files, by the name of the role."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(FOLDER.glob("*.role.json"))]
    return {each["roleName"]: each for each in found}


DEFINITIONS = definitions()


def given(role: str, kind: str) -> list[str]:
    (permission,) = DEFINITIONS[role]["permissions"]
    listed = permission[kind]
    assert isinstance(listed, list)
    return listed


def test_each_role_of_ours_has_one_file_and_each_file_is_of_one_role():
    assert sorted(DEFINITIONS) == sorted(OURS)
    assert sorted(file.name for file in FOLDER.iterdir()) == [
        "granter.condition.txt",
        "granter.role.json",
        "operator.role.json",
        "reader.role.json",
        "registry-reader.role.json",
        "store.role.json",
        "subscription-reader.role.json",
        "undo.condition.txt",
        "undo.role.json",
    ]


@pytest.mark.parametrize("role", OURS)
def test_a_role_has_the_form_that_bicep_loads(role):
    definition = DEFINITIONS[role]
    assert list(definition) == ["roleName", "description", "permissions"]
    assert 20 < len(definition["description"]) <= 256
    (permission,) = definition["permissions"]
    assert list(permission) == ["actions", "notActions", "dataActions", "notDataActions"]
    assert (permission["notActions"], permission["notDataActions"]) == ([], [])
    for kind in ("actions", "dataActions"):
        assert permission[kind] == sorted(set(permission[kind]), key=str.lower)


@pytest.mark.parametrize("role", OURS)
@pytest.mark.parametrize(("kind", "is_data"), [("actions", False), ("dataActions", True)])
def test_a_role_gives_the_operations_that_are_declared_for_it_and_no_other(role, kind, is_data):
    declared = {right.operation for right in RIGHTS if role in right.roles and right.is_data is is_data}
    assert set(given(role, kind)) == {LISTED_AS.get(operation, operation) for operation in declared}


def test_all_that_is_given_besides_reads_is_this():
    everything = [name for role in OURS for kind in ("actions", "dataActions") for name in given(role, kind)]
    assert sorted(name for name in everything if not name.lower().endswith("/read")) == [
        "Microsoft.Authorization/roleAssignments/delete",
        "Microsoft.Authorization/roleAssignments/write",
        "Microsoft.MachineLearningServices/workspaces/diagnose/*",
        "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/delete",
        "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write",
        "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write",
        "Microsoft.MachineLearningServices/workspaces/onlineendpoints/deployments/getlogs/action",
        "Microsoft.MachineLearningServices/workspaces/resynckeys/action",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    ]


def test_nothing_that_shows_a_key_or_a_secret_is_given():
    everything = {name for role in OURS for kind in ("actions", "dataActions") for name in given(role, kind)}
    hits = {name for name in everything if re.search(r"keys|secret|token|credential|password|sas", name, re.IGNORECASE)}
    assert hits == {f"{WORKSPACES}/resynckeys/action"}  # it shows none: the workspace fetches them itself


def test_the_only_glob_covers_the_diagnosis_alone():
    globs = {name for role in OURS for kind in ("actions", "dataActions") for name in given(role, kind) if "*" in name}
    assert globs == set(LISTED_AS.values()) == {f"{WORKSPACES}/diagnose/*"}


def test_each_write_is_given_by_one_role_and_no_reading_role_gives_one():
    writes = [right for right in RIGHTS if right.is_write]
    assert [right.operation for right in writes if len(right.roles) != 1] == []
    assert {right.roles[0] for right in writes} == {Role.OPERATOR, Role.GRANTER, Role.UNDO}
    reading = {role for right in RIGHTS if not right.is_write for role in right.roles[:1]}
    assert reading == {
        Role.SUBSCRIPTION_READER,
        Role.READER,
        Role.REGISTRY_READER,
        Role.STORE,
        Role.BLOB_READER,
        Role.EVENT_SENDER,
    }


def test_what_is_checked_on_a_subscription_is_given_by_the_role_that_is_assigned_there_and_by_no_other_first():
    top = {right.operation for right in RIGHTS if right.scope is Scope.SUBSCRIPTION}
    assert top == {right.operation for right in RIGHTS if right.roles[0] is Role.SUBSCRIPTION_READER}
    assert top == set(given(Role.SUBSCRIPTION_READER, "actions"))
    assert f"{WORKSPACES}/onlineendpoints/deployments/getlogs/action" not in top


def test_who_grants_cannot_delete_and_who_deletes_cannot_grant():
    assert given(Role.GRANTER, "actions") == [
        "Microsoft.Authorization/roleAssignments/read",
        "Microsoft.Authorization/roleAssignments/write",
    ]
    assert given(Role.UNDO, "actions") == [
        "Microsoft.Authorization/roleAssignments/delete",
        "Microsoft.Authorization/roleAssignments/read",
    ]


def test_each_operation_is_spelled_in_one_way():
    texts = [file.read_text("utf-8") for file in FOLDER.glob("*.json")]
    texts += [(ROOT / "tests" / "e2e" / "rights.yaml").read_text("utf-8")]
    texts += [(ROOT / "docs" / "actions.md").read_text("utf-8").replace("`W/", f"`{WORKSPACES}/")]
    verb = r"(?:read|write|delete|action|\*)"
    found = re.findall(rf"Microsoft\.[A-Za-z]+(?:/[A-Za-z]+)+/{verb}(?![A-Za-z/])", "\n".join(texts), re.IGNORECASE)
    spellings: dict[str, set[str]] = {}
    for name in [*found, *(right.operation for right in RIGHTS)]:
        spellings.setdefault(name.lower(), set()).add(name)
    assert [names for names in spellings.values() if len(names) > 1] == []
    assert len(spellings) > len(RIGHTS)


def test_a_right_is_declared_once_for_each_role_and_scope():
    keys = [(right.operation, right.roles[0], right.scope) for right in RIGHTS]
    assert len(keys) == len(set(keys))


def test_what_calls_an_operation_is_there():
    reads = {right.via for right in RIGHTS} - {"store", "topic", *get_args(get_type_hints(Call)["via"])}
    asking = {name for name in vars(Reads) if not name.startswith("_")} - {
        "get_all",
        "refused",
        "throttled",
        "identity",
    }
    assert reads == asking
    assert {right.via for right in RIGHTS if right.is_write} == set(get_args(get_type_hints(Call)["via"]))


# ------------------------------------------------------------------------------------------------ the writes


def test_every_write_that_an_action_plans_is_declared_for_it_and_every_one_declared_is_planned():
    planned = {
        (name, call.via, call.operation.lower()) for name in ACTIONS for plan in plans(name) for call in plan.calls
    }
    declared = {
        (name, right.via, right.operation.lower()) for right in RIGHTS if right.is_write for name in right.actions
    }
    assert planned == declared


W = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/w"
D = f"{W}/onlineEndpoints/e/deployments/d"
R = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerRegistry/registries/r"
S = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/s"
A = f"{R}/providers/Microsoft.Authorization/roleAssignments/a"


@pytest.mark.parametrize(
    ("method", "path", "via"),
    [
        pytest.param("PUT", D, "arm", id="deploy"),
        pytest.param("PUT", D.lower(), "arm", id="in lower case"),
        pytest.param("DELETE", D, "arm", id="delete a deployment"),
        pytest.param("PUT", f"{W}/onlineEndpoints/e", "arm", id="create an endpoint"),
        pytest.param("POST", f"{W}/resyncKeys", "ml", id="sync keys"),
        pytest.param("PUT", A, "roles", id="grant on a registry"),
        pytest.param("PUT", A.replace(R, S), "roles", id="grant on a storage account"),
        pytest.param("PUT", D.replace("/rg/", "/_r.(g)-1/"), "arm", id="a group of every character that may be in one"),
        pytest.param("DELETE", A, "roles", id="take a grant back"),
    ],
)
def test_a_write_that_is_declared_is_one(method, path, via):
    assert is_write(Call(method=method, path=path, api_version="1", via=via))


@pytest.mark.parametrize(
    ("method", "path", "via"),
    [
        pytest.param("DELETE", f"{W}/onlineEndpoints/e", "arm", id="delete an endpoint"),
        pytest.param("PUT", W, "arm", id="change a workspace"),
        pytest.param("DELETE", W, "arm", id="delete a workspace"),
        pytest.param("POST", f"{W}/listKeys", "arm", id="show keys"),
        pytest.param("POST", f"{W}/onlineEndpoints/e/listKeys", "arm", id="show the keys of an endpoint"),
        pytest.param("POST", f"{R}/listCredentials", "arm", id="show the password of a registry"),
        pytest.param("POST", f"{R}/regenerateCredential", "arm", id="change the password of a registry"),
        pytest.param("PUT", R, "arm", id="change a registry"),
        pytest.param("PUT", f"{R}/providers/Microsoft.Authorization/roleDefinitions/a", "roles", id="define a role"),
        pytest.param("PUT", f"{R}/providers/Microsoft.Authorization/denyAssignments/a", "arm", id="deny"),
        pytest.param("PUT", f"{R}/providers/Microsoft.Authorization/locks/a", "arm", id="lock"),
        pytest.param("PATCH", D, "arm", id="another method"),
        pytest.param("GET", D, "arm", id="a read"),
        pytest.param("POST", f"{D}/getLogs", "arm", id="a read that is a POST"),
        pytest.param("PUT", A, "arm", id="a grant by another client"),
        pytest.param("PUT", D, "roles", id="a deployment by the client of grants"),
        pytest.param("POST", f"{W}/resyncKeys", "arm", id="a sync by another client"),
        pytest.param("DELETE", f"{D}/..", "arm", id="what a client would make of it deletes the endpoint's list"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/../x/y", "arm", id="dots in the middle"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/.", "arm", id="one dot"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/", "arm", id="no name"),
        pytest.param("PUT", f"/{D}", "arm", id="two slashes, which would name another host"),
        pytest.param("PUT", "/", "arm", id="nothing"),
        pytest.param("PUT", "", "arm", id="not even that"),
        pytest.param("PUT", f".evil.com{D}", "arm", id="an end of another host's name"),
        pytest.param("PUT", f"@evil.com{D}", "arm", id="another host, and ours for a user"),
        pytest.param("PUT", D.removeprefix("/"), "arm", id="no slash"),
        pytest.param("PUT", f"{W}/onlineEndpoints/e?x=/deployments/d", "arm", id="a query"),
        pytest.param("PUT", f"{W}/onlineEndpoints/e#/deployments/d", "arm", id="a fragment"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/%2e%2e", "arm", id="dots that are escaped"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/a%2fb", "arm", id="a slash that is escaped"),
        pytest.param("DELETE", f"{W}/onlineEndpoints/e/deployments/a\\b", "arm", id="a slash that leans back"),
        pytest.param("PUT", f"{D}\n", "arm", id="a new line"),
        pytest.param("PUT", D.replace("/resourceGroups/rg", ""), "arm", id="a path without its group"),
        pytest.param("PUT", f"{R}{D.partition('/rg')[2]}", "arm", id="a deployment of a registry"),
        pytest.param("PUT", A.removeprefix(R), "roles", id="a grant on the tenant"),
        pytest.param("PUT", A.replace(R, "/subscriptions/s"), "roles", id="a grant on a subscription"),
        pytest.param("PUT", A.replace(R, "/subscriptions/s/resourceGroups/rg"), "roles", id="a grant on a group"),
        pytest.param("PUT", A.replace(R, W), "roles", id="a grant on a workspace"),
        pytest.param("PUT", A.replace(R, f"{S}/blobServices/default"), "roles", id="a grant inside an account"),
        pytest.param("DELETE", A.replace(R, "/subscriptions/s"), "roles", id="taking back one on a subscription"),
    ],
)
def test_no_other_write_is_one(method, path, via):
    assert not is_write(Call(method=method, path=path, api_version="1", via=via))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param(f"{D}/getLogs", True, id="logs"),
        pytest.param(f"{W}/diagnose", True, id="a diagnosis"),
        pytest.param(f"{W}/DIAGNOSE", True, id="in another casing"),
        pytest.param(f"{W}/listKeys", False, id="keys"),
        pytest.param(f"{W}/listKeys/diagnose", False, id="keys of another name"),
        pytest.param(f"{W}/onlineEndpoints/e/getLogs", False, id="logs of an endpoint"),
        pytest.param(f"{W}/diagnose/", False, id="something below it"),
        pytest.param(f"{W}/../diagnose", False, id="dots"),
        pytest.param(f"{W}/resyncKeys", False, id="a write"),
    ],
)
def test_a_read_that_is_a_post_is_one_that_is_declared(path, answer):
    assert is_asked(path) is answer


def test_a_right_says_what_it_is_for_in_a_few_words():
    assert [right for right in RIGHTS if not 10 < len(right.what_for) < 100 or right.what_for.endswith(".")] == []
    assert {name for right in RIGHTS for name in right.actions} == set(ACTIONS)
