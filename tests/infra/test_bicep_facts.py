"""What infra/ promises, looked for in what it would deploy."""

import functools
import itertools
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions import triggers
from remediations import intake, rights, settings
from remediations.model import Mode
from tests.infra.bicep.project import read_folder
from tests.infra.deployment import HOME, TENANT, Deployed, Deployment, Scope, deploy
from tests.infra.mutations import Mutation

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
OTHER = "00000000-0000-0000-0000-00000000000b"
HERE, THERE = f"/subscriptions/{HOME}", f"/subscriptions/{OTHER}"
ML = f"{THERE}/resourceGroups/rg-ml"
REGISTRIES = f"{HERE}/resourceGroups/rg-registries"
CLIENT = "00000000-0000-0000-0000-0000000000c1"
PERSON = "00000000-0000-0000-0000-0000000000d1"
UNDONE = ("00000000-0000-0000-0000-0000000000e1", "00000000-0000-0000-0000-0000000000e2")
WORKSPACE = f"{ML}/providers/Microsoft.MachineLearningServices/workspaces/mlw"
ALL = {
    "watch": f"{HERE}, {ML}",
    "modelDeployedWorkspaces": f"westeurope={WORKSPACE}",
    "grantScopes": f"{REGISTRIES},{ML}",
    "undoPrincipals": ",".join(UNDONE),
    "signInClientId": CLIENT,
    "deployerId": PERSON,
    "tellTeams": "true",
    "tellWebhook": "true",
    "outcomeTopic": "true",
    "alertEmail": "on-call@example.com",
}
ROLE, ASSIGNMENT = "Microsoft.Authorization/roleDefinitions", "Microsoft.Authorization/roleAssignments"
BUILT_IN = {  # learn.microsoft.com/azure/role-based-access-control/built-in-roles
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",  # Storage Table Data Contributor
    "3913510d-42f4-4e42-8a64-420c390055eb",  # Monitoring Metrics Publisher
    "4633458b-17de-408a-b874-0445c86b69e6",  # Key Vault Secrets User
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88",  # Storage Queue Data Contributor
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",  # Storage Blob Data Owner
    "d5a91429-5739-47e2-a06b-3470a27159e7",  # EventGrid Data Sender
}
ACTING = ["ask", "auto"]
NOT_ACTING = ["off", "dry-run"]


@functools.cache
def _deployed(parameters: tuple[tuple[str, str], ...]) -> Deployment:
    return deploy(INFRA, "main.bicep", dict(parameters))


def made(**parameters: str) -> Deployment:
    given = {"environmentName": "try", "location": "westeurope", **parameters}
    return _deployed(tuple(sorted(given.items())))


def one(deployment: Deployment, kind: str, ending: str = "") -> Deployed:
    (found,) = (found for found in deployment.of(kind) if found.id.endswith(ending))
    return found


def app_settings(deployment: Deployment) -> dict[str, str]:
    return dict(one(deployment, "Microsoft.Web/sites/config", "/appsettings").properties)


def roles_of(deployment: Deployment, holder: str = "userAssignedIdentities") -> list[tuple[str, str]]:
    """Every role that identities of a kind hold: on what, by the end of its id, and which, by name where it is ours."""
    names = {
        found.body["name"]: found.properties["roleName"].split(" (")[0]
        for found in deployment.of("Microsoft.Authorization/roleDefinitions")
    }
    return sorted(
        (given.on.removeprefix("/subscriptions/").split("/providers/")[-1], names.get(role, role))
        for given in deployment.of("Microsoft.Authorization/roleAssignments")
        if holder in given.properties["principalId"]
        for role in [given.properties["roleDefinitionId"].split("/")[-1]]
    )


# -------------------------------------------------------------------------------------------------------- rights

TOKEN = re.compile(r"(?<=[a-z-])[0-9a-f]{13}\b")
IN_DRY_RUN = [
    (HOME, "Endpoint Medic Reader"),
    (HOME, "Endpoint Medic Subscription Reader"),
    ("Microsoft.Insights/components/appi-medic-T", "3913510d-42f4-4e42-8a64-420c390055eb"),  # Metrics Publisher
    ("Microsoft.KeyVault/vaults/kv-medic-T", "4633458b-17de-408a-b874-0445c86b69e6"),  # Key Vault Secrets User
    ("Microsoft.Storage/storageAccounts/strecT/blobServices/default/containers/evidence", "Endpoint Medic Store"),
    ("Microsoft.Storage/storageAccounts/strecT/blobServices/default/containers/trail", "Endpoint Medic Store"),
    ("Microsoft.Storage/storageAccounts/strunT", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),  # Table Data Contributor
    ("Microsoft.Storage/storageAccounts/strunT", "974c5e8b-45b9-4653-ba55-5f855dd0fb88"),  # Queue Data Contributor
    ("Microsoft.Storage/storageAccounts/strunT", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),  # Blob Data Owner
]


def nameless(roles: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(TOKEN.sub("T", on), role) for on, role in roles]


def test_as_shipped_the_app_reads_its_subscription_and_writes_its_own_records():
    assert nameless(roles_of(made())) == IN_DRY_RUN


@pytest.mark.parametrize("mode", NOT_ACTING)
def test_a_mode_that_does_not_act_has_no_right_to_write_whatever_else_is_given(mode):
    deployment = made(**ALL, mode=mode)
    ours = {role for _, role in roles_of(deployment)} - BUILT_IN
    assert ours == {
        "Endpoint Medic Reader",
        "Endpoint Medic Registry Reader",
        "Endpoint Medic Store",
        "Endpoint Medic Subscription Reader",
    }
    assert {found.properties["roleName"].split(" (")[0] for found in deployment.of(ROLE)} == ours
    assert [found.id for found in deployment.of(ASSIGNMENT) if "condition" in found.properties] == []


@pytest.mark.parametrize("mode", ACTING)
def test_a_mode_that_acts_operates_what_is_watched_and_grants_where_it_is_told_to(mode):
    extra = set(roles_of(made(**ALL, mode=mode))) - set(roles_of(made(**ALL)))
    assert extra == {
        (HOME, "Endpoint Medic Operator"),
        (f"{OTHER}/resourceGroups/rg-ml", "Endpoint Medic Operator"),
        (f"{HOME}/resourceGroups/rg-registries", "Endpoint Medic Granter"),
        (f"{OTHER}/resourceGroups/rg-ml", "Endpoint Medic Granter"),
        (f"{HOME}/resourceGroups/rg-registries", "Endpoint Medic Undo"),
        (f"{OTHER}/resourceGroups/rg-ml", "Endpoint Medic Undo"),
    }


@pytest.mark.parametrize(
    ("parameters", "absent"),
    [
        pytest.param(
            {"grantScopes": ""},
            {"Endpoint Medic Granter", "Endpoint Medic Undo", "Endpoint Medic Registry Reader"},
            id="no scopes",
        ),
        pytest.param({"undoPrincipals": " ,"}, {"Endpoint Medic Undo"}, id="nobody to undo for"),
    ],
)
def test_a_mode_that_acts_grants_and_undoes_nothing_unasked(parameters, absent):
    every = {role for _, role in roles_of(made(**ALL, mode="auto"))}
    roles = {role for _, role in roles_of(made(**{**ALL, **parameters}, mode="auto"))}
    assert every - roles == absent
    assert roles - every == set()


@pytest.mark.parametrize("role", ["granter", "undo"])
def test_a_role_over_role_assignments_never_stands_without_its_condition(role):
    deployment = made(**ALL, mode="auto")
    name = json.loads((INFRA / f"rbac/{role}.role.json").read_text())["roleName"]
    guids = {found.body["name"] for found in deployment.of(ROLE) if found.properties["roleName"].startswith(name)}
    given = [found for found in deployment.of(ASSIGNMENT) if found.properties["roleDefinitionId"][-36:] in guids]
    text = (INFRA / f"rbac/{role}.condition.txt").read_text().strip()
    assert [(found.properties["conditionVersion"], found.properties["condition"]) for found in given] == [
        ("2.0", text.replace("<principal-ids>", ", ".join(UNDONE)))
    ] * 2
    assert "<" not in given[0].properties["condition"]


@pytest.mark.parametrize(
    ("watch", "grant_scopes", "readable"),
    [
        pytest.param(HERE, "", [HOME], id="a subscription"),
        pytest.param(ML, "", [f"{OTHER}/resourceGroups/rg-ml"], id="a group"),
        pytest.param(HERE, f"{REGISTRIES},{ML}", [HOME, f"{OTHER}/resourceGroups/rg-ml"], id="one inside, one outside"),
        pytest.param(HERE.upper(), REGISTRIES, [HOME.upper()], id="inside, in other letters"),
        pytest.param(ML, ML.upper(), [f"{OTHER}/resourceGroups/rg-ml"], id="the watched group itself"),
        pytest.param(
            ML,
            f"{THERE}/resourceGroups/rg-ml-registries",
            [f"{OTHER}/resourceGroups/rg-ml", f"{OTHER}/resourceGroups/rg-ml-registries"],
            id="beside a watched group",
        ),
    ],
)
def test_what_is_watched_can_be_read_and_what_may_be_granted_on_too_and_each_once(watch, grant_scopes, readable):
    deployment = made(watch=watch, grantScopes=grant_scopes)
    assert [on for on, role in roles_of(deployment) if role == "Endpoint Medic Reader"] == readable
    assert len(set(deployment.deployments)) == len(deployment.deployments)


def operations_on(deployment: Deployment, scope: str) -> set[str]:
    """The operations that the app's roles give on a scope, but for those that it has from above."""
    actions = {
        found.id: {action for permission in found.properties["permissions"] for action in permission["actions"]}
        for found in deployment.of(ROLE)
    }
    return {
        action
        for given in deployment.of(ASSIGNMENT)
        if given.on == scope
        for action in actions[given.properties["roleDefinitionId"]]
    }


def test_of_a_subscription_with_a_watched_group_no_more_is_read_than_is_kept_on_the_subscription():
    deployment = made(watch=ML)
    top = {right.operation for right in rights.RIGHTS if right.scope is rights.Scope.SUBSCRIPTION}
    assert operations_on(deployment, THERE) == top
    reading = (rights.Role.SUBSCRIPTION_READER, rights.Role.READER)
    wanted = {right.operation for right in rights.RIGHTS if right.roles[0] in reading}
    held = top | operations_on(deployment, ML)
    assert held == {rights.LISTED_AS.get(operation, operation) for operation in wanted}
    assert operations_on(deployment, HERE) == set()


def test_a_role_is_defined_where_it_is_assigned_and_only_there():
    deployment = made(**ALL, mode="auto")
    defined = {found.id for found in deployment.of(ROLE)}
    assert len(defined) == 13
    for found in deployment.of(ROLE):
        assert found.properties["assignableScopes"] == [found.id.split("/providers/")[0]]
        assert found.properties["type"] == "CustomRole"
    ours = {
        found.properties["roleDefinitionId"]
        for found in deployment.of(ASSIGNMENT)
        if found.properties["roleDefinitionId"] in defined
    }
    assert ours == defined
    assert all(
        found.id.split("/")[2] == found.properties["roleDefinitionId"].split("/")[2]
        for found in deployment.of(ASSIGNMENT)
    )


def test_topics_may_write_dead_letters_and_nothing_else():
    deployment = made(**ALL, existingTopics=f"{ML}={ML}/providers/Microsoft.EventGrid/systemTopics/theirs", mode="auto")
    contributor = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
    container = "Microsoft.Storage/storageAccounts/strecT/blobServices/default/containers/deadletters"
    assert nameless(roles_of(deployment, "systemTopics")) == [(container, contributor)] * 3


def test_whoever_deploys_may_set_secrets_and_holds_no_other_role():
    given = [found for found in made(**ALL).of(ASSIGNMENT) if found.properties["principalId"] == PERSON]
    assert [(found.on.split("/")[-2], found.properties["roleDefinitionId"][-36:]) for found in given] == [
        ("vaults", "b86a8fe4-44ce-4948-aee5-eccb2c155cd7")
    ]


def test_a_new_identity_gets_new_assignments_since_old_ones_cannot_be_given_to_it():
    for path in sorted(INFRA.rglob("*.bicep")):
        for block in re.findall(r"roleAssignments@[^']*' .*?\n\}", path.read_text(), re.DOTALL):
            assert re.search(r"name: guid\(.*\b(principalId|deployerId)\b", block), f"{path}: {block}"


# ------------------------------------------------------------------------------------------------ keys and secrets


def test_no_storage_account_takes_a_key_or_shows_a_blob_to_everybody():
    accounts = made().of("Microsoft.Storage/storageAccounts")
    assert len(accounts) == 2
    for account in accounts:
        wanted = {
            "allowSharedKeyAccess": False,
            "allowBlobPublicAccess": False,
            "minimumTlsVersion": "TLS1_2",
            "supportsHttpsTrafficOnly": True,
        }
        assert wanted.items() <= account.properties.items()
    containers = made().of("Microsoft.Storage/storageAccounts/blobServices/containers")
    assert {found.body["name"]: found.properties["publicAccess"] for found in containers} == dict.fromkeys(
        ("app-package", "trail", "evidence", "deadletters"), "None"
    )


def test_nothing_else_takes_a_key_either():
    deployment = made(**ALL)
    assert one(deployment, "Microsoft.Insights/components").properties["DisableLocalAuth"] is True
    features = one(deployment, "Microsoft.OperationalInsights/workspaces").properties["features"]
    assert features["disableLocalAuth"] is True
    assert one(deployment, "Microsoft.EventGrid/topics").properties["disableLocalAuth"] is True
    vault = one(deployment, "Microsoft.KeyVault/vaults").properties
    assert (vault["enableRbacAuthorization"], vault["enablePurgeProtection"]) == (True, True)
    passwords = deployment.of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")
    assert {found.body["name"]: found.properties for found in passwords} == {
        "ftp": {"allow": False},
        "scm": {"allow": False},
    }


def test_no_template_reads_a_key_or_a_secret():
    text = "\n".join(path.read_text() for path in sorted(INFRA.rglob("*.bicep")))
    assert re.findall(r"\blist[A-Z]\w*\(|getSecret\(|vaults/secrets@|ConnectionString=|AccountKey", text) == []


def test_no_output_gives_a_secret_or_what_one_could_be_made_of():
    outputs = made(**ALL).outputs
    assert set(outputs) == {
        "AZURE_RESOURCE_GROUP",
        "AZURE_TENANT_ID",
        "SERVICE_MEDIC_NAME",
        "SERVICE_MEDIC_URI",
        "ENDPOINT_MEDIC_VAULT",
        "ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID",
        "ENDPOINT_MEDIC_STORE",
        "ENDPOINT_MEDIC_WATCHED",
        "ENDPOINT_MEDIC_RECORDS_ID",
        "ENDPOINT_MEDIC_SYSTEM_TOPICS",
        "ENDPOINT_MEDIC_WORKSPACE_TOPICS",
    }
    assert "ConnectionString" not in str(outputs)


def test_a_secret_setting_holds_a_reference_to_the_vault_or_nothing():
    secrets = {
        "MEDIC_APPROVAL_KEYS": "medic-approval-keys",
        "MEDIC_ANCHOR_KEY": "medic-anchor-key",
        "MEDIC_TEAMS_URL": "medic-teams-url",
        "MEDIC_WEBHOOK_URL": "medic-webhook-url",
    }
    deployment = made(**ALL)
    vault = one(deployment, "Microsoft.KeyVault/vaults").body["name"]
    told = app_settings(deployment)
    assert {name: told[name] for name in secrets} == {
        name: f"@Microsoft.KeyVault(VaultName={vault};SecretName={secret})" for name, secret in secrets.items()
    }
    assert [app_settings(made())[name] for name in ("MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL")] == ["", ""]
    site = one(deployment, "Microsoft.Web/sites")
    assert [site.properties["keyVaultReferenceIdentity"]] == list(site.body["identity"]["userAssignedIdentities"])


def test_sign_in_shows_a_token_of_the_identity_for_a_secret():
    assert made().of("Microsoft.Web/sites/config") == [one(made(), "Microsoft.Web/sites/config", "/appsettings")]
    auth = one(made(**ALL), "Microsoft.Web/sites/config", "/authsettingsV2").properties
    entra = auth["identityProviders"]["azureActiveDirectory"]
    assert entra["registration"] == {
        "openIdIssuer": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        "clientId": CLIENT,
        "clientSecretSettingName": "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
    }
    assert entra["validation"] == {"allowedAudiences": [CLIENT, f"api://{CLIENT}"]}
    told = app_settings(made(**ALL))
    assert told["OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID"] == told["AZURE_CLIENT_ID"] == told["MEDIC_CLIENT_ID"]


def test_only_event_grid_and_the_health_check_come_past_sign_in():
    auth = one(made(**ALL), "Microsoft.Web/sites/config", "/authsettingsV2").properties
    assert auth["platform"] == {"enabled": True}
    assert auth["globalValidation"] == {
        "requireAuthentication": True,
        "unauthenticatedClientAction": "RedirectToLoginPage",
        "redirectToProvider": "azureactivedirectory",
        "excludedPaths": ["/runtime/webhooks/EventGrid", "/runtime/webhooks/eventgrid", "/api/health"],
    }


# ------------------------------------------------------------------------------------------------------- the app


def test_the_app_is_of_python_313_and_nothing_of_it_runs_while_nothing_happens():
    assert one(made(), "Microsoft.Web/serverfarms").body["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    config = one(made(), "Microsoft.Web/sites").properties["functionAppConfig"]
    assert config["runtime"] == {"name": "python", "version": "3.13"}
    assert config["scaleAndConcurrency"] == {"instanceMemoryMB": 2048, "maximumInstanceCount": 40}
    assert config["deployment"]["storage"]["authentication"]["type"] == "UserAssignedIdentity"


def test_the_app_is_reached_by_https_of_today_only():
    site = one(made(), "Microsoft.Web/sites").properties
    assert site["httpsOnly"] is True
    wanted = {"minTlsVersion": "1.2", "scmMinTlsVersion": "1.2", "ftpsState": "Disabled"}
    assert wanted.items() <= site["siteConfig"].items()


def test_no_setting_is_there_that_flex_consumption_refuses():
    refused = {"FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "AzureWebJobsStorage"}
    names = set(app_settings(made(**ALL)))
    assert [name for name in names if name in refused or name.startswith(("WEBSITE_RUN_FROM", "SCM_DO"))] == []
    assert {name for name in names if name.startswith("AzureWebJobsStorage")} == {
        "AzureWebJobsStorage__accountName",
        "AzureWebJobsStorage__credential",
        "AzureWebJobsStorage__clientId",
    }


@pytest.mark.parametrize("parameters", [{}, ALL], ids=["as shipped", "all of it"])
def test_the_app_takes_its_settings_once_the_vault_has_answered(parameters):
    guid = "00000000-0000-0000-0000-000000000001"
    answers = {
        "MEDIC_APPROVAL_KEYS": json.dumps({"k1": "k" * 43}),
        "MEDIC_ANCHOR_KEY": "",
        "MEDIC_STORE": "https://strec.blob.core.windows.net/",
        "MEDIC_APP_URL": "https://func-medic.azurewebsites.net",
        "MEDIC_CLIENT_ID": guid,
        "MEDIC_PRINCIPAL_ID": guid,
        **(
            {"MEDIC_OUTCOME_TOPIC": "https://evgt-medic.westeurope-1.eventgrid.azure.net/api/events"}
            if parameters
            else {}
        ),
        **(dict.fromkeys(("MEDIC_TEAMS_URL", "MEDIC_WEBHOOK_URL"), "https://example.com/hook") if parameters else {}),
    }
    told = {**app_settings(made(**parameters)), **answers, "WEBSITE_SITE_NAME": "func-medic"}
    loaded = settings.load(told)
    assert (loaded.mode, loaded.is_azure, loaded.arm_scope) == (
        Mode.DRY_RUN,
        True,
        "https://management.azure.com/.default",
    )


@pytest.mark.parametrize("mode", [*NOT_ACTING, *ACTING])
def test_the_app_is_told_the_mode_that_its_rights_are_made_for(mode):
    assert app_settings(made(mode=mode))["MEDIC_MODE"] == mode


def test_a_mode_that_does_not_exist_is_refused_before_anything_is_made():
    with pytest.raises(AssertionError, match="mode must not be 'automatic'"):
        made(mode="automatic")


# --------------------------------------------------------------------------------------------------- the records


def test_a_record_of_the_trail_can_be_added_to_and_for_a_year_not_changed():
    policy = one(made(), "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies")
    assert policy.id.split("/")[-3] == "trail"
    assert policy.properties == {"immutabilityPeriodSinceCreationInDays": 365, "allowProtectedAppendWrites": True}


def test_a_locked_policy_is_left_alone():
    kind = "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies"
    assert made(trailLocked="true").of(kind) == []


def test_evidence_goes_after_90_days_dead_letters_after_30_and_the_trail_stays():
    rules = one(made(), "Microsoft.Storage/storageAccounts/managementPolicies").properties["policy"]["rules"]
    assert {tuple(rule["definition"]["filters"]["prefixMatch"]): rule["definition"]["actions"] for rule in rules} == {
        ("evidence/",): {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 90}}},
        ("deadletters/",): {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 30}}},
    }
    assert all(rule["enabled"] for rule in rules)


# ---------------------------------------------------------------------------------------------------------- events


def subscribed(file: str = "events/failures.bicep") -> Deployed:
    given = {
        "topicName": "evgst-medic",
        "functionAppId": f"{HERE}/resourceGroups/rg/providers/Microsoft.Web/sites/func-medic",
        "recordsId": f"{HERE}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/strec",
    }
    return one(deploy(INFRA, file, given, Scope(OTHER, "rg-medic-try")), SUBSCRIPTION)


SUBSCRIPTION = "Microsoft.EventGrid/systemTopics/eventSubscriptions"


def test_what_is_subscribed_to_is_what_intake_takes():
    chosen = subscribed().properties["filter"]
    (operations,) = chosen["advancedFilters"]
    assert (operations["key"], operations["operatorType"]) == ("data.operationName", "StringIn")
    assert {operation.lower() for operation in operations["values"]} == set(intake._OPERATIONS)
    assert set(chosen["includedEventTypes"]) == {
        f"Microsoft.Resources.Resource{verb}{end}"
        for verb in ("Write", "Delete", "Action")
        for end in ("Failure", "Cancel")
    }
    for kind in chosen["includedEventTypes"]:
        for operation in operations["values"]:
            incident = _received(kind, operation)
            assert incident is not None, (kind, operation)
    assert _received("Microsoft.Resources.ResourceWriteSuccess", operations["values"][0]) is None


def _received(kind: str, operation: str) -> Any:
    resource = f"{WORKSPACE}/onlineEndpoints/e/deployments/d"
    data = {"resourceUri": resource, "operationName": operation, "correlationId": CLIENT}
    event: Any = {"id": "1", "eventType": kind, "subject": resource, "topic": ML, "data": data}
    return intake.receive(event, received_at=datetime(2026, 11, 23, tzinfo=UTC)).incident


def test_model_deployed_is_all_that_a_workspace_tells():
    assert subscribed("events/models.bicep").properties["filter"] == {
        "includedEventTypes": ["Microsoft.MachineLearningServices.ModelDeployed"]
    }


@pytest.mark.parametrize("file", ["events/failures.bicep", "events/models.bicep"])
def test_an_event_is_tried_for_a_day_and_then_kept(file):
    subscription = subscribed(file)
    assert subscription.body["name"] == "func-medic"
    assert subscription.properties["retryPolicy"] == {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440}
    letters = subscription.properties["deadLetterWithResourceIdentity"]
    assert letters["identity"] == {"type": "SystemAssigned"}
    assert letters["deadLetterDestination"]["properties"]["blobContainerName"] == "deadletters"


@pytest.mark.parametrize("file", ["events/failures.bicep", "events/models.bicep"])
def test_an_event_goes_to_a_function_that_the_app_has(file):
    name = subscribed(file).properties["destination"]["properties"]["resourceId"].split("/functions/")[1]
    assert hasattr(triggers, name)
    registered = {function.build(None).get_function_name() for function in triggers.bp._function_builders}
    assert name in registered


def token_of(deployment: Deployment) -> str:
    name: str = one(deployment, "Microsoft.Web/sites").body["name"]
    return name.removeprefix("func-medic-")


def topics(deployment: Deployment) -> list[tuple[str, str, str]]:
    return [
        (found.id.split("/")[2], found.properties["topicType"].split(".")[-1], found.properties["source"])
        for found in deployment.of("Microsoft.EventGrid/systemTopics")
    ]


def test_as_shipped_the_apps_own_subscription_is_watched():
    assert topics(made()) == [(HOME, "Subscriptions", HERE)]


def test_the_sweep_is_told_to_keep_to_what_is_watched():
    assert app_settings(made())["MEDIC_WATCH"] == HERE
    assert app_settings(made(watch=f" {ML}, {HERE}"))["MEDIC_WATCH"] == f"{ML},{HERE}"


def test_each_source_has_a_topic_in_its_own_subscription():
    deployment = made(**ALL)
    assert topics(deployment) == [
        (HOME, "Subscriptions", HERE),
        (OTHER, "ResourceGroups", ML),
        (OTHER, "Workspaces", WORKSPACE),
    ]
    assert [found.id for found in deployment.of("Microsoft.Resources/resourceGroups")] == [
        f"{HERE}/resourceGroups/rg-medic-try",
        f"{THERE}/resourceGroups/rg-medic-try-{token_of(deployment)}",
    ]
    assert [found.body["location"] for found in deployment.of("Microsoft.EventGrid/systemTopics")] == [
        "global",
        "global",
        "westeurope",
    ]


def test_no_second_topic_is_made_for_a_source_that_has_one():
    theirs = "/subscriptions/x/resourceGroups/theirs/providers/Microsoft.EventGrid/systemTopics/t"
    standing = f"{ML.upper()}={theirs.replace('/x/', f'/{OTHER}/')}, {WORKSPACE}={theirs.replace('/x/', f'/{OTHER}/')}w"
    deployment = made(**ALL, existingTopics=standing)
    assert topics(deployment) == [(HOME, "Subscriptions", HERE)]
    (own,) = deployment.of("Microsoft.EventGrid/systemTopics")
    there = theirs.replace("/x/", f"/{OTHER}/")
    assert deployment.outputs["ENDPOINT_MEDIC_SYSTEM_TOPICS"] == f"{own.id},{there}"
    assert deployment.outputs["ENDPOINT_MEDIC_WORKSPACE_TOPICS"] == f"{there}w"


def test_a_topic_that_stands_for_what_is_not_watched_is_left_alone():
    theirs = f"{REGISTRIES}/providers/Microsoft.EventGrid/systemTopics/t"
    assert made(existingTopics=f"{REGISTRIES}={theirs}").outputs == made().outputs


def test_hooks_and_alerts_are_told_of_the_very_topics_that_are_made():
    deployment = made(**ALL)
    ids = [found.id for found in deployment.of("Microsoft.EventGrid/systemTopics")]
    told = [deployment.outputs[f"ENDPOINT_MEDIC_{which}_TOPICS"] for which in ("SYSTEM", "WORKSPACE")]
    assert ",".join(told).split(",") == ids


# ----------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["t", "e" * 32])
def test_every_name_is_one_that_azure_takes(name):
    deployment = made(**ALL, mode="auto", environmentName=name)
    limits = {
        "Microsoft.Storage/storageAccounts": r"[a-z0-9]{3,24}",
        "Microsoft.KeyVault/vaults": r"[a-zA-Z][a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
        "Microsoft.Web/sites": r"[a-zA-Z0-9][a-zA-Z0-9-]{0,58}[a-zA-Z0-9]",
        "Microsoft.EventGrid/systemTopics": r"[a-zA-Z0-9-]{3,50}",
        "Microsoft.EventGrid/topics": r"[a-zA-Z0-9-]{3,50}",
        "Microsoft.Resources/resourceGroups": r"[\w.()-]{1,89}[\w()-]",
        "Microsoft.ManagedIdentity/userAssignedIdentities": r"[a-zA-Z0-9][\w-]{2,127}",
        "Microsoft.OperationalInsights/workspaces": r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]",
    }
    for kind, pattern in limits.items():
        for found in deployment.of(kind):
            assert re.fullmatch(pattern, found.body["name"]), found.id
    assert [name for _, name in deployment.deployments if len(name) > 64] == []
    assert [
        found.properties["roleName"] for found in deployment.of(ROLE) if len(found.properties["roleName"]) > 128
    ] == []


def test_nothing_is_deployed_twice_at_once():
    deployment = made(**ALL, mode="auto")
    assert len(set(deployment.deployments)) == len(deployment.deployments)
    ids = [found.id.lower() for found in deployment.resources]
    assert len(set(ids)) == len(ids)
    names = [found.properties["roleName"] for found in deployment.of(ROLE)]
    assert len(set(names)) == len(names)


def test_two_environments_share_nothing():
    one_of_them, other = (
        {found.id for found in made(**ALL, mode="auto", environmentName=name).resources} for name in ("try", "prod")
    )
    assert one_of_them & other == set()


def test_two_environments_of_one_name_share_nothing_in_a_subscription_that_both_watch():
    third = "/subscriptions/00000000-0000-0000-0000-00000000000c"
    parameters = {
        **ALL,
        "environmentName": "try",
        "location": "westeurope",
        "mode": "auto",
        "watch": third,
        "modelDeployedWorkspaces": f"westeurope={WORKSPACE.replace(THERE, third)}",
        "grantScopes": ML.replace(THERE, third),
    }
    first, second = (deploy(INFRA, "main.bicep", parameters, Scope(home)) for home in (HOME, OTHER))
    there = {found.id for found in first.resources if found.id.startswith(third)}
    assert len([made_there for made_there in there if "/systemTopics/" in made_there]) == 2
    assert there & {found.id for found in second.resources} == set()


def test_two_topics_of_one_name_have_alerts_of_their_own():
    groups = [f"{HERE}/resourceGroups/rg-{name}" for name in ("one", "two")]
    standing = [f"{group}={group}/providers/Microsoft.EventGrid/systemTopics/failures" for group in groups]
    alerts = made(watch=",".join(groups), existingTopics=",".join(standing)).of("Microsoft.Insights/metricAlerts")
    assert len(alerts) == len({found.id.lower() for found in alerts}) == 4


def test_everything_of_an_environment_can_be_found_by_its_tag():
    for found in made(**ALL, mode="auto").resources:
        if "tags" in found.body:
            assert found.body["tags"]["azd-env-name"] == "try", found.id
    untagged = {found.type.split("/", 1)[1] for found in made(**ALL, mode="auto").resources if "tags" not in found.body}
    assert untagged == {
        "roleAssignments",
        "roleDefinitions",
        "storageAccounts/blobServices",
        "storageAccounts/blobServices/containers",
        "storageAccounts/blobServices/containers/immutabilityPolicies",
        "storageAccounts/managementPolicies",
        "sites/basicPublishingCredentialsPolicies",
        "sites/config",
    }


def test_azd_deploys_to_the_app_that_bears_the_services_name():
    (service,) = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    assert one(made(), "Microsoft.Web/sites").body["tags"]["azd-service-name"] == service


# ------------------------------------------------------------------------------- what only a deployment would show

OLD = f"{THERE}/resourceGroups/rg-old"
THEIRS = {source: f"{source}/providers/Microsoft.EventGrid/systemTopics/theirs" for source in (ML, OLD)}
EVERYTHING = {
    **ALL,
    "watch": f"{HERE},{ML},{OLD}",
    "existingTopics": ",".join(f"{source}={topic}" for source, topic in THEIRS.items()),
    "mode": "auto",
}
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def assigned_too_early(deployment: Deployment) -> list[str]:
    """Azure refuses a role that is not defined yet."""
    definitions = {found.id: found for found in deployment.of(ROLE)}
    given = [(found, definitions.get(found.properties["roleDefinitionId"])) for found in deployment.of(ASSIGNMENT)]
    ours = [(found, definition) for found, definition in given if definition is not None]
    assert len(ours) >= len(definitions)
    return [found.id for found, definition in ours if not deployment.is_after(found.by, definition.by)]


def deployed_too_early(deployment: Deployment) -> list[str]:
    """Azure refuses a deployment to a group that is not there yet."""
    groups = {found.id: found for found in deployment.of("Microsoft.Resources/resourceGroups")}
    inside = [(by, groups[scope]) for by, scope in deployment.called if scope in groups]
    assert {found.id for _, found in inside} == set(groups)
    return [".".join(by) for by, group in inside if not deployment.is_after(by, group.by)]


def of_another_kind(deployment: Deployment) -> list[str]:
    """Without the kind of its principal, an assignment to an identity that was made just now fails now and then."""
    return [
        found.id
        for found in deployment.of(ASSIGNMENT)
        if found.properties.get("principalType")
        != ("User" if found.properties["principalId"] == PERSON else "ServicePrincipal")
    ]


def without_a_guid(deployment: Deployment) -> list[str]:
    """Azure takes no other name of a role or an assignment."""
    return [
        found.id for found in deployment.of(ROLE) + deployment.of(ASSIGNMENT) if not GUID.fullmatch(found.body["name"])
    ]


def of_other_topics(deployment: Deployment) -> list[str]:
    """Dead letters are written by the identities of the very topics that are made, and of those that stood."""
    topics = [*(found.id for found in deployment.of("Microsoft.EventGrid/systemTopics")), *THEIRS.values()]
    holders = {found.properties["principalId"] for found in deployment.of(ASSIGNMENT)}
    wanted = {f"<{topic}.identity.principalId>" for topic in topics}
    return sorted(wanted ^ {holder for holder in holders if "/systemTopics/" in holder})


def of_another_language(deployment: Deployment) -> list[str]:
    """A condition is read as of the first version unless it is said that it is of the second."""
    return [
        found.id
        for found in deployment.of(ASSIGNMENT)
        if ("condition" in found.properties) != (found.properties.get("conditionVersion") == "2.0")
    ]


def written_at_once(deployment: Deployment) -> list[str]:
    """App Service may refuse two writes to one site at once."""
    children = [found for found in deployment.resources if found.type.startswith("Microsoft.Web/sites/")]
    assert len(children) == 4
    return [
        f"{one.id} {other.id}"
        for one, other in itertools.combinations(children, 2)
        if not deployment.is_after(one.by, other.by) and not deployment.is_after(other.by, one.by)
    ]


type Fact = Callable[[Deployment], list[str]]
FACTS: tuple[Fact, ...] = (
    assigned_too_early,
    deployed_too_early,
    of_another_kind,
    without_a_guid,
    of_other_topics,
    of_another_language,
    written_at_once,
)


@pytest.mark.parametrize("fact", FACTS)
def test_nothing_is(fact):
    assert fact(made(**EVERYTHING)) == []


MISTAKES: tuple[tuple[Fact, str, str, str], ...] = (
    (assigned_too_early, "main.bicep", r"  dependsOn: \[granterDefinitions\]\n", ""),
    (assigned_too_early, "main.bicep", r"  dependsOn: \[subscriptionReaderDefinitions\]\n", ""),
    (assigned_too_early, "main.bicep", r"dependsOn: \[undoDefinitions\]", "dependsOn: [granterDefinitions]"),
    (
        assigned_too_early,
        "main.bicep",
        r"storeDefinition\.outputs\.name",
        "guid(homeSubscription, resourceToken, 'store')",
    ),
    (deployed_too_early, "main.bicep", r"  dependsOn: \[group, topicGroups\]\n", ""),
    (deployed_too_early, "main.bicep", r"dependsOn: \[group, topicGroups\]", "dependsOn: [group]"),
    (deployed_too_early, "main.bicep", r"scope: group$", "scope: resourceGroup(homeSubscription, groupName)"),
    (of_another_kind, "vault.bicep", r"    principalType: deployerType\n", ""),
    (of_another_kind, "grant_role.bicep", r"    principalType: 'ServicePrincipal'\n", ""),
    (without_a_guid, "group_role.bicep", r"name: guid\(.*", "name: 'reads-${uniqueString(principalId, role)}'"),
    (without_a_guid, "main.bicep", r"guid\(id, resourceToken, 'operator'\)", "uniqueString(id, 'operator')"),
    (
        of_other_topics,
        "main.bicep",
        r"split\(id, '/'\)\[2\], split\(id, '/'\)\[4\](?=\)\n  params: \{\n    name: last)",
        "split(id, '/')[4], split(id, '/')[2]",
    ),
    (of_other_topics, "main.bicep", r"topicsThatStood\[i\]\.outputs", "topicsThatStood[0].outputs"),
    (of_another_language, "grant_role.bicep", r"'2\.0'", "'1.0'"),
    (of_another_language, "grant_role.bicep", r"    conditionVersion: '2\.0'\n", ""),
    (written_at_once, "function_app.bicep", r"  dependsOn: \[settings\]\n", ""),
    (written_at_once, "function_app.bicep", r"dependsOn: \[noFtpPassword\]", "dependsOn: [settings]"),
)


@pytest.mark.parametrize(
    ("fact", "path", "find", "put"),
    MISTAKES,
    ids=[f"{fact.__name__}-{number}" for number, (fact, *_) in enumerate(MISTAKES)],
)
def test_it_is_seen_where_something_is(fact, path, find, put):
    texts = Mutation(fact.__name__, path, find, put, "").seed(read_folder(INFRA))
    given = {"environmentName": "try", "location": "westeurope", **EVERYTHING}
    assert fact(deploy(INFRA, "main.bicep", given, texts=texts)) != []


# ------------------------------------------------------------------------------------------------------ parameters


def test_azd_gives_every_parameter_and_says_the_same_default():
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    text = (INFRA / "main.bicep").read_text()
    declared = dict(re.findall(r"^param (\w+) string(?: = '([^']*)')?$", text, re.MULTILINE))
    assert set(given) == set(declared)
    for name, found in given.items():
        variable, _, default = found["value"].removeprefix("${").removesuffix("}").partition("=")
        assert default == declared[name], name
        assert variable.startswith(("AZURE_", "ENDPOINT_MEDIC_")), variable


def test_the_readme_lists_every_parameter_with_its_variable_and_default():
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (?:`([^`]*)`)? ?\|", (INFRA / "README.md").read_text(), re.MULTILINE)
    wanted = [
        (name, *found["value"].removeprefix("${").removesuffix("}").partition("=")[::2])
        for name, found in given.items()
    ]
    assert rows == wanted
