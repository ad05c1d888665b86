"""``medic doctor`` against the simulated Resource Manager, over HTTP: our rights, and no write."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from local.arm import Server, World, serve_in_thread
from local.cli import app
from local.commands import doctor
from remediations import rights
from remediations.model import Caller
from tests.commands import settle

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
TOP = f"/subscriptions/{SUBSCRIPTION}"
ML = "Microsoft.MachineLearningServices"
POLICY = {
    "actions": {
        "retry": {"mode": "auto"},
        "sync-keys": {"mode": "auto"},
        "grant-roles": {"mode": "ask"},
        "delete-idle": {"mode": "ask"},
        "undo-delete": {"mode": "ask"},
        "undo-grant": {"mode": "ask"},
    },
    "subscriptions": [SUBSCRIPTION],
}
ASKED = "a person is asked before a right to pull is granted"
SEE = "see which requests come, and how they are answered"
RBAC = Path(__file__).parents[2] / "infra" / "rbac"
READER_ROLES = [
    {
        "name": role["roleName"],
        "guid": f"00000000-0000-4000-8000-00000000000{n}",
        "actions": role["permissions"][0]["actions"],
    }
    for n, role in enumerate(
        json.loads((RBAC / f"{name}.role.json").read_text()) for name in ("reader", "subscription-reader")
    )
]


def assigned(role: rights.Role, scope: str) -> str:
    """Give the command that assigns one of our roles."""
    return (
        "az role assignment create --assignee cccccccc-0000-4000-8000-000000000001 --role "
        f'"$(az role definition list --custom-role-only true --scope {TOP} --query '
        f'"[?starts_with(roleName, \'{role}\')].name | [0]" -o tsv)" --scope {scope}'
    )


SUBSCRIPTION_READER = assigned(rights.Role.SUBSCRIPTION_READER, TOP)
READER = [
    assigned(rights.Role.READER, group)
    for group in (f"{TOP}/resourceGroups/rg-ml-prod", f"'{TOP}/resourceGroups/rg-z(2)'")
]


class Bench:
    """A served world, and the command with its settings."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
        self.server, self.folder, self.monkeypatch = server, folder, monkeypatch

    def medic(self, *arguments: str, rules: dict[str, Any] | None = None, **settings: str):
        file = self.folder / "policy.yaml"
        file.write_text(yaml.safe_dump({**POLICY, **(rules or {})}))
        who = self.server.world.principals["medic"]
        own = {
            "MEDIC_MODE": "auto",
            "MEDIC_POLICY": str(file),
            "MEDIC_ARM_URL": self.server.url,
            "MEDIC_ARM_TOKEN": "sim-medic",
            "MEDIC_APP_URL": "http://127.0.0.1:9",  # where nobody listens
            "MEDIC_CLIENT_ID": who.appid,
            "MEDIC_PRINCIPAL_ID": who.oid,
        }
        settle(self.monkeypatch, self.folder, **(own | settings))
        return CliRunner().invoke(app, ["doctor", *arguments])

    def checks(self, name: str, **options: Any) -> list[dict[str, str]]:
        """The checks of a name, in order."""
        answer = json.loads(self.medic("--json", **options).stdout)
        return [check for check in answer["checks"] if check["name"] == name]


@pytest.fixture
def stage(monkeypatch, tmp_path) -> Callable[..., Any]:
    @contextmanager
    def staged(**changes: Any) -> Iterator[Bench]:
        workspaces = [
            {"name": "mlw-a", "endpoints": [{"name": "credit"}]},
            {"name": "mlw-b", "resource_group": "rg-z(2)", "endpoints": [{"name": "fraud"}]},
        ]
        with serve_in_thread(World.from_dict({"workspaces": workspaces, **changes})) as server:
            yield Bench(server, monkeypatch, tmp_path)

    return staged


def denial(action: str, scope: str = "*") -> dict[str, str]:
    return {"principal": "medic", "action": action, "scope": scope}


def test_all_that_is_needed_is_held(stage):
    with stage() as bench:
        result = bench.medic("--json")
        answer = json.loads(result.stdout)
        assert (result.exit_code, answer["ok"]) == (0, True)
        states = [(check["name"], check["state"]) for check in answer["checks"]]
        assert states == [
            ("settings", "ok"),
            ("policy", "ok"),
            ("store", "ok"),
            ("azure", "ok"),
            ("watched", "ok"),
            *[("rights", "ok")] * 6,
            ("app", "ok"),
            ("approvals", "warn"),
            ("signing", "warn"),
            ("channels", "ok"),
        ]
        said = [check["words"] for check in answer["checks"] if check["name"] in {"watched", "rights"}]
        assert said == [
            f"subscription {SUBSCRIPTION}: 2 workspaces",
            f"Endpoint Medic Subscription Reader: 8 of 8 rights held in {SUBSCRIPTION}",
            f"Endpoint Medic Reader: 10 of 10 rights held in {SUBSCRIPTION}",
            f"Endpoint Medic Registry Reader: 1 of 2 rights held in {SUBSCRIPTION}; without the rest, {ASKED}",
            f"Endpoint Medic Operator: 4 of 4 rights held in {SUBSCRIPTION}",
            f"Endpoint Medic Granter: 1 of 1 right held in {SUBSCRIPTION}",
            f"Endpoint Medic Undo: 1 of 1 right held in {SUBSCRIPTION}",
        ]


def test_it_reads_what_the_reader_roles_give_and_writes_nothing(stage):
    with stage(denied=[denial("*/resynckeys/action")]) as bench:
        bench.medic()
        asked = {operation.lower() for who, operation in bench.server.world.asked if who == "medic"}
        reading = {rights.Role.SUBSCRIPTION_READER, rights.Role.READER}
        given = {right.operation.lower() for right in rights.RIGHTS if reading & set(right.roles)}
        # Which subscriptions there are everybody may ask; the simulator knows no such list.
        assert asked - given == {"get /subscriptions"}
        assert bench.server.world.ledger == []


def test_what_a_person_may_is_not_taken_for_what_the_app_may(stage, monkeypatch):
    monkeypatch.setattr(doctor, "_signed_in", lambda _: Caller(oid="person"))
    given = [{"principal": "medic", "role": role["name"], "scope": "subscription"} for role in READER_ROLES]
    # A person who may do everything; the app, what the shipped role gives.
    with stage(custom_roles=READER_ROLES, role_assignments=given) as bench:
        answer = json.loads(bench.medic("--json").stdout)
        rights = {check["words"].split(":")[0]: check for check in answer["checks"] if check["name"] == "rights"}
        (azure,) = (check for check in answer["checks"] if check["name"] == "azure")
        who = bench.server.world.principals["medic"].oid
        assert (azure["state"], f"signed in here is oid person, and the app is oid {who}" in azure["words"]) == (
            "warn",
            True,
        )
        reader, operator = rights["Endpoint Medic Reader"], rights["Endpoint Medic Operator"]
        assert reader["words"] == f"Endpoint Medic Reader: 10 of 10 rights held in {SUBSCRIPTION}"
        assert (reader["state"], operator["state"]) == ("ok", "fail")
        assert operator["words"].startswith(f"Endpoint Medic Operator: 0 of 4 rights held in {SUBSCRIPTION}\n")
        assert f"--assignee {who} " in operator["fix"]
        assert "person" not in operator["fix"]


def test_without_the_apps_identity_a_persons_rights_are_told_as_theirs(stage, monkeypatch):
    monkeypatch.setattr(doctor, "_signed_in", lambda _: Caller(oid="person"))
    with stage(denied=[denial("Microsoft.Insights/*")]) as bench:
        check = bench.checks("rights", MEDIC_PRINCIPAL_ID="", MEDIC_CLIENT_ID="")[0]
        assert check["state"] == "warn"
        assert " held in " + SUBSCRIPTION + " by who is signed in here, who may not be the app" in check["words"]
        assert '--assignee "<the app\'s identity>" ' in check["fix"]
        assert "person" not in check["fix"]


def test_a_token_that_is_not_taken_is_no_missing_role(stage):
    with stage() as bench:
        (check,) = bench.checks("azure", MEDIC_ARM_TOKEN="nobodys")
        assert check["words"] == f"{bench.server.url} cannot be read: 401: our token is not accepted"
        assert check["fix"].splitlines()[1:] == ["export MEDIC_ARM_TOKEN=sim-medic"]


def test_a_token_that_is_not_taken_in_one_subscription_is_no_missing_role(stage):
    fault = {"kind": "error", "path": "*/workspaces", "status": 401, "code": "x", "times": None}
    with stage(faults=[fault]) as bench:
        (check,) = bench.checks("watched")
        assert check["words"].endswith("/workspaces cannot be listed: unknown (401: our token is not accepted)")
        assert check["fix"].splitlines()[1:] == ["export MEDIC_ARM_TOKEN=sim-medic"]


@pytest.mark.parametrize(
    ("status", "words", "fix"),
    [
        (401, "401: our token is not accepted", ["export MEDIC_ARM_TOKEN=sim-medic"]),
        (429, "429: throttled; retry after 60 s", []),
    ],
)
def test_an_azure_that_refuses_is_told_with_what_to_do(stage, status, words, fix):
    fault = {"kind": "error", "path": "/subscriptions", "status": status, "code": "x", "times": None}
    if status == 429:
        fault = {"kind": "throttle", "path": "/subscriptions", "retry_after": 60, "times": None}
    with stage(faults=[fault]) as bench:
        (check,) = bench.checks("azure")
        assert (check["state"], check["words"]) == ("fail", f"{bench.server.url} cannot be read: {words}")
        assert check["fix"]
        assert check["fix"].splitlines()[1:] == fix


def test_a_dry_run_needs_no_right_to_write(stage):
    with stage(denied=[denial("*/write"), denial("*/delete"), denial("*/resynckeys/action")]) as bench:
        result = bench.medic(MEDIC_MODE="dry-run")
        assert result.exit_code == 0
        assert "Endpoint Medic Operator" not in result.stdout


def test_a_right_that_is_missing_is_told_with_its_command(stage):
    with stage(denied=[denial("Microsoft.Insights/*"), denial(f"{ML}/locations/usages/read")]) as bench:
        on_top, below = bench.checks("rights")[:2]
        assert (on_top["state"], below["state"]) == ("fail", "fail")
        assert on_top["words"].splitlines() == [
            f"Endpoint Medic Subscription Reader: 6 of 8 rights held in {SUBSCRIPTION}",
            "Microsoft.Insights/eventtypes/values/Read is missing on the subscription, to read the Activity Log",
            f"{ML}/locations/usages/read is missing on the subscription, to read the quota and what is used of it",
        ]
        assert on_top["fix"].splitlines()[-1] == SUBSCRIPTION_READER
        assert below["words"].splitlines() == [
            f"Endpoint Medic Reader: 9 of 10 rights held in {SUBSCRIPTION}",
            f"Microsoft.Insights/Metrics/Read is missing on mlw-a, mlw-b, 2 of 2, to {SEE}",
        ]
        assert below["fix"].splitlines() == READER


def test_a_right_to_write_that_is_missing_is_told_where(stage):
    with stage(denied=[denial("*/resynckeys/action", "*/mlw-b*"), denial("*/resynckeys/action", TOP)]) as bench:
        check = bench.checks("rights")[3]
        assert check["state"] == "warn"  # on mlw-a it is held: that may be meant
        assert check["words"].splitlines()[1:] == [
            f"{ML}/workspaces/resynckeys/action is missing on mlw-b, 1 of 2, to sync a workspace's keys"
        ]
        first, command = check["fix"].splitlines()
        deployed = "azd env set ENDPOINT_MEDIC_MODE auto, then azd provision --no-state"
        assert first == f"Deploy it ({deployed}), or assign it by hand:"
        assert command.endswith(f"--scope '{TOP}/resourceGroups/rg-z(2)'")
        assert "Endpoint Medic Operator" in command


def test_a_role_that_grants_is_never_assigned_by_hand(stage):
    groups = f"{TOP}/resourceGroups/rg-ml-prod, {TOP}/resourceGroups/rg-z(2)"
    seen = f"Those of the registries and storage accounts: {groups}."
    with stage(denied=[denial("*/roleAssignments/write")]) as bench:
        check = bench.checks("rights")[4]
        assert check["state"] == "fail"
        assert check["fix"].splitlines() == [
            f"List the groups where roles may be granted, those of before too, and no others. {seen}",
            "azd env set ENDPOINT_MEDIC_GRANT_SCOPES '<all of them, with commas between>'",
            "azd provision --no-state",
        ]


def test_the_optional_role_may_be_missing(stage):
    with stage(denied=[denial("*/roleAssignments/delete")]) as bench:
        check = bench.checks("rights")[5]
        assert (check["state"], check["fix"]) == ("ok", "")
        assert check["words"] == (
            f"Endpoint Medic Undo: 0 of 1 right held in {SUBSCRIPTION}; without the rest, "
            "every undo of a grant ends as advice, with the command"
        )


def test_rights_that_may_not_be_looked_up_are_told_once(stage):
    with stage(denied=[denial("*/permissions/read")]) as bench:
        (check,) = bench.checks("rights")
        assert check["state"] == "fail"
        assert check["words"] == (
            f"Endpoint Medic Subscription Reader: what we may do on {TOP} is unknown "
            "(403: our identity lacks Microsoft.Authorization/permissions/read)"
        )
        assert check["fix"].splitlines() == ["Let us read it, or take it out of the policy:", SUBSCRIPTION_READER]


def test_a_busy_azure_is_no_missing_right(stage):
    busy = {"kind": "throttle", "path": "*/permissions", "retry_after": 60, "times": None}
    with stage(faults=[busy]) as bench:
        (check,) = bench.checks("rights")
        assert (check["state"], check["fix"]) == ("fail", "Try again in a minute.")
        assert "429: throttled; retry after 60 s" in check["words"]


def test_a_subscription_that_may_not_be_read_is_told_with_its_command(stage):
    with stage(denied=[denial(f"{ML}/workspaces/read")]) as bench:
        (watched,) = bench.checks("watched")
        assert watched["state"] == "fail"
        assert watched["fix"].splitlines()[1] == SUBSCRIPTION_READER
        assert bench.checks("rights") == []


def test_a_policy_that_watches_nothing_is_told(stage):
    with stage() as bench:
        (check,) = bench.checks("policy", rules={"subscriptions": []})
        assert check["state"] == "warn"
        assert "none is listed, so the sweep looks at none, and rights cannot be looked up" in check["fix"]
        assert bench.checks("rights", rules={"subscriptions": []}) == []


def test_containers_of_specs_are_asked_for_one_that_is_not_there(stage):
    with stage() as bench:
        rules = {"desired_specs": {"containers": [f"{bench.server.url}/blobs/specs"]}}
        (check,) = bench.checks("specs", rules=rules)
        assert (check["state"], check["words"]) == ("ok", f"{bench.server.url}/blobs/specs can be read")


def test_containers_of_specs_that_refuse_us_are_told_with_the_command(stage):
    refused = {
        "kind": "error",
        "path": "/blobs/*",
        "status": 403,
        "code": "AuthorizationPermissionMismatch",
        "times": None,
    }
    with stage(faults=[refused]) as bench:
        rules = {"desired_specs": {"containers": [f"{bench.server.url}/blobs/specs"]}}
        (check,) = bench.checks("specs", rules=rules)
        assert check["state"] == "fail"
        assert "403: our identity lacks" in check["words"]
        assert check["fix"].startswith(
            "az role assignment create --assignee cccccccc-0000-4000-8000-000000000001 "
            "--role 'Storage Blob Data Reader' --scope "
        )


def test_a_store_that_is_not_there_fails_and_the_rest_is_looked_at(stage, monkeypatch):
    with stage() as bench:
        monkeypatch.setenv("AZURITE_ACCOUNTS", "dev:ZGV2")
        answer = json.loads(bench.medic("--json", MEDIC_STORE=f"{bench.server.url}/nowhere").stdout)
        states = {check["name"]: check["state"] for check in answer["checks"]}
        assert (states["store"], states["watched"]) == ("fail", "ok")


def test_commands_are_printed_in_one_line_to_be_copied(stage):
    with stage(denied=[denial("Microsoft.Insights/*")]) as bench:
        result = bench.medic()
        assert result.exit_code == 1
        assert f"    {SUBSCRIPTION_READER}" in result.stdout.splitlines()
        assert result.stdout.splitlines()[-1] == "2 failures and 2 warnings."
