"""``medic doctor``: what it says of what was set up, and the command that helps."""

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from azure.core.credentials import AzureNamedKeyCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace
from typer.testing import CliRunner

from local.cli import app
from local.commands import held
from local.commands.doctor import (
    _PATIENCE_STORE,
    Check,
    SignedIn,
    _app,
    _assign,
    _bounded,
    _channel,
    _channels,
    _checkpoints,
    _compared,
    _held,
    _identified,
    _keys,
    _looking,
    _refused_fix,
    _signed_in,
    _store_fix,
)
from remediations import policy
from remediations.adapters.blobs import BlobStore
from remediations.model import Absent, Caller, Found, Mode, Unknown
from remediations.proof import checkpoint
from remediations.rights import Role
from remediations.services import Services
from remediations.settings import Settings
from tests.builders import FakeReads
from tests.commands import settle

SHIPPED = policy.load(Path(__file__).parents[2] / "policy.yaml")


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    settle(monkeypatch, tmp_path, MEDIC_APP_URL="http://127.0.0.1:9")  # where nobody listens


def medic(*arguments: str):
    return CliRunner().invoke(app, arguments)


def write(folder: Path, content: str) -> str:
    file = folder / "policy.yaml"
    file.write_text(content)
    return str(file)


def checks(*arguments: str) -> tuple[int, dict[str, str], dict[str, str]]:
    result = medic("doctor", "--json", *arguments)
    answer = json.loads(result.stdout)
    assert answer["ok"] is (result.exit_code == 0)
    assert all(sorted(check) == ["fix", "name", "state", "words"] for check in answer["checks"])
    states = {check["name"]: check["state"] for check in answer["checks"]}
    return result.exit_code, states, {check["name"]: f"{check['words']} {check['fix']}" for check in answer["checks"]}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def nobody_listens(monkeypatch) -> str:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MEDIC_ARM_URL", url)
    monkeypatch.setenv("MEDIC_ARM_TOKEN", "sim-medic")
    return url


def test_what_cannot_be_reached_fails_and_the_rest_is_looked_at(nobody_listens, tmp_path) -> None:
    code, states, words = checks()
    assert code == 1
    assert states == {
        "settings": "ok",
        "policy": "warn",
        "store": "ok",
        "azure": "fail",
        "app": "ok",
        "approvals": "ok",
        "signing": "warn",
        "channels": "ok",
    }
    assert words["settings"] == "MEDIC_MODE is dry-run: nothing is written to Azure "
    assert words["azure"] == (
        f"{nobody_listens} cannot be read: no answer: ServiceRequestError Look at MEDIC_ARM_URL (left out, it is "
        f"https://management.azure.com) and at the network:\ncurl -i {nobody_listens}"
    )
    assert words["store"] == f"folder {tmp_path / 'store'}: it can be listed; nothing is in it "


def test_a_wrong_setting_ends_the_looking(monkeypatch) -> None:
    monkeypatch.setenv("MEDIC_MOED", "auto")
    code, states, words = checks()
    assert (code, states) == (1, {"settings": "fail"})
    assert words["settings"].startswith("MEDIC_MOED is 'auto': no such setting. Did you mean MEDIC_MODE?")


def test_a_secret_that_azure_could_not_read_ends_the_looking(monkeypatch) -> None:
    monkeypatch.setenv("MEDIC_TEAMS_URL", "@Microsoft.KeyVault(VaultName=kv-medic;SecretName=medic-teams-url)")
    code, states, words = checks()
    assert (code, states) == (1, {"settings": "fail"})
    assert (
        "az keyvault secret set --vault-name kv-medic --name medic-teams-url --file FILE --output none)"
        in words["settings"]
    )


def test_what_to_do_stands_apart_from_what_is_wrong(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_MODE", "maybe")
    (check,) = json.loads(medic("doctor", "--json").stdout)["checks"]
    assert check == {
        "name": "settings",
        "state": "fail",
        "words": "MEDIC_MODE is 'maybe': no such mode.",
        "fix": "Use one of off, dry-run, ask, auto.\nThe rest was not looked at.",
    }


def test_a_bad_policy_fails_alone(nobody_listens, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_POLICY", write(tmp_path, "actions: {retry: {mode: maybe}}"))
    code, states, words = checks()
    assert (code, states["policy"], states["store"]) == (1, "fail", "ok")
    assert words["policy"].endswith(f"\nmedic policy check {tmp_path / 'policy.yaml'}")


def test_what_the_app_has_from_its_vault_is_not_missed_elsewhere() -> None:
    away = Services(Settings(store="https://strecords.blob.core.windows.net", mode=Mode.ASK))
    told = [_keys(away), _checkpoints(away), *_channels(away)]
    words = "what the app has from its vault is not looked at from here: its log tells"
    assert [(check.state, check.words.partition("; ")[2]) for check in told] == [("ok", words)] * 3


def test_a_mode_that_asks_needs_keys(nobody_listens, monkeypatch) -> None:
    monkeypatch.setenv("MEDIC_MODE", "ask")
    assert checks()[1]["approvals"] == "warn"
    monkeypatch.setattr("remediations.services._services", None)
    monkeypatch.setenv("MEDIC_APPROVAL_KEYS", json.dumps({"k1": "x" * 43}))
    _, states, words = checks()
    assert (states["approvals"], words["approvals"]) == ("ok", "1 key; k1 signs ")


def test_a_key_for_checkpoints_is_told_by_its_public_part(nobody_listens, monkeypatch) -> None:
    private = checkpoint.new_key()
    monkeypatch.setenv("MEDIC_ANCHOR_KEY", private)
    _, states, words = checks()
    assert states["signing"] == "ok"
    assert words["signing"].split() == [
        *["the", "trail", "is", "signed", "with", "the", "key", "whose", "public", "part", "is"],
        checkpoint.public_of(private),
    ]
    assert private not in str(words)


def test_a_simulator_without_a_token_is_told_what_to_set(nobody_listens, monkeypatch) -> None:
    monkeypatch.delenv("MEDIC_ARM_TOKEN")
    _, states, words = checks()
    assert states["settings"] == "fail"
    assert words["settings"].startswith("MEDIC_ARM_TOKEN is not set: a simulator on loopback knows no sign-in.")


def test_people_read_a_line_a_check(nobody_listens) -> None:
    result = medic("doctor")
    assert result.exit_code == 1
    lines = [line.split(maxsplit=2)[:2] for line in result.stdout.splitlines() if line.strip() and line[:1] != " "]
    assert lines == [
        ["ok", "settings"],
        ["warn", "policy"],
        ["ok", "store"],
        ["fail", "azure"],
        ["ok", "app"],
        ["ok", "approvals"],
        ["warn", "signing"],
        ["ok", "channels"],
        ["1", "failure"],
    ]
    assert result.stdout.splitlines()[-1] == "1 failure and 2 warnings."


def test_a_check_that_hangs_is_given_up() -> None:
    never = threading.Event()

    def hang() -> Check:
        never.wait(10)
        return Check(name="azure", state="ok", words="")

    (check,) = _bounded("azure", lambda: [hang()], timedelta(milliseconds=20))
    never.set()
    assert (check.state, check.words) == ("fail", "no answer in 0 s")
    assert check.fix == "Check the network and the sign-in, then try again:\naz account show"


def test_a_fault_of_its_own_is_told_at_once_and_as_such() -> None:
    def fail() -> Check:
        raise LookupError("nothing of that name")

    (check,) = _bounded("azure", lambda: [fail()])
    assert (check.state, check.words) == ("fail", "`medic doctor` itself failed: LookupError: nothing of that name")


def test_a_store_that_does_not_answer_in_time_is_told_with_the_command_that_shows_it(monkeypatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("local.commands.doctor._PATIENCE_STORE", timedelta(milliseconds=20))
    monkeypatch.setattr("local.commands.doctor._store", lambda *_: never.wait(10))
    monkeypatch.setenv("MEDIC_STORE", "https://strecords.blob.core.windows.net")
    monkeypatch.setenv("MEDIC_ARM_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MEDIC_ARM_TOKEN", "sim-medic")
    _, states, words = checks()
    never.set()
    assert states["store"] == "fail"
    assert words["store"].splitlines() == [
        "no answer in 0 s Check MEDIC_STORE and the network, then try again.",
        "az storage account show --name strecords --query '[publicNetworkAccess, networkRuleSet]'",
    ]


def test_a_store_is_waited_for_longer_than_its_client_tries() -> None:
    store = BlobStore("http://127.0.0.1:9/a", "trail", AzureNamedKeyCredential("a", "a2V5"))
    pauses = cast("Any", store._client._config.retry_policy)
    waits = [pauses.initial_backoff + pauses.increment_base**count for count in range(1, pauses.total_retries + 1)]
    longest = sum(waits) + pauses.random_jitter_range * len(waits)
    assert timedelta(seconds=10) < timedelta(seconds=longest) < _PATIENCE_STORE


SHOW = "az storage account show --name strecords --query '[publicNetworkAccess, networkRuleSet]'"
RECORDS = '"$(az storage account show --name strecords --query id -o tsv)/blobServices/default/containers/'
OURS = SignedIn(who=Caller(oid="b"), is_app=True, app="b")


@pytest.mark.parametrize(
    ("why", "signed_in", "lines"),
    [
        pytest.param(
            "the service answered 403 AuthorizationPermissionMismatch",
            OURS,
            [
                "Give us the role, and look at the account's network rules:",
                *(
                    'az role assignment create --assignee b --role "$(az role definition list --custom-role-only true '
                    '--scope "/subscriptions/$(az account show --query id -o tsv)" '
                    '--query "[?starts_with(roleName, \'Endpoint Medic Store\')].name | [0]" -o tsv)" '
                    f'--scope {RECORDS}{container}"'
                    for container in ("trail", "evidence")
                ),
                SHOW,
            ],
            id="we may not",
        ),
        pytest.param(
            "the service answered 403 AuthorizationPermissionMismatch",
            SignedIn(who=Caller(oid="person"), app="b"),
            [
                "To read the app's records as who is signed in here:",
                *(
                    'az role assignment create --assignee "$(az ad signed-in-user show --query id -o tsv)" '
                    f"--role 'Storage Blob Data Reader' --scope {RECORDS}{container}\""
                    for container in ("trail", "evidence")
                ),
                SHOW,
            ],
            id="a person may not",
        ),
        pytest.param("no answer (ServiceRequestError)", OURS, ["Try.", SHOW], id="it is not reached"),
        pytest.param(
            "the service answered 404 ContainerNotFound", OURS, ["Try.", SHOW], id="the container is not there"
        ),
        pytest.param(
            "the service answered 401 InvalidAuthenticationInfo",
            OURS,
            [
                "The token is no longer good, or of another tenant than the subscription:",
                "az login --tenant <tenant>",
            ],
            id="the token is of another tenant",
        ),
        pytest.param(
            "no answer (ClientAuthenticationError)",
            OURS,
            ["Sign in, or set AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET:", "az login"],
            id="there is no token",
        ),
    ],
)
def test_a_store_in_azure_is_told_with_the_commands_that_help(why, signed_in, lines) -> None:
    settings = Settings(store="https://strecords.blob.core.windows.net", client_id="a", principal_id="b")
    assert _store_fix(Services(settings), lambda: signed_in, why, "Try.").splitlines() == lines


# ----------------------------------------------------------------------------------------------- who we are


def token_of(**claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


def test_who_is_signed_in_is_told_by_the_token_and_not_by_the_settings() -> None:
    token = token_of(oid="person", appid="az", tid="t")
    settings = Settings(arm_url="http://127.0.0.1:9", arm_token=token, client_id="app", principal_id="ours")
    assert _signed_in(settings) == Caller(oid="person", appid="az", tid="t")
    assert _signed_in(replace(settings, arm_token="sim-medic")) is None


SIMULATED = {"arm_url": "http://127.0.0.1:9", "arm_token": "sim-medic"}
PERSON, APP = Caller(oid="person", appid="az"), Caller(oid="OURS", appid="app")


@pytest.mark.parametrize(
    ("settings", "who", "is_app", "app"),
    [
        pytest.param({"principal_id": "ours"}, APP, True, "ours", id="we ourselves"),
        pytest.param({"client_id": "APP"}, APP, True, "OURS", id="we ourselves, by the client id"),
        pytest.param({}, APP, False, None, id="nobody says who the app is"),
        pytest.param({}, None, False, None, id="nobody says anything"),
        pytest.param({"principal_id": "ours"}, PERSON, False, "ours", id="a person"),
        pytest.param({"client_id": "app"}, PERSON, False, None, id="a person, by the client id"),
        pytest.param({"principal_id": "ours", "client_id": "az"}, PERSON, False, "ours", id="a person by our client"),
        pytest.param({"principal_id": "ours"}, None, False, "ours", id="a token that does not tell"),
        pytest.param({"principal_id": "ours", **SIMULATED}, None, True, "ours", id="a simulator's token"),
        pytest.param(SIMULATED, None, False, None, id="a simulator's token, and no settings"),
    ],
)
def test_who_is_signed_in_is_the_app_only_if_settings_and_token_agree(settings, who, is_app, app) -> None:
    assert _compared(Settings(**settings), who) == SignedIn(who=who, is_app=is_app, app=app)


@pytest.mark.parametrize(
    ("signed_in", "state", "words", "fix"),
    [
        pytest.param(
            SignedIn(who=APP, is_app=True, app="ours"),
            "ok",
            "a answers; we are oid ours, appid app",
            "",
            id="we ourselves",
        ),
        pytest.param(
            SignedIn(who=PERSON, app="ours"),
            "warn",
            "a answers; signed in here is oid person, appid az, and the app is oid ours",
            "The rights below are the app's, as its role assignments give them. That the store, the workspaces and the "
            "specs can be read holds for who is signed in here.",
            id="a person, and the app is known",
        ),
        pytest.param(
            SignedIn(who=PERSON),
            "warn",
            "a answers; signed in here is oid person, appid az, which is not known to be the app's identity",
            "The rights below are those of oid person, appid az, not of the app. To check the app's, set its "
            "identity:\nexport MEDIC_PRINCIPAL_ID=$(azd env get-value ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID)",
            id="a person",
        ),
        pytest.param(
            SignedIn(),
            "warn",
            "a answers; who we are is not known",
            "Set MEDIC_CLIENT_ID and MEDIC_PRINCIPAL_ID, or our own writes look like somebody else's.",
            id="nobody knows",
        ),
    ],
)
def test_rights_of_whoever_is_signed_in_are_not_taken_for_the_apps(signed_in, state, words, fix) -> None:
    check = _identified("a", Caller(oid="ours", appid="app"), signed_in)
    assert (check.state, check.words, check.fix) == (state, words, fix)


def test_who_deploys_with_a_client_id_of_azure_is_not_taken_for_the_app(monkeypatch, nobody_listens) -> None:
    settings = Settings(arm_url=nobody_listens, arm_token=token_of(oid="ci", appid="deployer"), client_id="deployer")
    assert _looking(settings) == SignedIn(who=Caller(oid="ci", appid="deployer"))
    monkeypatch.setenv("MEDIC_CLIENT_ID", "deployer")
    assert _looking(settings).is_app


def test_no_role_of_the_app_is_given_to_who_is_signed_in() -> None:
    place = "azd env get-value ENDPOINT_MEDIC_IDENTITY_PRINCIPAL_ID  # tells the app's identity"
    first, command = _assign(SignedIn(who=PERSON), Role.READER, TOP).splitlines()
    assert first == place
    assert command.startswith('az role assignment create --assignee "<the app\'s identity>" --role ')
    assert f"az role definition list --custom-role-only true --scope {TOP} --query " in command
    known = _assign(SignedIn(who=PERSON, app="ours"), Role.READER, TOP)
    assert known.startswith("az role assignment create --assignee ours --role ")
    refused = _refused_fix(SignedIn(who=PERSON, app="ours"), TOP)
    assert refused.splitlines()[1:] == ["az login"]


def test_what_a_person_lacks_is_no_failure_of_the_app() -> None:
    (finding,) = [one for one in found(azure(top=role("*"))).values() if one.role is Role.REGISTRY_READER]
    lacking_reader = found(azure(top=role("*", but=(f"{ML}/locations/usages/read",))))[Role.SUBSCRIPTION_READER]
    own = Services(Settings())
    assert _held(own, SignedIn(who=PERSON), SUBSCRIPTION, finding).words.startswith(
        f"Endpoint Medic Registry Reader: 1 of 2 rights held in {SUBSCRIPTION} by who is signed in here, who may not "
        "be the app; without the rest"
    )
    states = [
        _held(own, signed_in, SUBSCRIPTION, lacking_reader).state
        for signed_in in (SignedIn(who=PERSON), SignedIn(who=PERSON, app="ours"), OURS)
    ]
    assert states == ["warn", "fail", "fail"]


# --------------------------------------------------------------------------------------------------- rights

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
TOP = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{TOP}/resourceGroups/rg-ml"
ML = "Microsoft.MachineLearningServices"
READERS = (Role.SUBSCRIPTION_READER, Role.READER)
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/cr"
ACCOUNT = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/st"
ONE, TWO = (f"{GROUP}/providers/{ML}/workspaces/{name}" for name in ("one", "two"))
SYNC = f"{ML}/workspaces/resynckeys/action"
LISTED = tuple(
    {"id": each, "properties": {"containerRegistry": REGISTRY, "storageAccount": ACCOUNT}} for each in (ONE, TWO)
)


def role(*actions: str, but: tuple[str, ...] = (), data: tuple[str, ...] = ()) -> Found:
    return Found(({"actions": list(actions), "notActions": list(but), "dataActions": list(data)},))


def azure(**given) -> FakeReads:
    """What Azure says that we may do: nothing, but for what is said of the subscription (``top``) or a workspace."""
    scopes = {"top": TOP, "one": ONE, "two": TWO, "registry": REGISTRY, "account": ACCOUNT}
    permissions = {f"{scope}/providers/Microsoft.Authorization/permissions": Found(()) for scope in scopes.values()}
    permissions |= {
        f"{scopes[name]}/providers/Microsoft.Authorization/permissions": answer for name, answer in given.items()
    }
    return FakeReads({f"{TOP}/providers/{ML}/workspaces": Found(LISTED), **permissions})


def found(reads: FakeReads, mode: Mode = Mode.AUTO, rules: policy.Policy = SHIPPED) -> dict[Role, held.Finding]:
    rights = held.needed(rules, mode)
    return {one.role: one for one in held.findings(reads, SUBSCRIPTION, rights)}


def lacking(finding: held.Finding) -> dict[str, tuple[str, ...]]:
    return {lack.right.operation: lack.missing for lack in finding.lacks}


@pytest.mark.parametrize(
    ("mode", "roles"),
    [
        (Mode.OFF, set()),
        (Mode.DRY_RUN, {*READERS, Role.REGISTRY_READER}),
        (Mode.ASK, {*READERS, Role.REGISTRY_READER, Role.OPERATOR, Role.GRANTER, Role.UNDO}),
        (Mode.AUTO, {*READERS, Role.REGISTRY_READER, Role.OPERATOR, Role.GRANTER, Role.UNDO}),
    ],
)
def test_a_mode_that_does_not_act_needs_no_right_to_act(mode, roles) -> None:
    assert {right.roles[0] for right in held.needed(SHIPPED, mode)} == roles


@pytest.mark.parametrize(
    ("rules", "writes"),
    [
        ("actions: {}", set()),
        ("actions: {retry: {mode: dry-run}}", set()),
        (
            "actions: {retry: {mode: ask}}",
            {"onlineEndpoints/deployments/write", "onlineEndpoints/deployments/delete", "onlineEndpoints/write"},
        ),
        ("actions: {undo-delete: {mode: ask}}", {"onlineEndpoints/deployments/write"}),
        (
            "actions: {sync-keys: {mode: off}}\nrules: [{actions: [sync-keys], mode: ask}]",
            {"onlineEndpoints/deployments/write", "resynckeys/action"},
        ),
        ("actions: {retry: {mode: dry-run}}\nrules: [{actions: [grant-roles], mode: off}]", set()),
    ],
)
def test_an_action_that_the_policy_does_not_permit_needs_no_right(rules, writes, tmp_path) -> None:
    loaded = policy.load(Path(write(tmp_path, rules)))
    needed = {right.operation for right in held.needed(loaded, Mode.AUTO) if right.is_write}
    assert needed == {f"{ML}/workspaces/{name}" for name in writes}


def test_whoever_may_do_everything_on_the_subscription_is_asked_about_nothing_else() -> None:
    reads = azure(top=role("*", data=("*",)))
    assert [one for one in found(reads).values() if one.lacks or one.unknown] == []
    assert [url for url in reads.asked if "permissions" in url] == [
        f"{TOP}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    ]


def test_a_right_may_be_held_on_every_workspace_instead() -> None:
    reads = azure(top=role("*", but=(SYNC,), data=("*",)), one=role(SYNC), two=role(SYNC.upper()))
    assert lacking(found(reads)[Role.OPERATOR]) == {}


def test_a_workspace_that_is_not_watched_needs_no_right() -> None:
    reads = azure(top=role("*", but=(SYNC,)), one=role(SYNC))
    rights = held.needed(SHIPPED, Mode.AUTO)
    found = {each.role: each for each in held.findings(reads, SUBSCRIPTION, rights, watches=lambda id_: id_ == ONE)}
    assert lacking(found[Role.OPERATOR]) == {}


def test_a_right_that_is_excluded_is_missing_where_nothing_else_gives_it() -> None:
    reads = azure(top=role("*", but=(SYNC,)), one=role(SYNC))
    finding = found(reads)[Role.OPERATOR]
    assert lacking(finding) == {SYNC: (TWO,)}
    assert finding.lacks[0].looked == (ONE, TWO)
    assert len(finding.needed) == 4


def test_places_that_were_not_looked_at_are_counted_and_warned_of() -> None:
    many = tuple(f"{GROUP}/providers/{ML}/workspaces/w{number}" for number in range(43))
    reads = azure(top=role("*", but=(SYNC,), data=("*",)))
    answers = {f"{each}/providers/Microsoft.Authorization/permissions": role(SYNC) for each in many}
    answers[f"{TOP}/providers/{ML}/workspaces"] = Found(tuple({"id": each, "properties": {}} for each in many))
    operator = found(FakeReads(reads.answers | answers))[Role.OPERATOR]
    assert (operator.lacks, operator.unseen) == ((), 3)
    check = _held(cast("Services", None), OURS, SUBSCRIPTION, operator)
    assert check.state == "warn"
    assert check.words.endswith(f"4 of 4 rights held in {SUBSCRIPTION}; 3 places more were not looked at")


def test_a_right_that_only_the_subscription_can_give_is_missing_there() -> None:
    usages = f"{ML}/locations/usages/read"
    reads = azure(top=role("*", but=(usages,)), one=role("*"), two=role("*"))
    assert lacking(found(reads)[Role.SUBSCRIPTION_READER]) == {usages: (TOP,)}


def test_a_grant_is_looked_for_on_registries_and_storage_accounts() -> None:
    reads = azure(top=role("*/read"), registry=role("Microsoft.Authorization/roleAssignments/write"))
    assert lacking(found(reads)[Role.GRANTER]) == {"Microsoft.Authorization/roleAssignments/write": (ACCOUNT,)}


def test_a_right_over_data_is_no_right_over_the_resource() -> None:
    content = "Microsoft.ContainerRegistry/registries/repositories/content/read"
    assert lacking(found(azure(top=role("*")))[Role.REGISTRY_READER]) == {content: (REGISTRY,)}
    assert lacking(found(azure(top=role("*", data=(content,))))[Role.REGISTRY_READER]) == {}


def test_the_glob_that_the_reader_role_has_gives_the_diagnosis() -> None:
    diagnose = f"{ML}/workspaces/diagnose"
    reads = azure(top=role("*", but=(f"{diagnose}/action",)), one=role(f"{diagnose}/*"), two=role(f"{diagnose}/*"))
    assert lacking(found(reads)[Role.READER]) == {}


@pytest.mark.parametrize("answer", [Unknown("429: throttled"), Absent()])
def test_what_cannot_be_read_of_the_subscription_is_told_once(answer) -> None:
    (finding,) = found(azure(top=answer)).values()
    assert finding.role is Role.SUBSCRIPTION_READER
    assert finding.unknown.startswith(f"what we may do on {TOP} is ")


def test_what_cannot_be_read_of_a_workspace_is_not_taken_for_a_right() -> None:
    finding = found(azure(top=role("*/read", data=("*",)), one=Unknown("429: throttled"), two=role("*")))[Role.OPERATOR]
    assert finding.unknown == f"what we may do on {ONE} is unknown (429: throttled)"


PRINCIPAL = "00000000-0000-4000-8000-00000000000a"


def assigned(definition: Any, **scopes: str) -> FakeReads:
    """What Azure says of the role assignments of our identity, read by somebody who may do nothing else."""
    at = {"top": TOP, "one": ONE, "two": TWO, "registry": REGISTRY, "account": ACCOUNT}
    listed = Found(
        tuple(
            {"properties": {"scope": scope, "roleDefinitionId": f"{TOP}/providers/x/roleDefinitions/{guid}"}}
            for guid, scope in scopes.items()
        )
    )
    answers = {f"{scope}/providers/Microsoft.Authorization/roleAssignments": listed for scope in at.values()}
    answers |= {f"{TOP}/providers/Microsoft.Authorization/roleDefinitions/{guid}": definition for guid in scopes}
    return FakeReads({f"{TOP}/providers/{ML}/workspaces": Found(LISTED), **answers})


def found_for(reads: FakeReads) -> dict[Role, held.Finding]:
    rights = held.needed(SHIPPED, Mode.AUTO)
    return {one.role: one for one in held.findings(reads, SUBSCRIPTION, rights, PRINCIPAL)}


ALL = Found({"properties": {"permissions": [{"actions": ["*"], "dataActions": ["*"]}]}})


@pytest.mark.parametrize("above", [TOP, "/", "/providers/Microsoft.Management/managementGroups/mg"])
def test_rights_of_another_identity_come_from_its_role_assignments_at_and_above(above) -> None:
    reads = assigned(ALL, r1=above)
    assert [one for one in found_for(reads).values() if one.lacks or one.unknown] == []
    assert f"$filter=assignedTo('{PRINCIPAL}')" in next(url for url in reads.asked if "roleAssignments" in url)
    assert not any("/permissions" in url for url in reads.asked)


def test_a_role_that_another_identity_has_on_one_workspace_is_none_on_the_other() -> None:
    finding = found_for(assigned(ALL, r1=ONE))[Role.OPERATOR]
    assert lacking(finding)[SYNC] == (TWO,)


def test_without_a_role_assignment_another_identity_lacks_everything() -> None:
    assert all(len(one.lacks) == len(one.needed) for one in found_for(assigned(ALL)).values())


@pytest.mark.parametrize("definition", [Unknown("429: throttled"), Absent(), Found({"properties": {}})])
def test_a_role_whose_definition_cannot_be_read_is_not_taken_for_none(definition) -> None:
    (finding,) = found_for(assigned(definition, r1=TOP)).values()
    assert finding.unknown == f"what the app may do on {TOP} is unknown (what the role 'r1' gives cannot be read)"


def test_role_assignments_that_cannot_be_read_are_told() -> None:
    reads = FakeReads({f"{TOP}/providers/{ML}/workspaces": Found(LISTED)})
    (finding,) = found_for(reads).values()
    assert finding.unknown.startswith(f"what the app may do on {TOP} is ")


# ------------------------------------------------------------------------------------------------- the app

PAGES = {"/api/health": httpx.Response(200, json={"status": "ok", "mode": "ask"})}


def looked_at(
    pages: dict[str, httpx.Response], url: str = "https://medic.example", **settings: Any
) -> tuple[Check, list[str]]:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return pages.get(request.url.path, httpx.Response(302, headers={"Location": "https://login.example"}))

    chosen = Settings(**{"app_url": url, "mode": Mode.ASK, **settings})
    return _app(chosen, httpx.MockTransport(answer)), asked


def test_an_app_that_answers_and_asks_for_a_sign_in_is_well() -> None:
    check, asked = looked_at(PAGES)
    assert check.state == "ok"
    assert check.words == "https://medic.example answers in mode ask; without a sign-in it shows nothing"
    assert asked == ["GET /api/health", "GET /api/incidents"]


def test_an_app_in_another_mode_than_was_looked_at_is_told() -> None:
    check, _ = looked_at(PAGES, mode=Mode.DRY_RUN)
    assert (check.state, check.fix.splitlines()) == (
        "warn",
        [
            "MEDIC_MODE here is dry-run: policy and rights were looked at for that mode, not the app's.",
            "export MEDIC_MODE=ask",
        ],
    )


@pytest.mark.parametrize("answers", [True, False])
def test_the_app_on_this_machine_is_not_taken_for_the_one_of_a_store_in_azure(answers) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if not answers:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json={"mode": "dry-run"})

    check = _app(Settings(store="https://strecords.blob.core.windows.net"), httpx.MockTransport(answer))
    assert (check.state, check.fix.splitlines()) == (
        "warn",
        [
            "The store is in Azure, and the app that was asked is the one on this machine. Set MEDIC_APP_URL:",
            "export MEDIC_APP_URL=$(azd env get-value SERVICE_MEDIC_URI)",
        ],
    )
    emulated = _app(Settings(store="http://127.0.0.1:10000/dev"), httpx.MockTransport(answer))
    assert emulated.state == "ok"


def test_an_app_that_shows_its_incidents_to_everybody_fails() -> None:
    check, _ = looked_at({**PAGES, "/api/incidents": httpx.Response(200)})
    assert (check.state, check.fix) == ("fail", "Deploy the sign-in again: azd provision --no-state")


@pytest.mark.parametrize("status", [302, 401, 403])
def test_an_app_of_which_even_the_health_is_behind_the_sign_in_is_well(status) -> None:
    check, _ = looked_at({"/api/health": httpx.Response(status)})
    assert (check.state, check.words) == (
        "ok",
        "https://medic.example answers, and asks for a sign-in before it says anything",
    )


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_app_that_cannot_work_fails(status) -> None:
    check, _ = looked_at({"/api/health": httpx.Response(status)})
    assert (check.state, check.words) == ("fail", f"https://medic.example/api/health answered {status}")


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'{"mode": []}', b'{"mode": "x; rm"}'])
def test_a_health_of_another_form_is_enough(body) -> None:
    check, _ = looked_at({"/api/health": httpx.Response(200, content=body)})
    assert check.words == "https://medic.example answers; without a sign-in it shows nothing"


def test_an_app_that_does_not_answer_fails_but_on_this_machine() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    away = _app(Settings(app_url="https://medic.example"), httpx.MockTransport(refuse))
    here = _app(Settings(), httpx.MockTransport(refuse))
    assert (away.state, here.state) == ("fail", "ok")
    assert away.fix.startswith("curl -i https://medic.example/api/health\n")


# ------------------------------------------------------------------------------------------------ channels


@contextmanager
def listening(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps what it is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            try:
                taken, _ = server.accept()
                taken.settimeout(10)
                with tls.wrap_socket(taken, server_side=True) if tls else taken as connection:
                    heard.append(connection.recv(1000))
            except OSError:
                heard.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], heard
        thread.join(timeout=10)


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of a server named localhost, and of a client that trusts it."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    written = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(
        key.private_bytes(*written) + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())


def test_a_channel_is_connected_to_and_sent_nothing(tmp_path) -> None:
    server, trusting = certified(tmp_path)
    with listening(server) as (port, heard):
        check = _channel("MEDIC_TEAMS_URL", f"https://localhost:{port}/x?sig=s3cret", trusting)
    assert (check.state, check.words) == ("ok", "MEDIC_TEAMS_URL: localhost answers; nothing was posted")
    assert heard == [b""]


def test_a_channel_with_another_certificate_fails_and_keeps_its_secret(tmp_path) -> None:
    server, _ = certified(tmp_path)
    with listening(server) as (port, heard):
        check = _channel("MEDIC_WEBHOOK_URL", f"https://localhost:{port}/x?sig=s3cret")
    assert check.state == "fail"
    assert "certificate verify failed" in check.words
    secret, refresh = check.fix.splitlines()[1:]
    assert secret == (
        "az keyvault secret set --vault-name <vault> --name medic-webhook-url --file <file with the URL> --output none"
    )
    assert refresh == (
        'az rest --method post --url "$(az functionapp show --name <app> --resource-group <group> --query id '
        '--output tsv)/config/configreferences/appsettings/refresh?api-version=2022-03-01"'
    )
    assert "s3cret" not in f"{check.words} {check.fix}"
    assert heard == [b""]


def test_a_topic_is_told_to_be_reached_and_no_more() -> None:
    with listening() as (port, heard):
        check = _channel("MEDIC_OUTCOME_TOPIC", f"http://127.0.0.1:{port}/api/events")
    words = "MEDIC_OUTCOME_TOPIC: 127.0.0.1 answers; whether we may publish shows with the first event"
    assert (check.state, check.words) == ("ok", words)
    assert heard == [b""]


def test_a_channel_that_is_not_there_fails_with_what_to_do() -> None:
    unknown = _channel("MEDIC_TEAMS_URL", "https://two..dots/x?sig=s3cret")
    assert unknown.state == "fail"
    assert unknown.words.startswith("MEDIC_TEAMS_URL: two..dots cannot be reached: ")
    refused = _channel("MEDIC_OUTCOME_TOPIC", f"http://127.0.0.1:{free_port()}/api/events")
    assert (refused.state, refused.fix) == (
        "fail",
        "If it is another topic now, deploy again:\nazd provision --no-state",
    )
    assert refused.words == "MEDIC_OUTCOME_TOPIC: 127.0.0.1 cannot be reached: Connection refused"
