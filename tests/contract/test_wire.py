"""What carries our requests to Azure: its connections stay open, and it brings nothing along that we did not send."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from msgspec.structs import replace

from remediations import codec, services
from remediations.adapters.arm import ArmReads, ArmWrites, StaticToken
from remediations.adapters.blobs import BlobStore
from remediations.adapters.ml import SYNC_API_VERSION, KeySync
from remediations.adapters.roles import RoleWrites
from remediations.adapters.wire import wire
from remediations.errors import StoreUnavailable
from remediations.model import Call, Found
from remediations.services import Services
from remediations.settings import Settings

ANSWER = {"refresh_token": "theirs", "access_token": "theirs"}  # as a registry does
ARM = "https://management.azure.com"
PROXY = "http://proxy.example:8080"


class Heard(ThreadingHTTPServer):
    """Answers everything with a cookie, and keeps what it was sent and over which connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.requests: list[tuple[int, dict[str, str]]] = []

    @property
    def settings(self) -> Settings:
        return Settings(arm_url=f"http://127.0.0.1:{self.server_port}", arm_token="ours")


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Heard

    def do_GET(self) -> None:
        self.server.requests.append(
            (self.client_address[1], {name.lower(): text for name, text in self.headers.items()})
        )
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Set-Cookie", "route=one; Path=/")
        content = codec.encode(ANSWER)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the names are the library's

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def heard() -> Iterator[Heard]:
    with Heard() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_readers_that_share_a_wire_share_a_connection_and_no_cookie(heard):
    carrier = wire(heard.settings.arm_url)
    for _ in range(3):
        reads = ArmReads(heard.settings, StaticToken("ours"), carrier=carrier)
        assert reads.get("/subscriptions/s/a") == Found(ANSWER)
        assert reads.get("/subscriptions/s/b") == Found(ANSWER)
    assert len({connection for connection, _ in heard.requests}) == 1
    assert [headers for _, headers in heard.requests if "cookie" in headers] == []
    assert len(heard.requests) == 6


def test_a_connection_that_was_idle_for_long_is_not_used_again(heard, tmp_path, monkeypatch):
    # What lies between drops it unseen, and a read would wait for an answer until its time is over.
    at = [1000.0]
    monkeypatch.setattr(services, "monotonic", lambda: at[0])
    own = Services(replace(heard.settings, store=str(tmp_path)))
    for passed in (0.0, 59.0, 59.0, 61.0):
        at[0] += passed
        own.reads().get("/subscriptions/s/a")
    connections = [connection for connection, _ in heard.requests]
    assert len(set(connections[:3])) == 1
    assert connections[3] != connections[0]


def test_each_write_has_a_connection_of_its_own(heard):
    writes = ArmWrites(heard.settings, StaticToken("ours"))
    for number in range(2):
        assert writes.send(call("PUT", WORKSPACE, "1"), {}, request_id=f"medic-{number}").status == 200
    assert len({connection for connection, _ in heard.requests}) == 2


@pytest.fixture
def netrc(tmp_path, monkeypatch) -> None:
    """A password for the host that listens, which requests would send in place of any token."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login somebody password something\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))


def call(method: str, path: str, api_version: str) -> Call:
    return Call(method=method, path=f"/subscriptions/s/resourceGroups/g/providers/{path}", api_version=api_version)


WORKSPACE = "Microsoft.MachineLearningServices/workspaces/w"
ASSIGNMENT = "Microsoft.ContainerRegistry/registries/r/providers/Microsoft.Authorization/roleAssignments/a"
WRITES = {
    "any resource": (ArmWrites, call("PUT", WORKSPACE, "1")),
    "a role assignment": (RoleWrites, call("DELETE", ASSIGNMENT, "2022-04-01")),
    "the keys of a workspace": (KeySync, call("POST", f"{WORKSPACE}/resyncKeys", SYNC_API_VERSION)),
}


@pytest.mark.usefixtures("netrc")
def test_a_read_carries_our_token_whatever_a_netrc_says(heard):
    ArmReads(heard.settings, StaticToken("ours")).get("/subscriptions/s/a")
    assert [headers["authorization"] for _, headers in heard.requests] == ["Bearer ours"]


@pytest.mark.usefixtures("netrc")
def test_neither_a_registry_nor_a_spec_is_read_with_what_a_netrc_says(heard):
    reads = ArmReads(heard.settings, StaticToken("ours"))
    reads.manifest(heard.settings.arm_url.removeprefix("http://"), "image", "1")
    reads.fetch_spec(f"{heard.settings.arm_url}/desired/spec.json")
    assert [headers.get("authorization") for _, headers in heard.requests] == [None, None, "Bearer theirs", None]


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize(("writer", "what"), WRITES.values(), ids=WRITES)
def test_a_write_carries_our_token_whatever_a_netrc_says(heard, writer, what):
    writer(heard.settings, StaticToken("ours")).send(what, None, request_id="medic-1")
    sent = [headers for _, headers in heard.requests if headers.get("x-ms-client-request-id") == "medic-1"]
    assert [headers["authorization"] for headers in sent] == ["Bearer ours"]


@pytest.mark.usefixtures("netrc")
def test_the_store_is_read_with_our_key_whatever_a_netrc_says(heard):
    key = AzureNamedKeyCredential("account", "a2V5")
    store = BlobStore(f"{heard.settings.arm_url}/account", "trail", key)
    with pytest.raises(StoreUnavailable):  # what listens answers, but not as a store does
        store.read("a")
    assert {headers["authorization"].partition(":")[0] for _, headers in heard.requests} == {"SharedKey account"}


def test_a_proxy_of_the_environment_carries_what_is_not_excepted(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert wire(ARM).session.proxies["https"] == PROXY
    monkeypatch.setenv("NO_PROXY", "azure.com")
    assert wire(ARM).session.proxies == {}


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_the_environment_names_are_trusted_alone(name, monkeypatch):
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    assert wire(ARM).connection_config.verify is True
    monkeypatch.setenv(name, "/certificates.pem")
    assert wire(ARM).connection_config.verify == "/certificates.pem"
