"""What lies around a failed deployment: each reading right, or unknown with words; nothing raises."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from remediations import codec
from remediations.enrichment import resource_state
from remediations.model import Absent, Area, DesiredSpec, Found, Identity, Reading, ResourceId, Surroundings, Unknown
from remediations.policy import Policy
from remediations.surroundings import is_complete, look
from tests.builders import (
    ENDPOINT,
    GROUP,
    IDENTITY,
    NOON,
    PRINCIPAL,
    REGISTRY,
    STORAGE,
    SUBSCRIPTION,
    US,
    WORKSPACE,
    FakeReads,
    make_access,
    make_endpoint_state,
    make_evidence,
    make_incident,
    make_quota,
    make_registry,
    make_resource,
    make_state,
    make_workspace,
)

PROVIDER = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices"
LOCATION = f"{PROVIDER}/locations/westeurope"
ENVIRONMENT = f"{WORKSPACE}/environments/sklearn-inf/versions/12"
MODEL = f"{WORKSPACE}/models/credit/versions/7"
LOGIN = "crmlwprod.azurecr.io"
MANIFEST = f"HEAD {LOGIN}/team/credit/3"
DIGEST = f"sha256:{'a' * 64}"
LEGACY, ABAC = "LegacyRegistryPermissions", "AbacRepositoryPermissions"
ACR_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
REPOSITORY_READER = "b93aa761-3e63-49ed-ac28-beffa264f7ac"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
CUSTOM = "99999999-0000-4000-8000-000000000001"
GROUP_OF_PEOPLE = "77777777-aaaa-4bbb-8ccc-000000000001"


def shown_workspace(**properties: Any) -> Any:
    named = {"containerRegistry": REGISTRY, "storageAccount": STORAGE}
    return {"id": WORKSPACE, "location": "westeurope", "properties": named | properties}


def shown_registry(**properties: Any) -> Any:
    shown = {"loginServer": LOGIN, "adminUserEnabled": True, "roleAssignmentMode": LEGACY}
    return {"id": REGISTRY, "properties": shown | properties}


def listed(path: str) -> str:
    return f"{path}/providers/Microsoft.Authorization/roleAssignments"


ANSWERS: dict[str, Reading[Any]] = {
    WORKSPACE: Found(shown_workspace()),
    REGISTRY: Found(shown_registry()),
    ENVIRONMENT: Found({"properties": {"image": f"{LOGIN}/team/credit:3"}}),
    MODEL: Found({"properties": {}}),
    MANIFEST: Found(DIGEST),
    listed(REGISTRY): Found(()),
    listed(STORAGE): Found(()),
    f"log {REGISTRY}": Found(()),
}


def evidence_of(state: Any = None, endpoint: Any = None, **changes: Any) -> Any:
    shown = make_state(**{"environment": ENVIRONMENT, "model": MODEL, **(state or {})})
    identities = (Identity(path=IDENTITY, principal_id=PRINCIPAL),)
    above = make_endpoint_state(**{"identity": "UserAssigned", "identities": identities, **(endpoint or {})})
    return make_evidence(**{"resource": Found(shown), "endpoint": Found(above), **changes})


def seen(*areas: Area, evidence: Any = None, policy: Any = None, reads: Any = None, **answers: Any) -> Surroundings:
    source = reads or FakeReads(ANSWERS | answers)
    policy = policy or Policy(actions={})
    return look(evidence or evidence_of(), areas, source, policy=policy, now=NOON, own=US)


def words(reading: Reading[Any]) -> str:
    assert isinstance(reading, Unknown), reading
    return reading.reason


# ------------------------------------------------------------------------------------------ only what is asked for


def test_nothing_is_read_that_nobody_asks_for():
    source = FakeReads(ANSWERS)
    assert seen(reads=source) == Surroundings()
    assert source.asked == []


def test_an_area_is_read_with_what_it_needs_and_no_more():
    source = FakeReads(ANSWERS)
    found = seen(Area.IMAGE, reads=source)
    assert [url.partition("?")[0] for url in source.asked] == [WORKSPACE, REGISTRY, ENVIRONMENT, MANIFEST]
    assert (found.model, found.access, found.quota, found.candidates) == (Unknown(), Unknown(), Unknown(), Unknown())


# -------------------------------------------------------------------------------------------- workspace, registry


def test_a_workspace_names_its_registry_and_its_storage():
    found = seen(Area.REGISTRY)
    assert found.workspace == Found(make_workspace())
    assert found.registry == Found(make_registry())


@pytest.mark.parametrize("named", [None, ""])
def test_a_workspace_may_have_no_registry_yet(named):
    found = seen(Area.REGISTRY, Area.IMAGE, **{WORKSPACE: Found(shown_workspace(containerRegistry=named))})
    assert found.workspace == Found(make_workspace(registry=None))
    assert found.registry == Absent()
    assert isinstance(found.image, Found)
    assert found.image.value.in_registry is False


@pytest.mark.parametrize(
    ("answer", "registry"),
    [
        pytest.param(Absent(), "the workspace is not there", id="no workspace"),
        pytest.param(Unknown("429: throttled"), "the workspace is not known: 429: throttled", id="throttled"),
        pytest.param(Found([]), "the workspace is not known: it shows no location", id="no object"),
        pytest.param(
            Found(shown_workspace(containerRegistry="../../x")),
            "the workspace is not known: its containerRegistry is no resource ID: '../../x'",
            id="no id",
        ),
        pytest.param(
            Found(shown_workspace(storageAccount=[1])),
            "the workspace is not known: its storageAccount is no resource ID: '[1]'",
            id="no text",
        ),
    ],
)
def test_behind_a_workspace_that_is_not_known_nothing_is(answer, registry):
    found = seen(*Area, **{WORKSPACE: answer})
    for reading in (found.registry, found.access, found.quota):
        assert words(reading) == registry
    assert words(found.image)
    assert words(found.candidates)


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        pytest.param(Absent(), Absent(), id="deleted"),
        pytest.param(Unknown("403: our identity lacks x"), Unknown("403: our identity lacks x"), id="refused"),
        pytest.param(Found(shown_registry(loginServer=None)), Unknown("it shows no login server"), id="no host"),
        pytest.param(
            Found(shown_registry(adminUserEnabled="yes", roleAssignmentMode=None)),
            Found(make_registry(admin_user=None, role_mode=None)),
            id="odd",
        ),
    ],
)
def test_a_registry_is_found_absent_or_unknown(answer, reading):
    assert seen(Area.REGISTRY, **{REGISTRY: answer}).registry == reading


def log_row(minutes_ago: int, operation: str = "regenerateCredential/action", status: str = "Succeeded") -> Any:
    return {
        "eventTimestamp": (NOON - timedelta(minutes=minutes_ago)).isoformat(),
        "operationName": {"value": f"Microsoft.ContainerRegistry/registries/{operation}"},
        "status": {"value": status},
        "resourceId": REGISTRY,
    }


@pytest.mark.parametrize(
    ("log", "minutes_ago"),
    [
        pytest.param(Found((log_row(90), log_row(30), log_row(60))), 30, id="the latest"),
        pytest.param(Found((log_row(5, status="Started"), log_row(9, status="Failed"))), None, id="not done"),
        pytest.param(Found((log_row(5, "write"), "x", {})), None, id="something else"),
        pytest.param(Unknown("403: our identity lacks x"), None, id="refused"),
        pytest.param(Absent(), None, id="no log"),
    ],
)
def test_when_a_registry_s_keys_changed_is_read_from_its_log(log, minutes_ago):
    found = seen(Area.KEYS, **{f"log {REGISTRY}": log})
    assert isinstance(found.registry, Found)
    at = None if minutes_ago is None else NOON - timedelta(minutes=minutes_ago)
    assert found.registry.value.keys_changed_at == at


def test_the_registry_s_log_is_asked_only_for_its_keys():
    source = FakeReads(ANSWERS)
    assert isinstance(seen(Area.REGISTRY, Area.NETWORK, reads=source).registry, Found)
    assert not [url for url in source.asked if "eventtypes" in url]


def test_the_log_of_another_subscription_is_not_asked():
    elsewhere = REGISTRY.replace(SUBSCRIPTION, "11111111-1111-2222-3333-444444444444")
    answers = {WORKSPACE: Found(shown_workspace(containerRegistry=elsewhere)), elsewhere: Found(shown_registry())}
    source = FakeReads(ANSWERS | answers)
    found = seen(Area.KEYS, reads=source)
    assert isinstance(found.registry, Found)
    assert not [url for url in source.asked if "eventtypes" in url]


def test_the_log_is_asked_for_the_last_week_of_that_registry():
    source = FakeReads(ANSWERS)
    seen(Area.KEYS, reads=source)
    assert source.asked[-1] == (
        f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Insights/eventtypes/management/values?api-version=2015-04-01"
        "&$filter=eventTimestamp ge '2026-11-15T12:00:00Z' and eventTimestamp le '2026-11-22T12:00:00Z'"
        f" and resourceUri eq '{REGISTRY}'"
    )


# --------------------------------------------------------------------------------------------------- model, image


@pytest.mark.parametrize(
    "named",
    [
        MODEL,
        f"azureml:{MODEL}",
        f"azureml:/{GROUP}/workspaces/mlw-prod/models/credit/versions/7",
        MODEL.replace("resourceGroups", "resourcegroups"),
    ],
)
def test_a_model_is_found_however_it_is_named(named):
    found = seen(Area.MODEL, evidence=evidence_of({"model": named}))
    assert isinstance(found.model, Found)
    assert found.model.value.lower() == MODEL.lower()


def test_a_model_that_is_gone_is_absent():
    assert seen(Area.MODEL, **{MODEL: Absent()}).model == Absent()
    assert seen(Area.MODEL, **{MODEL: Unknown("answered 500")}).model == Unknown("answered 500")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        pytest.param(None, "the deployment names none of models", id="none"),
        pytest.param("azureml://registries/shared/models/m/versions/1", "in a registry of assets", id="registry"),
        pytest.param("azureml:credit:7", "not in a workspace", id="short"),
        pytest.param(ENVIRONMENT, "not in a workspace", id="another kind"),
        pytest.param(f"{WORKSPACE}/models/../versions/1", "not in a workspace", id="a step up"),
        pytest.param(f"{WORKSPACE}/models/m/labels/latest", "not in a workspace", id="a label"),
    ],
)
def test_a_model_that_is_not_named_so_is_unknown(named, said):
    assert said in words(seen(Area.MODEL, evidence=evidence_of({"model": named})).model)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (Absent(), "the deployment is not there"),
        (Unknown("answered 500"), "the deployment is not known: answered 500"),
    ],
)
def test_without_a_deployment_what_it_names_is_unknown(resource, said):
    found = seen(Area.MODEL, Area.IMAGE, evidence=evidence_of(resource=resource))
    assert (words(found.model), words(found.image)) == (said, said)


def test_an_endpoint_has_no_model_and_no_image():
    evidence = evidence_of(incident=make_incident(resource=make_resource(ENDPOINT)))
    found = seen(Area.MODEL, Area.IMAGE, Area.QUOTA, evidence=evidence, **CAPACITY)
    for reading in (found.model, found.image, found.quota):
        assert words(reading) == "the deployment is not known: it is no deployment"


@pytest.mark.parametrize(
    ("image", "asked"),
    [
        pytest.param(f"{LOGIN}/team/credit:3", "team/credit/3", id="a tag"),
        pytest.param(f"{LOGIN.upper()}/team/credit", "team/credit/latest", id="no tag, capitals"),
        pytest.param(f"{LOGIN}/credit@{DIGEST}", f"credit/{DIGEST}", id="a digest"),
        pytest.param(f"{LOGIN}/a/b_c.d-e:v1.0@{DIGEST}", f"a/b_c.d-e/{DIGEST}", id="tag and digest"),
    ],
)
def test_an_image_of_the_registry_is_looked_for_there(image, asked):
    answers = {ENVIRONMENT: Found({"properties": {"image": image}}), f"HEAD {LOGIN}/{asked}": Absent()}
    found = seen(Area.IMAGE, **answers)
    assert isinstance(found.image, Found)
    assert (found.image.value.reference, found.image.value.in_registry) == (image, True)
    assert found.image.value.manifest == Absent()


def test_a_registry_may_have_a_port():
    local = {"loginServer": "127.0.0.1:5000"}
    answers = {
        REGISTRY: Found(shown_registry(**local)),
        ENVIRONMENT: Found({"properties": {"image": "127.0.0.1:5000/credit:3"}}),
        "HEAD 127.0.0.1:5000/credit/3": Found(DIGEST),
    }
    found = seen(Area.IMAGE, **answers)
    assert isinstance(found.image, Found)
    assert found.image.value.manifest == Found(DIGEST)


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("mcr.microsoft.com/azureml/sklearn:1", "mcr.microsoft.com"),
        ("python:3.13", "docker.io"),
        ("library/python", "docker.io"),
        ("localhost/x:1", "localhost"),
        (f"evil.example/{LOGIN}/x:1", "evil.example"),
    ],
)
def test_an_image_elsewhere_is_not_asked_for(image, host):
    source = FakeReads(ANSWERS | {ENVIRONMENT: Found({"properties": {"image": image}})})
    found = seen(Area.IMAGE, reads=source)
    assert isinstance(found.image, Found)
    assert found.image.value.in_registry is False
    assert host in words(found.image.value.manifest)
    assert not [url for url in source.asked if url.startswith("HEAD")]


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "the environment names no image of its own: it is built"),
        ({"image": "", "build": {"contextUri": "x"}}, "the environment names no image of its own: it is built"),
        (
            {"image": f"{LOGIN}/base:1", "condaFile": "name: x"},
            "the environment names no image of its own: it is built",
        ),
        ({"image": f"{LOGIN}/Team:1"}, f"the environment's image is no reference: '{LOGIN}/Team:1'"),
        ({"image": f"{LOGIN}/a/../b:1"}, f"the environment's image is no reference: '{LOGIN}/a/../b:1'"),
    ],
)
def test_an_environment_without_an_image_of_its_own_is_unknown(properties, said):
    assert words(seen(Area.IMAGE, **{ENVIRONMENT: Found({"properties": properties})}).image) == said


def test_an_image_cannot_be_placed_without_the_registry():
    found = seen(Area.IMAGE, **{REGISTRY: Unknown("answered 503")})
    assert words(found.image) == "the registry is not known: answered 503"


def test_an_environment_that_is_gone_is_absent():
    assert seen(Area.IMAGE, **{ENVIRONMENT: Absent()}).image == Absent()


# --------------------------------------------------------------------------------------------------------- access


def assignment(role: str, scope: str, principal: str = PRINCIPAL, **more: Any) -> Any:
    definition = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role.upper()}"
    return {"properties": {"roleDefinitionId": definition, "principalId": principal, "scope": scope} | more}


def definition(**permissions: Any) -> Any:
    return Found({"properties": {"roleName": "House Role", "permissions": [permissions]}})


def roles_of(mode: Any = LEGACY, registry: Any = (), storage: Any = (), **answers: Any) -> Any:
    answers = {
        REGISTRY: Found(shown_registry(roleAssignmentMode=mode)),
        listed(REGISTRY): Found(tuple(registry)),
        listed(STORAGE): Found(tuple(storage)),
    } | answers
    found = seen(Area.ACCESS, **answers).access
    assert isinstance(found, Found), found
    pull, read = found.value
    return pull, read


def test_an_endpoint_without_a_user_assigned_identity_needs_nothing():
    evidence = evidence_of(endpoint={"identity": "SystemAssigned", "identities": ()})
    source = FakeReads(ANSWERS)
    assert seen(Area.ACCESS, evidence=evidence, reads=source).access == Found(())
    assert not [url for url in source.asked if "roleAssignments" in url]


def test_identities_that_are_not_shown_are_unknown():
    evidence = evidence_of(endpoint={"identity": "SystemAssigned, UserAssigned", "identities": ()})
    assert words(seen(Area.ACCESS, evidence=evidence).access) == (
        "the endpoint has user-assigned identities and shows none"
    )


@pytest.mark.parametrize("endpoint", [Absent(), Unknown("answered 500")])
def test_without_an_endpoint_access_is_unknown(endpoint):
    assert words(seen(Area.ACCESS, evidence=make_evidence(endpoint=endpoint)).access)


def test_what_is_needed_and_not_held_names_the_least_role():
    pull, read = roles_of()
    assert pull == make_access(words="none of 0 role assignments gives it")
    assert (read.need, read.role, read.role_name, read.scope, read.held) == (
        "read",
        BLOB_READER,
        "Storage Blob Data Reader",
        STORAGE,
        False,
    )


def test_assignments_are_asked_for_with_the_groups():
    source = FakeReads(ANSWERS)
    seen(Area.ACCESS, reads=source)
    assert source.asked[-2:] == [
        f"{listed(scope)}?api-version=2022-04-01&$filter=assignedTo('{PRINCIPAL}')" for scope in (REGISTRY, STORAGE)
    ]


@pytest.mark.parametrize(
    ("scope", "place"),
    [
        pytest.param(REGISTRY, "crmlwprod", id="itself"),
        pytest.param(REGISTRY.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), "CRMLWPROD", id="in capitals"),
        pytest.param(GROUP, "resource group rg-ml-prod", id="its resource group"),
        pytest.param(f"/subscriptions/{SUBSCRIPTION}", f"subscription {SUBSCRIPTION}", id="its subscription"),
        pytest.param(
            "/providers/Microsoft.Management/managementGroups/all", "management group all", id="a management group"
        ),
        pytest.param("/", "everything", id="the root"),
    ],
)
def test_a_role_above_counts(scope, place):
    pull, _ = roles_of(registry=[assignment(ACR_PULL, scope)])
    assert (pull.held, pull.words) == (True, f"AcrPull on {place}")


@pytest.mark.parametrize(
    ("created", "since"),
    [
        pytest.param(("2026-11-22T11:59:00Z",), NOON - timedelta(minutes=1), id="when it was made"),
        pytest.param(("2026-11-22T11:59:00Z", "2026-11-20T12:00:00Z"), NOON - timedelta(days=2), id="the older of two"),
        pytest.param(("2026-11-22T11:59:00Z", None), None, id="one is of unknown age, and may be old"),
        pytest.param(("soon",), None, id="no time"),
    ],
)
def test_since_when_a_role_is_held_is_told_if_it_is_known(created, since):
    assignments = [assignment(ACR_PULL, REGISTRY, createdOn=at) for at in created]
    pull, _ = roles_of(registry=assignments)
    assert (pull.held, pull.since) == (True, since)


def test_a_role_by_a_group_counts_and_says_so():
    pull, _ = roles_of(registry=[assignment(CONTRIBUTOR, GROUP, GROUP_OF_PEOPLE)])
    assert (pull.held, pull.words) == (True, "Contributor on resource group rg-ml-prod (through a group)")


@pytest.mark.parametrize(
    "scope",
    [f"{GROUP}-other", f"{REGISTRY}2", f"/subscriptions/{SUBSCRIPTION[:-1]}", STORAGE],
    ids=["a longer name", "another registry", "a shorter name", "another resource"],
)
def test_a_role_elsewhere_does_not_count(scope):
    pull, _ = roles_of(registry=[assignment(ACR_PULL, scope)])
    assert (pull.held, pull.words) == (False, "none of 1 role assignments gives it")


@pytest.mark.parametrize(
    ("mode", "role", "held"),
    [
        (LEGACY, ACR_PULL, True),
        (LEGACY, CONTRIBUTOR, True),
        (LEGACY, REPOSITORY_READER, False),
        (ABAC, ACR_PULL, False),
        (ABAC, CONTRIBUTOR, False),
        (ABAC, REPOSITORY_READER, True),
        (ABAC.lower(), "2a1e307c-b015-4ebd-883e-5b7698a07328", True),
    ],
)
def test_which_roles_a_registry_honors_is_its_own_choice(mode, role, held):
    pull, _ = roles_of(mode, registry=[assignment(role, REGISTRY)])
    assert pull.held is held
    assert pull.role == (ACR_PULL if mode == LEGACY else REPOSITORY_READER)


@pytest.mark.parametrize("mode", [None, "Something"])
def test_a_registry_that_does_not_say_which_roles_it_honors_is_unclear(mode):
    pull, _ = roles_of(mode, registry=[assignment(ACR_PULL, REGISTRY)])
    assert (pull.held, pull.words) == (
        None,
        "which roles the registry honors is not known: it does not show which it honors",
    )


def test_a_registry_that_cannot_be_read_is_unclear_and_one_that_is_gone_is_not_needed():
    found = seen(Area.ACCESS, **{REGISTRY: Unknown("answered 503")}).access
    assert isinstance(found, Found)
    assert [access.held for access in found.value] == [None, False]
    gone = seen(Area.ACCESS, **{REGISTRY: Absent()}).access
    assert isinstance(gone, Found)
    assert [access.need for access in gone.value] == ["read"]


def test_a_condition_makes_it_unclear():
    pull, read = roles_of(
        ABAC,
        registry=[assignment(REPOSITORY_READER, REGISTRY, condition="@Resource[x] StringEquals 'y'")],
        storage=[assignment(BLOB_READER, STORAGE, condition=None)],
    )
    assert (pull.held, pull.words) == (None, "Container Registry Repository Reader on crmlwprod has a condition")
    assert read.held is True


def test_a_second_assignment_without_a_condition_settles_it():
    _, read = roles_of(
        storage=[
            assignment(BLOB_READER, STORAGE, condition="x"),
            assignment(BLOB_READER, f"/subscriptions/{SUBSCRIPTION}"),
        ]
    )
    assert read.held is True


def test_a_role_on_one_container_may_do_or_not():
    container = f"{STORAGE}/blobServices/default/containers/azureml"
    _, read = roles_of(storage=[assignment(BLOB_READER, container)])
    assert (read.held, read.words) == (None, "Storage Blob Data Reader on azureml covers only a part of it")
    _, other = roles_of(storage=[assignment(ACR_PULL, container)])
    assert other.held is False


BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


@pytest.mark.parametrize(
    ("permissions", "held"),
    [
        pytest.param({"dataActions": [f"{BLOBS}/read"]}, True, id="exactly"),
        pytest.param({"dataActions": [f"{BLOBS}/*".upper()]}, True, id="a wildcard at the end"),
        pytest.param({"dataActions": ["*"]}, True, id="everything"),
        pytest.param({"dataActions": ["Microsoft.Storage/*/read"]}, True, id="a wildcard inside"),
        pytest.param({"dataActions": ["*/blobs/*"]}, True, id="two wildcards"),
        pytest.param({"dataActions": [f"{BLOBS}/write"]}, False, id="another action"),
        pytest.param({"dataActions": [f"{BLOBS}/rea"]}, False, id="a beginning"),
        pytest.param({"dataActions": ["*/blobs/*/read"]}, False, id="one part too many"),
        pytest.param({"actions": ["*"]}, False, id="no data action"),
        pytest.param({"dataActions": ["*"], "notDataActions": [f"{BLOBS}/read"]}, False, id="taken out"),
        pytest.param({"dataActions": ["*"], "notDataActions": ["*/read"]}, False, id="taken out by wildcard"),
        pytest.param({"dataActions": ["*"], "notDataActions": ["*/write"]}, True, id="another taken out"),
        pytest.param({"dataActions": ["*"], "notDataActions": [7]}, None, id="odd"),
        pytest.param({"dataActions": "*"}, None, id="no list"),
        pytest.param({"dataActions": ["*"], "condition": "x"}, None, id="a condition"),
        pytest.param({"dataActions": None}, False, id="none"),
    ],
)
def test_a_role_of_one_s_own_is_read(permissions, held):
    path = f"{STORAGE}/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}"
    _, read = roles_of(storage=[assignment(CUSTOM, GROUP)], **{path: definition(**permissions)})
    assert read.held is held
    assert ("House Role" in read.words) is (held is not False)


def test_a_role_of_one_s_own_pulls_by_its_actions_or_data_actions():
    path = f"{REGISTRY}/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}"
    held = [assignment(CUSTOM, REGISTRY)]
    legacy = definition(actions=["Microsoft.ContainerRegistry/registries/*/read"], notActions=[])
    abac = definition(dataActions=["Microsoft.ContainerRegistry/registries/repositories/content/read"])
    assert roles_of(LEGACY, registry=held, **{path: legacy})[0].held is True
    assert roles_of(LEGACY, registry=held, **{path: abac})[0].held is False
    assert roles_of(ABAC, registry=held, **{path: abac})[0].held is True
    assert roles_of(ABAC, registry=held, **{path: legacy})[0].held is False


@pytest.mark.parametrize("answer", [Absent(), Unknown("answered 500"), Found([]), Found({"properties": {}})])
def test_a_role_that_cannot_be_read_is_unclear(answer):
    path = f"{STORAGE}/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}"
    _, read = roles_of(storage=[assignment(CUSTOM, GROUP)], **{path: answer})
    assert read.held is None
    assert CUSTOM in read.words


def test_a_role_definition_is_read_once_and_not_for_ever():
    own = [f"99999999-0000-4000-8000-{number:012}" for number in range(30)]
    source = FakeReads(ANSWERS | {listed(STORAGE): Found(tuple(assignment(role, GROUP) for role in own * 2))})
    found = seen(Area.ACCESS, reads=source).access
    assert isinstance(found, Found)
    assert found.value[1].held is None
    assert len([url for url in source.asked if "roleDefinitions" in url]) == 20


def test_four_thousand_assignments_are_looked_through():
    many = [assignment("acdd72a7-3385-48ef-bd42-f606fba81ae7", GROUP) for _ in range(3999)]
    _, read = roles_of(storage=[*many, assignment(BLOB_READER, GROUP)])
    assert read.held is True
    _, none = roles_of(storage=[*many, many[0]])
    assert (none.held, none.words) == (False, "none of 4000 role assignments gives it")


@pytest.mark.parametrize(
    "odd", ["x", {}, {"properties": {"scope": GROUP}}, assignment("no-guid", GROUP), assignment(BLOB_READER, "x")]
)
def test_an_assignment_that_cannot_be_read_is_unclear(odd):
    _, read = roles_of(storage=[odd])
    assert (read.held, read.words) == (None, "a role assignment cannot be read")


@pytest.mark.parametrize("principal", [None, "", "x') or ('1'='1"])
def test_an_identity_without_its_principal_is_unclear(principal):
    source = FakeReads(ANSWERS)
    evidence = evidence_of(endpoint={"identities": (Identity(path=IDENTITY, principal_id=principal),)})
    found = seen(Area.ACCESS, evidence=evidence, reads=source).access
    assert isinstance(found, Found)
    assert {(access.held, access.words) for access in found.value} == {
        (None, "the principal of id-credit is not shown")
    }
    assert not [url for url in source.asked if "roleAssignments" in url]


@pytest.mark.parametrize("answer", [Absent(), Unknown("more than 4000 items"), Unknown("403: our identity lacks x")])
def test_assignments_that_cannot_be_listed_make_the_whole_unknown(answer):
    found = seen(Area.ACCESS, **{listed(STORAGE): answer})
    assert words(found.access).startswith("the role assignments on stmlwprod cannot be listed: ")


def test_every_identity_needs_its_own():
    second = Identity(path=f"{IDENTITY}-2", principal_id=PRINCIPAL.replace("1", "2"))
    evidence = evidence_of(endpoint={"identities": (Identity(path=IDENTITY, principal_id=PRINCIPAL), second)})
    found = seen(Area.ACCESS, evidence=evidence).access
    assert isinstance(found, Found)
    assert [(access.identity.path, access.need) for access in found.value] == [
        (IDENTITY, "pull"),
        (IDENTITY, "read"),
        (f"{IDENTITY}-2", "pull"),
        (f"{IDENTITY}-2", "read"),
    ]


# ---------------------------------------------------------------------------------------------------------- quota


def usage(name: str, used: Any, limit: Any, place: str = "", kind: str = "vmFamily") -> Any:
    path = f"/subscriptions/{SUBSCRIPTION}{place}/usages/x"
    return {
        "id": path,
        "type": f"Microsoft.MachineLearningServices/{kind}/usages",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name},
    }


def in_workspace(used: Any, limit: Any, workspace: str = "mlw-prod", computes: str = "") -> Any:
    place = WORKSPACE.removeprefix(f"/subscriptions/{SUBSCRIPTION}").replace("mlw-prod", workspace)
    return usage(FAMILY, used, limit, place + computes, "workspaces")


OF_FAMILY = "standardDSv2Family Cluster Dedicated vCPUs"
FAMILY, TOTAL = "Standard DSv2 Family Cluster Dedicated vCPUs", "Total Cluster Dedicated Regional vCPUs"
SIZES = (
    {"name": "Standard_DS3_v2", "family": "standardDSv2Family", "vCPUs": 4},
    {"name": "STANDARD_DS4_V2", "family": "standardDSv2Family", "vCPUs": 8},
    {"name": "Standard_F4s_v2", "family": "standardFSv2Family", "vCPUs": 4},
)
ROWS = (
    usage("Clusters", 7, 100, kind="totalCores"),
    usage(FAMILY, 20, 24),
    usage(TOTAL, 20, 100, kind="dedicatedCores"),
    usage("Standard DSv2 Family Cluster LowPriority vCPUs", 0, -1),
)
CAPACITY: dict[str, Reading[Any]] = {f"{LOCATION}/vmSizes": Found(SIZES), f"{LOCATION}/usages": Found(ROWS)}


def quota_of(state: Any = None, rows: Any = ROWS, **answers: Any) -> Any:
    answers = CAPACITY | {f"{LOCATION}/usages": Found(tuple(rows))} | answers
    return seen(Area.QUOTA, evidence=evidence_of(state), **answers).quota


def test_a_quota_is_counted_with_the_reserve():
    found = quota_of()
    assert found == Found(make_quota())
    assert (found.value.missing, found.value.is_curable) == (4, True)


@pytest.mark.parametrize(("instances", "needed"), [(1, 8), (2, 12), (5, 24), (10, 48), (15, 72), (50, 240)])
def test_a_fifth_is_reserved_and_rounded_up(instances, needed):
    assert quota_of({"capacity": instances}).value.needed == needed


SPEC = DesiredSpec(
    url="https://st.blob.core.windows.net/desired/green.json",
    digest="ci",
    kind="Managed",
    instance_type="Standard_DS4_v2",
    capacity=5,
)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        pytest.param({"resource": Absent(), "desired": Found(SPEC)}, 48, id="refused at once: as CI sent it"),
        pytest.param(
            {"resource": Absent()},
            "the deployment is not known: it was refused at once, and CI sent no spec",
            id="refused at once, and no spec",
        ),
        pytest.param(
            {"desired": Found(SPEC)},
            "the deployment is not known: the deployment and CI's spec name other machines",
            id="what would be sent is not what is shown",
        ),
        pytest.param(
            {"desired": Found(replace(SPEC, instance_type="Standard_DS3_v2", capacity=1))}, 8, id="both say the same"
        ),
        pytest.param(
            {"resource": Absent(), "desired": Found(replace(SPEC, kind="Kubernetes"))},
            "it runs on Kubernetes: it draws on no quota of Azure ML",
            id="CI's spec is for Kubernetes",
        ),
    ],
)
def test_cores_are_those_of_the_body_that_will_be_sent(changes, needed):
    found = seen(Area.QUOTA, evidence=evidence_of(**changes), **CAPACITY).quota
    assert needed == (found.value.needed if isinstance(found, Found) else words(found))


def test_a_machine_type_is_the_same_in_any_casing():
    found = quota_of({"instance_type": "standard_ds4_v2"})
    assert (found.value.cores_each, found.value.instance_type) == (8, "standard_ds4_v2")


def test_no_limit_is_no_limit():
    found = quota_of(rows=(usage(FAMILY, 20, -1), usage(TOTAL, 20, -1)))
    assert (found.value.limit, found.value.total_limit, found.value.missing) == (None, None, 0)


def test_a_location_may_be_written_for_people():
    found = seen(Area.QUOTA, **CAPACITY, **{WORKSPACE: Found(shown_workspace() | {"location": "West Europe"})})
    assert found.quota == Found(make_quota())


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(in_workspace(2, 24), id="it holds back no more"),
        pytest.param(in_workspace(2, -1), id="it has no limit of its own"),
        pytest.param(in_workspace(2, 4, "demo"), id="it is another workspace's"),
        pytest.param(in_workspace(2, 4, computes="/computes/c"), id="it is a cluster's"),
    ],
)
def test_a_share_that_holds_back_nothing_is_passed_over(more):
    assert quota_of(rows=(*ROWS, more)) == Found(make_quota())


@pytest.mark.parametrize(
    ("state", "rows", "said"),
    [
        pytest.param({"kind": "Kubernetes"}, ROWS, "it runs on Kubernetes: it draws on no quota of Azure ML", id="k8s"),
        pytest.param({"instance_type": None}, ROWS, "westeurope has no machine type None", id="no type"),
        pytest.param(
            {"instance_type": "Standard_X"}, ROWS, "westeurope has no machine type 'Standard_X'", id="unknown"
        ),
        pytest.param({"capacity": None}, ROWS, "the deployment shows no number of instances", id="no capacity"),
        pytest.param({"capacity": 0}, ROWS, "the deployment shows no number of instances", id="none at all"),
        pytest.param({}, ROWS[2:], f"the usages have no row for {OF_FAMILY}", id="no row"),
        pytest.param({}, ROWS[:2], f"the usages have no row for {TOTAL}", id="no total"),
        pytest.param({}, (*ROWS, ROWS[1]), f"the usages have 2 rows for {OF_FAMILY}", id="two rows"),
        pytest.param(
            {},
            (usage(FAMILY, "20", 24), ROWS[2]),
            f"the usage of {OF_FAMILY} cannot be read",
            id="a text",
        ),
        pytest.param(
            {},
            (usage(FAMILY, 20, -7), ROWS[2]),
            f"the usage of {OF_FAMILY} cannot be read",
            id="an odd limit",
        ),
        pytest.param(
            {},
            (*ROWS, in_workspace(2, 8)),
            "the workspace may have a share of its own of standardDSv2Family",
            id="a share of its own",
        ),
        pytest.param(
            {},
            (*ROWS, in_workspace(None, None)),
            "the workspace may have a share of its own of standardDSv2Family",
            id="a share that cannot be read",
        ),
    ],
)
def test_a_quota_that_cannot_be_told_is_unknown(state, rows, said):
    assert words(quota_of(state, rows)) == said


@pytest.mark.parametrize("path", ["vmSizes", "usages"])
@pytest.mark.parametrize("answer", [Absent(), Unknown("answered 500")])
def test_a_quota_is_unknown_if_a_list_is(path, answer):
    assert words(seen(Area.QUOTA, **(CAPACITY | {f"{LOCATION}/{path}": answer})).quota)


# ----------------------------------------------------------------------------------------------------- candidates

OLD = f"{ENDPOINT}/deployments/old"
POLICY = Policy(actions={})
LONG_AGO = (NOON - timedelta(days=60)).isoformat()
SPAN = "2026-10-23T12:00:00Z/2026-11-22T12:00:00Z"


def shown_endpoint(path: str = ENDPOINT, **properties: Any) -> Any:
    return {"id": path, "properties": {"provisioningState": "Succeeded", "traffic": {"blue": 100}} | properties}


def shown_deployment(
    name: str, path: str = ENDPOINT, *, instances: Any = 1, tags: Any = None, **properties: Any
) -> Any:
    return {
        "id": f"{path}/deployments/{name}",
        "sku": {"name": "Default", "capacity": instances},
        "tags": {"medic-delete": "allow"} if tags is None else tags,
        "systemData": {"createdAt": LONG_AGO, "lastModifiedAt": LONG_AGO},
        "properties": {
            "endpointComputeType": "Managed",
            "provisioningState": "Succeeded",
            "instanceType": "Standard_DS3_v2",
        }
        | properties,
    }


def metric(name: str, *series: Any, **changes: Any) -> Any:
    return {"name": {"value": name}, "errorCode": "Success", "timeseries": list(series)} | changes


def series(*values: Any, deployment: str | None = None, dimension: str = "deployment", key: str = "average") -> Any:
    start = NOON - timedelta(days=30)
    named = [] if deployment is None else [{"name": {"value": dimension}, "value": deployment}]
    points = [
        {"timeStamp": (start + timedelta(hours=number)).isoformat(), key: value} for number, value in enumerate(values)
    ]
    return {"metadatavalues": named, "data": points}


def metrics(*shown: Any, timespan: Any = SPAN) -> Found[Any]:
    return Found({"timespan": timespan, "interval": "PT1H", "value": list(shown)})


def of(path: str) -> str:
    return f"{path}/providers/Microsoft.Insights/metrics"


ALIVE = metric("DeploymentCapacity", series(*[1.0] * 720, key="maximum"))
QUIET = metric("RequestsPerMinute")
DIAGNOSE = f"POST {WORKSPACE}/diagnose"
IDLE: dict[str, Reading[Any]] = CAPACITY | {
    DIAGNOSE: Found({"value": {"containerRegistryResults": []}}),
    f"{PROVIDER}/workspaces": Found(({"id": WORKSPACE, "location": "westeurope"},)),
    f"{WORKSPACE}/onlineEndpoints": Found((shown_endpoint(),)),
    f"{ENDPOINT}/deployments": Found((shown_deployment("blue"), shown_deployment("old", instances=2))),
    of(ENDPOINT): metrics(QUIET),
    of(OLD): metrics(QUIET, ALIVE),
}


def candidates_of(reads: Any = None, policy: Any = POLICY, **answers: Any) -> Any:
    return seen(Area.IDLE, reads=reads or FakeReads(ANSWERS | IDLE | answers), policy=policy).candidates


def one(reading: Any, name: str = "old") -> Any:
    assert isinstance(reading, Found), reading
    (found,) = [candidate for candidate in reading.value if candidate.resource.deployment == name]
    return found


def test_what_draws_on_the_missing_quota_is_found_with_what_it_would_free():
    found = candidates_of()
    old, blue = one(found), one(found, "blue")
    assert (old.cores, old.siblings, old.requests, old.alive) == (12, ("blue",), Found(False), Found(True))
    assert old.state == resource_state(shown_deployment("old", instances=2), ResourceId.parse(OLD), US)
    assert old.endpoint.traffic == {"blue": 100}
    assert (blue.cores, blue.siblings) == (8, ("old",))


def test_metrics_are_asked_only_of_what_nothing_else_keeps():
    source = FakeReads(ANSWERS | IDLE)
    blue = one(candidates_of(source), "blue")
    assert blue.requests == Unknown("not asked: 100 % of its endpoint's traffic goes to it")
    asked = [url for url in source.asked if "Insights/metrics" in url]
    common = f"?api-version=2024-02-01&interval=PT1H&timespan={SPAN}&metricnames=RequestsPerMinute"
    assert asked == [
        f"{of(ENDPOINT)}{common}&aggregation=Average&$filter=deployment eq '*'&top=200",
        f"{of(OLD)}{common},DeploymentCapacity&aggregation=Average",
    ]


def test_an_endpoint_s_metrics_are_asked_once():
    more = tuple(shown_deployment(f"old{number}") for number in range(5))
    source = FakeReads(ANSWERS | IDLE | {f"{ENDPOINT}/deployments": Found((shown_deployment("blue"), *more))})
    candidates_of(source)
    assert len([url for url in source.asked if url.startswith(f"{of(ENDPOINT)}?")]) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param((usage(FAMILY, 2, 24), ROWS[2]), "not looked for: no cores are missing", id="enough"),
        pytest.param((usage(FAMILY, 2, 6), ROWS[2]), "not looked for: no deletion could free enough", id="never"),
        pytest.param(
            ROWS[2:], f"not looked for: the quota is unknown (the usages have no row for {OF_FAMILY})", id="unknown"
        ),
    ],
)
def test_nobody_is_looked_for_whose_deletion_would_not_help(rows, said):
    source = FakeReads(ANSWERS | IDLE | {f"{LOCATION}/usages": Found(rows)})
    assert words(candidates_of(source)) == said
    assert f"{PROVIDER}/workspaces" not in {url.partition("?")[0] for url in source.asked}


@pytest.mark.parametrize(
    "deployment",
    [
        shown_deployment("old", instanceType="Standard_F4s_v2"),
        shown_deployment("old", instanceType="Standard_Unheard_Of"),
        shown_deployment("old", endpointComputeType="Kubernetes"),
        shown_deployment("old", endpointComputeType=None),
        shown_deployment("old", instances=None),
    ],
    ids=["another family", "no known machine", "Kubernetes", "of no kind", "no instances"],
)
def test_what_does_not_draw_on_that_quota_is_no_candidate(deployment):
    found = candidates_of(**{f"{ENDPOINT}/deployments": Found((deployment,))})
    assert found == Found(())


def test_only_workspaces_of_the_location_are_looked_through():
    far = {"id": WORKSPACE.replace("mlw-prod", "far"), "location": "northeurope"}
    near = {"id": WORKSPACE, "location": "West Europe"}
    assert one(candidates_of(**{f"{PROVIDER}/workspaces": Found((far, near))})).cores == 12


def test_siblings_are_the_others_that_are_succeeded():
    shown = (shown_deployment("blue", provisioningState="Failed"), shown_deployment("old"), shown_deployment("red"))
    found = candidates_of(**{f"{ENDPOINT}/deployments": Found(shown)})
    assert one(found).siblings == ("red",)


@pytest.mark.parametrize(
    ("path", "answer", "said"),
    [
        pytest.param(f"{PROVIDER}/workspaces", Absent(), "there is no list of workspaces", id="no list"),
        pytest.param(f"{PROVIDER}/workspaces", Unknown("answered 500"), "answered 500", id="a fault"),
        pytest.param(
            f"{PROVIDER}/workspaces",
            Found(({"id": "x"},)),
            "the list of workspaces holds one that cannot be read",
            id="odd",
        ),
        pytest.param(
            f"{WORKSPACE}/onlineEndpoints",
            Found(({"id": 1},)),
            "the list of endpoints holds one without an ID",
            id="no id",
        ),
        pytest.param(
            f"{WORKSPACE}/onlineEndpoints",
            Found((shown_deployment("x"),)),
            "the list of endpoints holds one of another place: mlw-prod/credit-scoring/x",
            id="no endpoint",
        ),
        pytest.param(
            f"{ENDPOINT}/deployments",
            Found((shown_deployment("x", f"{WORKSPACE}/onlineEndpoints/other"),)),
            "the list of deployments holds one of another place: mlw-prod/other/x",
            id="of another endpoint",
        ),
        pytest.param(
            f"{WORKSPACE}/onlineEndpoints",
            Found((shown_endpoint(traffic={"old": "100"}),)),
            "the traffic of mlw-prod/credit-scoring cannot be read",
            id="odd traffic",
        ),
        pytest.param(
            f"{WORKSPACE}/onlineEndpoints",
            Found((shown_endpoint(mirrorTraffic=[1]),)),
            "the traffic of mlw-prod/credit-scoring cannot be read",
            id="odd mirror",
        ),
        pytest.param(f"{ENDPOINT}/deployments", Unknown("more than 500 items"), "more than 500 items", id="too many"),
        pytest.param(
            f"{PROVIDER}/workspaces",
            Found(tuple({"id": f"{WORKSPACE}{number}", "location": "westeurope"} for number in range(21))),
            "more than 20 workspaces",
            id="too many workspaces",
        ),
    ],
)
def test_candidates_are_unknown_where_a_list_is(path, answer, said):
    assert words(candidates_of(**{path: answer})) == said


def test_five_hundred_deployments_are_looked_through_and_one_more_is_not():
    def world(number: int) -> dict[str, Reading[Any]]:
        paths = [f"{WORKSPACE}/onlineEndpoints/e{each:03}" for each in range(25)]
        answers: dict[str, Reading[Any]] = {f"{WORKSPACE}/onlineEndpoints": Found(tuple(map(shown_endpoint, paths)))}
        for index, path in enumerate(paths):
            names = [f"d{each}" for each in range(20)] + (["extra"] if index == 0 and number > 500 else [])
            answers[f"{path}/deployments"] = Found(tuple(shown_deployment(name, path, tags={}) for name in names))
        return answers

    found = candidates_of(**world(500))
    assert isinstance(found, Found)
    assert len(found.value) == 500
    assert words(candidates_of(**world(501))) == "too many deployments"


def test_the_requests_are_bounded():
    paths = [f"{WORKSPACE}/onlineEndpoints/e{each:03}" for each in range(100)]
    answers: dict[str, Reading[Any]] = {f"{WORKSPACE}/onlineEndpoints": Found(tuple(map(shown_endpoint, paths)))}
    for path in paths:
        answers[f"{path}/deployments"] = Found(tuple(shown_deployment(f"d{each}", path) for each in range(5)))
    source = FakeReads(ANSWERS | IDLE | answers)
    assert words(candidates_of(source)) == "more than 150 requests would be needed"
    assert len(source.asked) <= 155


# -------------------------------------------------------------------------------------------------------- metrics

SPLIT_IDLE = metric("RequestsPerMinute", series(0, 0.0, None, deployment="old"), series(9, deployment="blue"))


@pytest.mark.parametrize(
    ("endpoint", "own", "requests"),
    [
        pytest.param(QUIET, QUIET, Found(False), id="no series at all"),
        pytest.param(SPLIT_IDLE, metric("RequestsPerMinute", series(0, None)), Found(False), id="zeros and gaps"),
        pytest.param(
            metric("RequestsPerMinute", series(0, 0.1, deployment="OLD")), QUIET, Found(True), id="one, by the endpoint"
        ),
        pytest.param(QUIET, metric("RequestsPerMinute", series(0, 3)), Found(True), id="one, by its own"),
        pytest.param(
            QUIET, metric("RequestsPerMinute", series(3, key="maximum")), Found(True), id="one, by its own greatest"
        ),
        pytest.param(QUIET, metric("RequestsPerMinute", series(500, key="total")), Found(True), id="one, by a sum"),
        pytest.param(
            QUIET,
            metric("RequestsPerMinute", series(500, key="count")),
            Unknown("its RequestsPerMinute cannot be read"),
            id="a count of samples alone",
        ),
        pytest.param(
            metric("RequestsPerMinute", series(2), errorCode="InternalError"),
            metric("RequestsPerMinute", series(3)),
            Found(True),
            id="one is enough, whatever the other says",
        ),
        pytest.param(
            metric("RequestsPerMinute", errorCode="InternalError"),
            QUIET,
            Unknown("its metrics give no RequestsPerMinute"),
            id="an error",
        ),
        pytest.param(QUIET, {}, Unknown("its metrics give no RequestsPerMinute"), id="no metric"),
        pytest.param(
            metric("RequestsPerMinute", series(0)),
            QUIET,
            Unknown("the endpoint's metrics are not split by deployment"),
            id="no dimension",
        ),
        pytest.param(
            metric("RequestsPerMinute", series(0, deployment="old", dimension="statusCode")),
            QUIET,
            Unknown("the endpoint's metrics are not split by deployment"),
            id="another dimension",
        ),
        pytest.param(
            metric("RequestsPerMinute", series(0, deployment="")),
            QUIET,
            Unknown("the endpoint's metrics are not split by deployment"),
            id="a series of nobody",
        ),
        pytest.param(
            metric("RequestsPerMinute", *[series(0, deployment=f"d{number}") for number in range(200)]),
            QUIET,
            Unknown("the endpoint's metrics have more series than are shown"),
            id="perhaps cut",
        ),
        *(
            pytest.param(
                QUIET,
                metric("RequestsPerMinute", series(0, odd)),
                Unknown("its RequestsPerMinute cannot be read"),
                id=f"the value {odd!r}",
            )
            for odd in list[Any]((float("nan"), -1, "0", True, float("inf"), []))
        ),
        pytest.param(
            QUIET,
            metric("RequestsPerMinute", timeseries=None),
            Unknown("its RequestsPerMinute cannot be read"),
            id="no list of series",
        ),
        pytest.param(
            QUIET,
            metric("RequestsPerMinute", {"data": [{"average": 0}]}),
            Unknown("its RequestsPerMinute cannot be read"),
            id="a point without a time",
        ),
    ],
)
def test_that_nothing_was_asked_of_it_is_proved_or_unknown(endpoint, own, requests):
    answers = {of(ENDPOINT): metrics(endpoint), of(OLD): metrics(own, ALIVE)}
    assert one(candidates_of(**answers)).requests == requests


@pytest.mark.parametrize("path", [of(ENDPOINT), of(OLD)])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Absent(), "it has no metrics"),
        (Unknown("429: throttled"), "429: throttled"),
        (metrics(QUIET, ALIVE, timespan="2026-11-20T12:00:00Z/2026-11-22T12:00:00Z"), "do not cover the whole time"),
        (metrics(QUIET, ALIVE, timespan=None), "do not cover the whole time"),
        (Found("x"), "do not cover the whole time"),
    ],
)
def test_metrics_that_do_not_answer_are_unknown(path, answer, said):
    assert said in words(one(candidates_of(**{path: answer})).requests)


@pytest.mark.parametrize(
    ("capacity", "alive"),
    [
        pytest.param(ALIVE, Found(True), id="every hour"),
        pytest.param(metric("DeploymentCapacity", series(*[1, *[None] * 23] * 30)), Found(True), id="once a day"),
        pytest.param(
            metric("DeploymentCapacity", series(*[1] * 718, None, None)), Found(True), id="the last are missing"
        ),
        pytest.param(metric("DeploymentCapacity", series(*[1] * 300, *[None] * 48, *[1] * 372)), Absent(), id="a gap"),
        pytest.param(metric("DeploymentCapacity", series(*[1] * 300, *[0] * 48, *[1] * 372)), Absent(), id="a stop"),
        pytest.param(metric("DeploymentCapacity", series(*[None] * 96, *[1] * 624)), Absent(), id="it began later"),
        pytest.param(metric("DeploymentCapacity"), Absent(), id="none"),
        pytest.param(
            metric("DeploymentCapacity", errorCode="X"),
            Unknown("its metrics give no DeploymentCapacity"),
            id="an error",
        ),
    ],
)
def test_that_metrics_are_alive_is_shown_for_every_day(capacity, alive):
    assert one(candidates_of(**{of(OLD): metrics(QUIET, capacity)})).alive == alive


def test_a_shorter_window_is_asked_for_as_such():
    policy = codec.load(Policy, {"actions": {}, "idle": {"window": "P7D"}})
    source = FakeReads(ANSWERS | IDLE)
    found = one(candidates_of(source, policy))
    assert found.alive == Found(True)
    assert any("timespan=2026-11-15T12:00:00Z/2026-11-22T12:00:00Z" in url for url in source.asked)


# -------------------------------------------------------------------------------------------------------- network


SILENT = "the workspace's diagnosis says nothing of its registry"


@pytest.mark.parametrize(
    ("answer", "network"),
    [
        pytest.param(Found({"value": {"containerRegistryResults": []}}), Found(()), id="nothing is wrong"),
        pytest.param(Found({"value": {}}), Unknown(SILENT), id="it says nothing of the registry"),
        pytest.param(Found({"value": {"containerRegistryResults": None}}), Unknown(SILENT), id="nor with null"),
        pytest.param(
            Found(
                {
                    "value": {
                        "containerRegistryResults": [
                            {"code": "Forbidden", "level": "Error", "message": "denied, password=hunter2"},
                            {"code": "Fine", "level": "Information", "message": "it resolves"},
                            "odd",
                        ],
                        "dnsResolutionResults": [{"code": "Doubted", "level": "Warning", "message": "a custom DNS"}],
                        "otherResults": None,
                    }
                }
            ),
            Found(
                (
                    "containerRegistryResults: Forbidden: denied, password=<redacted>",
                    "containerRegistryResults: : ",
                    "dnsResolutionResults: Doubted: a custom DNS",
                )
            ),
            id="a fault, a good word, and what is none",
        ),
        pytest.param(Found(["odd"]), Unknown(SILENT), id="no object"),
        pytest.param(Absent(), Absent(), id="no workspace"),
        pytest.param(Unknown("no answer within 20 s"), Unknown("no answer within 20 s"), id="not answered"),
    ],
)
def test_the_workspace_is_asked_to_diagnose_itself(answer, network):
    assert seen(Area.NETWORK, **{DIAGNOSE: answer}).network == network


# ------------------------------------------------------------------------------------------------------- complete


@pytest.mark.parametrize(
    ("areas", "answers", "complete"),
    [
        pytest.param([], {}, True, id="nothing is wanted"),
        pytest.param(list(Area), {}, True, id="all is known"),
        pytest.param([Area.REGISTRY], {REGISTRY: Unknown("429: throttled")}, False, id="throttled"),
        pytest.param([Area.REGISTRY], {REGISTRY: Unknown("answered 503")}, False, id="a fault"),
        pytest.param([Area.REGISTRY], {WORKSPACE: Unknown("no answer: x")}, False, id="no workspace yet"),
        pytest.param([Area.REGISTRY], {REGISTRY: Unknown("403: our identity lacks x")}, True, id="refused"),
        pytest.param([Area.REGISTRY], {MODEL: Unknown("answered 500")}, True, id="not wanted"),
        pytest.param([Area.IMAGE], {ENVIRONMENT: Found({})}, True, id="by design"),
        pytest.param([Area.IMAGE], {MANIFEST: Unknown("no answer of the registry: x")}, False, id="no manifest yet"),
        pytest.param([Area.IMAGE], {MANIFEST: Unknown("the registry cannot be reached from here")}, True, id="private"),
        pytest.param(
            [Area.ACCESS],
            {listed(STORAGE): Found((assignment(CUSTOM, GROUP),))},
            False,
            id="a role that did not answer",
        ),
        pytest.param([Area.IDLE], {of(OLD): Unknown("429: throttled")}, False, id="metrics throttled"),
    ],
)
def test_a_later_poll_is_worth_it_only_for_what_passes(areas, answers, complete):
    found = seen(*areas, **(IDLE | answers))
    assert is_complete(found, areas) is complete


# ----------------------------------------------------------------------------------------------------------- laws

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([GROUP, OLD, ACR_PULL]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=12,
)


def bent(plain: Any, path: list[int], odd: Any) -> Any:
    """Put something odd at a place inside a right answer."""
    if not path or not isinstance(plain, dict | list | tuple) or not plain:
        return odd
    first, *rest = path
    if isinstance(plain, dict):
        name = list(plain)[first % len(plain)]
        return plain | {name: bent(plain[name], rest, odd)}
    items = list(plain)
    items[first % len(items)] = bent(items[first % len(items)], rest, odd)
    return tuple(items) if isinstance(plain, tuple) else items


RIGHT = (
    ANSWERS
    | IDLE
    | {
        listed(REGISTRY): Found((assignment(CUSTOM, GROUP), assignment(ACR_PULL, REGISTRY))),
        listed(STORAGE): Found((assignment(CUSTOM, GROUP),)),
        f"log {REGISTRY}": Found((log_row(9),)),
        f"{STORAGE}/providers/Microsoft.Authorization/roleDefinitions/{CUSTOM}": definition(dataActions=["*"]),
        of(OLD): metrics(metric("RequestsPerMinute", series(0)), metric("DeploymentCapacity", series(1))),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    where=st.sampled_from(
        sorted(name for name, answer in RIGHT.items() if name != MANIFEST and isinstance(answer, Found))
    ),
    path=st.lists(st.integers(0, 9), max_size=6),
    odd=JSON,
)
def test_whatever_azure_answers_nothing_raises_and_every_unknown_has_words(where, path, odd):
    right = RIGHT[where]
    assert isinstance(right, Found)
    answer = bent(right.value, path, odd)
    if isinstance(right.value, tuple) and not isinstance(answer, tuple):
        answer = (answer,)
    found = seen(*Area, **(RIGHT | {where: Found(answer)}))
    for name in Surroundings.__struct_fields__:
        reading = getattr(found, name)
        assert not isinstance(reading, Unknown) or len(reading.reason) > 5
    assert isinstance(is_complete(found, list(Area)), bool)
    assert codec.decode(Surroundings, codec.encode(found)) == found


@pytest.mark.parametrize("answer", [Absent(), Unknown("answered 500")])
@pytest.mark.parametrize("where", sorted(RIGHT))
def test_no_single_read_that_fails_raises(where, answer):
    found = seen(*Area, **(RIGHT | {where: answer}))
    assert isinstance(is_complete(found, list(Area)), bool)


def test_what_was_seen_survives_its_encoding():
    found = seen(*Area, **RIGHT)
    assert codec.decode(Surroundings, codec.encode(found)) == found
