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

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace
from typer.testing import CliRunner

from local.cli import app
from local.commands import held
from local.commands.doctor import Check, _app, _bounded, _channel, _identified, _signed_in, _store_fix
from remediations import policy
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
    assert words["azure"].startswith(f"{nobody_listens} cannot be read: no answer: ServiceRequestError.")
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
    assert "az keyvault secret set --vault-name kv-medic --name medic-teams-url --file FILE" in words["settings"]


def test_a_bad_policy_fails_alone(nobody_listens, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MEDIC_POLICY", write(tmp_path, "actions: {retry: {mode: maybe}}"))
    code, states, _ = checks()
    assert (code, states["policy"], states["store"]) == (1, "fail", "ok")


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


@pytest.mark.parametrize(
    ("why", "commands"),
    [
        pytest.param(
            "the service answered 403 AuthorizationPermissionMismatch",
            [
                'az role assignment create --assignee b --role "$(az role definition list --custom-role-only true '
                '--query "[?starts_with(roleName, \'Endpoint Medic Store\')].name | [0]" -o tsv)" '
                '--scope "$(az storage account show --name strecords --query id -o tsv)'
                f'/blobServices/default/containers/{container}"'
                for container in ("trail", "evidence")
            ],
            id="we may not",
        ),
        pytest.param(
            "no answer (ServiceRequestError)",
            ["az storage account show --name strecords --query '[publicNetworkAccess, networkRuleSet]'"],
            id="it is not reached",
        ),
    ],
)
def test_a_store_in_azure_is_told_with_the_commands_that_help(why, commands) -> None:
    settings = Settings(store="https://strecords.blob.core.windows.net", client_id="a", principal_id="b")
    assert _store_fix(Services(settings), why).splitlines() == commands


# ----------------------------------------------------------------------------------------------- who we are


def token_of(**claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature"


def test_who_is_signed_in_is_told_by_the_token_and_not_by_the_settings() -> None:
    token = token_of(oid="person", appid="az", tid="t")
    settings = Settings(arm_url="http://127.0.0.1:9", arm_token=token, client_id="app", principal_id="ours")
    assert _signed_in(settings) == Caller(oid="person", appid="az", tid="t")
    assert _signed_in(replace(settings, arm_token="sim-medic")) is None


@pytest.mark.parametrize(
    ("signed_in", "state", "words"),
    [
        pytest.param(None, "ok", "a answers; we are oid ours, appid app", id="a token that does not tell"),
        pytest.param(Caller(oid="OURS"), "ok", "a answers; we are oid ours, appid app", id="we ourselves"),
        pytest.param(
            Caller(oid="person"),
            "warn",
            "a answers; the app is oid ours, appid app, and signed in here is oid person",
            id="a person",
        ),
    ],
)
def test_rights_of_whoever_is_signed_in_are_not_taken_for_the_apps(signed_in, state, words) -> None:
    check = _identified("a", Caller(oid="ours", appid="app"), signed_in)
    assert (check.state, check.words) == (state, words)


# --------------------------------------------------------------------------------------------------- rights

SUBSCRIPTION = "00000000-1111-2222-3333-444444444444"
TOP = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{TOP}/resourceGroups/rg-ml"
ML = "Microsoft.MachineLearningServices"
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
        (Mode.DRY_RUN, {Role.READER, Role.REGISTRY_READER}),
        (Mode.ASK, {Role.READER, Role.REGISTRY_READER, Role.OPERATOR, Role.GRANTER, Role.UNDO}),
        (Mode.AUTO, {Role.READER, Role.REGISTRY_READER, Role.OPERATOR, Role.GRANTER, Role.UNDO}),
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


def test_a_right_that_is_excluded_is_missing_where_nothing_else_gives_it() -> None:
    reads = azure(top=role("*", but=(SYNC,)), one=role(SYNC))
    finding = found(reads)[Role.OPERATOR]
    assert lacking(finding) == {SYNC: (TWO,)}
    assert finding.lacks[0].looked == (ONE, TWO)
    assert len(finding.needed) == 4


def test_a_right_that_only_the_subscription_can_give_is_missing_there() -> None:
    usages = f"{ML}/locations/usages/read"
    reads = azure(top=role("*", but=(usages,)), one=role("*"), two=role("*"))
    assert lacking(found(reads)[Role.READER]) == {usages: (TOP,)}


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
    assert finding.role is Role.READER
    assert finding.unknown.startswith(f"what we may do on {TOP} is ")


def test_what_cannot_be_read_of_a_workspace_is_not_taken_for_a_right() -> None:
    finding = found(azure(top=role("*/read", data=("*",)), one=Unknown("429: throttled"), two=role("*")))[Role.OPERATOR]
    assert finding.unknown == f"what we may do on {ONE} is unknown (429: throttled)"


# ------------------------------------------------------------------------------------------------- the app

PAGES = {"/api/health": httpx.Response(200, json={"status": "ok", "mode": "ask"})}


def looked_at(pages: dict[str, httpx.Response], url: str = "https://medic.example") -> tuple[Check, list[str]]:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return pages.get(request.url.path, httpx.Response(302, headers={"Location": "https://login.example"}))

    return _app(Settings(app_url=url), httpx.MockTransport(answer)), asked


def test_an_app_that_answers_and_asks_for_a_sign_in_is_well() -> None:
    check, asked = looked_at(PAGES)
    assert check.state == "ok"
    assert check.words == "https://medic.example answers in mode ask; without a sign-in it shows nothing"
    assert asked == ["GET /api/health", "GET /api/incidents"]


def test_an_app_that_shows_its_incidents_to_everybody_fails() -> None:
    check, _ = looked_at({**PAGES, "/api/incidents": httpx.Response(200)})
    assert (check.state, check.fix) == ("fail", "Deploy the sign-in again: azd provision")


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


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}"])
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
    assert "az keyvault secret set --vault-name <vault> --name medic-webhook-url" in check.fix
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
    assert (refused.state, refused.fix) == ("fail", "If it is another topic now, deploy again:\nazd provision")
    assert refused.words == "MEDIC_OUTCOME_TOPIC: 127.0.0.1 cannot be reached: Connection refused"
