"""Every channel over real HTTP: what is sent, what each answer means, and that a secret URL stays secret."""

import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from typer.testing import CliRunner

from functions import timers
from local.cli import app
from remediations.adapters import topic as topics
from remediations.adapters.outbox import FolderNotifier
from remediations.adapters.teams import TeamsNotifier
from remediations.adapters.topic import TopicNotifier
from remediations.adapters.webhook import WebhookNotifier
from remediations.approval.notice import Kind
from remediations.ports import Delivery, Message
from remediations.proof import anchoring
from remediations.rights import RIGHTS
from remediations.trail import Trail
from tests.builders import DEPLOYMENT, NOON, WORKSPACE, MemoryStore
from tests.commands import settle
from tests.trails import CHECKPOINTS, KEY, fill, make_record

SECRET = "/workflows/0f1e2d/triggers/p4th-s3cret?api-version=1&sig=s1gn-s3cret"
CARD = {
    "type": "message",
    "attachments": [
        {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "Ünïcode ✓"}]},
        }
    ],
}


def make_message(kind: Kind = Kind.ASKED, **changes: Any) -> Message:
    fields: dict[str, Any] = {
        "key": "b1946ac92492d2347c6235b4d2611184",
        "kind": kind,
        "at": NOON,
        "subject": "May green be deployed again?",
        "incident_id": "inc-0123456789abcdef01234567",
        "resource": DEPLOYMENT,
        "wants_person": kind.wants_person,
        "is_over": kind.is_over,
        "link": "https://medic.example/api/approvals/t",
        "card": CARD,
        "facts": {"cause": "spot-eviction"},
    }
    return Message(**{**fields, **changes})


@dataclass
class Host:
    """A server that answers everything with one status, after a while, and keeps what it was sent."""

    status: int = 202
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @property
    def body(self) -> Any:
        ((_, _, content),) = self.requests
        return json.loads(content)


@pytest.fixture
def host() -> Iterator[Host]:
    asked = Host()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.requests.append((self.path, headers, content))
            ended.wait(asked.delay_s)
            self.send_response(asked.status)
            for name, value in asked.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"secret")

        do_GET = do_POST  # noqa: N815 - a redirect that is followed becomes one

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that went away is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        asked.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield asked
        finally:
            ended.set()
            server.shutdown()
            thread.join()


class Credential:
    """A token for whoever asks."""

    def get_token(self, *scopes: str, **_: Any) -> Any:
        raise AssertionError("a token was asked for")


def make_notifier(name: str, url: str, within: timedelta = timedelta(seconds=10)) -> Any:
    if name == "topic":
        return TopicNotifier(f"{url}/api/events", Credential(), within=within)
    kind = {"teams": TeamsNotifier, "webhook": WebhookNotifier}[name]
    return kind(url + SECRET, within=within)


POSTING = pytest.mark.parametrize("name", ["teams", "webhook", "topic"])

# ---------------------------------------------------------------------------------------------- what is answered


@POSTING
@pytest.mark.parametrize(
    ("status", "taken"),
    [
        *((status, None) for status in (301, 302, 307, 308, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422)),
        *((status, False) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
def test_an_answer_says_whether_to_try_again(host, name, status, taken):
    host.status = status
    host.headers = {"Location": f"{host.url}/elsewhere"} if status < 400 else {}
    delivery = make_notifier(name, host.url).tell(make_message())
    assert (delivery.taken, delivery.retry_after) == (taken, None)
    assert f"answered {status}" in delivery.words
    assert len(host.requests) == 1, "neither repeated nor redirected"
    setting = {"teams": "MEDIC_TEAMS_URL", "webhook": "MEDIC_WEBHOOK_URL", "topic": "MEDIC_OUTCOME_TOPIC"}[name]
    assert (setting in delivery.words) == (taken is None)


@pytest.mark.parametrize(
    ("name", "status"), [("teams", 200), ("teams", 202), ("webhook", 202), ("webhook", 204), ("topic", 200)]
)
def test_what_is_taken_is_taken(host, name, status):
    host.status = status
    delivery = make_notifier(name, host.url).tell(make_message())
    assert delivery == Delivery(taken=True, words=f"answered {status}")


@POSTING
@pytest.mark.parametrize("status", [408, 429, 503])
@pytest.mark.parametrize("header", ["Retry-After", "retry-after", "RETRY-AFTER"])
def test_how_long_to_wait_is_what_the_channel_says(host, name, status, header):
    host.status, host.headers = status, {header: "30"}
    delivery = make_notifier(name, host.url).tell(make_message())
    assert (delivery.taken, delivery.retry_after) == (False, timedelta(seconds=30))
    assert delivery.words == f"answered {status}: it asks us to wait 30 s"
    assert len(host.requests) == 1


@POSTING
def test_how_long_to_wait_may_be_a_date(host, name):
    host.status, host.headers = 429, {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(minutes=2), True)}
    wait = make_notifier(name, host.url).tell(make_message()).retry_after
    assert timedelta(seconds=110) < wait <= timedelta(seconds=120)


@POSTING
@pytest.mark.parametrize("text", ["soon", "", "1e999", "Mon, 99 Foo"])
def test_a_wait_that_cannot_be_read_is_none(host, name, text):
    host.status, host.headers = 429, {"Retry-After": text}
    delivery = make_notifier(name, host.url).tell(make_message())
    assert (delivery.taken, delivery.retry_after) == (False, None)


@POSTING
def test_a_channel_that_does_not_answer_in_time_is_tried_again(host, name):
    host.delay_s = 20
    began = time.monotonic()
    delivery = make_notifier(name, host.url, timedelta(seconds=0.4)).tell(make_message())
    assert delivery.taken is False
    assert delivery.words.startswith("no answer: ")
    assert time.monotonic() - began < 5


@POSTING
def test_a_channel_that_is_not_there_is_tried_again(name):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    delivery = make_notifier(name, url).tell(make_message())
    assert delivery.taken is False
    assert delivery.words.startswith("no answer: ")


@POSTING
@pytest.mark.parametrize("said", [b"", b"HTTP", b"\x16\x03\x01 this is no HTTP\r\n\r\n", b"HTTP/1.1 2xx Yes\r\n\r\n"])
def test_what_speaks_no_http_is_tried_again(name, said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        delivery = make_notifier(name, url, timedelta(seconds=4)).tell(make_message())
        thread.join()
    assert delivery.taken is False
    assert delivery.words.startswith("no answer: ")


@pytest.mark.parametrize("url", ["https://.example.com/s3cret", f"https://{'a' * 70}.example/s3cret"])
def test_a_host_that_cannot_be_is_no_answer(url):
    assert TeamsNotifier(url).tell(make_message()).taken is False


@POSTING
@pytest.mark.parametrize("status", [202, 302, 403, 429, 500, None])
def test_a_secret_url_is_in_no_words_and_in_no_log(host, caplog, name, status):
    caplog.set_level(logging.DEBUG)
    host.status, host.delay_s = status or 202, 0 if status else 20
    delivery = make_notifier(name, host.url, timedelta(seconds=1)).tell(make_message())
    told = f"{delivery.words}\n{caplog.text}"
    assert "s3cret" not in told
    assert "secret" not in delivery.words, "nor is the answer's body"


# -------------------------------------------------------------------------------------------------- what is sent


def test_teams_gets_the_card_as_it_is(host):
    make_notifier("teams", host.url).tell(make_message())
    ((path, headers, content),) = host.requests
    assert path == SECRET
    assert json.loads(content) == CARD
    assert "Ünïcode ✓".encode() in content, "escapes would make it larger: Teams takes 28 KB"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["content-length"] == str(len(content))
    assert headers.keys().isdisjoint({"authorization", "cookie"})


def test_a_question_is_an_alert_that_fires(host):
    make_notifier("webhook", host.url).tell(make_message(Kind.ASKED))
    assert host.requests[0][0] == SECRET
    assert host.body == {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{DEPLOYMENT}/incidents/inc-0123456789abcdef01234567",
                "alertRule": "Endpoint Medic",
                "severity": "Sev2",
                "signalType": "Log",
                "monitorCondition": "Fired",
                "monitoringService": "Endpoint Medic",
                "alertTargetIDs": [DEPLOYMENT],
                "configurationItems": ["green"],
                "originAlertId": "inc-0123456789abcdef01234567",
                "firedDateTime": NOON.isoformat().replace("+00:00", "Z"),
                "description": "May green be deployed again?",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
            },
            "alertContext": {"cause": "spot-eviction", "link": "https://medic.example/api/approvals/t"},
        },
    }


@pytest.mark.parametrize(
    ("kind", "severity", "condition"),
    [
        (Kind.NOT_REPAIRED, "Sev1", "Fired"),
        (Kind.INCONCLUSIVE, "Sev1", "Fired"),
        (Kind.ASKED, "Sev2", "Fired"),
        (Kind.ADVISED, "Sev3", "Fired"),
        (Kind.REFUSED, "Sev3", "Fired"),
        (Kind.EXPIRED, "Sev3", "Fired"),
        (Kind.REPAIRED, "Sev3", "Resolved"),
        (Kind.REJECTED, "Sev3", "Resolved"),
        (Kind.SUPERSEDED, "Sev3", "Resolved"),
        (Kind.APPROVED, None, None),
    ],
)
def test_every_kind_is_an_alert_or_none(host, kind, severity, condition):
    delivery = make_notifier("webhook", host.url).tell(make_message(kind))
    assert delivery.taken is True
    if condition is None:
        assert (host.requests, delivery.words) == ([], "not sent: there is nothing to page")
        return
    essentials = host.body["data"]["essentials"]
    assert (essentials["severity"], essentials["monitorCondition"]) == (severity, condition)
    assert ("resolvedDateTime" in essentials) == (condition == "Resolved")


def test_what_resolves_an_alert_has_the_ids_of_what_fired_it(host):
    for kind, later in ((Kind.ASKED, 0), (Kind.REPAIRED, 2)):
        make_notifier("webhook", host.url).tell(make_message(kind, key=kind, at=NOON + timedelta(hours=later)))
    asked, repaired = (json.loads(content)["data"]["essentials"] for _, _, content in host.requests)
    assert (asked["alertId"], asked["originAlertId"]) == (repaired["alertId"], repaired["originAlertId"])


def test_a_topic_gets_a_cloud_event(host):
    host.status = 200
    assert make_notifier("topic", host.url).tell(make_message(Kind.NOT_REPAIRED)).taken is True
    ((path, headers, _),) = host.requests
    event = host.body[0]
    assert len(host.body) == 1
    assert path == "/api/events?api-version=2018-01-01"
    assert headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
    assert "authorization" not in headers, "a token goes over TLS alone"
    assert datetime.fromisoformat(event.pop("time")) == NOON
    assert event == {
        "specversion": "1.0",
        "type": "EndpointMedic.Incident.NotRepaired",
        "source": WORKSPACE,
        "subject": "inc-0123456789abcdef01234567",
        "id": "b1946ac92492d2347c6235b4d2611184",
        "datacontenttype": "application/json",
        "data": {"cause": "spot-eviction", "link": "https://medic.example/api/approvals/t"},
    }


@pytest.mark.parametrize("kind", list(Kind))
def test_an_event_is_named_in_pascal_case(kind):
    name = topics.event_of(make_message(kind)).type.removeprefix("EndpointMedic.Incident.")
    assert name.isalpha()
    assert name[0].isupper()
    assert name.lower() == kind.replace("-", "")


def test_a_source_is_a_uri_also_where_a_group_s_name_is_none():
    resource = DEPLOYMENT.replace("/resourceGroups/", "/resourceGroups/my (own) ")
    assert "/resourceGroups/my%20(own)%20" in topics.event_of(make_message(resource=resource)).source


@pytest.fixture
def signing(host, monkeypatch, tmp_path):
    """A trail in a folder with something to sign, and the topic that is told of it."""
    settings = {"MEDIC_ANCHOR_KEY": KEY, "MEDIC_OUTCOME_TOPIC": f"{host.url}/api/events"}
    trail = settle(monkeypatch, tmp_path, **settings)
    trail.append_record(make_record(0))
    return trail


def verdict_of(event, tmp_path, *, code):
    """What the command says of the trail, beside an event that was kept."""
    (tmp_path / "event.json").write_text(json.dumps(event))
    done = CliRunner().invoke(app, ["audit", "verify", "--checkpoint", str(tmp_path / "event.json"), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_the_timer_publishes_each_checkpoint_whole_and_verify_takes_the_event(host, signing, tmp_path):
    host.status = 200
    timers.anchor()
    timers.anchor()
    assert len(host.requests) == 1
    (event,) = host.body
    assert (event["type"], event["subject"]) == ("EndpointMedic.Audit.Checkpoint", "checkpoint 1")
    line = json.loads(signing.store.read(CHECKPOINTS))
    assert event["data"] == line["checkpoint"]
    assert verdict_of(event, tmp_path, code=0)["last"] == event["data"]
    shutil.rmtree(signing.store.root)
    Trail(signing.store).append_record(make_record(0, facts={"cause": "forged"}))
    anchoring.anchor(signing.store, KEY, NOON)
    assert verdict_of(event, tmp_path, code=1)["first_bad"]["what"] == "rewritten"


@pytest.mark.parametrize("status", [400, 401, 403, 503])
def test_a_topic_that_refuses_a_checkpoint_is_an_error_in_the_log_and_the_checkpoint_stands(
    host, signing, logged, status
):
    host.status = status
    timers.anchor()
    assert [line["event"] for line in logged] == ["checkpoint.written", "checkpoint.untold"]
    assert (logged[1]["log_level"], logged[1]["number"]) == ("error", 1)
    assert str(status) in logged[1]["why"]
    assert signing.store.read(CHECKPOINTS).count(b"\n") == 1


@pytest.mark.usefixtures("signing")
@pytest.mark.parametrize(("status", "code", "taken"), [(200, 0, True), (403, 1, None), (503, 1, False)])
def test_the_command_says_whether_the_topic_took_it(host, status, code, taken):
    host.status = status
    done = CliRunner().invoke(app, ["audit", "anchor", "--json"])
    assert done.exit_code == code, done.output
    found = json.loads(done.stdout)
    assert (found["is_new"], found["topic"]["taken"]) == (True, taken)
    assert "secret" not in done.output


def test_all_that_is_asked_of_a_topic_is_to_take_events_as_its_right_says(host):
    notifier = make_notifier("topic", host.url)
    asked = {"tell": make_message(), "keep": fill(MemoryStore())[0]}
    for name, value in asked.items():
        getattr(notifier, name)(value)
    assert asked.keys() == {name for name, value in vars(TopicNotifier).items() if callable(value) and name[0] != "_"}
    assert [path.partition("?")[0] for path, _, _ in host.requests] == ["/api/events"] * 2
    assert [right.operation for right in RIGHTS if right.via == "topic"] == ["Microsoft.EventGrid/events/send/action"]


def test_a_topic_without_a_token_is_tried_again():
    class SignedOut:
        def get_token(self, *scopes: str, **_: Any) -> Any:
            assert scopes == ("https://eventgrid.azure.net/.default",)
            raise ClientAuthenticationError("no sign-in of s3cret")

    notifier = TopicNotifier("https://127.0.0.1:1/api/events", SignedOut(), within=timedelta(seconds=1))
    assert notifier.tell(make_message()) == Delivery(taken=False, words="no answer: ClientAuthenticationError")


# --------------------------------------------------------------------------------------------------- the folder


def test_a_folder_keeps_the_card_and_its_page(tmp_path):
    folder = tmp_path / "made/when/needed"
    delivery = FolderNotifier(folder).tell(make_message())
    assert delivery.taken is True
    page, plain = sorted(folder.iterdir())
    assert (page.suffix, plain.suffix, page.stem) == (".html", ".json", plain.stem)
    assert page.stem.startswith(f"{NOON:%Y%m%dT%H%M%SZ}-asked-inc-0123456789abcdef01234567-")
    assert str(page) in delivery.words
    assert json.loads(plain.read_text()) == CARD
    assert len(plain.read_text().splitlines()) > 5, "to be read by people"
    assert "Ünïcode ✓" in page.read_text()


def test_a_repeat_is_kept_once_whatever_the_time(tmp_path):
    notifier = FolderNotifier(tmp_path)
    for later in (0, 0, 3):
        notifier.tell(make_message(at=NOON + timedelta(minutes=later)))
    assert len(list(tmp_path.iterdir())) == 2
    notifier.tell(make_message(key="another"))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_name_stays_in_the_folder(tmp_path):
    strange = make_message(incident_id="../../x*[a]", key="../y")
    for _ in range(2):
        assert FolderNotifier(tmp_path / "in").tell(strange).taken is True
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path):
    (tmp_path / "file").write_text("")
    delivery = FolderNotifier(tmp_path / "file").tell(make_message())
    assert delivery.taken is False
    assert "Check that the folder can be written" in delivery.words
    assert (tmp_path / "file").read_text() == ""


def test_nothing_is_left_beside_a_file_that_cannot_take_its_place(tmp_path):
    notifier = FolderNotifier(tmp_path)
    notifier.tell(make_message())
    (page,) = tmp_path.glob("*.html")
    page.unlink()
    (page / "x").mkdir(parents=True)
    assert notifier.tell(make_message()).taken is False
    assert len(list(tmp_path.iterdir())) == 2
