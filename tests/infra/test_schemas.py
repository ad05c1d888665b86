"""The files that Azure's and GitHub's tools read have the form that those document: no unknown key, no wrong kind.

Where a schema can be installed, it is used (workflows: check-jsonschema). Where none can be, the documented fields that
these files use are written down here, each form with its page; a field that is new here has to be looked up there.
"""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from msgspec import Meta, Struct

from tests.conftest import ROOT

Word = Annotated[str, Meta(min_length=1)]


class Strict(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A form that takes no field but its own."""


# https://learn.microsoft.com/azure/azure-functions/functions-host-json
Level = Literal["Trace", "Debug", "Information", "Warning", "Error", "Critical", "None"]


class Logging(Strict):
    """What the host logs; with OpenTelemetry it takes no `applicationInsights`."""

    log_level: dict[Word, Level]


class Bundle(Strict):
    """The extension bundle, by a range of versions."""

    id: Literal["Microsoft.Azure.Functions.ExtensionBundle", "Microsoft.Azure.Functions.ExtensionBundle.Preview"]
    version: Annotated[str, Meta(pattern=r"^\[\d+\.\*, \d+\.\d+\.\d+\)$")]


class Http(Strict):
    """HTTP triggers."""

    route_prefix: str


# https://learn.microsoft.com/azure/azure-functions/durable-functions/durable-functions-host-json-settings
class StorageProvider(Strict):
    """Where Durable keeps its state; on a hub that is in use the number of partitions cannot change."""

    type: Literal["AzureStorage"]
    connection_name: Literal["AzureWebJobsStorage"]
    partition_count: Annotated[int, Meta(ge=1, le=16)]


# https://learn.microsoft.com/azure/azure-functions/durable-functions/durable-functions-diagnostics
class Tracing(Strict, rename="pascal"):
    """Distributed tracing."""

    distributed_tracing_enabled: bool
    version: Literal["V1", "V2"]


class DurableTask(Strict):
    """The extension that runs orchestrations."""

    hub_name: Word
    storage_provider: StorageProvider
    max_concurrent_activity_functions: Annotated[int, Meta(ge=1)]
    max_concurrent_orchestrator_functions: Annotated[int, Meta(ge=1)]
    tracing: Tracing


class Extensions(Strict):
    """The extensions that are used."""

    http: Http
    durable_task: DurableTask


class HostFile(Strict):
    """host.json."""

    version: Literal["2.0"]
    telemetry_mode: Literal["OpenTelemetry"]
    function_timeout: Annotated[str, Meta(pattern=r"^\d\d:[0-5]\d:[0-5]\d$")]
    logging: Logging
    extension_bundle: Bundle
    extensions: Extensions


# https://learn.microsoft.com/azure/azure-functions/functions-develop-local#local-settings-file
class LocalHost(Strict, rename="pascal"):
    """How Core Tools listen."""

    local_http_port: Annotated[int, Meta(ge=1, le=65535)]


class LocalSettings(Strict, rename="pascal"):
    """local.settings.json; every value is a string."""

    is_encrypted: Literal[False]
    values: dict[Word, str]
    host: LocalHost


# https://raw.githubusercontent.com/Azure/azure-dev/main/schemas/v1.0/azure.yaml.json
class Command(Strict):
    """What a hook runs on one kind of system."""

    run: Word
    shell: Literal["sh", "pwsh"]
    continue_on_error: bool
    interactive: bool = False


class Hook(Strict):
    """A hook; with one command for each kind of system, azd takes no other field."""

    posix: Command
    windows: Command


class Hooks(Strict, rename="lower"):
    """The project's hooks that are used."""

    preprovision: Hook
    postprovision: Hook
    postdeploy: Hook
    predown: Hook


class Service(Strict):
    """What azd packs and deploys."""

    project: Literal["."]
    language: Literal["python"]
    host: Literal["function"]
    remote_build: bool | None = None


class Infra(Strict):
    """Where the templates are."""

    provider: Literal["bicep"]
    path: Literal["infra"]
    module: Literal["main"]


class Template(Strict):
    """What azd counts by."""

    template: Annotated[str, Meta(pattern=r"^[\w-]+@\d+\.\d+\.\d+$")]


class Versions(Strict):
    """Which azd is needed."""

    azd: Annotated[str, Meta(pattern=r"^>= \d+\.\d+\.\d+$")]


class AzureFile(Strict):
    """azure.yaml."""

    name: Annotated[str, Meta(min_length=2, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    metadata: Template
    required_versions: Versions
    infra: Infra
    services: dict[Annotated[str, Meta(pattern=r"^[a-z0-9-]+$")], Service]
    hooks: Hooks


# https://learn.microsoft.com/azure/azure-resource-manager/templates/parameter-files
class Value(Strict):
    """What is given for a parameter: azd fills in strings."""

    value: Annotated[str, Meta(pattern=r"^\$\{[A-Z_]+(=[\w-]+)?\}$")]


class ParametersFile(Strict):
    """main.parameters.json."""

    schema: Literal["https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#"] = (
        msgspec.field(name="$schema")
    )
    content_version: Literal["1.0.0.0"]
    parameters: dict[Word, Value]


# https://learn.microsoft.com/azure/azure-resource-manager/bicep/bicep-config-linter
Rule = Literal[
    "adminusername-should-not-be-literal",
    "artifacts-parameters",
    "decompiler-cleanup",
    "explicit-values-for-loc-params",
    "max-asserts",
    "max-outputs",
    "max-params",
    "max-resources",
    "max-variables",
    "nested-deployment-template-scoping",
    "no-conflicting-metadata",
    "no-deployments-resources",
    "no-hardcoded-env-urls",
    "no-hardcoded-location",
    "no-loc-expr-outside-params",
    "no-unnecessary-dependson",
    "no-unused-existing-resources",
    "no-unused-imports",
    "no-unused-params",
    "no-unused-vars",
    "outputs-should-not-contain-secrets",
    "prefer-interpolation",
    "prefer-unquoted-property-names",
    "protect-commandtoexecute-secrets",
    "secure-parameter-default",
    "secure-params-in-nested-deploy",
    "secure-secrets-in-params",
    "simplify-interpolation",
    "simplify-json-null",
    "use-parent-property",
    "use-recent-api-versions",
    "use-recent-module-versions",
    "use-resource-id-functions",
    "use-resource-symbol-reference",
    "use-safe-access",
    "use-secure-value-for-secure-inputs",
    "use-stable-resource-identifiers",
    "use-stable-vm-image",
    "use-user-defined-types",
    "what-if-short-circuiting",
]


class Severity(Strict):
    """What a broken rule is."""

    level: Literal["off", "info", "warning", "error"]


class Core(Strict):
    """The linter's own rules."""

    enabled: bool
    rules: dict[Rule, Severity]


class Analyzers(Strict):
    """The linters; there is one."""

    core: Core


class BicepConfig(Strict):
    """bicepconfig.json."""

    analyzers: Analyzers


# https://learn.microsoft.com/azure/templates/microsoft.authorization/roledefinitions
class Permission(Strict):
    """What a role permits."""

    actions: list[Word]
    not_actions: list[Word]
    data_actions: list[Word]
    not_data_actions: list[Word]


class RoleFile(Strict):
    """What Bicep loads for a role; the scopes are Bicep's own."""

    role_name: Annotated[str, Meta(min_length=1, max_length=100)]  # Bicep appends a token; Azure takes 128
    description: Annotated[str, Meta(min_length=1, max_length=1024)]
    permissions: Annotated[list[Permission], Meta(min_length=1, max_length=1)]


# https://learn.microsoft.com/entra/identity-platform/reference-microsoft-graph-app-manifest#approles-attribute
class AppRole(Strict):
    """A role that people and programs get for the app."""

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    value: Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[^\s.][^\s]*$")]
    display_name: Word
    description: Word
    allowed_member_types: Annotated[list[Literal["User", "Application"]], Meta(min_length=1)]
    is_enabled: bool


FORMS: dict[str, Any] = {
    "host.json": HostFile,
    "local.settings.example.json": LocalSettings,
    "azure.yaml": AzureFile,
    "infra/main.parameters.json": ParametersFile,
    "infra/bicepconfig.json": BicepConfig,
    "infra/abbreviations.json": dict[Word, Annotated[str, Meta(pattern=r"^[a-z]+-?$")]],
    "infra/entra/app-roles.json": list[AppRole],
} | {
    f"infra/rbac/{name}.role.json": RoleFile
    for name in ("subscription-reader", "reader", "operator", "registry-reader", "granter", "undo", "store")
}
# Read by tests of their own.
ELSEWHERE = {
    "policy.yaml": "tests/unit/test_policy.py: the schema that `medic policy schema` publishes",
    "infra/workbook/endpoint-medic.workbook.json": "tests/infra/test_workbook.py",
}
# Keys of these are names that the file itself chooses.
FREE = {"logLevel", "Values", "services", "parameters", ""}


def plain(path: str) -> Any:
    text = (ROOT / path).read_text(encoding="utf-8")
    return yaml.safe_load(text) if path.endswith(".yaml") else json.loads(text)


def keys_of(value: Any, under: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every key whose name the form gives."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    names = [step for step in under if isinstance(step, str)]
    for key, inner in items:
        if isinstance(key, str) and (names[-1] if names else None) not in FREE:
            yield (*under, key)
        yield from keys_of(inner, (*under, key))


@pytest.mark.parametrize("path", FORMS)
def test_a_file_has_the_form_that_its_reader_documents(path):
    msgspec.convert(plain(path), FORMS[path])


@pytest.mark.parametrize("path", [path for path in FORMS if path != "infra/abbreviations.json"])
def test_no_key_of_it_can_be_misspelt_unnoticed(path):
    ways = list(keys_of(plain(path)))
    assert ways
    for way in ways:
        changed = copy.deepcopy(plain(path))
        holder = changed
        for step in way[:-1]:
            holder = holder[step]
        holder[f"{way[-1]}x"] = holder.pop(way[-1])
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(changed, FORMS[path])


def test_no_file_is_left_out():
    found = {
        path.relative_to(ROOT).as_posix()
        for folder, pattern in ((ROOT, "*"), (ROOT / "infra", "**/*"))
        for path in folder.glob(pattern)
        if path.suffix in {".json", ".yaml", ".yml"} and path.name != "local.settings.json"
    }
    assert found == FORMS.keys() | ELSEWHERE.keys()


def test_every_abbreviation_is_used():
    bicep = "".join(path.read_text() for path in (ROOT / "infra").rglob("*.bicep"))
    assert [name for name in plain("infra/abbreviations.json") if f"abbreviations.{name}}}" not in bicep] == []


def test_the_script_that_a_hook_runs_is_there():
    for hook in msgspec.convert(plain("azure.yaml"), AzureFile).hooks.__struct_fields__:
        for system in plain("azure.yaml")["hooks"][hook].values():
            (script,) = re.findall(r"\./(infra/hooks/\w+\.py)$", system["run"])
            assert (ROOT / script).is_file(), script
            assert script == f"infra/hooks/{hook}.py"
            assert system["continueOnError"] is False


@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_github_takes_the_workflows(schema, tmp_path):
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert workflows, "there is no workflow"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*command, *workflows], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  a:\n    runs_on: ubuntu-24.04\n    steps: []\n")
    done = subprocess.run([*command, wrong], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
