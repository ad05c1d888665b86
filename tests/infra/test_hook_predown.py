"""predown: `azd down` never comes to delete a group that is not ours, and a person is told what removes what is."""

import re
from pathlib import Path

import predown
import pytest

from tests.infra.azure_world import APP, CLIENT_ID, ELSEWHERE, HOME, IDENTITY, TOPIC, Machine, provision

ROOT = Path(__file__).parents[2]
GRANTABLE = f"/subscriptions/{HOME}/resourceGroups/rg-ml-prod"
THEIRS = f"/subscriptions/{ELSEWHERE}/resourceGroups/rg-theirs/providers/Microsoft.EventGrid/systemTopics/theirs"
OURS_THERE = (
    f"/subscriptions/{ELSEWHERE}/resourceGroups/rg-medic-dev-abc/providers/Microsoft.EventGrid/systemTopics/evgst"
)


@pytest.fixture
def machine(tmp_path, monkeypatch, capfd) -> Machine:
    """One where `azd up` has done its work."""
    machine = Machine(tmp_path, monkeypatch, capfd)
    provision(machine.world)
    machine.world["env"]["ENDPOINT_MEDIC_SIGN_IN_CLIENT_ID"] = CLIENT_ID
    return machine


def told(err: str) -> list[str]:
    """Give the commands that were printed."""
    return re.findall(r"^ +(az .*)$", err, re.MULTILINE)


@pytest.mark.parametrize("values", [{}, {"ENDPOINT_MEDIC_GRANT_SCOPES": GRANTABLE}], ids=["at home", "elsewhere too"])
@pytest.mark.parametrize("arguments", [(), ("--dry-run",)], ids=["", "dry run"])
def test_azd_down_is_refused_whatever_the_environment_says_today(machine, values, arguments):
    machine.world["env"].update(values)
    code, out, err = machine.run(predown, *arguments)
    assert (code, out, machine.world["calls"]) == (1, "", [])
    assert "`azd down` deletes whole resource groups" in err
    assert "from Azure's record of the deployment and not from today's values" in err


def test_so_it_is_where_nothing_is_known(machine):
    machine.world["env"] = {"AZURE_ENV_NAME": "dev"}
    code, _, err = machine.run(predown)
    assert code == 1
    assert "az group delete --name '<AZURE_RESOURCE_GROUP>' --subscription '<AZURE_SUBSCRIPTION_ID>'" in told(err)


def listing(subscription: str) -> str:
    return (
        f"az role assignment list --all --assignee {IDENTITY} --subscription {subscription}"
        ' --query "[].id" --output tsv | xargs -r -n 1 az role assignment delete --ids'
    )


def definitions(subscription: str) -> str:
    query = "[?starts_with(roleName, 'Endpoint Medic') && contains(roleName, '(dev abc')].name"
    return (
        f"az role definition list --custom-role-only true --subscription {subscription} --output tsv"
        f' --query "{query}" | xargs -r -n 1 az role definition delete --subscription {subscription} --name'
    )


def test_the_commands_remove_what_is_ours_in_each_subscription_and_no_group_of_others(machine):
    machine.world["env"].update(
        ENDPOINT_MEDIC_WATCH=f"/subscriptions/{HOME},/subscriptions/{ELSEWHERE}",
        ENDPOINT_MEDIC_GRANT_SCOPES=GRANTABLE,
        ENDPOINT_MEDIC_SYSTEM_TOPICS=f"{TOPIC},{THEIRS}",
        ENDPOINT_MEDIC_WORKSPACE_TOPICS=OURS_THERE,
    )
    _, _, err = machine.run(predown)
    topic = f"--resource-group rg-theirs --system-topic-name theirs --subscription {ELSEWHERE}"
    leaving = f"az eventgrid system-topic event-subscription delete --name {APP} {topic}"
    assert told(err) == [
        listing(HOME),
        listing(ELSEWHERE),
        leaving,
        f"az group delete --name rg-medic-dev --subscription {HOME}",
        f"az group delete --name rg-medic-dev-abc --subscription {ELSEWHERE}",
        definitions(HOME),
        definitions(ELSEWHERE),
        f"az ad app delete --id {CLIENT_ID}     # if nothing else uses it",
    ]


def test_the_runbook_has_the_same_commands(machine):
    machine.world["env"].update(ENDPOINT_MEDIC_SYSTEM_TOPICS=THEIRS.replace(ELSEWHERE, HOME))
    _, _, err = machine.run(predown)
    section = (ROOT / "docs" / "runbook.md").read_text().partition("\n## Removing it\n")[2]
    block = re.sub(r"\\\n\s*", "", section.partition("```console\n")[2].partition("```")[0])
    values = {
        '"$PRINCIPAL"': IDENTITY,
        '"$SUBSCRIPTION"': HOME,
        '"$APP"': APP,
        '"$GROUP"': "rg-medic-dev",
        '"$CLIENT"': CLIENT_ID,
        "$NAME": "dev",
        "${APP##*-}": "abc",
        "<group>": "rg-theirs",
        "<topic>": "theirs",
        "<subscription>": HOME,
    }
    for name, value in values.items():
        block = block.replace(name, value)
    assert re.findall(r"^\$ (az .*)$", block, re.MULTILINE) == told(err)


def test_no_page_tells_anybody_to_run_azd_down():
    pages = [page for folder in ("", "docs", "infra", "infra/hooks") for page in (ROOT / folder).glob("*.md")]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert [line for line in lines if re.match(r"\s*\$ .*azd down", line)] == []
