"""Settings are the same wherever they are told: code, Bicep, example, README; and so are parameters and outputs."""

import ast
import json
import re
from collections.abc import Iterator

import yaml

from remediations.settings import DESCRIPTIONS, REFUSED_IN_AZURE, load
from tests.conftest import ROOT
from tests.infra.bicep.project import Context, read_folder
from tests.infra.bicep.project import load as load_bicep
from tests.infra.bicep.syntax import Call, Expression, Object, Output, Parameter, Resource, Text
from tests.pages import page, table

INFRA = ROOT / "infra"
HUB = "MEDIC_TASK_HUB"  # host.json reads it, not our code

# What is set besides, and who reads it.
PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "the Functions host: sends telemetry with a token, not with a key",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "the Functions host: where telemetry goes",
    "AZURE_CLIENT_ID": "azure-identity: which of the app's identities",
    "AzureWebJobsStorage__accountName": "the Functions host and Durable: their account",
    "AzureWebJobsStorage__clientId": "the Functions host and Durable: their identity",
    "AzureWebJobsStorage__credential": "the Functions host and Durable: by identity, not by key",
    "OTEL_TRACES_SAMPLER": "the Functions host: which traces it keeps",
    "OTEL_TRACES_SAMPLER_ARG": "the Functions host: how many of them",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID": "sign-in: a token of the identity instead of a secret",
}
LOCAL = {"AzureWebJobsStorage", "FUNCTIONS_WORKER_RUNTIME"}  # Core Tools ask for them

# azd sets these in its environment by itself.
BY_AZD = {
    "AZURE_ENV_NAME",
    "AZURE_LOCATION",
    "AZURE_PRINCIPAL_ID",
    "AZURE_PRINCIPAL_TYPE",
    "AZURE_SUBSCRIPTION_ID",
}


def app_settings() -> dict[str, Expression]:
    """What Bicep sets on the app, by name."""
    project = load_bicep(read_folder(INFRA))
    found: dict[str, Expression] = {}
    for file in project.files.values():
        for resource in file.of(Resource):
            name = resource.body.get("name")
            is_config = resource.type.startswith("Microsoft.Web/sites/config@")
            if is_config and isinstance(name, Text) and name.fixed == "appsettings":
                found |= dict(_lines(Context(project, file), resource.body.get("properties")))
    return found


def _lines(context: Context, expression: Expression | None) -> Iterator[tuple[str, Expression]]:
    resolved = None if expression is None else context.resolve(expression)
    match resolved:
        case Object(properties=properties):
            for line in properties:
                assert line.key.fixed is not None, f"{context.file.path}:{line.at.line}: a setting without a fixed name"
                yield line.key.fixed, line.value
        case Call(name="union", arguments=arguments):
            for argument in arguments:
                yield from _lines(context, argument)
        case _:
            raise AssertionError(f"{context.file.path}: app settings of a form that this test does not follow")


def main_bicep() -> tuple[dict[str, Parameter], dict[str, Output]]:
    """The parameters and the outputs of main.bicep."""
    file = load_bicep(read_folder(INFRA)).files[(INFRA / "main.bicep").as_posix()]
    return {found.name: found for found in file.of(Parameter)}, {found.name: found for found in file.of(Output)}


def variables() -> dict[str, tuple[str, str | None]]:
    """The variable and the default that main.parameters.json gives each parameter."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    found = {name: re.fullmatch(r"\$\{(\w+)(?:=(.*))?\}", value["value"]) for name, value in given.items()}
    assert [name for name, match in found.items() if match is None] == []
    return {name: (match[1], match[2]) for name, match in found.items() if match is not None}


# ------------------------------------------------------------------------------------------------------ settings


def test_bicep_sets_every_setting_that_azure_does_not_refuse_and_no_other():
    ours = {name for name in app_settings() if name.startswith("MEDIC_")}
    assert ours == DESCRIPTIONS.keys() - REFUSED_IN_AZURE | {HUB}


def test_bicep_sets_what_the_platform_reads_and_nothing_else():
    others = {name for name in app_settings() if not name.startswith("MEDIC_")}
    assert others == PLATFORM.keys()


def test_the_hub_that_bicep_names_is_the_one_that_the_host_reads():
    assert json.loads((ROOT / "host.json").read_text())["extensions"]["durableTask"]["hubName"] == f"%{HUB}%"


def test_the_example_has_every_setting_and_no_other():
    values = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
    assert values.keys() == DESCRIPTIONS.keys() | {HUB} | LOCAL
    assert load(values).mode == "dry-run"


def test_the_readme_tells_every_setting_in_its_own_words_and_no_other():
    rows = {name.strip("`"): words for name, words in table(page("README.md"), "setting")}
    hub = rows.pop(HUB)
    assert "host.json" in hub
    assert rows == DESCRIPTIONS


def test_a_setting_that_azure_refuses_says_so():
    assert {name for name, words in DESCRIPTIONS.items() if "refused in Azure" in words} == REFUSED_IN_AZURE


# ------------------------------------------------------------------------------------------------------ parameters


def test_azd_gives_each_parameter_that_is_declared_and_each_that_is_required():
    declared, _ = main_bicep()
    required = {name for name, found in declared.items() if found.is_required}
    assert variables().keys() <= declared.keys()
    assert required <= variables().keys()


def test_a_default_that_azd_gives_is_one_that_the_parameter_allows():
    declared, _ = main_bicep()
    for name, (_, default) in variables().items():
        allowed = declared[name].allowed
        assert declared[name].type.kind == "string", f"azd fills in strings: {name}"
        assert allowed is None or default in allowed, name


def test_no_setting_that_a_shell_may_have_for_the_app_reaches_a_deployment():
    """azd takes what its environment lacks from the process: MEDIC_MODE=auto is set there to try the app at home."""
    assert {variable for variable, _ in variables().values()} & DESCRIPTIONS.keys() == set()


def test_the_page_of_the_infrastructure_tells_every_variable_and_no_other():
    told = {
        row[0].strip("`"): (row[1].strip("`"), row[2].strip("`") or None)
        for row in table(page("infra/README.md"), "parameter")
    }
    assert told == variables()


# --------------------------------------------------------------------------------------------------------- outputs


def hook_variables() -> set[str]:
    """The azd variables that hooks name; AZURE_CORE_ and AZURE_EXTENSION_ are settings of the Azure CLI."""
    trees = [ast.parse(path.read_text()) for path in (INFRA / "hooks").glob("*.py")]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    form = re.compile(r"(AZURE_(?!CORE_|EXTENSION_)|SERVICE_|MEDIC_|ENDPOINT_MEDIC_)[A-Z_]*[A-Z]")
    named = {text for text in texts if isinstance(text, str) and form.fullmatch(text)}
    assert named, "infra/hooks/ names no variable"
    return named


def test_what_a_hook_reads_is_an_output_a_parameter_s_variable_or_told_as_its_own():
    _, outputs = main_bicep()
    page = (INFRA / "README.md").read_text()
    known = outputs.keys() | {variable for variable, _ in variables().values()} | BY_AZD
    assert {name for name in hook_variables() - known if name not in page} == set()


def test_each_output_is_read_by_a_hook_or_told_to_people():
    _, outputs = main_bicep()
    pages = [path.read_text() for folder in ("", "docs", "infra") for path in (ROOT / folder).glob("*.md")]
    by_azd = {"AZURE_RESOURCE_GROUP", "AZURE_TENANT_ID"}  # azd itself looks for them
    unread = outputs.keys() - hook_variables() - by_azd
    assert {name for name in unread if not any(name in page for page in pages)} == set()


def test_the_service_of_azd_is_the_one_whose_name_the_outputs_carry():
    _, outputs = main_bicep()
    services = yaml.safe_load((ROOT / "azure.yaml").read_text())["services"]
    assert {f"SERVICE_{name.upper()}_NAME" for name in services} <= outputs.keys()
