"""The clients that the actions write and look through, against a server on loopback that counts what reaches it."""

import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from msgspec import Struct

from remediations.adapters.arm import ArmReads, StaticToken
from remediations.adapters.ml import SYNC_API_VERSION, KeySync
from remediations.adapters.roles import RoleWrites
from remediations.model import Absent, Call, Found, Json, Mode, Unknown
from remediations.ports import Reply
from remediations.services import Services
from remediations.settings import Settings
from tests.builders import NOON, PRINCIPAL, REGISTRY, WORKSPACE

TOKEN = "sim-medic"
NAME = "c10f832b-fc62-5840-a939-4b64b01a39ef"
ASSIGNMENT = f"{REGISTRY}/providers/Microsoft.Authorization/roleAssignments/{NAME}"
GRANT = Call(method="PUT", path=ASSIGNMENT, api_version="2022-04-01", via="roles")
SYNC = Call(method="POST", path=f"{WORKSPACE}/resyncKeys", api_version=SYNC_API_VERSION, via="ml")
BODY: Json = {
    "properties": {
        "roleDefinitionId": "/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/r",
        "principalId": PRINCIPAL,
        "principalType": "ServicePrincipal",
        "description": "Endpoint Medic",
    }
}
DIGEST = f"sha256:{'a' * 64}"


class Answer(Struct, frozen=True, kw_only=True):
    """What the server answers; no status hangs up."""

    status: int | None = 200
    body: bytes = b""
    headers: dict[str, str] = {}


class Asked(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Bench(ThreadingHTTPServer):
    """Answers by method and path, without the query; everything else is 404."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.settings = Settings(arm_url=self.url, arm_token=TOKEN, mode=Mode.AUTO, send_within=timedelta(seconds=8))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Bench

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(
            Asked(method=self.command, path=self.path, headers=dict(self.headers.items()), body=body)
        )
        answer = self.server.answers.get(f"{self.command} {self.path.partition('?')[0]}", Answer(status=404))
        if answer.status is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        headers = {"Content-Length": str(len(answer.body)), "Content-Type": "application/json"}
        for name, value in (headers | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _answer  # noqa: N815 - the base's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's signature
        pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def grant(bench: Bench, answer: Answer) -> Reply:
    bench.answers[f"PUT {ASSIGNMENT}"] = answer
    return RoleWrites(bench.settings, StaticToken(TOKEN)).send(GRANT, BODY, request_id="medic-1")


def sync(bench: Bench, answer: Answer) -> Reply:
    bench.answers[f"POST {SYNC.path}"] = answer
    return KeySync(bench.settings, StaticToken(TOKEN)).send(SYNC, None, request_id="medic-2")


# ------------------------------------------------------------------------------------------------------ writes


def test_a_role_is_granted_with_exactly_what_was_planned(bench):
    reply = grant(bench, Answer(status=201, body=json.dumps(BODY).encode(), headers={"x-ms-request-id": "r-1"}))
    assert (reply.status, reply.service_request_id, reply.errors) == (201, "r-1", ())
    (asked,) = bench.asked
    assert (asked.method, asked.path) == ("PUT", f"{ASSIGNMENT}?api-version=2022-04-01")
    assert json.loads(asked.body) == BODY
    assert asked.headers["x-ms-client-request-id"] == "medic-1"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(Answer(status=200, body=json.dumps(BODY).encode()), 200, id="deleted"),
        pytest.param(Answer(status=204), 204, id="nothing was there"),
        pytest.param(
            Answer(status=403, body=b'{"error":{"code":"AuthorizationFailed","message":"No."}}'), 403, id="no"
        ),
        pytest.param(Answer(status=None), None, id="no answer"),
    ],
)
def test_a_role_is_taken_away_by_one_delete_of_its_assignment(bench, answer, status):
    bench.answers[f"DELETE {ASSIGNMENT}"] = answer
    call = Call(method="DELETE", path=ASSIGNMENT, api_version="2022-04-01", via="roles")
    reply = RoleWrites(bench.settings, StaticToken(TOKEN)).send(call, None, request_id="medic-3")
    assert reply.status == status
    (asked,) = bench.asked
    assert (asked.method, asked.path, asked.body) == ("DELETE", f"{ASSIGNMENT}?api-version=2022-04-01", b"")
    assert asked.headers["x-ms-client-request-id"] == "medic-3"


def test_keys_are_synced_with_exactly_what_was_planned(bench):
    reply = sync(bench, Answer(status=200))
    assert (reply.status, reply.operation_url) == (200, None)
    (asked,) = bench.asked
    assert (asked.method, asked.path, asked.body) == ("POST", f"{SYNC.path}?api-version={SYNC_API_VERSION}", b"")
    assert asked.headers["x-ms-client-request-id"] == "medic-2"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("header", ["Location", "Azure-AsyncOperation"])
def test_a_key_sync_is_not_waited_for(bench, header):
    before = threading.active_count()
    where = f"{bench.url}/operations/1"
    headers = {header: where, "Retry-After": "0", "x-ms-correlation-request-id": "c-1"}
    reply = sync(bench, Answer(status=202, headers=headers))
    assert (reply.status, reply.operation_url, reply.correlation_id) == (202, where, "c-1")
    assert reply.retry_after == timedelta(0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LROPoller")]
    assert threading.active_count() <= before + 1  # the server's own, for the connection
    assert len(bench.asked) == 1


@pytest.mark.parametrize("send", [grant, sync])
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(status=500), id="500"),
        pytest.param(Answer(status=503, headers={"Retry-After": "0"}), id="503"),
        pytest.param(Answer(status=429, headers={"Retry-After": "0"}), id="429"),
        pytest.param(Answer(status=409, body=b'{"error":{"code":"MissingSubscriptionRegistration"}}'), id="409"),
        pytest.param(Answer(status=307, headers={"Location": "/elsewhere"}), id="a redirect"),
        pytest.param(Answer(status=401, headers={"WWW-Authenticate": 'Bearer error="x"'}), id="401"),
        pytest.param(Answer(status=None), id="no answer"),
        pytest.param(Answer(status=200, body=b'{"cut'), id="200 cut short"),
        pytest.param(Answer(status=201, body=b"[]"), id="201 of another kind"),
        pytest.param(Answer(status=201, body=b'"x"'), id="201, a text"),
        pytest.param(Answer(status=201, body=b"null"), id="201, null"),
        pytest.param(Answer(status=200, body=b'{"properties":[1]}'), id="200 of another shape"),
        pytest.param(Answer(status=400, body=b"\xff\xfe\x00"), id="400 in no charset"),
        pytest.param(
            Answer(status=400, body=b"x", headers={"Content-Type": "text/plain; charset=nonsense"}),
            id="400 in none known",
        ),
        pytest.param(Answer(status=200, headers={"Content-Type": "text/html"}, body=b"<html>"), id="a page"),
        pytest.param(Answer(status=429, headers={"Retry-After": "inf"}), id="an endless wait"),
    ],
)
def test_a_write_is_sent_once_whatever_comes_back(bench, send, answer):
    reply = send(bench, answer)
    assert reply.status == answer.status
    assert len(bench.asked) == 1


@pytest.mark.parametrize("send", [grant, sync])
def test_a_write_whose_answer_breaks_off_is_sent_once(bench, send):
    reply = send(bench, Answer(status=400, body=b"{}", headers={"Content-Length": "9"}))
    assert reply.status in {None, 400}
    assert len(bench.asked) == 1


@pytest.mark.parametrize("send", [grant, sync])
def test_a_refusal_names_the_permission_and_keeps_no_secret(bench, send):
    words = (
        "The client 'x' does not have authorization to perform action 'a/b/write' over scope, password=hunter2hunter2"
    )
    reply = send(bench, Answer(status=403, body=json.dumps({"error": {"code": "Nope", "message": words}}).encode()))
    assert (reply.status, reply.permission) == (403, "a/b/write")
    assert [detail.code for detail in reply.errors] == ["Nope"]
    assert "hunter2" not in reply.errors[0].message


def test_the_code_of_an_assignment_that_is_there_already_is_kept(bench):
    reply = grant(bench, Answer(status=409, body=b'{"error":{"code":"RoleAssignmentExists","message":"It exists."}}'))
    assert (reply.status, reply.errors[0].code) == (409, "RoleAssignmentExists")


@pytest.mark.parametrize(
    ("writer", "call", "body"),
    [
        pytest.param(RoleWrites, SYNC, None, id="no assignment"),
        pytest.param(
            RoleWrites,
            Call(method="DELETE", path=ASSIGNMENT, api_version="2022-04-01"),
            BODY,
            id="a body of a deletion",
        ),
        pytest.param(KeySync, GRANT, None, id="no key sync"),
        pytest.param(
            KeySync, Call(method="POST", path=SYNC.path, api_version="2024-10-01"), None, id="another version"
        ),
        pytest.param(KeySync, SYNC, {"a": 1}, id="a body that the SDK would not send"),
    ],
)
def test_what_a_client_would_not_send_as_it_stands_is_not_sent(bench, writer, call, body):
    with pytest.raises(ValueError, match=r"api-version|creates no role"):
        writer(bench.settings, StaticToken(TOKEN)).send(call, body, request_id="medic-1")
    assert bench.asked == []


@pytest.mark.parametrize("cloud", [None, "AzureUSGovernment"])
def test_the_ml_sdk_changes_nothing_for_the_rest_of_the_process(bench, monkeypatch, capfd, cloud):
    monkeypatch.delenv("AZUREML_CURRENT_CLOUD", raising=False)
    if cloud is not None:
        monkeypatch.setenv("AZUREML_CURRENT_CLOUD", cloud)
    sync(bench, Answer(status=202, headers={"Location": f"{bench.url}/operations/1"}))
    assert os.environ.get("AZUREML_CURRENT_CLOUD") == cloud
    assert capfd.readouterr().out == ""


def test_each_server_is_spoken_to_under_its_own_name(bench):
    sync(bench, Answer(status=200))
    with Bench() as other:
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        sync(other, Answer(status=200))
        other.shutdown()
        thread.join()
    assert (len(bench.asked), len(other.asked)) == (1, 1)


def test_each_call_goes_through_the_client_that_it_names(bench, tmp_path):
    (tmp_path / "policy.yaml").write_text("actions: {}\n")
    fields = {"mode": Mode.AUTO, "store": str(tmp_path / "s"), "policy": str(tmp_path / "policy.yaml")}
    own = Services(Settings(**fields, arm_url=bench.url, arm_token=TOKEN), clock=lambda: NOON)  # type: ignore[arg-type]
    deployed = Call(method="PUT", path=f"{WORKSPACE}/onlineEndpoints/e/deployments/d", api_version="2024-10-01")
    for call in (SYNC, GRANT, deployed):
        own.writes.send(call, None if call is SYNC else BODY, request_id="medic-1")
    agents = [asked.headers["User-Agent"].split()[0] for asked in bench.asked]
    assert [asked.path for asked in bench.asked] == [
        f"{call.path}?api-version={call.api_version}" for call in (SYNC, GRANT, deployed)
    ]
    assert all("endpoint-medic" in agent for agent in agents)


# ----------------------------------------------------------------------------------------------------- operations


@pytest.mark.parametrize(
    ("answer", "reading"),
    [
        pytest.param(Answer(status=202), Found({"status": "InProgress"}), id="202"),
        pytest.param(Answer(status=204), Found({"status": "Succeeded"}), id="204"),
        pytest.param(Answer(status=200), Found({"status": "Succeeded"}), id="200 without a body"),
        pytest.param(Answer(body=b'{"name":"x"}'), Found({"status": "Succeeded"}), id="200 with the resource"),
        pytest.param(
            Answer(body=b'{"status":"Failed","error":{}}'), Found({"status": "Failed", "error": {}}), id="failed"
        ),
        pytest.param(Answer(body=b'{"status'), Unknown("the answer is no JSON"), id="cut short"),
        pytest.param(Answer(status=404), Absent(), id="forgotten"),
        pytest.param(
            Answer(status=409, body=b'{"error":{"code":"ResourceNotFound"}}'),
            Found({"status": "Failed", "error": {"code": "ResourceNotFound"}}),
            id="a Location that answers with an error",
        ),
        pytest.param(
            Answer(status=400, body=b"no JSON"),
            Found({"status": "Failed", "error": None}),
            id="an error without a body",
        ),
        pytest.param(Answer(status=429), Unknown("429: throttled"), id="it is our asking that is refused"),
        pytest.param(Answer(status=500), Unknown("answered 500"), id="no answer is no end"),
    ],
)
def test_an_operation_says_how_it_stands(bench, answer, reading):
    bench.answers["GET /operations/1"] = answer
    reads = ArmReads(bench.settings, StaticToken(TOKEN))
    assert reads.poll(f"{bench.url}/operations/1?api-version=1") == reading
    assert ArmReads(bench.settings, StaticToken(TOKEN)).poll("/operations/1") == reading


@pytest.mark.parametrize("url", ["https://evil.example/operations/1", "http://[broken", ""])
def test_an_operation_elsewhere_is_not_asked(bench, url):
    assert isinstance(ArmReads(bench.settings, StaticToken(TOKEN)).poll(url), Unknown)
    assert bench.asked == []


@pytest.mark.parametrize(
    "url",
    [
        f"{WORKSPACE}/listKeys?api-version=1",
        f"{WORKSPACE}/listKeys?x=/diagnose?",
        f"{WORKSPACE}/listKeys?x={WORKSPACE}/diagnose",
        f"{WORKSPACE}/listKeys#/diagnose?",
        f"{WORKSPACE}/resyncKeys?api-version=1",
        f"{WORKSPACE}%2FlistKeys%3F/diagnose?api-version=1",
        f"https://evil.example{WORKSPACE}/diagnose?api-version=1",
    ],
)
def test_a_post_that_is_no_declared_read_is_not_sent(bench, url):
    for asked in (url, f"{bench.url}{url}"):
        assert ArmReads(bench.settings, StaticToken(TOKEN)).ask(asked, {}) == Unknown(
            "only getLogs and diagnose may be asked"
        )
    assert bench.asked == []


def test_a_diagnosis_is_asked_for(bench):
    bench.answers[f"POST {WORKSPACE}/diagnose"] = Answer(body=b'{"value":{}}')
    reads = ArmReads(bench.settings, StaticToken(TOKEN))
    for url in (f"{WORKSPACE}/diagnose?api-version=1", f"{bench.url}{WORKSPACE}/diagnose?api-version=1"):
        assert reads.ask(url, {}) == Found({"value": {}})


def test_a_long_list_is_not_read_to_its_end(bench):
    page = json.dumps({"value": [1, 2, 3], "nextLink": f"{bench.url}/list"}).encode()
    bench.answers["GET /list"] = Answer(body=page)
    assert ArmReads(bench.settings, StaticToken(TOKEN)).get_all("/list", most=4) == Unknown("more than 4 items")
    assert len(bench.asked) == 2


# ------------------------------------------------------------------------------------------------------- registry


@pytest.fixture
def registry(bench: Bench) -> Bench:
    bench.answers["POST /oauth2/exchange"] = Answer(body=b'{"refresh_token":"refresh-1"}')
    bench.answers["POST /oauth2/token"] = Answer(body=b'{"access_token":"access-1"}')
    bench.answers["HEAD /v2/team/credit/manifests/3"] = Answer(headers={"Docker-Content-Digest": DIGEST})
    return bench


def ask(bench: Bench, repository: str = "team/credit", reference: str = "3", host: str | None = None) -> Any:
    reads = ArmReads(bench.settings, StaticToken(TOKEN))
    found = reads.manifest(host or f"127.0.0.1:{bench.server_port}", repository, reference)
    assert reads.refused() == ()
    return found


def test_an_image_that_is_there_has_a_digest(registry):
    host = f"127.0.0.1:{registry.server_port}"
    assert ask(registry) == Found(DIGEST)
    exchange, token, head = registry.asked
    assert parse_qs(exchange.body.decode()) == {
        "grant_type": ["access_token"],
        "service": [host],
        "access_token": [TOKEN],
    }
    assert parse_qs(token.body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": [host],
        "scope": ["repository:team/credit:pull"],
        "refresh_token": ["refresh-1"],
    }
    assert (head.method, head.headers["Authorization"]) == ("HEAD", "Bearer access-1")
    for kind in ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1"):
        assert f"application/vnd.{kind}+json" in head.headers["Accept"]


def test_an_image_by_its_digest_is_asked_for_by_its_digest(registry):
    registry.answers[f"HEAD /v2/team/credit/manifests/{DIGEST}"] = Answer(headers={"Docker-Content-Digest": DIGEST})
    assert ask(registry, reference=DIGEST) == Found(DIGEST)


def test_only_the_registry_s_own_404_for_the_manifest_is_absent(registry):
    assert ask(registry, reference="4") == Absent()
    del registry.answers["POST /oauth2/token"]
    assert ask(registry) == Unknown("the registry refused us a token: it answered 404")


@pytest.mark.parametrize(
    ("where", "answer", "words"),
    [
        ("POST /oauth2/exchange", Answer(status=401), "the registry refused us a token: it answered 401"),
        ("POST /oauth2/exchange", Answer(status=None), "no answer of the registry: ServiceResponseError"),
        ("POST /oauth2/exchange", Answer(body=b"[]"), "the registry gave none that is a token"),
        ("POST /oauth2/exchange", Answer(body=b"{"), "the registry gave none that is a token"),
        ("POST /oauth2/token", Answer(body=b'{"access_token":"a\\r\\nb"}'), "the registry gave none that is a token"),
        ("POST /oauth2/token", Answer(body=b"x" * 70_000), "the registry's answer is too large"),
        ("POST /oauth2/token", Answer(status=302, headers={"Location": "/elsewhere"}), "it answered 302"),
        ("HEAD /v2/team/credit/manifests/3", Answer(status=401), "the registry answered 401"),
        ("HEAD /v2/team/credit/manifests/3", Answer(status=307, headers={"Location": "/x"}), "answered 307"),
        ("HEAD /v2/team/credit/manifests/3", Answer(), "the registry shows no digest"),
    ],
)
def test_what_a_registry_does_not_say_is_unknown(registry, where, answer, words):
    registry.answers[where] = answer
    found = ask(registry)
    assert isinstance(found, Unknown)
    assert words in found.reason
    assert not [asked for asked in registry.asked if asked.path in {"/elsewhere", "/x"}]


@pytest.mark.parametrize(
    "host", ["crmlwprod.azurecr.io", "evil.example", "127.0.0.1:1@evil.example", "127.0.0.1.evil.example", "", "::1"]
)
def test_a_simulator_s_token_does_not_leave_this_machine(bench, host):
    found = ask(bench, host=host or " ")
    assert isinstance(found, Unknown)
    assert "no registry that may be sent our token" in found.reason


@pytest.mark.parametrize(
    "host", ["evil.example", "crmlwprod.azurecr.io.evil.example", "x@y.azurecr.io", "127.0.0.1:80"]
)
def test_azure_s_token_goes_to_azure_s_registries_alone(host):
    class Unasked:
        def get_token(self, *_scopes: str, **_options: object) -> Any:
            raise AssertionError("a token was asked for")

    found = ArmReads(Settings(), Unasked()).manifest(host, "team/credit", "3")
    assert isinstance(found, Unknown)


@pytest.mark.parametrize(
    ("repository", "reference"),
    [
        ("../x", "3"),
        ("a/../b", "3"),
        ("a//b", "3"),
        ("A", "3"),
        ("a?b", "3"),
        ("", "3"),
        ("a", ""),
        ("a", "x/y"),
        ("a", "sha256:1"),
    ],
)
def test_what_names_no_image_is_not_asked_for(registry, repository, reference):
    assert isinstance(ask(registry, repository, reference), Unknown)
    assert registry.asked == []


def test_a_registry_that_cannot_be_reached_is_unknown(bench):
    with Bench() as gone:
        port = gone.server_port
    found = ask(bench, host=f"127.0.0.1:{port}")
    assert found == Unknown("the registry cannot be reached from here: ServiceRequestError")
