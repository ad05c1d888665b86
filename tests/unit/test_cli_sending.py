"""``medic send``: to a host as Event Grid posts, and to a topic by Azure's own client."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from local.cli import app
from local.commands.sending import publish
from tests.commands import serving

EVENT = {"id": "1", "eventType": "Microsoft.Resources.ResourceWriteCancel", "topic": "/subscriptions/x", "data": {}}
CLOUD = {"specversion": "1.0", "id": "1", "type": "Microsoft.Resources.ResourceWriteCancel", "source": "/x", "data": {}}
ALERT = {"schemaId": "azureMonitorCommonAlertSchema", "data": {}}
HANDSHAKE = {"id": "1", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "x"}}
FUNCTION = "/runtime/webhooks/eventgrid?functionName=on_deployment_failure"


class Host:
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.status = 202
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.posts.append((self.path, headers, json.loads(body)))
                answer = b'{"said": "so"}'
                self.send_response(outer.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    with serving(made.server):
        yield made


def send(tmp_path, payload: Any, *options: str):
    file = tmp_path / "event.json"
    file.write_text(payload if isinstance(payload, str) else json.dumps(payload))
    return CliRunner().invoke(app, ["send", str(file), *options])


@pytest.mark.parametrize(
    ("payload", "place", "headers"),
    [
        pytest.param(
            [EVENT], FUNCTION, {"aeg-event-type": "Notification", "content-type": "application/json"}, id="event grid"
        ),
        pytest.param(CLOUD, FUNCTION, {"content-type": "application/cloudevents+json"}, id="cloud event"),
        pytest.param([CLOUD], FUNCTION, {"content-type": "application/cloudevents-batch+json"}, id="cloud events"),
        pytest.param(ALERT, "/api/events", {"content-type": "application/json"}, id="alert"),
        pytest.param([HANDSHAKE], FUNCTION, {"aeg-event-type": "SubscriptionValidation"}, id="handshake"),
    ],
)
def test_an_event_is_posted_as_event_grid_would(payload, place, headers, host, tmp_path) -> None:
    result = send(tmp_path, payload, "--to", host.url)
    assert result.exit_code == 0
    ((path, sent, body),) = host.posts
    assert (path, body) == (place, payload)
    assert {name: sent[name].partition(";")[0] for name in headers} == headers
    assert result.stdout == f'POST {host.url}{place}: 202 Accepted\n  {{"said": "so"}}\n'


def test_the_research_form_of_a_file_is_taken_apart(host, tmp_path) -> None:
    assert send(tmp_path, {"note": {"source": "x"}, "payload": [EVENT]}, "--to", host.url).exit_code == 0
    assert host.posts[0][2] == [EVENT]


def test_a_url_with_a_path_is_used_as_it_is(host, tmp_path) -> None:
    send(tmp_path, [EVENT], "--to", f"{host.url}/elsewhere?x=1")
    assert host.posts[0][0] == "/elsewhere?x=1"


def test_it_is_delivered_as_often_as_asked(host, tmp_path) -> None:
    result = send(tmp_path, [EVENT], "--to", host.url, "--times", "3")
    assert (result.exit_code, len(host.posts)) == (0, 3)
    assert f"3/3 POST {host.url}{FUNCTION}: 202 Accepted" in result.stdout


def test_a_refusal_is_exit_1(host, tmp_path) -> None:
    host.status = 403
    result = send(tmp_path, [EVENT], "--to", host.url)
    assert result.exit_code == 1
    assert "403 Forbidden" in result.stdout


def test_nobody_there_is_exit_3_with_what_to_do(host, tmp_path) -> None:
    result = send(tmp_path, [EVENT], "--to", "http://127.0.0.1:1")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"medic: POST http://127.0.0.1:1{FUNCTION} got no answer: ")
    assert result.stderr.endswith("Start it with `medic serve`, or name another place with --to.\n")


@pytest.mark.parametrize(
    ("payload", "options", "words"),
    [
        ([EVENT], ["--to", "http://example.com"], "is plain http to another machine. Use https, or this machine."),
        ([EVENT], ["--to", "localhost:7071"], "is no URL. Write http://127.0.0.1:7071."),
        ([EVENT], ["--to", "file:///etc/passwd"], "is no URL"),
        ([EVENT], ["--topic", "http://topic.example.com"], "is no https URL"),
        ("{", [], "is not JSON"),
        ("[" * 100_000, [], "is not JSON"),
        ("[]", [], "holds no event"),
        ("7", [], "holds no event"),
        ({"note": {}, "payload": None}, [], "holds no event"),
    ],
)
def test_what_cannot_be_sent_is_exit_2(payload, options, words, tmp_path) -> None:
    result = send(tmp_path, payload, *options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


# ------------------------------------------------------------------------------------------------ topic


class Credential:
    """A token for Event Grid."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://eventgrid.azure.net/.default",)
        return AccessToken("a-token", 2**31)


@pytest.fixture
def topic(host, monkeypatch, tmp_path) -> str:
    """The host over TLS, with a certificate of its own that the client is told to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret, public = tmp_path / "key.pem", tmp_path / "certificate.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(public, secret)
    host.server.socket = context.wrap_socket(host.server.socket, server_side=True)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(public))
    host.status = 200
    return f"{host.url.replace('http', 'https')}/api/events"


@pytest.mark.parametrize(
    ("payload", "sent", "kind"),
    [
        ([EVENT], {name: EVENT[name] for name in ("id", "eventType", "data")}, "application/json"),
        (CLOUD, CLOUD, "application/cloudevents-batch+json"),
    ],
)
def test_a_topic_gets_the_events_by_azures_own_client(payload, sent, kind, host, topic) -> None:
    assert publish(topic, payload, Credential(), times=2) == 2
    (path, headers, body), (_, _, again) = host.posts
    assert path == "/api/events?api-version=2018-01-01"
    assert headers["authorization"] == "Bearer a-token"
    assert headers["content-type"].partition(";")[0] == kind
    (event,) = body
    assert {name: event[name] for name in sent} == sent
    assert "topic" not in event
    assert [one["id"] for one in again] == ["1"]


def test_a_topic_that_does_not_take_them_is_exit_3(tmp_path) -> None:
    result = send(tmp_path, [EVENT], "--topic", "https://127.0.0.1:1/api/events")
    assert result.exit_code == 3
    assert result.stderr.startswith("medic: https://127.0.0.1:1/api/events ")
    assert "Traceback" not in result.output
